"""Build every part from the settings and join them: the only file that knows them all."""

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from service import __version__
from service.copying import Copying, links, results_of
from service.core.errors import CallbridgeError
from service.core.event import FINISHING_EVENTS, Event
from service.core.task import Task
from service.core.times import clock, now_ms
from service.core.transitions import Timing
from service.files.folder import MediaFolder
from service.flows.browse import Browser
from service.flows.callbacks import Callbacks
from service.flows.cancel import Canceler
from service.flows.check import TaskChecker
from service.flows.hub import Hub
from service.flows.inline import InlineKeeper
from service.flows.probe import SharedProbe
from service.flows.receive import Receiver
from service.flows.redeliver import Redeliverer
from service.flows.submit import Submitter
from service.flows.subscribe import Subscriber
from service.flows.turns import Turns
from service.flows.wait import FinishWaiter
from service.net.http1 import Client
from service.net.lookups import Lookups
from service.net.provider_client import HttpProviderClient
from service.net.provider_http import HttpSender
from service.ops.activity import FailedAttempts, FinishedTasks
from service.ops.metrics.observers import Observers
from service.ops.metrics.scrape import Present, Scrape
from service.ops.metrics.tally import Tally
from service.ops.readiness import Readiness
from service.outlets.webhook import WebhookOutlet
from service.ports import Provider, Store
from service.providers.catalog import catalog
from service.providers.modelslab.provider import ModelsLab
from service.providers.piapi.provider import PiAPI
from service.providers.redact import audit
from service.server import bind, create_server, force_exit_after, tune_gc
from service.settings import Settings
from service.store.open import open_store
from service.web.api.deliveries import DeliveryRoutes
from service.web.api.events import EventRoutes
from service.web.api.files import FileRoutes
from service.web.api.operator import OperatorRoutes
from service.web.api.public import PublicRoutes
from service.web.api.stream import Feed, keep_alive
from service.web.api.subscriptions import SubscriptionRoutes
from service.web.api.tasks import TaskRoutes
from service.web.app import EssentialOnly, create_app
from service.web.auth import Keys
from service.web.budget import Budget
from service.web.diagnosis import DiagnosisDoor
from service.web.door import Door
from service.web.page.flows import Flows
from service.web.page.login import LINK_PATH
from service.web.page.site import Site, gate_of
from service.web.requests import Bodies
from service.wire.diagnosis import Diagnosis
from service.wire.tokens import Tokens
from service.workers.attempts import Attempts, Retries
from service.workers.background import Background
from service.workers.clock import ClockWatch
from service.workers.delivery_limiter import DeliveryLimiter, places_for_deliveries
from service.workers.dispatch import Dispatcher
from service.workers.health import SubscriptionHealth
from service.workers.hold import Holder
from service.workers.lease import Lease
from service.workers.replay import Replayer
from service.workers.rescue import Rescuer
from service.workers.retention import Tidier
from service.workers.submit_queue import ProviderQueue, SubmitQueues
from service.workers.sweep import Sweeper
from service.workers.unconfigured import warn_of_open_tasks

log = logging.getLogger("callbridge")
# What is in hand at the stop may end in this time, after the server's ten seconds; Heroku kills after 30.
LAST_REQUESTS = 8.0
CONNECT_SECONDS = 10.0
# Bytes that may be in memory at once, of all callers and of one: request bodies of the API, pages of replayed events.
# Callbacks have room for one of the largest; the share is that of a provider.
API_BODIES = 32 * 1024 * 1024, 8 * 1024 * 1024
REPLAYS = 24 * 1024 * 1024, 8 * 1024 * 1024
CALLBACK_SHARE = 16 * 1024 * 1024
# Seconds for `Prefer: wait`; Heroku's router ends a request without a byte for 30 s.
LONGEST_WAIT, HEROKU_WAIT = 120, 25
# A disk or a name server that hangs must not keep the process: what is not acknowledged is done at the next start.
STOP_SECONDS = 24.0


