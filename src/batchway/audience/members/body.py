"""The response body of a member, with its keys in the order of the contract."""

from operator import attrgetter
from typing import Any

import msgspec

from batchway import limits
from batchway.audience.members.member import Member
from batchway.audience.merge_fields.rules import MergeRules
from batchway.contract.links import Links
from batchway.contract.response import encode
from batchway.kit.clock import format_iso
from batchway.kit.ids import compute_contact_id
from batchway.kit.json_text import JsonText, escape_json

_HASH = "0" * 31 + "h"  # the placeholder of the hash in the prepared links; it is no valid hash


class MemberStats(msgspec.Struct, frozen=True):
    """Rates of opens and clicks. They are 0, as no e-mail is sent."""

    avg_open_rate: int = 0
    avg_click_rate: int = 0


class MemberLocation(msgspec.Struct, frozen=True, gc=False):
    """The place of a member, as the API shows it."""

    latitude: float
    longitude: float
    gmtoff: int = 0
    dstoff: int = 0
    country_code: str = ""
    timezone: str = ""
    region: str = ""


class MemberTag(msgspec.Struct, frozen=True, gc=False):
    """A tag of a member, as the API shows it."""

    id: int
    name: str


class MemberBody(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename={"links": "_links"}):
    """`unsubscribe_reason` is shown only for members who have unsubscribed."""

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
    stats: MemberStats
    ip_signup: str
    timestamp_signup: str
    ip_opt: str
    timestamp_opt: str
    member_rating: int
    last_changed: str
    language: str
    vip: bool
    email_client: str
    location: MemberLocation
    source: str
    tags_count: int
    tags: list[MemberTag]
    list_id: str
    links: msgspec.Raw


class MemberText(JsonText):
    """The body of a member, rendered when it is needed; it has the form of `MemberBody`."""

    __slots__ = ("_member", "_renderer")

    def __init__(self, renderer: "MemberRenderer", member: Member) -> None:
        self._renderer = renderer
        self._member = member

    def render(self) -> bytes:
        """Return JSON text in UTF-8."""
        return self._renderer.render(self._member, plain=True)

    def render_quoted(self) -> bytes:
        """Return the text within a JSON string, in ASCII only."""
        return b'"%b"' % self._renderer.render(self._member, plain=False)


class MemberRenderer:
    """Renders the members of one list.

    To encode and quote a `MemberBody` for each member would take much of the time of a chunk. So
    templates are prepared: one for all members that differ only in the values of their head (up to
    `merge_fields`), and one for the links, which are most of the bytes.
    """

    def __init__(self, list_public_id: str, rules: MergeRules, links: Links) -> None:
        self._list_id = list_public_id
        self._rules = rules
        link_text = encode(make_member_links(links, list_public_id, _HASH)) + b"}"
        self._links = {
            plain: _escape_unless_plain(link_text, plain).split(_HASH.encode()) for plain in _BOTH
        }
        self._prepared: dict[tuple[Any, ...], _Prepared] = {}

    def defer_rendering(self, member: Member) -> Any:  # noqa: ANN401 - encoded like a `MemberBody`
        """Return the body of a member, which is rendered when it is needed."""
        return MemberText(self, member)

    def render(self, member: Member, *, plain: bool) -> bytes:
        """Return the JSON text of a member; if it is not `plain`, escaped for a JSON string."""
        prepared = self._find_prepared(member, plain)
        hashed = member.subscriber_hash.encode()
        head = prepared.head % (
            hashed,
            encode(member.email_address),
            member.unique_email_id.encode(),
            compute_contact_id(member.id).encode(),
            encode(self._rules.render_full_name(member.merge_fields)),
            b"%d" % member.id,
            encode(self._rules.render(member.merge_fields)),
        )
        links = hashed.join(self._links[plain])
        return b"".join((_escape_unless_plain(head, plain), prepared.tail, links))

    def _find_prepared(self, member: Member, plain: bool) -> "_Prepared":  # noqa: FBT001
        shared = (plain, _get_shared_values(member))
        prepared = self._prepared.get(shared)
        if prepared is None:
            if len(self._prepared) == _PREPARED_MAX:
                self._prepared.clear()
            prepared = self._prepared[shared] = _prepare(self._list_id, member, plain)
        return prepared


# The fields of a member that `render` puts into the prepared text, or does not show. The prepared
# text contains all other fields, so that members share it only if these are equal.
_OWN_FIELDS = frozenset(
    {
        "id",
        "account_id",
        "list_id",
        "subscriber_hash",
        "email_address",
        "unique_email_id",
        "merge_fields",
        "revision",
    }
)
_get_shared_values = attrgetter(
    *(name for name in Member.__struct_fields__ if name not in _OWN_FIELDS)
)
_BOTH = (True, False)
_PREPARED_MAX = 1_000  # texts of a list, whose members may have few equal fields


class _Prepared(msgspec.Struct, frozen=True, gc=False):
    """The text of members without the values of the head and the links, which differ."""

    head: bytes  # a template for `%`, plain
    tail: bytes


def _escape_unless_plain(text: bytes, plain: bool) -> bytes:  # noqa: FBT001
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
        location=_render_location(member),
        source=member.source,
        tags_count=len(member.tags),
        tags=[
            MemberTag(tag.id, tag.name) for tag in member.tags[: limits.tags_shown_per_member_max]
        ],
        list_id=list_id,
        links=_OWN,
    )
    *head, tail, _ = encode(body).split(b"\0")
    places = [part.replace(b"%", b"%%") + b"%b" for part in head]
    return _Prepared(b"".join(places), _escape_unless_plain(tail, plain))


# These are the placeholders in a prepared text: JSON has no NUL.
_OWN: Any = msgspec.Raw(b"\0")
_OWN_TEXT: Any = msgspec.Raw(b'"\0"')  # of characters that need no escapes
_STATS = MemberStats()
_NOWHERE = MemberLocation(0, 0)


def _render_location(member: Member) -> MemberLocation:
    if not (member.latitude or member.longitude):
        return _NOWHERE
    return MemberLocation(member.latitude, member.longitude)


def make_member_links(links: Links, list_id: str, subscriber_hash: str) -> list[Any]:
    """Return the ten links of a member, in the contract's order."""
    parent = f"/lists/{list_id}/members"
    itself = f"{parent}/{subscriber_hash}"
    folder = "Definitions/Lists/Members"
    one = f"{folder}/Response.json"
    return [
        links.build_link("self", "GET", itself, one),
        links.build_link(
            "parent",
            "GET",
            parent,
            f"{folder}/CollectionResponse.json",
            "CollectionLinks/Lists/Members.json",
        ),
        links.build_link("update", "PATCH", itself, one, f"{folder}/PATCH.json"),
        links.build_link("upsert", "PUT", itself, one, f"{folder}/PUT.json"),
        links.build_link("delete", "DELETE", itself),
        links.build_link(
            "activity", "GET", f"{itself}/activity", f"{folder}/Activity/Response.json"
        ),
        links.build_link("goals", "GET", f"{itself}/goals", f"{folder}/Goals/Response.json"),
        links.build_link(
            "notes", "GET", f"{itself}/notes", f"{folder}/Notes/CollectionResponse.json"
        ),
        links.build_link("events", "POST", f"{itself}/events", "", f"{folder}/Events/POST.json"),
        links.build_link("delete_permanent", "POST", f"{itself}/actions/delete-permanent"),
    ]
