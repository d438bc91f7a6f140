"""Identifiers: random public ids and API keys, and ids that are derived from what they name."""

import hashlib
import secrets
import uuid
from functools import lru_cache

_EMAIL = hashlib.blake2b(digest_size=5, person=b"email")  # copied for each use: that is faster
_CONTACT = hashlib.blake2b(digest_size=8, person=b"contact")
_MASK_64 = (1 << 64) - 1
_SPREAD = 0x9E3779B97F4A7C15  # odd, so that multiplication modulo 2**64 can be undone
_GATHER = pow(_SPREAD, -1, 1 << 64)


def new_secret_key() -> str:
    """A key for signing or encrypting: 64 random hexadecimal digits."""
    return secrets.token_hex(32)


def new_process_name(kind: str) -> str:
    """A name that no other process of this kind has had or will have."""
    return f"{kind}-{secrets.token_hex(8)}"


def new_archive_id() -> str:
    """The identity of an archive store."""
    return secrets.token_hex(16)


def new_request_id() -> str:
    """The id that a reply and its log line share."""
    return str(uuid.uuid4())


def new_public_id() -> str:
    """Ten random lower-case hexadecimal digits; the caller tries again on a collision."""
    return secrets.token_hex(5)


def new_delivery_id() -> str:
    """The id that all attempts of one delivery share, so that receivers can drop duplicates."""
    return f"msg_{secrets.token_hex(12)}"


def new_api_key() -> str:
    """32 random hexadecimal digits and the data centre suffix that client libraries require."""
    return f"{secrets.token_hex(16)}-us1"


def hash_api_key(key: str) -> bytes:
    """The hash that is stored of a key. Keys are random, so a fast hash is enough."""
    return hashlib.sha256(key.encode()).digest()


def operation_key(batch_id: int, public_id: str, position: int) -> str:
    """The key of one operation: a UUID (version 8) that is the same each time it is sent.

    The public id is random and known to the owner of the batch only, so that nobody else can
    guess the key.
    """
    place = f"{public_id}:{batch_id}:{position}".encode()
    number = int.from_bytes(hashlib.blake2b(place, digest_size=16, person=b"operation").digest())
    number = number & ~(0xF << 76) | 0x8 << 76  # the version
    number = number & ~(0x3 << 62) | 0x2 << 62  # the variant of RFC 9562
    return str(uuid.UUID(int=number))


@lru_cache(maxsize=16_384)  # one call needs it several times; a chunk has thousands
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
    return f"{_contact_checksum(member_id)}{spread:016x}"


def parse_contact_id(contact: str) -> int | None:
    """The member's key in a contact id, or None if this installation did not make the id."""
    try:
        spread = int(contact[16:], 16)
    except ValueError:
        return None
    member_id = (spread * _GATHER) & _MASK_64
    is_ours = member_id < (1 << 63) and contact_id(member_id) == contact.lower()
    return member_id if is_ours else None


def _contact_checksum(member_id: int) -> str:
    hashed = _CONTACT.copy()
    hashed.update(member_id.to_bytes(8, "big"))
    return hashed.hexdigest()
