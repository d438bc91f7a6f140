"""Signed tokens that expire. A token is safe in a URL, and is checked without a database."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from enum import Enum

from batchway.kit.clock import SECOND, Microseconds

_EXPIRY_BYTES = 6  # seconds since the epoch
_SIGNATURE_BYTES = 20
_FINGERPRINT_BYTES = 16


def fingerprint_key(key: bytes) -> str:
    """Return a text that is different for each random key, and reveals nothing about the key."""
    digest = hmac.new(key, b"fingerprint", hashlib.sha256).digest()
    return digest[:_FINGERPRINT_BYTES].hex()


class Verdict(Enum):
    """The result of checking a token."""

    VALID = "valid"
    EXPIRED = "expired"
    FORGED = "forged"


@dataclass(frozen=True)
class Signer:
    """Signs with the first key, and verifies with any. To rotate a key, put the new one first."""

    keys: tuple[bytes, ...] = field(repr=False)

    def sign(self, subject: str, expires_at: Microseconds) -> str:
        """Return a token for `subject` that is valid until `expires_at`, of URL-safe characters."""
        expiry = (expires_at // SECOND).to_bytes(_EXPIRY_BYTES, "big")
        return _encode(expiry + _compute_signature(self.keys[0], subject, expiry))

    def verify(self, token: str, subject: str, now: Microseconds) -> Verdict:
        """Check whether `token` was signed for `subject` and has not expired."""
        raw = _decode(token)
        expiry, signature = raw[:_EXPIRY_BYTES], raw[_EXPIRY_BYTES:]
        expected = [_compute_signature(key, subject, expiry) for key in self.keys]
        if not any(hmac.compare_digest(signature, each) for each in expected):
            return Verdict.FORGED
        is_expired = int.from_bytes(expiry, "big") * SECOND <= now
        return Verdict.EXPIRED if is_expired else Verdict.VALID


def _compute_signature(key: bytes, subject: str, expiry: bytes) -> bytes:
    message = subject.encode() + b"\0" + expiry
    return hmac.digest(key, message, hashlib.sha256)[:_SIGNATURE_BYTES]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(token: str) -> bytes:
    """Return the bytes of a token, or no bytes if `_encode` would not have produced the token."""
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return b""
    return raw if _encode(raw) == token else b""