class Bridge:
    """Everything that runs, in the order in which it starts; it stops the other way round."""

    def __init__(self, settings: Settings, store: Store, local_secret: str) -> None:
        self.store = store
        secret_keys = settings.secret_keys or (local_secret,)
        tokens = Tokens(secret_keys)
        self.kept = results_of(settings)
        timing = Timing(settings.sweep_after, settings.task_deadline, now_ms, copies=self.kept is not None)
        files = store.inline_files or MediaFolder(settings.media_dir)
        file_links = links(settings.public_url, (local_secret, *settings.secret_keys))
        keeper = InlineKeeper(files, file_links.media.of)
        self.readers = readers = {provider.name: provider for provider in build_providers(settings)}
        usable = configured(settings)
        usable_readers = {name: provider for name, provider in readers.items() if name in usable}
        self.providers: dict[str, Provider] = dict(usable_readers)
        self.unconfigured = sorted(readers.keys() - usable)
        self.sender = HttpSender()
        self.clients = {name: HttpProviderClient(provider, self.sender) for name, provider in usable_readers.items()}
        self.lookups = lookups = Lookups()
        places = places_for_deliveries()
        self.copying: Copying | None = None
        if self.kept is not None:
            self.copying = Copying(settings, store.copies, self.kept, files, file_links, lookups)
        self.client = Client(
            private=settings.private_targets,
            connect_timeout=CONNECT_SECONDS,
            # Lanes of many subscriptions may share a host: their connections are kept too.
            max_idle_per_origin=places,
            max_idle=places,
            resolver=lookups,
        )
        outlet = WebhookOutlet(
            self.client,
            source=settings.public_url,
            private=settings.private_targets,
            timeout=settings.delivery_timeout,
        )
        self.hub = Hub()
        self.timing = timing
        self.finished_tasks = FinishedTasks()
        self.tally = Tally()
        self.counters = Observers(self.tally, self.providers)
        for client in self.clients.values():
            client.observers.append(self.counters.on_provider_request)
        self.lease = Lease(store)
        background = Background()
        health = SubscriptionHealth(store.subscriptions, settings.disable_after, now_ms, background)
        attempts = Attempts(store.subscriptions, outlet, tokens, health, Retries(settings.retry_schedule, now_ms))
        attempts.observers += [FailedAttempts(store.tasks), self.counters]
        if self.copying is not None:
            self.copying.archiver.observers.append(self.counters)
        limiter = DeliveryLimiter(places)
        self.dispatcher = Dispatcher(store, attempts, limiter, background, self.lease)
        callbacks = Callbacks(settings.public_url, tokens)
        holder = Holder(store, timing, keeper)
        self.submit_queues = SubmitQueues(
            [ProviderQueue(client, callbacks, holder, self.lease) for client in self.clients.values()]
        )
        self.submitter = Submitter(
            store,
            TaskChecker(self.providers, outlet),
            callbacks,
            timing,
            partial(self.submit_queues.wake, fresh=True),
        )
        self.sweeper = Sweeper(store, self.clients, callbacks, timing, keeper, self.lease.progress)
        self.clock_watch = ClockWatch(store.clock, clock)
        self.rescuer = Rescuer(store, self._streams, timing, self.lease)
        self.tidier = Tidier(store, settings.retention_days, files.remove_older)
        keys = Keys(settings.api_keys, settings.rate_limit)
        browser = Browser(store, Turns())
        waiter = FinishWaiter(browser, self.hub, HEROKU_WAIT if settings.on_heroku else LONGEST_WAIT)
        canceler = Canceler(store, self.clients, timing)
        self.replayer = Replayer(store, self.dispatcher, self.lease, background)
        subscriber = Subscriber(store, self.dispatcher, outlet, settings.max_subscriptions, self.replayer.wake)
        redeliverer = Redeliverer(store, self.dispatcher)
        bodies = Bodies(settings.max_body_bytes, Budget(*API_BODIES))
        callback_bodies = Bodies(settings.max_webhook_bytes, Budget(settings.max_webhook_bytes, CALLBACK_SHARE))
        readiness = self._readiness()
        self.scrape = Scrape(store.metrics, self.tally, self._present, __version__, now_ms)
        feed = Feed(store, self.hub, Budget(*REPLAYS))
        self.site = Site(
            gate_of(secret_keys, settings.api_keys, bodies),
            Flows(browser, self.submitter, canceler, subscriber, redeliverer, holder.text_so_far),
            store.insight,
            self.hub,
            settings.public_url,
        )
        attempts.observers.append(self.site.live)
        self.app = create_app(
            Door(Receiver(store, readers, tokens, timing, keeper), callback_bodies, audit, self.counters.on_callback),
            keys,
            [
                *TaskRoutes(browser, self.submitter, canceler, waiter, bodies).endpoints(),
                *EventRoutes(feed, browser, keys, tokens).endpoints(),
                *SubscriptionRoutes(browser, subscriber, tokens, bodies).endpoints(),
                *DeliveryRoutes(browser, redeliverer).endpoints(),
                *PublicRoutes(catalog(), __version__).endpoints(),
                *OperatorRoutes(__version__, readiness.troubles, self.scrape).endpoints(),
                *FileRoutes(files, file_links.media, store.copies, file_links.copies, self.kept).endpoints(),
            ],
            self.site.routes,
        )
        self.app.site = DiagnosisDoor(self.app.site, Diagnosis(local_secret))

    def on_event(self, event: Event) -> None:
        self.hub.publish(event)
        if self.copying is not None:
            self.copying.archiver.on_event(event)
        self._on_canceled(event)
        if event.type in FINISHING_EVENTS:
            self.submit_queues.wake_all()

    def on_event_elsewhere(self, event: Event) -> None:
        self._on_canceled(event)
        if event.type == "task.queued":
            self.submit_queues.wake_all(fresh=True)

    def _on_canceled(self, event: Event) -> None:
        if event.type == "task.canceled" and event.task_id is not None:
            self.submit_queues.on_canceled(event.task_id)

    def _streams(self, task: Task) -> bool:
        reader = self.readers.get(task.provider)
        return reader is not None and reader.stream_reader(task) is not None

    async def start(self) -> None:
        await self.clock_watch.start()
        self.hub.last_seq = await self.store.events.last_seq()
        self.store.observers.event.append(self.on_event)
        self.store.observers.elsewhere.append(self.on_event_elsewhere)
        self.store.observers.commit.append(self.counters.on_commit)
        self.store.observers.finish += [self.finished_tasks.on_finish, self.counters.on_finish]
        self.store.hand_over(self.dispatcher)
        # The lanes first, so that what the rescue tells stands behind what waits since before the end.
        alone = await self.lease.start(self.dispatcher)
        await self.rescuer.start(alone)
        await warn_of_open_tasks(self.store, self.unconfigured)
        self.submit_queues.start()
        self.sweeper.start()
        self.tidier.start()
        if self.copying is not None:
            self.copying.start(self.lease)
        self._replays = asyncio.create_task(self.replayer.run(), name="replays")
        self._publishing = asyncio.create_task(self.scrape.keep_publishing(), name="publish counts")
        self._heart = asyncio.create_task(keep_alive(self.hub), name="heartbeat")

    def _readiness(self) -> Readiness:
        parts: dict[str, Callable[[], bool]] = {
            "submits": lambda: self.submit_queues.alive,
            "sweep": lambda: self.sweeper.alive,
            "lease": self.lease.valid,
            "store": lambda: self.store.trouble() is None,
            "stopping": lambda: not self.hub.closed,
        }
        return Readiness(
            SharedProbe(self.store.ping),
            self.store.metrics,
            self.dispatcher,
            self.lease.progress.standing_still,
            parts,
        )

    def _present(self) -> Present:
        return Present(self.lease.worker, self.hub.streams)

    async def stop(self) -> None:
        self._heart.cancel()
        self._publishing.cancel()
        with suppress(CallbridgeError):
            await self.scrape.publish()
        self._replays.cancel()
        await self.clock_watch.stop()
        if self.copying is not None:
            await self.copying.stop()
        await self.tidier.stop()
        await self.sweeper.stop()
        await self.rescuer.stop()
        await asyncio.gather(self.submit_queues.stop(LAST_REQUESTS), self.dispatcher.stop(LAST_REQUESTS))
        with suppress(CallbridgeError):
            await self.lease.stop()
        await self.sender.close()
        await self.client.aclose()
        await self.lookups.close()
        await self.store.close()
        self.finished_tasks.flush()


