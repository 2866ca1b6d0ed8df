"""Every setting, read once from the environment into one frozen value."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlsplit

from service.core.targets import PrivateTargets
from service.environment import HOST_NAME, Environment, SettingsError, WrongSetting

STANDARD_SCHEDULE = "5,300,1800,7200,18000,36000,50400,72000,86400"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
DAY = 86_400
SHORTEST_SECRET_KEY = 32
# Off loopback anybody can guess at a key.
SHORTEST_API_KEY = 16
LONGEST_API_KEY = 512
SQLITE = "sqlite:///"
POSTGRES = ("postgres://", "postgresql://")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
RESULT_STORES = frozenset({"file", "s3", "gs", "az"})


@dataclass(frozen=True, slots=True)
class ApiKey:
    name: str
    key: str = field(repr=False)
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What the fields mean: `.env.example`. `made_key` is the key of a run without API_KEYS."""

    host: str
    port: int
    public_url: str
    public_url_is_derived: bool
    secret_keys: tuple[str, ...] = field(repr=False)
    api_keys: tuple[ApiKey, ...]
    made_key: str | None = field(repr=False)
    database_url: str = field(repr=False)
    database_direct_url: str | None = field(repr=False)
    allow_ephemeral_disk: bool
    web_concurrency: int
    media_dir: str
    piapi_api_key: str | None = field(repr=False)
    piapi_base_url: str
    piapi_llm_base_url: str
    piapi_max_inflight: int
    modelslab_api_key: str | None = field(repr=False)
    modelslab_base_url: str
    modelslab_max_inflight: int
    private_targets: PrivateTargets
    retry_schedule: tuple[float, ...]
    delivery_timeout: float
    disable_after: float
    max_subscriptions: int
    results_url: str | None
    max_result_bytes: int
    copy_retry_schedule: tuple[float, ...]
    sweep_after: float
    task_deadline: float
    retention_days: float
    max_body_bytes: int
    max_webhook_bytes: int
    rate_limit: float
    log_format: str
    log_level: str
    on_heroku: bool

    @property
    def loopback(self) -> bool:
        return self.host in LOOPBACK

    @property
    def secrets(self) -> Iterator[str]:
        """What must not be seen in a log."""
        yield from self.secret_keys
        yield from (item.key for item in self.api_keys)
        password = urlsplit(self.database_url).password
        yield from filter(None, (self.piapi_api_key, self.modelslab_api_key, password, unquote(password or "")))

    @property
    def sqlite_path(self) -> str | None:
        """None when the database is PostgreSQL."""
        return self.database_url.removeprefix(SQLITE) if self.database_url.startswith(SQLITE) else None


def load_settings(variables: Mapping[str, str]) -> Settings:
    """Raises SettingsError, which names all wrong ones."""
    settings, wrong = read_settings(variables)
    if wrong:
        raise SettingsError(wrong)
    return settings


