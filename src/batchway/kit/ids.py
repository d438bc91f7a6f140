"""Identifiers: random public ids and API keys, and ids derived from what they name."""

import hashlib
import secrets
import uuid
from functools import lru_cache

_EMAIL = hashlib.blake2b(digest_size=5, person=b"email")  # copying is faster than making
_CONTACT = hashlib.blake2b(digest_size=8, person=b"contact")
_MASK_64 = (1 << 64) - 1
_SPREAD = 0x9E3779B97F4A7C15  # odd, so that multiplication modulo 2**64 can be undone
_GATHER = pow(_SPREAD, -1, 1 << 64)


def secret() -> str:
    """A key to sign or to encrypt with: 64 random hexadecimal digits."""
    return secrets.token_hex(32)


def process_name(kind: str) -> str:
    """A name that no other process of this kind has or had."""
    return f"{kind}-{secrets.token_hex(8)}"


def request_id() -> str:
    """What a reply and its log line share."""
    return str(uuid.uuid4())


def public_id() -> str:
    """Ten random lower-case hexadecimal digits; the caller makes another on a collision."""
    return secrets.token_hex(5)


def delivery_id() -> str:
    """What all attempts of one delivery share, for receivers that want each event once."""
    return f"msg_{secrets.token_hex(12)}"


def api_key() -> str:
    """32 random hexadecimal digits and the data centre that client libraries want to see."""
    return f"{secrets.token_hex(16)}-us1"


def api_key_hash(key: str) -> bytes:
    """What is stored of a key. Keys are random, so that a fast hash suffices."""
    return hashlib.sha256(key.encode()).digest()


@lru_cache(maxsize=16_384)  # one call asks several times, a chunk holds thousands
def subscriber_hash(email_address: str) -> str:
    """The MD5 of the lower-cased address, as the contract names members."""
    return hashlib.md5(email_address.lower().encode(), usedforsecurity=False).hexdigest()


def unique_email_id(account_id: int, email_address: str) -> str:
    """Ten hexadecimal digits for one address over all lists of an account."""
    hashed = _EMAIL.copy()
    hashed.update(f"{account_id}:{email_address.lower()}".encode())
    return hashed.hexdigest()


def contact_id(member_id: int) -> str:
    """32 hexadecimal digits that stand for a member's key and can be turned back into it.

    They need no column and no index of their own.
    """
    spread = (member_id * _SPREAD) & _MASK_64
    return f"{_contact_check(member_id)}{spread:016x}"


def member_id_of_contact(contact: str) -> int | None:
    """The member's key in a contact id, or None if it is not one of ours."""
    try:
        spread = int(contact[16:], 16)
    except ValueError:
        return None
    member_id = (spread * _GATHER) & _MASK_64
    is_ours = member_id < (1 << 63) and contact_id(member_id) == contact.lower()
    return member_id if is_ours else None


def _contact_check(member_id: int) -> str:
    hashed = _CONTACT.copy()
    hashed.update(member_id.to_bytes(8, "big"))
    return hashed.hexdigest()
