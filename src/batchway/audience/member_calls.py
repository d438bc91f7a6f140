"""Calls on members, written for a set: read each, load what all need, apply each in memory.

`apply` is a pure change of the working set: it either makes its whole change as its last act, or
raises and changes nothing. That is why one call's fault is nobody else's.
"""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from batchway.audience import email_address, member_changes
from batchway.audience.member import STATUSES
from batchway.audience.member_changes import Details
from batchway.audience.working_set import ListSet, Needs, WorkingSet
from batchway.contract.problems import (
    Refused,
    invalid_field,
    method_not_allowed,
)
from batchway.contract.request import Caller, Request
from batchway.contract.response import NO_CONTENT, Response
from batchway.contract.validation import decode
from batchway.kit.clock import SECOND, Microseconds, parse_iso
from batchway.limits import tag_name_characters_max

_EMAIL_TYPES = ("html", "text")
_FEW_TAGS = 20
_PATCH_STATUSES = tuple(status for status in STATUSES if status != "transactional")
_LATITUDE_MAX, _LONGITUDE_MAX = 90, 180
# What can be shown in UTC: the years 1 to 9999. A zone may shift a moment out of them.
_EARLIEST, _LATEST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1


class MemberCall(Protocol):
    """One call that has been read, but not yet answered."""

    @property
    def list_id(self) -> str:
        """The public id of the list it is about."""

    def want(self, needs: Needs) -> None:
        """Say which members and tags must be loaded."""

    def apply(self, working: WorkingSet) -> Response:
        """Answer, and change the working set; raises Refused."""


@dataclass(frozen=True, slots=True)
class OnMembers:
    """The handler of a route on members: reads a request into a call; raises Refused.

    `items` is the field with the items, if it answers with a page of a collection.
    """

    read: Callable[[Request, Caller], MemberCall]
    items: str = ""


@dataclass(frozen=True, slots=True)
class Misread:
    """A call whose request was wrong; a list that does not exist is told first."""

    list_id: str
    refused: Refused

    def want(self, needs: Needs) -> None:
        """Nothing but the list."""

    def apply(self, working: WorkingSet) -> Response:
        """Raise what was wrong."""
        working.list(self.list_id)
        raise self.refused


class _Location(msgspec.Struct):
    latitude: float = 0.0
    longitude: float = 0.0


class _Body(msgspec.Struct):
    """The optional fields that all writing calls share. PHP clients send `[]` for `{}`."""

    email_type: str | None = None
    merge_fields: dict[str, Any] | list[Any] | None = None
    interests: dict[str, bool] | list[Any] | None = None
    language: str | None = None
    vip: bool | None = None
    location: _Location | None = None
    marketing_permissions: list[Any] | None = None
    ip_signup: str | None = None
    timestamp_signup: str | None = None
    ip_opt: str | None = None
    timestamp_opt: str | None = None


class AddBody(_Body, kw_only=True):
    """`POST /lists/{list_id}/members`, and each member of a batch subscribe."""

    email_address: str
    status: str
    tags: list[str] | None = None


class UpsertBody(_Body, kw_only=True):
    """What a PUT of a member says."""

    email_address: str | None = None
    status: str | None = None
    status_if_new: str | None = None


class UpdateBody(_Body, kw_only=True):
    """What a PATCH of a member says."""

    email_address: str | None = None
    status: str | None = None


_add = msgspec.json.Decoder(AddBody)
_upsert = msgspec.json.Decoder(UpsertBody)
_update = msgspec.json.Decoder(UpdateBody)


class Add(msgspec.Struct, frozen=True, gc=False):
    """Add a member; an archived one comes back."""

    list_id: str
    address: str
    details: Details
    tags: tuple[str, ...]

    def want(self, needs: Needs) -> None:
        """The member with the address, and the tags."""
        needs.address(self.address)
        needs.tag_names.update(self.tags)

    def apply(self, working: WorkingSet) -> Response:
        """200 with the member."""
        audience = working.list(self.list_id)
        member = member_changes.add(working, audience, self.address, self.details, self.tags)
        return Response(200, audience.render(member))


