"""Signatures of webhooks: the Standard Webhooks headers and Mailchimp's own header."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets as randomness
from collections.abc import Mapping, Sequence

TOLERANCE_SECONDS = 5 * 60  # of both specifications: a request cannot be replayed for longer

_PREFIX = "whsec_"
_SECRET_BYTES = 24
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


def new_secret() -> str:
    """Return `whsec_` and 24 random bytes in base64, as Standard Webhooks libraries expect."""
    return _PREFIX + base64.b64encode(randomness.token_bytes(_SECRET_BYTES)).decode()


def sign_standard(
    secrets: Sequence[str], webhook_id: str, timestamp_seconds: int, body: bytes
) -> str:
    """Return the value of `webhook-signature`: a signature for each secret, in their order.

    Raises ValueError for a secret that does not have the form of `new_secret`.
    """
    message = f"{webhook_id}.{timestamp_seconds}.".encode() + body
    return " ".join(f"v1,{_compute_signature(each, message)}" for each in secrets)


def sign_mailchimp(secrets: Sequence[str], timestamp_seconds: int, body: bytes) -> str:
    """Return the value of `X-Mailchimp-Signature`: the time, and a signature for each secret."""
    message = f"{timestamp_seconds}.".encode() + body
    signatures = [hmac.new(each.encode(), message, hashlib.sha256).hexdigest() for each in secrets]
    return ",".join([f"t={timestamp_seconds}", *(f"v1={each}" for each in signatures)])


def verify(secret: str, headers: Mapping[str, str], body: bytes, now_seconds: float) -> bool:
    """Whether the Standard Webhooks headers sign this body, at most five minutes from now.

    Header names may be in any case. Raises ValueError for a secret as `sign_standard` does, but
    never because of the headers.
    """
    found = {name.lower(): value for name, value in headers.items()}
    timestamp = found.get("webhook-timestamp", "")
    if "webhook-id" not in found or not _TIMESTAMP.fullmatch(timestamp):
        return False
    if abs(now_seconds - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{found['webhook-id']}.{timestamp}.".encode("utf-8", "replace")
    expected = f"v1,{_compute_signature(secret, signed + body)}".encode()
    given = found.get("webhook-signature", "").encode("utf-8", "replace").split(b" ")
    return any(hmac.compare_digest(each, expected) for each in given)


def _compute_signature(secret: str, message: bytes) -> str:
    digest = hmac.digest(_decode_secret(secret), message, hashlib.sha256)
    return base64.b64encode(digest).decode()


def _decode_secret(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX).encode(), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError("A webhook secret is `whsec_` and base64; create one with new_secret().")
    return key
