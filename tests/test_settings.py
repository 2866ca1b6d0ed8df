"""Settings: read once, wrong ones named, secrets hidden, and the same in code, .env.example and README."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from dotenv import dotenv_values

from service.core.targets import PrivateTargets
from service.environment import SettingsError
from service.settings import Settings, load_settings

ROOT = Path(__file__).parents[1]
KEY = "0123456789abcdef0123456789abcdef"
ALICE_KEY = "alice-key-of-20-chars"
OPEN = {"HOST": "0.0.0.0", "SECRET_KEY": KEY, "API_KEYS": f"alice:{ALICE_KEY}"}
# What the platforms set, not the person.
PLATFORM = {"DYNO", "HEROKU_APP_DEFAULT_DOMAIN_NAME", "HEROKU_APP_NAME", "FLY_APP_NAME"}


class Recorder(Mapping[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> str:
        self.asked.append(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def names() -> set[str]:
    recorder = Recorder()
    load_settings(recorder)
    return set(recorder.asked) - PLATFORM


def example() -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(ROOT / ".env.example").items()}


def without_made_key(settings: Settings) -> Settings:
    return replace(settings, api_keys=(), made_key=None)


def test_the_example_names_every_setting_that_is_read_and_no_other() -> None:
    assert set(example()) == names()


def test_the_example_holds_the_defaults() -> None:
    assert without_made_key(load_settings(example())) == without_made_key(load_settings({}))


def test_every_setting_of_the_example_has_a_sentence() -> None:
    groups = re.split(r"\n(?=#)", (ROOT / ".env.example").read_text())[1:]
    for group in groups:
        sentence, *settings = group.strip().splitlines()
        assert sentence.endswith("."), group
        assert all("=" in line for line in settings if line), group


def test_the_readme_lists_the_same_settings_with_the_same_defaults() -> None:
    table = (ROOT / "README.md").read_text().split("## Settings")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", table, re.MULTILINE))
    assert {name: value.strip("`") if value != "none" else "" for name, value in rows.items()} == example()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "0.0.0.0:8000"),
        ("HOST", "::1:80:x"),
        ("HOST", "http://0.0.0.0"),
        ("PORT", "eighty"),
        ("PORT", "70000"),
        ("PUBLIC_URL", "bridge.example.com"),
        ("PUBLIC_URL", "https://me:pass@example.com"),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", f"{KEY},short"),
        ("API_KEYS", "no-name"),
        ("API_KEYS", "alice:key:root"),
        ("API_KEYS", "alice:same,bob:same"),
        ("API_KEYS", ","),
        ("API_KEYS", "alice:schlüssel"),
        ("API_KEYS", "alice:two words"),
        ("API_KEYS", f"alice:{'a' * 600}"),
        ("PIAPI_API_KEY", "two words"),
        ("MODELSLAB_API_KEY", "schlüssel"),
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "postgres://host:port/db"),
        ("DATABASE_URL", "postgres://host"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("PIAPI_BASE_URL", "ftp://example.com"),
        ("PIAPI_LLM_BASE_URL", "https://example.com?a=b"),
        ("MODELSLAB_BASE_URL", "nothing"),
        ("PIAPI_MAX_INFLIGHT", "0"),
        ("MODELSLAB_MAX_INFLIGHT", "1.5"),
        ("ALLOW_PRIVATE_TARGETS", "10.0.0.1/8"),
        ("ALLOW_PRIVATE_TARGETS", "n8n,true"),
        ("ALLOW_PRIVATE_TARGETS", "http://n8n"),
        ("RETRY_SCHEDULE", "5,soon"),
        ("RETRY_SCHEDULE", "5,-1"),
        ("DELIVERY_TIMEOUT", "0"),
        ("SWEEP_AFTER", "x"),
        ("TASK_DEADLINE", "nan"),
        ("MAX_BODY_BYTES", "12"),
        ("MAX_WEBHOOK_BYTES", "many"),
        ("RETENTION_DAYS", "0"),
        ("RATE_LIMIT", "-1"),
        ("DISABLE_AFTER", "0"),
        ("MAX_SUBSCRIPTIONS", "0"),
        ("WEB_CONCURRENCY", "two"),
        ("ALLOW_EPHEMERAL_DISK", "perhaps"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("RESULTS_URL", "ftp://host/folder"),
        ("RESULTS_URL", "s3:///prefix"),
        ("RESULTS_URL", "file://"),
        ("RESULTS_URL", "s3://key:secret@bucket"),
        ("MAX_RESULT_BYTES", "1.5"),
        ("COPY_RETRY_SCHEDULE", "1;2"),
    ],
)
def test_a_wrong_value_stops_the_start_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: ") as refused:
        load_settings({name: value})
    assert [wrong.name for wrong in refused.value.wrong] == [name]


def test_all_wrong_settings_are_named_at_once() -> None:
    given = {"PORT": "x", "API_KEYS": "y", "RETRY_SCHEDULE": "z", "HOST": "0.0.0.0:80", "DYNO": "web.1"}
    with pytest.raises(SettingsError) as refused:
        load_settings(given)
    named = [wrong.name for wrong in refused.value.wrong]
    assert sorted(named) == ["API_KEYS", "DATABASE_URL", "HOST", "PORT", "RETRY_SCHEDULE"]
    assert len(str(refused.value).splitlines()) == len(named)


@pytest.mark.parametrize("name", ["SECRET_KEY", "API_KEYS"])
def test_what_guards_the_service_is_required_where_strangers_can_reach_it(name: str) -> None:
    load_settings(OPEN)
    with pytest.raises(SettingsError, match=f"^{name}: is required"):
        load_settings({key: value for key, value in OPEN.items() if key != name})


def test_on_loopback_a_key_is_made_for_the_run() -> None:
    first, second = load_settings({}), load_settings({})
    assert first.made_key
    assert first.made_key != second.made_key
    assert [(key.name, key.key, key.admin) for key in first.api_keys] == [("local", first.made_key, True)]


def test_no_secret_is_in_the_repr_of_the_settings() -> None:
    secrets = {
        "PIAPI_API_KEY": "piapi-secret",
        "MODELSLAB_API_KEY": "modelslab-secret",
        "DATABASE_URL": "postgres://me:pg-secret@host/db",
    }
    shown = repr(load_settings(OPEN | secrets)) + repr(load_settings({}))
    for secret in (KEY, ALICE_KEY, "piapi-secret", "modelslab-secret", "pg-secret", str(load_settings({}).made_key)):
        assert secret not in shown
    assert "made_key" not in shown


@pytest.mark.parametrize(("name", "value"), [("SECRET_KEY", "hush-hush"), ("API_KEYS", "alice:hush-hush:root")])
def test_no_secret_is_in_a_complaint(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({name: value})
    assert "hush-hush" not in f"{refused.value}{refused.value!r}"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"PORT": "80"}, "http://127.0.0.1:80"),
        ({"HOST": "::1"}, "http://[::1]:8000"),
        (OPEN | {"HEROKU_APP_NAME": "bridge"}, "https://bridge.herokuapp.com"),
        (OPEN | {"HEROKU_APP_DEFAULT_DOMAIN_NAME": "bridge-1.herokuapp.com"}, "https://bridge-1.herokuapp.com"),
        (OPEN | {"FLY_APP_NAME": "bridge"}, "https://bridge.fly.dev"),
        (OPEN | {"FLY_APP_NAME": "bridge", "PUBLIC_URL": "https://example.com/"}, "https://example.com"),
    ],
)
def test_the_public_address_is_what_was_set_or_what_the_platform_says(given: dict[str, str], url: str) -> None:
    assert load_settings(given).public_url == url


def test_durations_accept_fractions_and_keys_rotate() -> None:
    settings = load_settings({"SWEEP_AFTER": "0.2", "RETRY_SCHEDULE": "0.1,2", "SECRET_KEY": f"{KEY}, {KEY[::-1]}"})
    assert (settings.sweep_after, settings.retry_schedule) == (0.2, (0.1, 2.0))
    assert settings.secret_keys == (KEY, KEY[::-1])


def test_blanks_around_names_and_keys_are_no_part_of_them() -> None:
    # No client could send a key that starts with a blank.
    keys = load_settings({"API_KEYS": " alice : alice-key , ops:ops-key: admin "}).api_keys
    assert [(key.name, key.key, key.admin) for key in keys] == [("alice", "alice-key", False), ("ops", "ops-key", True)]


def test_off_loopback_a_short_key_is_refused() -> None:
    load_settings({"API_KEYS": "a:b"})
    with pytest.raises(SettingsError, match=r"^API_KEYS: the key of 'a' must have 16"):
        load_settings(OPEN | {"API_KEYS": "a:b"})


def test_a_dyno_with_sqlite_is_refused_unless_its_disk_may_be_lost() -> None:
    dyno = {"DYNO": "web.1"}
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: .*ALLOW_EPHEMERAL_DISK"):
        load_settings(dyno)
    load_settings(dyno | {"ALLOW_EPHEMERAL_DISK": "true"})
    load_settings(dyno | {"DATABASE_URL": "postgres://me:secret@host:5432/db"})


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///callbridge.db", "callbridge.db"),
        ("sqlite:////data/a b.db", "/data/a b.db"),
        ("postgres://host/db", None),
        ("postgresql://me:p%40ss@host:5432/db?sslmode=require", None),
        ("postgresql:///db?host=/run/postgresql", None),
    ],
)
def test_a_database_is_a_file_or_a_postgresql_server(url: str, path: str | None) -> None:
    assert load_settings({"DATABASE_URL": url}).sqlite_path == path


def test_private_targets_are_all_none_or_those_that_are_listed() -> None:
    def targets(value: str) -> PrivateTargets:
        return load_settings({"ALLOW_PRIVATE_TARGETS": value}).private_targets

    assert targets("") == targets("false") == PrivateTargets()
    assert targets("true").allows_host("anything")
    assert targets("true").allows_address("10.0.0.1")
    listed = targets("N8N, hooks.example.internal,10.0.0.0/8,192.168.1.7,fd00::/8")
    assert listed.allows_host("n8n")
    assert listed.allows_host("Hooks.example.internal.")
    assert not listed.allows_host("other")
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "192.168.1.7", "fd00::1"):
        assert listed.allows_address(address)
    for address in ("192.168.1.8", "127.0.0.1", "fe80::1", "n8n"):
        assert not listed.allows_address(address)