def read_settings(variables: Mapping[str, str]) -> tuple[Settings, list[WrongSetting]]:
    """The settings, with the default in place of each wrong one, and what is wrong."""
    env = Environment(variables)
    host = env.parsed("HOST", "127.0.0.1", _host)
    port = env.integer("PORT", 8000, 0, 65535)
    loopback = host in LOOPBACK
    on_heroku = bool(variables.get("DYNO"))
    api_keys, made_key = _api_keys(env, loopback)
    allow_ephemeral_disk = env.flag("ALLOW_EPHEMERAL_DISK", False)
    settings = Settings(
        host=host,
        port=port,
        public_url=_public_url(env, variables, host, port),
        public_url_is_derived=env.optional("PUBLIC_URL") is None,
        secret_keys=_secret_keys(env, loopback),
        api_keys=api_keys,
        made_key=made_key,
        database_url=_database_url(env, on_heroku and not allow_ephemeral_disk),
        database_direct_url=env.parsed("DATABASE_DIRECT_URL", "", _read_direct_url) or None,
        allow_ephemeral_disk=allow_ephemeral_disk,
        web_concurrency=env.integer("WEB_CONCURRENCY", 1, 1, 64),
        media_dir=env.text("MEDIA_DIR", "media"),
        piapi_api_key=env.token("PIAPI_API_KEY"),
        piapi_base_url=env.address("PIAPI_BASE_URL", "https://api.piapi.ai"),
        piapi_llm_base_url=env.address("PIAPI_LLM_BASE_URL", "https://proxy.piapi.ai"),
        piapi_max_inflight=env.integer("PIAPI_MAX_INFLIGHT", 20, 1, 100_000),
        modelslab_api_key=env.token("MODELSLAB_API_KEY"),
        modelslab_base_url=env.address("MODELSLAB_BASE_URL", "https://modelslab.com"),
        modelslab_max_inflight=env.integer("MODELSLAB_MAX_INFLIGHT", 5, 1, 100_000),
        private_targets=env.private_targets("ALLOW_PRIVATE_TARGETS"),
        retry_schedule=env.seconds("RETRY_SCHEDULE", STANDARD_SCHEDULE),
        delivery_timeout=env.number("DELIVERY_TIMEOUT", 15, 0.05, 120),
        disable_after=env.number("DISABLE_AFTER", 5 * DAY, 0.1, 365 * DAY),
        max_subscriptions=env.integer("MAX_SUBSCRIPTIONS", 1000, 1, 1_000_000),
        results_url=_results_url(env),
        max_result_bytes=env.integer("MAX_RESULT_BYTES", 512 << 20, 1, 1 << 40),
        copy_retry_schedule=env.seconds("COPY_RETRY_SCHEDULE", "5,60,600,3600,21600"),
        sweep_after=env.number("SWEEP_AFTER", 120, 0.05, DAY),
        task_deadline=env.number("TASK_DEADLINE", DAY, 0.1, 30 * DAY),
        retention_days=env.number("RETENTION_DAYS", 30, 0.00001, 36_500),
        max_body_bytes=env.integer("MAX_BODY_BYTES", 1 << 20, 1024, 1 << 30),
        max_webhook_bytes=env.integer("MAX_WEBHOOK_BYTES", 32 << 20, 1024, 1 << 30),
        rate_limit=env.number("RATE_LIMIT", 1000, 0, 1_000_000),
        log_format=env.choice("LOG_FORMAT", "auto", "text", "json"),
        log_level=env.choice("LOG_LEVEL", "info", "debug", "warning", "error"),
        on_heroku=on_heroku,
    )
    return settings, env.wrong


def _host(raw: str) -> str:
    """A name or an address to listen on; whether it resolves is seen when it is used."""
    bare = raw.removeprefix("[").removesuffix("]")
    if ":" in bare:
        try:
            ip_address(bare)
        except ValueError:
            raise ValueError(f"must be a name or an address without a port (that is PORT), not {raw[:60]!r}") from None
    elif not HOST_NAME.fullmatch(bare.lower()):
        raise ValueError(f"must be a name or an address such as 0.0.0.0, not {raw[:60]!r}")
    return bare


def _public_url(env: Environment, variables: Mapping[str, str], host: str, port: int) -> str:
    """Derived on Heroku (dyno metadata) and Fly (application name) from the platform's own variables."""
    derived = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if name := variables.get("HEROKU_APP_DEFAULT_DOMAIN_NAME"):
        derived = f"https://{name}"
    elif name := variables.get("HEROKU_APP_NAME"):
        derived = f"https://{name}.herokuapp.com"
    elif name := variables.get("FLY_APP_NAME"):
        derived = f"https://{name}.fly.dev"
    return env.address("PUBLIC_URL", derived)


