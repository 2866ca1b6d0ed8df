"""A postgres:// address as libpq reads it, in what asyncpg takes for its own connections."""

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from service.store.errors import CannotOpen

# Parameters of libpq alone: asyncpg would send them to the server, which refuses what it does not know.
CLIENT_ONLY = frozenset(
    {
        "channel_binding", "connect_timeout", "fallback_application_name", "gssencmode", "gssdelegation",
        "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "load_balance_hosts",
        "require_auth", "requirepeer", "sslcompression", "sslsni", "tcp_user_timeout",
    }
)  # fmt: skip
SYSTEM = "system"


def connect_arguments(url: str) -> dict[str, Any]:
    """For asyncpg.connect and create_pool; asyncpg understands sslmode. Raises CannotOpen."""
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    kept = {name: value for name, value in given.items() if name not in CLIENT_ONLY}
    arguments: dict[str, Any] = {"dsn": parts._replace(query=urlencode(kept)).geturl()}
    authorities = kept.get("sslrootcert")
    if authorities == SYSTEM:
        if kept.get("sslmode", "verify-full") != "verify-full":
            raise CannotOpen("sslrootcert=system in the address of the database needs sslmode=verify-full")
        arguments["ssl"] = ssl.create_default_context()
    elif authorities and not Path(authorities).is_file():
        raise CannotOpen(f"sslrootcert in the address of the database: there is no file {authorities}")
    return arguments
