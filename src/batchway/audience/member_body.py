"""The member object as clients see it, in the contract's key order."""

from typing import Any

import msgspec

from batchway import limits
from batchway.audience.member import Member
from batchway.audience.merge_values import MergeRules
from batchway.contract.links import Links
from batchway.contract.response import encode
from batchway.kit.clock import format_iso
from batchway.kit.ids import contact_id
from batchway.kit.json_text import JsonText, escape_json

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


class MemberText(JsonText):
    """A member as a body; `MemberBody` says what it looks like."""

    __slots__ = ("_member", "_renderer")

    def __init__(self, renderer: "MemberRenderer", member: Member) -> None:
        self._renderer = renderer
        self._member = member

    def plain(self) -> bytes:
        """JSON text in UTF-8."""
        return self._renderer.render(self._member, plain=True)

    def quoted(self) -> bytes:
        """The same in a JSON string, in ASCII only."""
        return b'"%b"' % self._renderer.render(self._member, plain=False)


class MemberRenderer:
    """Renders the members of one list.

    Encoding a `MemberBody` for each member, and quoting it, took a good part of the time of a
    chunk. So texts are prepared from it: one for all members that differ in nothing but what their
    heads say (up to `merge_fields`), and one for the links, which are most of the bytes.
    """

    def __init__(self, list_public_id: str, rules: MergeRules, links: Links) -> None:
        self._list_id = list_public_id
        self._rules = rules
        link_text = encode(member_links(links, list_public_id, _HASH)) + b"}"
        self._links = {plain: _shown(link_text, plain).split(_HASH.encode()) for plain in _BOTH}
        self._prepared: dict[tuple[Any, ...], _Prepared] = {}

    def body(self, member: Member) -> Any:  # noqa: ANN401 - in the place of a `MemberBody`
        """The `MemberText` that shows one member."""
        return MemberText(self, member)

    def render(self, member: Member, *, plain: bool) -> bytes:
        """The JSON text of a member, or that text as it stands within a JSON string."""
        prepared = self._prepared_for(member, plain)
        hashed = member.subscriber_hash.encode()
        head = prepared.head % (
            hashed,
            encode(member.email_address),
            member.unique_email_id.encode(),
            contact_id(member.id).encode(),
            encode(self._rules.full_name(member.merge_fields)),
            b"%d" % member.id,
            encode(self._rules.render(member.merge_fields)),
        )
        links = hashed.join(self._links[plain])
        return b"".join((_shown(head, plain), prepared.tail, links))

    def _prepared_for(self, member: Member, plain: bool) -> "_Prepared":  # noqa: FBT001
        shared = (
            plain,
            member.email_type,
            member.status,
            member.unsubscribe_reason,
            member.ip_signup,
            member.timestamp_signup,
            member.ip_opt,
            member.timestamp_opt,
            member.last_changed,
            member.language,
            member.vip,
            member.latitude,
            member.longitude,
            member.source,
            member.tags,
        )
        prepared = self._prepared.get(shared)
        if prepared is None:
            if len(self._prepared) == _PREPARED_MAX:
                self._prepared.clear()
            prepared = self._prepared[shared] = _prepare(self._list_id, member, plain)
        return prepared


_BOTH = (True, False)
_PREPARED_MAX = 1_000  # texts of a list: its members may have little in common


class _Prepared(msgspec.Struct, frozen=True, gc=False):
    """The text of members without what is their own: the links, and the values of the head."""

    head: bytes  # a template for `%`, plain
    tail: bytes


def _shown(text: bytes, plain: bool) -> bytes:  # noqa: FBT001
    return text if plain else escape_json(text)


def _prepare(list_id: str, member: Member, plain: bool) -> _Prepared:  # noqa: FBT001
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
        ip_signup=member.ip_signup,
        timestamp_signup=format_iso(member.timestamp_signup),
        ip_opt=member.ip_opt,
        timestamp_opt=format_iso(member.timestamp_opt),
        member_rating=2,
        last_changed=format_iso(member.last_changed),
        language=member.language,
        vip=member.vip,
        email_client="",
        location=_location(member),
        source=member.source,
        tags_count=len(member.tags),
        tags=[_Tag(tag.id, tag.name) for tag in member.tags[: limits.tags_shown_per_member_max]],
        list_id=list_id,
        links=_OWN,
    )
    *head, tail, _ = encode(body).split(b"\0")
    places = [part.replace(b"%", b"%%") + b"%b" for part in head]
    return _Prepared(b"".join(places), _shown(tail, plain))


# Places in a prepared text: JSON has no NUL.
_OWN: Any = msgspec.Raw(b"\0")
_OWN_TEXT: Any = msgspec.Raw(b'"\0"')  # of characters that need no escapes
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