def _secret_keys(env: Environment, loopback: bool) -> tuple[str, ...]:
    raw = env.optional("SECRET_KEY")
    if raw is None:
        if not loopback:
            env.complain("SECRET_KEY", "is required unless HOST is a loopback address; use 32 random characters")
        # `main` takes a random one that is kept in the database: tasks in flight must outlive a restart here too.
        return ()
    keys = tuple(part.strip() for part in raw.split(","))
    if any(len(key) < SHORTEST_SECRET_KEY for key in keys):
        env.complain("SECRET_KEY", f"each key must have at least {SHORTEST_SECRET_KEY} characters")
    return keys


def _api_keys(env: Environment, loopback: bool) -> tuple[tuple[ApiKey, ...], str | None]:
    if env.optional("API_KEYS") is None:
        if not loopback:
            env.complain("API_KEYS", "is required unless HOST is a loopback address; write name:key")
        made = secrets.token_urlsafe(24)
        return (ApiKey("local", made, admin=True),), made
    shortest = 1 if loopback else SHORTEST_API_KEY
    return env.parsed("API_KEYS", "", lambda raw: _read_api_keys(raw, shortest) if raw else ()), None


def _read_api_keys(raw: str, shortest: int) -> tuple[ApiKey, ...]:
    keys = tuple(_api_key(part.strip()) for part in raw.split(",") if part.strip())
    if not keys:
        raise ValueError("holds no key; write name:key or name:key:admin")
    if len({key.key for key in keys}) < len(keys):
        raise ValueError("holds the same key twice")
    for key in keys:
        if not (key.key.isascii() and key.key.isprintable() and " " not in key.key):
            raise ValueError(f"the key of {key.name!r} holds a blank or a character that is not plain ASCII")
        if not shortest <= len(key.key) <= LONGEST_API_KEY:
            raise ValueError(f"the key of {key.name!r} must have {shortest} to {LONGEST_API_KEY} characters")
    return keys


def _api_key(part: str) -> ApiKey:
    pieces = [piece.strip() for piece in part.split(":")]
    if len(pieces) not in (2, 3) or not all(pieces) or (len(pieces) == 3 and pieces[2] != "admin"):
        raise ValueError("each entry must be name:key or name:key:admin")
    return ApiKey(pieces[0], pieces[1], admin=len(pieces) == 3)


def _database_url(env: Environment, lasting: bool) -> str:
    url = env.parsed("DATABASE_URL", "sqlite:///callbridge.db", _read_database_url)
    if lasting and url.startswith(SQLITE):
        env.complain(
            "DATABASE_URL",
            "is a SQLite file, and the disk of a dyno is emptied at every restart: add Heroku Postgres, "
            "or set ALLOW_EPHEMERAL_DISK=true if nothing needs to be kept",
        )
    return url


def _read_database_url(url: str) -> str:
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
        raise ValueError("must be a file: what was acknowledged has to outlive the process")
    return url


def _check_tls(parameters: Mapping[str, str]) -> None:
    if (mode := parameters.get("sslmode", "prefer")) not in SSL_MODES:
        raise ValueError(f"sslmode must be one of {', '.join(SSL_MODES)}, not {mode[:20]!r}")
    if parameters.get("channel_binding") == "require":
        raise ValueError(
            "channel_binding=require is not supported here; leave it out, and add sslmode=verify-full and"
            " sslrootcert (a file, or system), which protect as well"
        )


def _read_direct_url(url: str) -> str:
    if not url:
        return ""
    if not url.startswith(POSTGRES):
        raise ValueError("must be postgres://user:password@host/database")
    return _read_database_url(url)


def _results_url(env: Environment) -> str | None:
    return env.parsed("RESULTS_URL", "", _read_results_url) or None


def _read_results_url(url: str) -> str:
    if not url:
        return url
    parts = urlsplit(url)
    if parts.scheme not in RESULT_STORES or not (parts.path.strip("/") if parts.scheme == "file" else parts.netloc):
        raise ValueError("must be file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must hold no credentials, query or fragment; credentials have variables of their own")
    return url
