"""`listen` and `trigger`: what a developer runs beside a program that receives webhooks."""

import logging
import os
import sys
import time
from contextlib import closing

import click
import httpx

from service.client.bridge import BridgeClient, BridgeRefused, StreamedEvent
from service.client.forward import WAIT_FOR_LISTENER, Forwarder, NobodyListens, Sent
from service.command import load_dotenv_file


@click.command(help="Follow the events of a running Callbridge and forward each to a program on this machine.")
@click.option("--forward-to", metavar="URL", help="POST each event to this address, signed like a delivery.")
@click.option("--print", "print_only", is_flag=True, help="Print each event as one line of JSON instead.")
@click.option("--events", metavar="TYPES", default="", help="Only these event types, comma separated; default: all.")
@click.option(
    "--url", metavar="BRIDGE", help="Address of Callbridge; default: CALLBRIDGE_URL, else http://127.0.0.1:8000."
)
@click.option("--key", metavar="KEY", help="An API key; default: CALLBRIDGE_KEY.")
def listen(forward_to: str | None, print_only: bool, events: str, url: str | None, key: str | None) -> None:
    if bool(forward_to) is print_only:
        raise click.UsageError("Give either --forward-to URL or --print.")
    types = [name.strip() for name in events.split(",") if name.strip()]
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    with closing(_bridge(url, key)) as bridge:
        try:
            if forward_to:
                _forward(bridge, forward_to, types)
            else:
                _print(bridge, types)
        except BridgeRefused as refused:
            raise click.ClickException(str(refused)) from None
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)


@click.command(help="Send a subscription the published example of an event, marked as a test.")
@click.argument("event_type", metavar="TYPE")
@click.option("--subscription", "subscription_id", required=True, metavar="sub_…", help="The subscription's id.")
@click.option(
    "--url", metavar="BRIDGE", help="Address of Callbridge; default: CALLBRIDGE_URL, else http://127.0.0.1:8000."
)
@click.option("--key", metavar="KEY", help="An API key; default: CALLBRIDGE_KEY.")
def trigger(event_type: str, subscription_id: str, url: str | None, key: str | None) -> None:
    with closing(_bridge(url, key)) as bridge:
        try:
            found = bridge.request("POST", f"/v1/subscriptions/{subscription_id}/ping", {"type": event_type})
        except (BridgeRefused, httpx.HTTPError) as error:
            raise click.ClickException(str(error)) from None
    attempt = found["attempts"][-1]
    answer = attempt["status_code"] or attempt["error"]
    click.echo(f"{event_type}  {found['url']}  {answer}  {attempt['duration_ms']} ms")
    if found["status"] != "delivered":
        sys.exit(1)


def _bridge(url: str | None, key: str | None) -> BridgeClient:
    load_dotenv_file()
    key = key or os.environ.get("CALLBRIDGE_KEY")
    if not key:
        raise click.ClickException("An API key is needed: --key, or CALLBRIDGE_KEY in the environment.")
    return BridgeClient(url or os.environ.get("CALLBRIDGE_URL") or "http://127.0.0.1:8000", key)


def _print(bridge: BridgeClient, types: list[str]) -> None:
    for event in bridge.follow(types):
        sys.stdout.buffer.write(event.body + b"\n")
        sys.stdout.flush()


def _forward(bridge: BridgeClient, target: str, types: list[str]) -> None:
    secret = bridge.webhook_secret()
    with closing(Forwarder(target, secret, bridge.url)) as forwarder:
        click.echo(f"Events of {bridge.url} go to {target}. Verify them with this secret:\n{secret}")
        for event in bridge.follow(types):
            click.echo(_line(event, _send(forwarder, event)))


def _send(forwarder: Forwarder, event: StreamedEvent) -> Sent:
    told = False
    while True:
        try:
            return forwarder.send(event)
        except NobodyListens:
            if not told:
                click.echo(f"Nobody listens at {forwarder.url}: waiting.", err=True)
                told = True
            time.sleep(WAIT_FOR_LISTENER)


def _line(event: StreamedEvent, sent: Sent) -> str:
    """`12:00:07  task.completed   tsk_…  204  12 ms`."""
    good = sent.status is not None and 200 <= sent.status < 300
    answer = click.style(str(sent.status or sent.error), fg="green" if good else "red")
    return f"{event.timestamp[11:19]}  {event.type:<21}  {event.task_id or '-':<36}  {answer}  {sent.duration_ms} ms"
