"""Read the environment once into one frozen value. A wrong setting stops the start with its name and the reason."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

STANDARD_SCHEDULE = "5,300,1800,7200,18000,36000,50400,72000,86400"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class SettingsError(Exception):
    """A setting is wrong; the text names it and never shows its value when it is a secret."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


@dataclass(frozen=True, slots=True)
class ApiKey:
    name: str
    key: str = field(repr=False)
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    host: str
    port: int
    public_url: str
    secret_keys: tuple[str, ...] = field(repr=False)
    api_keys: tuple[ApiKey, ...]
    made_key: str | None = field(repr=False)
    database_path: str
    media_dir: str
    piapi_api_key: str | None = field(repr=False)
    piapi_base_url: str
    piapi_llm_base_url: str
    modelslab_api_key: str | None = field(repr=False)
    modelslab_base_url: str
    piapi_max_inflight: int
    modelslab_max_inflight: int
    allow_private_targets: bool
    retry_schedule: tuple[float, ...]
    delivery_timeout: float
    sweep_after: float
    task_deadline: float
    max_body_bytes: int
    max_webhook_bytes: int
    retention_days: float
    rate_limit: float
    disable_after: float
    on_heroku: bool

    @property
    def loopback(self) -> bool:
        return self.host in LOOPBACK


class _Reader:
    """Takes settings out of the environment by name, so that every complaint names one."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env

    def text(self, name: str, default: str) -> str:
        return self.env.get(name, "").strip() or default

    def secret(self, name: str) -> str | None:
        return self.env.get(name, "").strip() or None

    def number(self, name: str, default: str, low: float, high: float, kind: Callable[[str], Any] = float) -> Any:
        raw = self.text(name, default)
        try:
            value = kind(raw)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise SettingsError(name, f"must be {wanted}, not {raw[:40]!r}") from None
        if not low <= value <= high:
            raise SettingsError(name, f"must be between {low:g} and {high:g}, not {raw[:40]}")
        return value

    def flag(self, name: str, default: str) -> bool:
        raw = self.text(name, default).lower()
        if raw in {"true", "1", "yes", "on"}:
            return True
        if raw in {"false", "0", "no", "off"}:
            return False
        raise SettingsError(name, f"must be true or false, not {raw[:40]!r}")

    def address(self, name: str, default: str) -> str:
        raw = self.text(name, default).rstrip("/")
        parts = urlsplit(raw)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError(name, "must be an address such as https://example.com")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise SettingsError(name, "must hold no credentials, query or fragment")
        return raw


def load_settings(env: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""
    read = _Reader(env)
    host = read.text("HOST", "127.0.0.1")
    port = read.number("PORT", "8000", 0, 65535, int)
    loopback = host in LOOPBACK
    api_keys, made_key = _api_keys(read, loopback)
    return Settings(
        host=host,
        port=port,
        public_url=_public_url(read, host, port),
        secret_keys=_secret_keys(read, loopback),
        api_keys=api_keys,
        made_key=made_key,
        database_path=_database_path(read),
        media_dir=read.text("MEDIA_DIR", "media"),
        piapi_api_key=read.secret("PIAPI_API_KEY"),
        piapi_base_url=read.address("PIAPI_BASE_URL", "https://api.piapi.ai"),
        piapi_llm_base_url=read.address("PIAPI_LLM_BASE_URL", "https://proxy.piapi.ai"),
        modelslab_api_key=read.secret("MODELSLAB_API_KEY"),
        modelslab_base_url=read.address("MODELSLAB_BASE_URL", "https://modelslab.com"),
        piapi_max_inflight=read.number("PIAPI_MAX_INFLIGHT", "20", 1, 100_000, int),
        modelslab_max_inflight=read.number("MODELSLAB_MAX_INFLIGHT", "5", 1, 100_000, int),
        allow_private_targets=read.flag("ALLOW_PRIVATE_TARGETS", "false"),
        retry_schedule=_schedule(read),
        delivery_timeout=read.number("DELIVERY_TIMEOUT", "15", 0.05, 120),
        sweep_after=read.number("SWEEP_AFTER", "120", 0.05, 86_400),
        task_deadline=read.number("TASK_DEADLINE", "86400", 0.1, 30 * 86_400),
        max_body_bytes=read.number("MAX_BODY_BYTES", "1048576", 1024, 1 << 30, int),
        max_webhook_bytes=read.number("MAX_WEBHOOK_BYTES", "33554432", 1024, 1 << 30, int),
        retention_days=read.number("RETENTION_DAYS", "30", 0.00001, 36_500),
        rate_limit=read.number("RATE_LIMIT", "1000", 0, 1_000_000),
        disable_after=read.number("DISABLE_AFTER", "432000", 0.1, 365 * 86_400),
        on_heroku=bool(env.get("DYNO")),
    )


def _public_url(read: _Reader, host: str, port: int) -> str:
    """Derived on Heroku (dyno metadata) and Fly (application name) from the platform's own variables."""
    derived = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if name := read.env.get("HEROKU_APP_DEFAULT_DOMAIN_NAME"):
        derived = f"https://{name}"
    elif name := read.env.get("HEROKU_APP_NAME"):
        derived = f"https://{name}.herokuapp.com"
    elif name := read.env.get("FLY_APP_NAME"):
        derived = f"https://{name}.fly.dev"
    return read.address("PUBLIC_URL", derived)