class Upsert(msgspec.Struct, frozen=True, gc=False):
    """Add a member or update the one that is there."""

    list_id: str
    key: str
    address: str | None
    details: Details
    status_if_new: str | None

    def want(self, needs: Needs) -> None:
        """The member that the path names, and the one with the address."""
        needs.member(self.key)
        if self.address is not None:
            needs.address(self.address)

    def apply(self, working: WorkingSet) -> Response:
        """200 with the member."""
        audience = working.list(self.list_id)
        member = member_changes.upsert(
            working, audience, self.key, self.address, self.details, self.status_if_new
        )
        return Response(200, audience.render(member))


class Update(msgspec.Struct, frozen=True, gc=False):
    """Update a member that is there."""

    list_id: str
    key: str
    address: str | None
    details: Details

    def want(self, needs: Needs) -> None:
        """The member that the path names, and the one with the new address."""
        needs.member(self.key)
        if self.address is not None:
            needs.address(self.address)

    def apply(self, working: WorkingSet) -> Response:
        """200 with the member."""
        audience = working.list(self.list_id)
        before = audience.get(self.key)
        member = member_changes.update(working, audience, before, self.address, self.details)
        return Response(200, audience.render(member))


class OnOne(msgspec.Struct, frozen=True, gc=False):
    """A call that needs no more than the member that its path names."""

    list_id: str
    key: str
    act: Callable[[WorkingSet, ListSet, str], Response]

    def want(self, needs: Needs) -> None:
        """The member."""
        needs.member(self.key)

    def apply(self, working: WorkingSet) -> Response:
        """Whatever `act` answers."""
        return self.act(working, working.list(self.list_id), self.key)


def read_add(request: Request, caller: Caller) -> MemberCall:
    """`POST …/members`."""
    body = decode(_add, request.body)
    return add_call(request, caller, body)


def add_call(request: Request, caller: Caller, body: AddBody) -> Add:
    """The call that adds one member; raises Refused for what can be told by the body alone."""
    address = email_address.check(body.email_address, refuses_fake=caller.refuses_fake_addresses)
    status = _checked_status(body.status, STATUSES)
    tags = _tag_names(body.tags) if body.tags else ()
    details = _details(request, body, status)
    return Add(request.path_params["list_id"], address, details, tags)


def read_upsert(request: Request, caller: Caller) -> MemberCall:
    """`PUT …/members/{subscriber_hash}`."""
    body = decode(_upsert, request.body)
    return Upsert(
        request.path_params["list_id"],
        request.path_params["subscriber_hash"],
        _address(body.email_address, caller),
        _details(request, body, _optional_status(body.status, STATUSES)),
        _optional_status(body.status_if_new, STATUSES, "status_if_new"),
    )


def read_update(request: Request, caller: Caller) -> MemberCall:
    """`PATCH …/members/{subscriber_hash}`."""
    body = decode(_update, request.body)
    return Update(
        request.path_params["list_id"],
        request.path_params["subscriber_hash"],
        _address(body.email_address, caller),
        _details(request, body, _optional_status(body.status, _PATCH_STATUSES)),
    )


def on_one(act: Callable[[WorkingSet, ListSet, str], Response]) -> OnMembers:
    """A handler for calls that `act` answers from the path alone."""

    def read(request: Request, _caller: Caller) -> MemberCall:
        values = request.path_params
        return OnOne(values["list_id"], values["subscriber_hash"], act)

    return OnMembers(read)


def get_member(_working: WorkingSet, audience: ListSet, key: str) -> Response:
    """`GET …/members/{subscriber_hash}`."""
    return Response(200, audience.render(audience.get(key)))


def archive_member(working: WorkingSet, audience: ListSet, key: str) -> Response:
    """`DELETE …/members/{subscriber_hash}`."""
    member = audience.get(key)
    if member.status in {"archived", "pending", "cleaned"}:
        raise method_not_allowed(("GET", "PUT"), _CANNOT_ARCHIVE)
    member_changes.archive(working, audience, member)
    return NO_CONTENT


