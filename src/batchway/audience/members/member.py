"""A member: one contact of a list, as it is stored."""

from typing import Any

import msgspec

from batchway.audience.tags.rows import Tag
from batchway.kit.clock import Microseconds
from batchway.kit.ids import compute_subscriber_hash, compute_unique_email_id

STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
ARCHIVED = "archived"

# The reason of members who were unsubscribed through the API. With any other reason, the contact
# has unsubscribed, and only the contact can subscribe again.
UNSUBSCRIBED_BY_API = "N/A (Unsubscribed by an admin)"


class Member(msgspec.Struct, frozen=True, gc=False):
    """A row of `members` in the order of its columns, and the member's tags.

    `merge_fields` are keyed by merge id. `revision` grows with each change.
    """

    id: int
    account_id: int
    list_id: int
    subscriber_hash: str
    email_address: str
    unique_email_id: str
    status: str
    email_type: str
    merge_fields: dict[str, Any]
    language: str
    vip: bool
    latitude: float
    longitude: float
    ip_signup: str
    timestamp_signup: Microseconds | None
    ip_opt: str
    timestamp_opt: Microseconds | None
    source: str
    unsubscribe_reason: str
    last_changed: Microseconds
    revision: int
    tags: tuple[Tag, ...] = ()

    @property
    def is_archived(self) -> bool:
        """Whether the member is stored, but not part of the audience."""
        return self.status == ARCHIVED

    @property
    def is_in_compliance_state(self) -> bool:
        """Whether only the contact can subscribe again: it bounced, or unsubscribed itself."""
        if self.status == "unsubscribed":
            return self.unsubscribe_reason not in {"", UNSUBSCRIBED_BY_API}
        return self.status == "cleaned"


COLUMNS = tuple(name for name in Member.__struct_fields__ if name != "tags")

_decode_merge_fields = msgspec.json.Decoder(dict[str, Any]).decode
_encode_merge_fields = msgspec.json.Encoder().encode
_MERGE_FIELDS = COLUMNS.index("merge_fields")
_VIP = COLUMNS.index("vip")


def parse_row(row: Any, tags: tuple[Tag, ...] = ()) -> Member:  # noqa: ANN401 - a database row
    """Return the member that a row of `COLUMNS` holds."""
    values = list(row)
    values[_MERGE_FIELDS] = _decode_merge_fields(values[_MERGE_FIELDS])
    values[_VIP] = bool(values[_VIP])
    return Member(*values, tags)  # type: ignore[call-arg]


def make_row(member: Member) -> tuple[Any, ...]:
    """Return the values of `COLUMNS`."""
    values = list(msgspec.structs.astuple(member)[:-1])
    values[_MERGE_FIELDS] = _encode_merge_fields(values[_MERGE_FIELDS]).decode()
    return tuple(values)


def change_address(member: Member, email_address: str) -> Member:
    """Return the member with another address, and with the hash and `unique_email_id` of that."""
    return msgspec.structs.replace(
        member,
        email_address=email_address,
        subscriber_hash=compute_subscriber_hash(email_address),
        unique_email_id=compute_unique_email_id(member.account_id, email_address),
    )
