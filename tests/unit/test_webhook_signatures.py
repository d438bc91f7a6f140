"""Signatures of webhooks, verified with the official library."""

import base64
import hashlib
import hmac
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from batchway.kit.webhook_signatures import new_secret, sign_mailchimp, sign_standard, verify

NOON = 1_795_435_200
BODY = b"type=batch_operation_completed&data%5Bid%5D=1"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + base64.b64encode(b"old secret of 24 bytes..").decode()


def _headers(signature: str, timestamp: object = NOON, webhook_id: str = "msg_1") -> dict[str, str]:
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }


def test_a_new_secret() -> None:
    """A secret has 24 random bytes in the form of the specification."""
    made = {new_secret() for _ in range(100)}

    assert 100 == len(made)
    assert all(re.fullmatch(r"whsec_[A-Za-z0-9+/]{32}", secret) for secret in made)


def test_the_example_of_the_specification() -> None:
    """The signature equals the example that the official libraries test."""
    signature = sign_standard(
        [SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'
    )

    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == signature


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_the_official_library_verifies(secret: str) -> None:
    """The official library verifies with each of two secrets."""
    now = int(time.time())  # the library asks the clock itself
    headers = _headers(sign_standard([SECRET, OLD_SECRET], "msg_1", now, b'{"a": 1}'), now)

    Webhook(secret).verify(b'{"a": 1}', headers)

    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(b'{"a": 1}', headers)


@given(st.binary(max_size=200), st.text("abcdef_0123456789", min_size=1))
def test_what_we_sign_we_verify(body: bytes, webhook_id: str) -> None:
    """Our own check verifies any body."""
    secret = new_secret()
    headers = _headers(sign_standard([secret], webhook_id, NOON, body), NOON, webhook_id)

    assert verify(secret, headers, body, NOON)
    assert not verify(secret, headers, body + b".", NOON)
    assert not verify(new_secret(), headers, body, NOON)


def test_several_secrets_sign_in_their_order() -> None:
    """The signature of the newest secret is first."""
    both = sign_standard([SECRET, OLD_SECRET], "msg_1", NOON, BODY)
    alone = [sign_standard([secret], "msg_1", NOON, BODY) for secret in (SECRET, OLD_SECRET)]

    assert " ".join(alone) == both
    assert verify(SECRET, _headers(both), BODY, NOON)
    assert verify(OLD_SECRET, _headers(both), BODY, NOON)
    assert verify(SECRET, _headers(f"v1a,AAAA {both}"), BODY, NOON)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NOON, True),
        (NOON + 300, True),
        (NOON + 301, False),
        (NOON - 300, True),
        (NOON - 301, False),
        (NOON + 0.5, True),
    ],
)
def test_a_signature_is_good_for_five_minutes(now: float, expected: bool) -> None:
    """A signature is valid five minutes before and after its time."""
    headers = _headers(sign_standard([SECRET], "msg_1", NOON, BODY))

    assert expected == verify(SECRET, headers, BODY, now)


def test_names_of_headers_are_in_any_case() -> None:
    """Names of headers are accepted in any case."""
    headers = _headers(sign_standard([SECRET], "msg_1", NOON, BODY))

    assert verify(SECRET, {name.title(): value for name, value in headers.items()}, BODY, NOON)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", "msg_2"),
        ("webhook-id", "\ud800"),
        ("webhook-timestamp", str(NOON + 1)),
        ("webhook-timestamp", f" {NOON}"),
        ("webhook-timestamp", f"+{NOON}"),
        ("webhook-timestamp", ""),
        ("webhook-timestamp", "now"),
        ("webhook-timestamp", "٣"),
        ("webhook-timestamp", "9" * 5_000),
        ("webhook-signature", ""),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "v1"),
        ("webhook-signature", "é \ud800"),
    ],
)
def test_another_header_is_not_what_was_signed(name: str, value: str) -> None:
    """A changed or missing header is not verified, and raises no error."""
    headers = _headers(sign_standard([SECRET], "msg_1", NOON, BODY))
    without = {key: content for key, content in headers.items() if key != name}

    assert not verify(SECRET, headers | {name: value}, BODY, NOON)
    assert not verify(SECRET, without, BODY, NOON)


def test_a_signature_has_its_version() -> None:
    """A signature of an unknown version is not verified."""
    digest = sign_standard([SECRET], "msg_1", NOON, BODY).removeprefix("v1,")

    assert not verify(SECRET, _headers(digest), BODY, NOON)
    assert not verify(SECRET, _headers(f"v2,{digest}"), BODY, NOON)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_*", "whsec_A", "whsec_é", "whsec_AA A="])
def test_a_secret_that_is_none(secret: str) -> None:
    """An invalid secret neither signs nor verifies."""
    with pytest.raises(ValueError, match="whsec_"):
        sign_standard([secret], "msg_1", NOON, BODY)
    with pytest.raises(ValueError, match="whsec_"):
        verify(secret, _headers("v1,"), BODY, NOON)


def test_mailchimp_signs_with_the_text_of_the_secret() -> None:
    """The header has the time, then each signature in hexadecimal digits."""
    expected = [
        hmac.new(secret.encode(), b"1795435200." + BODY, hashlib.sha256).hexdigest()
        for secret in (SECRET, OLD_SECRET)
    ]

    assert f"t=1795435200,v1={expected[0]}" == sign_mailchimp([SECRET], NOON, BODY)
    assert f"t=1795435200,v1={expected[0]},v1={expected[1]}" == sign_mailchimp(
        [SECRET, OLD_SECRET], NOON, BODY
    )
