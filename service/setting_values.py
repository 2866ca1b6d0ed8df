"""Values of single settings, from text. Each reader raises ValueError with the reason."""

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from service.core.caller import ApiKey
from service.environment import HOST_NAME

LONGEST_API_KEY = 512
SQLITE = "sqlite:///"
POSTGRES = ("postgres://", "postgresql://")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
RESULT_STORES = frozenset({"file", "s3", "gs", "az"})


def read_host(raw: str) -> str:
    """A name or an address to listen on; whether it resolves is checked when it is used."""
    bare = raw.removeprefix("[").removesuffix("]")
    if ":" in bare:
        try:
            ip_address(bare)
        except ValueError:
            raise ValueError(f"must be a name or an address without a port (that is PORT), not {raw[:60]!r}") from None
    elif not HOST_NAME.fullmatch(bare.lower()):
        raise ValueError(f"must be a name or an address such as 0.0.0.0, not {raw[:60]!r}")
    return bare


def read_api_keys(raw: str, shortest: int) -> tuple[ApiKey, ...]:
    keys = tuple(_api_key(part.strip()) for part in raw.split(",") if part.strip())
    if not keys:
        raise ValueError("contains no key; write name:key or name:key:admin")
    if len({key.key for key in keys}) < len(keys):
        raise ValueError("contains the same key twice")
    for key in keys:
        if not (key.key.isascii() and key.key.isprintable() and " " not in key.key):
            raise ValueError(f"the key of {key.name!r} contains a space or a character outside ASCII")
        if not shortest <= len(key.key) <= LONGEST_API_KEY:
            raise ValueError(f"the key of {key.name!r} must have {shortest} to {LONGEST_API_KEY} characters")
    return keys


def _api_key(part: str) -> ApiKey:
    pieces = [piece.strip() for piece in part.split(":")]
    if len(pieces) not in (2, 3) or not all(pieces) or (len(pieces) == 3 and pieces[2] != "admin"):
        raise ValueError("each entry must be name:key or name:key:admin")
    return ApiKey(pieces[0], pieces[1], admin=len(pieces) == 3)


def read_database_url(url: str) -> str:
    if url.startswith(POSTGRES):
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise ValueError("is not a valid postgres:// address") from None
        if not (parts.hostname or parts.query) or not parts.path.strip("/"):
            raise ValueError("must be postgres://user:password@host/database")
        _check_tls(dict(parse_qsl(parts.query)))
        return "postgresql://" + url.partition("://")[2]
    path = url.removeprefix(SQLITE)
    if path == url or not path:
        raise ValueError(
            "must be sqlite:///path (four slashes for an absolute path) or postgres://user:password@host/database"
        )
    if path == ":memory:":
        raise ValueError("must be a file, because acknowledged callbacks have to outlive the process")
    return url


def _check_tls(parameters: Mapping[str, str]) -> None:
    if (mode := parameters.get("sslmode", "prefer")) not in SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(SSL_MODES)}, not {mode[:20]!r}")
    if parameters.get("channel_binding") == "require":
        raise ValueError(
            "channel_binding=require is not supported here; leave it out, and add sslmode=verify-full and"
            " sslrootcert (a file, or system), which protect as well"
        )


def read_direct_url(url: str) -> str:
    if not url:
        return ""
    if not url.startswith(POSTGRES):
        raise ValueError("must be postgres://user:password@host/database")
    return read_database_url(url)


def read_results_url(url: str) -> str:
    if not url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in RESULT_STORES or not (parts.path.strip("/") if parts.scheme == "file" else parts.netloc):
        raise ValueError("must be file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must not contain credentials, a query or a fragment; credentials have variables of their own")
    return url
