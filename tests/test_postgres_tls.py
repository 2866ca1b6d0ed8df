"""TLS to PostgreSQL: `sslmode` in the address, as libpq means it, against real servers."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from service.environment import SettingsError
from service.settings import load_settings
from service.store.errors import CannotOpen
from service.store.open import open_store
from service.store.postgres.address import connect_arguments
from service.tools.postgres import FAST, PostgresServer, server_user

# What pg_hba.conf lets in.
BOTH, TLS_ONLY, PLAIN_ONLY = "host", "hostssl", "hostnossl"
REFUSED = None


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """With the certificate of `localhost`, which signs itself, and another one that did not sign it."""
    with tempfile.TemporaryDirectory(prefix="callbridge-postgres-") as name:
        path = Path(name)
        path.chmod(0o755)
        for certificate in ("server", "other"):
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                 "-keyout", path / f"{certificate}.key", "-out", path / f"{certificate}.crt"],
                check=True, capture_output=True,
            )  # fmt: skip
        yield path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[PostgresServer]:
    tls = ("ssl=on", f"ssl_cert_file='{folder / 'server.crt'}'", f"ssl_key_file='{folder / 'server.key'}'")
    one = PostgresServer(folder / "server", (*FAST, *tls))
    one.create()
    if user := server_user():
        shutil.chown(folder / "server.key", user)
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def without_tls(folder: Path) -> Iterator[PostgresServer]:
    one = PostgresServer(folder / "plain")
    one.create()
    one.start()
    yield one
    one.stop()


def allow(server: PostgresServer, kind: str) -> None:
    (server.data / "pg_hba.conf").write_text(f"{kind} all all 127.0.0.1/32 trust\n{kind} all all ::1/128 trust\n")
    server.reload()


async def encrypted(url: str) -> bool | None:
    try:
        connection = await asyncpg.connect(**connect_arguments(url), timeout=10)
    except (OSError, asyncpg.PostgresError):
        return REFUSED
    try:
        found = await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        return bool(found)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("mode", "both", "tls_only", "plain_only", "no_tls"),
    [
        ("disable", False, REFUSED, False, False),
        ("allow", False, True, False, False),
        ("prefer", True, True, False, False),
        (None, True, True, False, False),
        ("require", True, True, REFUSED, REFUSED),
        ("verify-ca", True, True, REFUSED, REFUSED),
        ("verify-full", True, True, REFUSED, REFUSED),
    ],
)
async def test_sslmode_chooses_as_libpq_does(
    mode: str | None,
    both: bool | None,
    tls_only: bool | None,
    plain_only: bool | None,
    no_tls: bool | None,
    server: PostgresServer,
    without_tls: PostgresServer,
    folder: Path,
) -> None:
    query = {} if mode is None else {"sslmode": mode}
    if mode and mode.startswith("verify"):
        query["sslrootcert"] = str(folder / "server.crt")
    for kind, expected in ((BOTH, both), (TLS_ONLY, tls_only), (PLAIN_ONLY, plain_only)):
        allow(server, kind)
        assert await encrypted(address(server, query, "localhost")) is expected, kind
    assert await encrypted(address(without_tls, query)) is no_tls
    allow(server, BOTH)


@pytest.mark.parametrize(
    ("mode", "host", "authority", "trusted"),
    [
        ("require", "localhost", "", True),
        ("require", "localhost", "other.crt", False),
        ("verify-ca", "localhost", "server.crt", True),
        ("verify-ca", "127.0.0.1", "server.crt", True),
        ("verify-ca", "localhost", "other.crt", False),
        ("verify-full", "localhost", "server.crt", True),
        ("verify-full", "127.0.0.1", "server.crt", False),
        ("verify-full", "localhost", "system", False),
    ],
)
async def test_the_certificate_is_verified_as_far_as_the_mode_says(
    mode: str, host: str, authority: str, trusted: bool, server: PostgresServer, folder: Path
) -> None:
    query = {"sslmode": mode}
    if authority:
        query["sslrootcert"] = authority if authority == "system" else str(folder / authority)
    url = address(server, query, host)
    if trusted:
        await (await open_store(url)).close()
    else:
        # At once: waiting does not mend a certificate.
        with pytest.raises(CannotOpen, match=r"DATABASE_URL .*certificate"):
            await open_store(url)


async def test_a_server_that_requires_tls_needs_no_sslmode_in_the_url(server: PostgresServer) -> None:
    """Heroku's address has none, and its server signed its certificate itself."""
    allow(server, TLS_ONLY)
    await (await open_store(server.url())).close()
    allow(server, BOTH)


async def test_parameters_of_libpq_alone_are_not_sent_to_the_server(server: PostgresServer) -> None:
    await (await open_store(address(server, {"connect_timeout": "10", "channel_binding": "prefer"}))).close()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sslrootcert=/no/such/file&sslmode=verify-ca", "/no/such/file"),
        ("sslrootcert=system&sslmode=require", "sslmode=verify-full"),
    ],
)
async def test_an_authority_that_cannot_be_used_ends_the_start_at_once(
    query: str, said: str, server: PostgresServer
) -> None:
    with pytest.raises(CannotOpen, match=said):
        await open_store(f"{server.url()}?{query}")


@pytest.mark.parametrize("query", ["sslmode=required", "sslmode=require&channel_binding=require"])
def test_an_invalid_parameter_in_the_url_is_an_invalid_setting(query: str) -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL: (sslmode|channel_binding)"):
        load_settings({"DATABASE_URL": f"postgres://me:secret@host/db?{query}"})


def address(server: PostgresServer, query: dict[str, str], host: str = "127.0.0.1") -> str:
    words = "&".join(f"{name}={value}" for name, value in query.items())
    return f"{server.url().replace('127.0.0.1', host)}?{words}"
