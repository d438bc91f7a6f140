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
    """Return a key for signing or encrypting: 64 random hexadecimal digits."""
    return secrets.token_hex(32)


def new_process_name(kind: str) -> str:
    """Return a unique name for a process of this kind."""
    return f"{kind}-{secrets.token_hex(8)}"


def new_archive_id() -> str:
    """Return a new identity for an archive store."""
    return secrets.token_hex(16)


def new_request_id() -> str:
    """Return an id for a request, its reply and its log line."""
    return str(uuid.uuid4())


def new_public_id() -> str:
    """Return ten random lower-case hexadecimal digits. On a collision the caller tries again."""
    return secrets.token_hex(5)


def new_delivery_id() -> str:
    """Return an id for all attempts of one delivery, by which receivers can drop duplicates."""
    return f"msg_{secrets.token_hex(12)}"


def new_api_key() -> str:
    """Return 32 random hexadecimal digits and the data centre suffix that clients require."""
    return f"{secrets.token_hex(16)}-us1"


def hash_api_key(key: str) -> bytes:
    """Return the hash under which a key is stored. Keys are random, so a fast hash is enough."""
    return hashlib.sha256(key.encode()).digest()


def compute_operation_key(batch_id: int, public_id: str, position: int) -> str:
    """Return the key of an operation: a UUID (version 8) that is the same in all its attempts.

    Only the owner of the batch knows its public id, which is random, so that nobody else can
    guess the key.
    """
    place = f"{public_id}:{batch_id}:{position}".encode()
    number = int.from_bytes(hashlib.blake2b(place, digest_size=16, person=b"operation").digest())
    number = number & ~(0xF << 76) | 0x8 << 76  # the version
    number = number & ~(0x3 << 62) | 0x2 << 62  # the variant of RFC 9562
    return str(uuid.UUID(int=number))


@lru_cache(maxsize=16_384)  # a call needs it several times; a chunk has thousands of addresses
def compute_subscriber_hash(email_address: str) -> str:
    """Return the MD5 hash of the lower-cased address, which names a member in the API."""
    return hashlib.md5(email_address.lower().encode(), usedforsecurity=False).hexdigest()


def compute_unique_email_id(account_id: int, email_address: str) -> str:
    """Return ten hexadecimal digits that are the same for an address in all lists of an account."""
    hashed = _EMAIL.copy()
    hashed.update(f"{account_id}:{email_address.lower()}".encode())
    return hashed.hexdigest()


def compute_contact_id(member_id: int) -> str:
    """Return 32 hexadecimal digits from which a member's key can be computed.

    So contact ids need no column and no index.
    """
    spread = (member_id * _SPREAD) & _MASK_64
    return f"{_contact_checksum(member_id)}{spread:016x}"


def parse_contact_id(contact: str) -> int | None:
    """Return the member's key in a contact id, or None if `compute_contact_id` did not make it."""
    try:
        spread = int(contact[16:], 16)
    except ValueError:
        return None
    member_id = (spread * _GATHER) & _MASK_64
    is_ours = member_id < (1 << 63) and compute_contact_id(member_id) == contact.lower()
    return member_id if is_ours else None


def _contact_checksum(member_id: int) -> str:
    hashed = _CONTACT.copy()
    hashed.update(member_id.to_bytes(8, "big"))
    return hashed.hexdigest()