def _secret_keys(read: _Reader, loopback: bool) -> tuple[str, ...]:
    raw = read.secret("SECRET_KEY")
    if raw is None:
        if not loopback:
            raise SettingsError("SECRET_KEY", "is required unless HOST is a loopback address; use 32 random characters")
        # `main` takes a random one that is kept in the database: tasks in flight must outlive a restart here too.
        return ()
    keys = tuple(part.strip() for part in raw.split(","))
    if any(len(key) < 32 for key in keys):
        raise SettingsError("SECRET_KEY", "each key must have at least 32 characters")
    return keys


def _api_keys(read: _Reader, loopback: bool) -> tuple[tuple[ApiKey, ...], str | None]:
    raw = read.secret("API_KEYS")
    if raw is None:
        if not loopback:
            raise SettingsError("API_KEYS", "is required unless HOST is a loopback address; write name:key")
        made = secrets.token_urlsafe(24)
        return (ApiKey("local", made, admin=True),), made
    keys = tuple(_api_key(part.strip()) for part in raw.split(",") if part.strip())
    if not keys:
        raise SettingsError("API_KEYS", "holds no key; write name:key or name:key:admin")
    if len({key.key for key in keys}) < len(keys):
        raise SettingsError("API_KEYS", "the same key stands there twice")
    return keys, None


def _api_key(part: str) -> ApiKey:
    pieces = [piece.strip() for piece in part.split(":")]
    if len(pieces) not in (2, 3) or not all(pieces) or (len(pieces) == 3 and pieces[2] != "admin"):
        raise SettingsError("API_KEYS", "each entry must be name:key or name:key:admin")
    return ApiKey(pieces[0], pieces[1], admin=len(pieces) == 3)


def _database_path(read: _Reader) -> str:
    url = read.text("DATABASE_URL", "sqlite:///callbridge.db")
    if url.startswith(("postgres://", "postgresql://")):
        raise SettingsError("DATABASE_URL", "PostgreSQL is not part of this version yet; use sqlite:///path")
    path = url.removeprefix("sqlite:///")
    if path == url or not path:
        raise SettingsError("DATABASE_URL", "must be sqlite:///path (four slashes for an absolute path)")
    if path == ":memory:":
        raise SettingsError("DATABASE_URL", "must be a file: what was acknowledged has to outlive the process")
    return path


def _schedule(read: _Reader) -> tuple[float, ...]:
    raw = read.text("RETRY_SCHEDULE", STANDARD_SCHEDULE)
    try:
        waits = tuple(float(part) for part in raw.split(","))
    except ValueError:
        raise SettingsError("RETRY_SCHEDULE", "must be seconds separated by commas") from None
    if not all(0 <= wait <= 30 * 86_400 for wait in waits):
        raise SettingsError("RETRY_SCHEDULE", "each wait must be between 0 and 2592000 seconds")
    return waits
