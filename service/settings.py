"""All settings, read once from the environment into one frozen value."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from service.core.caller import ApiKey
from service.core.targets import PrivateTargets
from service.environment import Environment, SettingsError, WrongSetting
from service.setting_values import (
    SQLITE,
    read_api_keys,
    read_database_url,
    read_direct_url,
    read_host,
    read_results_url,
)

STANDARD_SCHEDULE = "5,300,1800,7200,18000,36000,50400,72000,86400"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
DAY = 86_400
SHORTEST_SECRET_KEY = 32
# Off loopback, where anybody may guess.
SHORTEST_API_KEY = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """`.env.example` explains the fields. `made_key` is the key of a run without API_KEYS."""

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
        """What must never be logged."""
        yield from self.secret_keys
        yield from (item.key for item in self.api_keys)
        yield from filter(None, (self.piapi_api_key, self.modelslab_api_key))
        for url in filter(None, (self.database_url, self.database_direct_url)):
            password = urlsplit(url).password
            yield from filter(None, (password, unquote(password or "")))

    @property
    def sqlite_path(self) -> str | None:
        """None when the database is PostgreSQL."""
        return self.database_url.removeprefix(SQLITE) if self.database_url.startswith(SQLITE) else None


def load_settings(variables: Mapping[str, str]) -> Settings:
    """Raises SettingsError, which lists everything wrong."""
    settings, wrong = read_settings(variables)
    if wrong:
        raise SettingsError(wrong)
    return settings


def read_settings(variables: Mapping[str, str]) -> tuple[Settings, list[WrongSetting]]:
    """The settings, with the default in place of each wrong value, and what is wrong."""
    env = Environment(variables)
    host = env.parsed("HOST", "127.0.0.1", read_host)
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
        database_direct_url=env.parsed("DATABASE_DIRECT_URL", "", read_direct_url) or None,
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


def _public_url(env: Environment, variables: Mapping[str, str], host: str, port: int) -> str:
    """The default is derived from the variables of Heroku (dyno metadata) or Fly (application name)."""
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
            env.reject("SECRET_KEY", "is required unless HOST is a loopback address; use 32 random characters")
        # The database keeps a random one instead, so that callbacks outlive a restart here too.
        return ()
    keys = tuple(part.strip() for part in raw.split(","))
    if any(len(key) < SHORTEST_SECRET_KEY for key in keys):
        env.reject("SECRET_KEY", f"each key must have at least {SHORTEST_SECRET_KEY} characters")
    return keys


def _api_keys(env: Environment, loopback: bool) -> tuple[tuple[ApiKey, ...], str | None]:
    if env.optional("API_KEYS") is None:
        if not loopback:
            env.reject("API_KEYS", "is required unless HOST is a loopback address; write name:key")
        made = secrets.token_urlsafe(24)
        return (ApiKey("local", made, admin=True),), made
    shortest = 1 if loopback else SHORTEST_API_KEY
    return env.parsed("API_KEYS", "", lambda raw: read_api_keys(raw, shortest) if raw else ()), None


def _database_url(env: Environment, must_last: bool) -> str:
    url = env.parsed("DATABASE_URL", "sqlite:///callbridge.db", read_database_url)
    if must_last and url.startswith(SQLITE):
        env.reject(
            "DATABASE_URL",
            "is a SQLite file, and the disk of a dyno is emptied at each restart: add Heroku Postgres, "
            "or set ALLOW_EPHEMERAL_DISK=true if nothing needs to be kept",
        )
    return url


def _results_url(env: Environment) -> str | None:
    return env.parsed("RESULTS_URL", "", read_results_url) or None
