"""Batch subscribe: `POST /lists/{list_id}` adds or updates up to 500 members in one call."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from batchway import limits
from batchway.audience.members import transitions
from batchway.audience.members.base import MemberCall, MemberHandler
from batchway.audience.members.body import MemberBody
from batchway.audience.members.calls import AddBody, AddMember, make_add
from batchway.audience.members.descriptions import MEMBER_DETAILS, SKIP_MERGE_VALIDATION
from batchway.audience.members.member import STATUSES, Member
from batchway.audience.settings import AudienceSettings
from batchway.audience.working_set import ListSet
from batchway.contract.description import CallDescription, Parameter
from batchway.contract.links import Link
from batchway.contract.problems import Problem, Refused, invalid_field
from batchway.contract.request import Request
from batchway.contract.response import Response
from batchway.contract.validation import decode


class _Item(AddBody, kw_only=True):
    """As in `POST …/members`, but a missing field is an error of this member only."""

    email_address: str = ""
    status: str = ""


class _Body(msgspec.Struct):
    members: list[_Item]
    update_existing: bool | None = False
    sync_tags: bool | None = False


class _Error(msgspec.Struct):
    email_address: str
    error: str
    error_code: str
    field: str = ""
    field_message: str = ""


class _Subscribed(msgspec.Struct, rename={"links": "_links"}):
    new_members: list[MemberBody]
    updated_members: list[MemberBody]
    errors: list[_Error]
    total_created: int
    total_updated: int
    error_count: int
    links: list[Link]


_body = msgspec.json.Decoder(_Body)


@dataclass(frozen=True, slots=True)
class _Unread:
    """A member of the request that cannot be read."""

    address: str
    problem: Problem
    row_count: int = 1


@dataclass(slots=True)
class _Tally:
    """What happened to the members that were applied so far."""

    created: list[Member] = field(default_factory=list)
    updated: list[Member] = field(default_factory=list)
    errors: list[_Error] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Adds or updates each member separately; the response is a 200 that lists the errors."""

    list_id: str
    items: tuple[AddMember | _Unread, ...]
    updates_existing: bool
    syncs_tags: bool
    skips_duplicates: bool

    @property
    def row_count(self) -> int:
        """The rows of all members; one that cannot be read counts, too: it needs memory."""
        return sum(item.row_count for item in self.items)

    def want(self, list_set: ListSet) -> None:
        """Ask for all members and tags."""
        for item in self.items:
            if isinstance(item, AddMember):
                item.want(list_set)

    def apply(self, list_set: ListSet) -> Response:
        """Return the members that were added and updated, and the errors."""
        tally = _Tally()
        for item in self.items:
            try:
                self._apply_one(list_set, item, tally)
            except Refused as refused:
                tally.errors.append(_make_error(item.address, refused.problem))
        return Response(200, _render(tally, list_set))

    def _apply_one(self, list_set: ListSet, item: AddMember | _Unread, tally: _Tally) -> None:
        if isinstance(item, _Unread):
            raise Refused(item.problem)
        if item.address.lower() in tally.seen:
            if self.skips_duplicates:
                return
            raise invalid_field("email_address", "This address is in the request twice.")
        tally.seen.add(item.address.lower())
        before = list_set.members.find_by_address(item.address)
        if before is None or before.is_archived or not self.updates_existing:
            added = transitions.add(list_set, item.address, item.details, item.tags)
            tally.created.append(added)
        else:
            tally.updated.append(self._update(list_set, before, item))

    def _update(self, list_set: ListSet, before: Member, item: AddMember) -> Member:
        after = transitions.update(list_set, before, None, item.details)
        given = {name.lower() for name in item.tags}
        dropped = tuple(
            tag.name for tag in after.tags if self.syncs_tags and tag.name.lower() not in given
        )
        return transitions.set_tags(list_set, after, item.tags, dropped)


def _render(tally: _Tally, list_set: ListSet) -> _Subscribed:
    itself = f"/lists/{list_set.public_id}"
    return _Subscribed(
        [list_set.render_member(member) for member in tally.created],
        [list_set.render_member(member) for member in tally.updated],
        tally.errors,
        len(tally.created),
        len(tally.updated),
        len(tally.errors),
        list_set.caller.links.build_object_links(
            "Lists", "/lists", itself, methods=("PATCH", "DELETE")
        ),
    )


def _read(request: Request, settings: AudienceSettings) -> MemberCall:
    body = decode(_body, request.body)
    most = limits.members_per_subscribe_call_max
    if len(body.members) > most:
        raise invalid_field("members", f"This collection should have {most} items or less.")
    return Subscribe(
        request.path_params["list_id"],
        tuple(_read_item(request, settings, item) for item in body.members),
        bool(body.update_existing),
        bool(body.sync_tags),
        request.read_flag("skip_duplicate_check"),
    )


def _read_item(request: Request, settings: AudienceSettings, item: _Item) -> AddMember | _Unread:
    try:
        return make_add(request, settings, item)
    except Refused as refused:
        shown = item.email_address[: limits.email_address_characters_max]
        return _Unread(shown, refused.problem)


# Programs compare this text, which differs from that of `POST …/members`.
_SAYS_HOW_TO_UPDATE = (
    "is already a list member, do you want to update? please provide update_existing:true in the "
    "request body"
)


def _make_error(address: str, problem: Problem) -> _Error:
    if problem.title == "Member Exists":
        return _Error(address, f"{address} {_SAYS_HOW_TO_UPDATE}", "ERROR_CONTACT_EXISTS")
    fields: tuple[Any, ...] = problem.errors or ()
    if not fields:
        return _Error(address, problem.detail, "ERROR_GENERIC")
    first = fields[0]
    return _Error(address, problem.detail, "ERROR_GENERIC", first.field, first.message)


ROUTES = (
    (
        "POST",
        "/lists/{list_id}",
        MemberHandler(_read),
        CallDescription(
            "Add or update up to 500 members of a list in one call.",
            notes="Members that are not valid are listed in `errors`, and the call succeeds.",
            query=(
                SKIP_MERGE_VALIDATION,
                Parameter(
                    name="skip_duplicate_check",
                    description="Keep the first of members with the same address, instead of an "
                    "error for the others.",
                    kind="boolean",
                ),
            ),
            body=_Body,
            body_details={
                "members": {"maxItems": limits.members_per_subscribe_call_max},
                **{f"members.{name}": details for name, details in MEMBER_DETAILS.items()},
                "members.status": {"enum": [*STATUSES]},
                "update_existing": {
                    "description": "Update members that are there; otherwise they are errors."
                },
                "sync_tags": {
                    "description": "Take away the tags of a member that is updated which are not "
                    "given."
                },
            },
            body_example={
                "members": [
                    {
                        "email_address": "ann@example.com",
                        "status": "subscribed",
                        "merge_fields": {"FNAME": "Ann"},
                    }
                ],
                "update_existing": True,
            },
            reply=_Subscribed,
            tag="Members",
        ),
    ),
)
