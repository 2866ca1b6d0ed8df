"""Checks of the network: PUBLIC_URL and the proxies in front of it, and the providers' accounts."""

import time
from email.utils import parsedate_to_datetime

import httpx

from service.ops.doctor.check import Check, fail, ok, warn
from service.settings import Settings
from service.wire.diagnosis import PREFIX, Diagnosis

SECONDS = 15.0
# Every byte value and both line endings: what a proxy that rewrites bodies would change.
BODY = bytes(range(256)) + b'{"a" :  1.0, "b": "\xc3\xa9"}\r\n\n ' + b"x" * 20_000
# The chunks of a stream are sent over 0.8 s: the first must arrive this long before the last.
AHEAD = 0.3
SKEW, LARGE_SKEW = 30.0, 300.0


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=False)


async def public_url(http: httpx.AsyncClient, url: str, diagnosis: Diagnosis | None) -> list[Check]:
    try:
        found = await http.get(f"{url}/healthz")
    except httpx.HTTPError as error:
        reason = type(error).__name__
        detail = f"nothing answers at {url} ({reason}): start the service, or correct PUBLIC_URL, DNS or the firewall"
        return [fail("public_url", detail)]
    if found.is_redirect:
        return [
            fail("public_url", f"{url} redirects, and providers do not follow: set PUBLIC_URL to the final address")
        ]
    if found.status_code != 200 or "version" not in found.text:
        return [fail("public_url", f"{url} is not Callbridge (status {found.status_code}); correct PUBLIC_URL")]
    if diagnosis is None:
        detail = f"Callbridge answers at {url}; whether it is this service cannot be checked without the database"
        return [warn("public_url", detail)]
    checks = await _identity_and_body(http, url, diagnosis)
    if checks[0].status == "ok":
        checks.append(await _stream(http, url, diagnosis))
    return checks


async def _identity_and_body(http: httpx.AsyncClient, url: str, diagnosis: Diagnosis) -> list[Check]:
    token = diagnosis.token()
    try:
        response = await http.post(f"{url}{PREFIX}{token}", content=BODY, headers={"content-type": "application/json"})
    except httpx.HTTPError as error:
        return [fail("public_url", f"a POST to {url} failed ({type(error).__name__}): check the proxies in between")]
    if response.status_code == 404:
        detail = f"another Callbridge, with another database, answers at {url}: correct PUBLIC_URL or DATABASE_URL"
        return [fail("public_url", detail)]
    if response.status_code != 200:
        return [fail("public_url", f"a POST to {url} was answered with {response.status_code} on its way")]
    same = ok("public_url", f"this very service answers at {url}")
    if response.json().get("proof") == diagnosis.proof(token, BODY):
        return [same, ok("raw_body", f"{len(BODY)} bytes arrived unchanged")]
    return [same, fail("raw_body", "a body arrived changed: configure the proxy in between to pass bodies unchanged")]


async def _stream(http: httpx.AsyncClient, url: str, diagnosis: Diagnosis) -> Check:
    arrived = []
    try:
        async with http.stream("GET", f"{url}{PREFIX}{diagnosis.token()}") as response:
            if response.status_code != 200:
                return fail("streams", f"a stream got status {response.status_code}")
            async for _ in response.aiter_raw():
                arrived.append(time.monotonic())
    except httpx.HTTPError as error:
        return fail("streams", f"a stream broke ({type(error).__name__}): check the proxies in between")
    if not arrived or arrived[-1] - arrived[0] < AHEAD:
        return fail("streams", "events are delayed: turn off response buffering and compression in the proxy")
    return ok("streams", "events arrive as they are sent")


async def piapi(http: httpx.AsyncClient, settings: Settings) -> tuple[Check, httpx.Response | None]:
    if settings.piapi_api_key is None:
        return ok("piapi", "PIAPI_API_KEY is not set: its tasks are refused"), None
    url = f"{settings.piapi_base_url}/account/info"
    return await _account(http, "piapi", httpx.Request("GET", url, headers={"x-api-key": settings.piapi_api_key}))


async def modelslab(http: httpx.AsyncClient, settings: Settings) -> tuple[Check, httpx.Response | None]:
    if settings.modelslab_api_key is None:
        return ok("modelslab", "MODELSLAB_API_KEY is not set: its tasks are refused"), None
    url = f"{settings.modelslab_base_url}/api/wallet_balance"
    return await _account(http, "modelslab", httpx.Request("POST", url, json={"key": settings.modelslab_api_key}))


async def _account(
    http: httpx.AsyncClient, provider: str, request: httpx.Request
) -> tuple[Check, httpx.Response | None]:
    setting = f"{provider.upper()}_API_KEY"
    try:
        response = await http.send(request)
    except httpx.HTTPError as error:
        detail = f"{request.url.host} cannot be reached from here ({type(error).__name__}): check DNS and the firewall"
        return fail(provider, detail), None
    if response.status_code in (401, 403) or _refuses_the_key(response):
        return fail(provider, f"{setting} is not accepted ({response.status_code}): set a valid key"), response
    if response.status_code != 200:
        detail = f"the account could not be read (status {response.status_code}); whether {setting} works is not known"
        return warn(provider, detail), response
    return ok(provider, f"{setting} is accepted"), response


def _refuses_the_key(response: httpx.Response) -> bool:
    """ModelsLab reports a wrong key with status 200."""
    text = response.text[:2000].lower()
    return "error" in text and "key" in text and any(word in text for word in ("invalid", "incorrect", "wrong"))


def clock(responses: list[httpx.Response]) -> Check:
    """Compares our clock with the Date header of responses."""
    for response in responses:
        try:
            skew = time.time() - parsedate_to_datetime(response.headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError):
            continue
        detail = f"the clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'} of {response.request.url.host}"
        if abs(skew) > LARGE_SKEW:
            return fail("clock", f"{detail}: receivers refuse our signatures; synchronize it with NTP")
        if abs(skew) > SKEW:
            return warn("clock", f"{detail}; synchronize it with NTP")
        return ok("clock", f"the clock agrees with {response.request.url.host}")
    return warn("clock", "no server could be asked for the time")
