"""Formats: signatures by the specification's own vector, tokens of one purpose, frames that a foreign reader reads."""

from contextlib import suppress

import pytest
from standardwebhooks import Webhook
from svix.webhooks import Webhook as Svix

from service.core.times import from_iso, now_ms, to_iso
from service.wire.media import MediaAddresses
from service.wire.signature import Signer, new_secret, secret_bytes
from service.wire.tokens import BadToken, CallbackToken, Tokens

KEY = "a-secret-key-of-this-test-with-32-characters"
TOKEN = CallbackToken("piapi", "tsk_1", 1)


def test_the_signature_is_the_one_of_the_specification() -> None:
    signer = Signer(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_both_secrets_of_a_rotation_verify_with_both_foreign_libraries() -> None:
    old, new = new_secret(), new_secret()
    moment, body = now_ms() // 1000, b'{"a":1}'
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(moment),
        "webhook-signature": Signer([new, old]).sign("evt_1", moment, body),
    }
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers) == {"a": 1}
        Svix(secret).verify(body, headers)


@pytest.mark.parametrize(
    "secret", ["", "abc", "whsec_", "whsec_short", "whsec_!!!!", "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
)
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="must"):
        secret_bytes(secret)


def test_a_token_of_one_purpose_passes_for_no_other() -> None:
    tokens, media = Tokens((KEY,)), MediaAddresses("https://bridge.test", (KEY,))
    made = {tokens.callback(TOKEN), tokens.stream("tsk_1"), media.of("tsk_1").rpartition("/")[2]}
    for token in made:
        passed = int(media.name_of(token) is not None)
        for read in (tokens.read_callback, tokens.read_stream):
            with suppress(BadToken):
                read(token)
                passed += 1
        assert passed == 1


def test_an_address_of_a_picture_outlives_the_secret_key() -> None:
    before = MediaAddresses("https://bridge.test", ("database-key", KEY))
    token = before.of("a.png").rpartition("/")[2]
    assert MediaAddresses("https://bridge.test", ("database-key", "another-key")).name_of(token) == "a.png"
    assert MediaAddresses("https://bridge.test", ("another-database", "another-key")).name_of(token) is None


def test_a_new_first_key_signs_and_the_old_one_still_verifies() -> None:
    before, after = Tokens((KEY,)), Tokens(("another-secret-key-with-more-than-32-chars", KEY))
    assert after.read_callback(before.callback(TOKEN)) == TOKEN
    assert before.callback_secret(TOKEN) in after.callback_secrets(TOKEN)
    with pytest.raises(BadToken):
        before.read_callback(after.callback(TOKEN))


@pytest.mark.parametrize("text", ["", ".", "a.b", "é", "\x00", "W10.x", "a" * 5000])
def test_every_malformed_token_gets_the_same_refusal(text: str) -> None:
    tokens = Tokens((KEY,))
    for read in (tokens.read_callback, tokens.read_stream):
        with pytest.raises(BadToken):
            read(text)
    assert MediaAddresses("https://bridge.test", (KEY,)).name_of(text) is None


def test_a_callback_secret_is_of_one_task_and_one_attempt_only() -> None:
    tokens = Tokens((KEY,))
    others = (
        CallbackToken("piapi", "tsk_2", 1),
        CallbackToken("piapi", "tsk_1", 2),
        CallbackToken("modelslab", "tsk_1", 1),
    )
    assert tokens.callback_secret(TOKEN) not in {tokens.callback_secret(other) for other in others}


def test_times_go_out_with_milliseconds_and_come_back() -> None:
    assert to_iso(1769860800007) == "2026-01-31T12:00:00.007Z"
    assert from_iso("2026-01-31T12:00:00.007Z") == 1769860800007
    assert from_iso("2026-01-31T13:00:00+01:00") == from_iso("2026-01-31T12:00:00")
