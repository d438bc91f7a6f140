"""The member object as clients see it, in the contract's key order."""

from typing import Any

import msgspec

from batchway import limits
from batchway.audience.member import Member
from batchway.audience.merge_values import MergeRules
from batchway.contract.links import Links
from batchway.contract.response import encode
from batchway.kit.clock import iso
from batchway.kit.ids import contact_id

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


class MemberBody(msgspec.Struct, frozen=True, gc=False, rename={"links": "_links"}):
    """`unsubscribe_reason` is there only for who has unsubscribed."""

    id: str
    email_address: str
    unique_email_id: str
    contact_id: str
    full_name: str
    web_id: int
    email_type: str
    status: str
    unsubscribe_reason: str | msgspec.UnsetType
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
    """Renders the members of one list: most of the bytes are links, prepared once."""

    def __init__(self, list_public_id: str, rules: MergeRules, links: Links) -> None:
        self._list_id = list_public_id
        self._rules = rules
        self._links = encode(member_links(links, list_public_id, _HASH))

    def body(self, member: Member) -> MemberBody:
        """The object for one member."""
        reason = member.unsubscribe_reason if member.status == "unsubscribed" else ""
        return MemberBody(
            id=member.subscriber_hash,
            email_address=member.email_address,
            unique_email_id=member.unique_email_id,
            contact_id=contact_id(member.id),
            full_name=self._rules.full_name(member.merge_fields),
            web_id=member.id,
            email_type=member.email_type,
            status=member.status,
            unsubscribe_reason=reason or msgspec.UNSET,
            consents_to_one_to_one_messaging=True,
            merge_fields=self._rules.render(member.merge_fields),
            stats=_STATS,
            ip_signup=member.ip_signup,
            timestamp_signup=iso(member.timestamp_signup),
            ip_opt=member.ip_opt,
            timestamp_opt=iso(member.timestamp_opt),
            member_rating=2,
            last_changed=iso(member.last_changed),
            language=member.language,
            vip=member.vip,
            email_client="",
            location=_location(member),
            source=member.source,
            tags_count=len(member.tags),
            tags=[
                _Tag(tag.id, tag.name) for tag in member.tags[: limits.tags_shown_per_member_max]
            ],
            list_id=self._list_id,
            links=self._links_of(member.subscriber_hash),
        )

    def _links_of(self, subscriber_hash: str) -> msgspec.Raw:
        return msgspec.Raw(self._links.replace(_HASH.encode(), subscriber_hash.encode()))


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