def build_providers(settings: Settings) -> list[PiAPI | ModelsLab]:
    """All of them, also those without a key: what was sent before the key was removed still comes back."""
    return [
        PiAPI(
            settings.piapi_api_key or "",
            settings.piapi_base_url,
            settings.piapi_llm_base_url,
            settings.piapi_max_inflight,
        ),
        ModelsLab(settings.modelslab_api_key or "", settings.modelslab_base_url, settings.modelslab_max_inflight),
    ]


def configured(settings: Settings) -> set[str]:
    """The providers that have a key: tasks of others are refused with `provider_not_configured`."""
    keys = {"piapi": settings.piapi_api_key, "modelslab": settings.modelslab_api_key}
    return {name for name, key in keys.items() if key}


async def assemble(settings: Settings, store: Store) -> Bridge:
    return Bridge(settings, store, await store.secret_key(lambda: secrets.token_urlsafe(48)))


async def serve(
    settings: Settings,
    kill_point: Callable[[str], None] | None = None,
    show_link: Callable[[str], None] = lambda link: None,
    sockets: list[socket.socket] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT; `show_link` is given the link that signs in, in a run without API_KEYS. `sockets`
    are those that several processes share.

    Raises OSError, CannotOpen.
    """
    sockets = sockets or bind(settings.host, settings.port)
    store = await open_store(settings.database_url, settings.database_direct_url, kill_point)
    try:
        bridge = await assemble(settings, store)
        await bridge.start()
    except BaseException:
        # Its threads would keep the process alive.
        force_exit_after(STOP_SECONDS, code=1)
        await store.close()
        raise
    tune_gc()

    def before_shutdown() -> None:
        force_exit_after(STOP_SECONDS)
        bridge.hub.close()

    def after_startup() -> None:
        addresses = ", ".join(f"http://{_shown(one)}" for one in sockets)
        log.info("Callbridge %s listens on %s, reached at %s", __version__, addresses, settings.public_url)
        if settings.made_key:
            show_link(f"http://{_shown(sockets[0])}{LINK_PATH}{bridge.site.gate.sessions.link_token()}")

    server = create_server(
        bridge.app,
        settings.host,
        settings.port,
        before_shutdown,
        essential_app=EssentialOnly(bridge.app),
        after_startup=after_startup,
    )
    try:
        await server.serve(sockets)
    finally:
        await bridge.stop()
        log.info("Callbridge %s stopped", __version__)


def _shown(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
