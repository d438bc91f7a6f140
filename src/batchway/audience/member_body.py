"""The member object as clients see it, in the contract's key order."""

from typing import Any

import msgspec

from batchway import limits
from batchway.audience.member import Member, Tag
from batchway.audience.merge_values import MergeRules
from batchway.contract.links import Links
from batchway.contract.response import encode
from batchway.kit.clock import iso
from batchway.kit.ids import contact_id

Encoded = Any  # JSON text in the place of the value that it is: a `msgspec.Raw`

_HASH = "0" * 31 + "h"  # stands for the member in the prepared links; no hash looks like it


class _Stats(msgspec.Struct, frozen=True):
    avg_open_rate: int = 0
    avg_click_rate: int = 0


class _Location(msgspec.Struct, frozen=True, gc=False):
    latitude: float
    longitude: float
    gmtoff: int = 0
    dstoff: int = 0
    country_code: str = ""
    timezone: str = ""


class _Tag(msgspec.Struct, frozen=True, gc=False):
    id: int
    name: str


class MemberBody(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename={"links": "_links"}):
    """`unsubscribe_reason` is there only for who has unsubscribed."""

    id: str
    email_address: str
    unique_email_id: str
    contact_id: str
    full_name: str
    web_id: int
    email_type: str
    status: str
    unsubscribe_reason: str | msgspec.UnsetType = msgspec.UNSET
    consents_to_one_to_one_messaging: bool
    merge_fields: dict[str, Any]
    stats: _Stats
    ip_signup: str
    timestamp_signup: str
    ip_opt: str
    timestamp_opt: str
    member_rating: int
    last_changed: str
    language: str
    vip: bool
    email_client: str
    location: _Location
    source: str
    tags_count: int
    tags: list[_Tag]
    list_id: str
    links: msgspec.Raw


class MemberRenderer:
    """Renders the members of one list.

    `MemberBody` says what a member looks like. Encoding one for each member took a good part of
    the time of a chunk, so that texts are prepared from it, one for all members that share what
    rarely differs, and what is a member's own is put into them. Links are most of the bytes.
    """

    def __init__(self, list_public_id: str, rules: MergeRules, links: Links) -> None:
        self._list_id = list_public_id
        self._rules = rules
        link_text = encode(member_links(links, list_public_id, _HASH))
        self._between_hashes = link_text.split(_HASH.encode())
        self._prepared: dict[tuple[Any, ...], list[bytes]] = {}

    def body(self, member: Member) -> Encoded:
        """The `MemberBody` of one member."""
        hashed = member.subscriber_hash.encode()
        text = list(self._text_around(member))
        text[1::2] = (
            hashed,
            encode(member.email_address),
            member.unique_email_id.encode(),
            contact_id(member.id).encode(),
            encode(self._rules.full_name(member.merge_fields)),
            b"%d" % member.id,
            encode(self._rules.render(member.merge_fields)),
            encode(member.ip_signup),
            iso(member.timestamp_signup).encode(),
            encode(member.ip_opt),
            iso(member.timestamp_opt).encode(),
            iso(member.last_changed).encode(),
            b"%d" % len(member.tags),
            _tags(member.tags),
            hashed.join(self._between_hashes),
        )
        return msgspec.Raw(b"".join(text))

    def _text_around(self, member: Member) -> list[bytes]:
        shared = (
            member.email_type,
            member.status,
            member.unsubscribe_reason,
            member.language,
            member.vip,
            member.latitude,
            member.longitude,
            member.source,
        )
        text = self._prepared.get(shared)
        if text is None:
            text = self._prepared[shared] = _prepared(self._list_id, member)
        return text


def _prepared(list_id: str, member: Member) -> list[bytes]:
    """The parts of a member's text; every second one is the place of a value of its own."""
    reason = member.unsubscribe_reason if member.status == "unsubscribed" else ""
    body = MemberBody(
        id=_OWN_TEXT,
        email_address=_OWN,
        unique_email_id=_OWN_TEXT,
        contact_id=_OWN_TEXT,
        full_name=_OWN,
        web_id=_OWN,
        email_type=member.email_type,
        status=member.status,
        unsubscribe_reason=reason or msgspec.UNSET,
        consents_to_one_to_one_messaging=True,
        merge_fields=_OWN,
        stats=_STATS,
        ip_signup=_OWN,
        timestamp_signup=_OWN_TEXT,
        ip_opt=_OWN,
        timestamp_opt=_OWN_TEXT,
        member_rating=2,
        last_changed=_OWN_TEXT,
        language=member.language,
        vip=member.vip,
        email_client="",
        location=_location(member),
        source=member.source,
        tags_count=_OWN,
        tags=_OWN,
        list_id=list_id,
        links=_OWN,
    )
    return encode(body).replace(b"\0", b"\0\0").split(b"\0")


# Places in a prepared text: JSON has no NUL.
_OWN: Any = msgspec.Raw(b"\0")
_OWN_TEXT: Any = msgspec.Raw(b'"\0"')  # of characters that need no escapes


def _tags(tags: tuple[Tag, ...]) -> bytes:
    if not tags:
        return b"[]"
    return encode([_Tag(tag.id, tag.name) for tag in tags[: limits.tags_shown_per_member_max]])


_STATS = _Stats()
_NOWHERE = _Location(0, 0)


def _location(member: Member) -> _Location:
    if not (member.latitude or member.longitude):
        return _NOWHERE
    return _Location(member.latitude, member.longitude)


def member_links(links: Links, list_id: str, subscriber_hash: str) -> list[Any]:
    """The ten links of a member, in the contract's order."""
    parent = f"/lists/{list_id}/members"
    itself = f"{parent}/{subscriber_hash}"
    folder = "Definitions/Lists/Members"
    one = f"{folder}/Response.json"
    return [
        links.link("self", "GET", itself, one),
        links.link(
            "parent",
            "GET",
            parent,
            f"{folder}/CollectionResponse.json",
            "CollectionLinks/Lists/Members.json",
        ),
        links.link("update", "PATCH", itself, one, f"{folder}/PATCH.json"),
        links.link("upsert", "PUT", itself, one, f"{folder}/PUT.json"),
        links.link("delete", "DELETE", itself),
        links.link("activity", "GET", f"{itself}/activity", f"{folder}/Activity/Response.json"),
        links.link("goals", "GET", f"{itself}/goals", f"{folder}/Goals/Response.json"),
        links.link("notes", "GET", f"{itself}/notes", f"{folder}/Notes/CollectionResponse.json"),
        links.link("events", "POST", f"{itself}/events", "", f"{folder}/Events/POST.json"),
        links.link("delete_permanent", "POST", f"{itself}/actions/delete-permanent"),
    ]