def delete_member(_working: WorkingSet, audience: ListSet, key: str) -> Response:
    """`POST …/members/{subscriber_hash}/actions/delete-permanent`."""
    audience.forget(audience.get(key))
    return NO_CONTENT


def tag_name(name: str) -> str:
    """A tag's name as it is stored; raises Refused."""
    name = name.strip()
    if not name:
        raise invalid_field("tags", "A tag's name should not be blank.")
    if len(name) > tag_name_characters_max:
        most = tag_name_characters_max
        raise invalid_field("tags", f"A tag's name should have {most} characters or less.")
    return _storable("tags", name)


def _tag_names(names: list[str]) -> tuple[str, ...]:
    if len(names) > _FEW_TAGS:
        return tuple(dict.fromkeys(map(tag_name, names)))
    return _few_tag_names(tuple(names))


@lru_cache(maxsize=1024)  # many calls have the same ones
def _few_tag_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(tag_name, names)))


def _details(request: Request, body: _Body, status: str | None) -> Details:
    if body.interests:
        raise invalid_field("interests", "This list has no interests.")
    if body.marketing_permissions:
        raise invalid_field("marketing_permissions", "This list has no marketing permissions.")
    return Details(
        status=status,
        email_type=_choice("email_type", body.email_type, _EMAIL_TYPES),
        merge_fields=_merge_fields(body.merge_fields),
        language=None if body.language is None else _storable("language", body.language),
        vip=body.vip,
        location=_place(body.location),
        ip_signup=_ip("ip_signup", body.ip_signup),
        timestamp_signup=_moment("timestamp_signup", body.timestamp_signup),
        ip_opt=_ip("ip_opt", body.ip_opt),
        timestamp_opt=_moment("timestamp_opt", body.timestamp_opt),
        skips_required=request.flag("skip_merge_validation"),
    )


def _address(address: str | None, caller: Caller) -> str | None:
    if address is None:
        return None
    return email_address.check(address, refuses_fake=caller.refuses_fake_addresses)


def _optional_status(
    status: str | None, allowed: tuple[str, ...], field: str = "status"
) -> str | None:
    return None if status is None else _checked_status(status, allowed, field)


def _checked_status(status: str, allowed: tuple[str, ...], field: str = "status") -> str:
    if status not in allowed:
        raise invalid_field(field, f"Value should be one of {', '.join(allowed)}.")
    return status


def _choice(field: str, value: str | None, allowed: tuple[str, ...]) -> str | None:
    if not value:
        return None
    if value not in allowed:
        raise invalid_field(field, f"Value should be one of {', '.join(allowed)}.")
    return value


def _merge_fields(given: Mapping[str, Any] | list[Any] | None) -> Mapping[str, Any]:
    if not given:
        return {}
    if isinstance(given, list):
        raise invalid_field("merge_fields", "Schema describes object, array found instead")
    return given


def _place(location: _Location | None) -> tuple[float, float] | None:
    if location is None:
        return None
    latitude, longitude = location.latitude, location.longitude
    if abs(latitude) > _LATITUDE_MAX or abs(longitude) > _LONGITUDE_MAX:
        raise invalid_field("location", "There is no such place on earth.")
    return latitude, longitude


def _ip(field: str, value: str | None) -> str | None:
    if value:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise invalid_field(field, "This value should be an IPv4 or IPv6 address.") from None
    return value


def _moment(field: str, value: str | None) -> Microseconds | None:
    if value is None or not value.strip():
        return None
    moment = parse_iso(value)
    if moment is None or not _EARLIEST <= moment <= _LATEST:
        raise invalid_field(field, "This value should be a date and time in ISO 8601.")
    return moment


def _storable(field: str, text: str) -> str:
    """No database keeps a NUL, and no reply can carry half a surrogate pair."""
    if "\0" in text or not (text.isascii() or _is_encodable(text)):
        raise invalid_field(field, "This value holds characters that cannot be stored.")
    return text


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_CANNOT_ARCHIVE = (
    "This list member cannot be removed. Can not archive a contact that is bounced, pending or "
    "archived"
)
