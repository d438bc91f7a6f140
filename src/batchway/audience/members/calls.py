"""The calls on one member: add, upsert, update, show, archive, delete."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from math import isfinite, nan
from typing import Any

import msgspec

from batchway import limits
from batchway.audience.body import is_storable
from batchway.audience.collections import read_choice
from batchway.audience.members import transitions
from batchway.audience.members.base import MemberCall, MemberHandler
from batchway.audience.members.email_address import check_email_address
from batchway.audience.members.member import STATUSES
from batchway.audience.members.transitions import Details
from batchway.audience.settings import AudienceSettings
from batchway.audience.working_set import ListSet
from batchway.contract.problems import (
    FieldError,
    Refused,
    invalid_field,
    invalid_fields,
    invalid_resource,
    method_not_allowed,
)
from batchway.contract.request import Request
from batchway.contract.response import NO_CONTENT, Response
from batchway.contract.validation import can_explain, decode, decode_fields
from batchway.kit.clock import SECOND, Microseconds, parse_iso

_EMAIL_TYPES = ("html", "text")
_CACHED_TAGS_MAX = 20  # names of one call that are cached together
PATCH_STATUSES = tuple(status for status in STATUSES if status != "transactional")
_LATITUDE_MAX, _LONGITUDE_MAX = 90, 180
# Times that can be shown in UTC: the years 1 to 9999. A time zone may move a time out of them.
_EARLIEST, _LATEST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1


class MemberCallsLocation(msgspec.Struct):
    """The place of a member, as a client gives it: numbers, or texts that are numbers."""

    latitude: float | str = 0.0
    longitude: float | str = 0.0


_MergeValue = str | int | float | dict[str, Any]


class _Body(msgspec.Struct):
    """The optional fields that all writing calls share. PHP clients send `[]` for `{}`."""

    email_type: str | None = None
    merge_fields: dict[str, _MergeValue] | list[Any] | None = None
    interests: dict[str, bool] | list[Any] | None = None
    language: str | None = None
    vip: bool | None = None
    location: MemberCallsLocation | None = None
    marketing_permissions: list[Any] | None = None
    ip_signup: str | None = None
    timestamp_signup: str | None = None
    ip_opt: str | None = None
    timestamp_opt: str | None = None


_Text = str | msgspec.UnsetType  # null is refused, also where the value is not needed


class AddBody(_Body, kw_only=True):
    """`POST /lists/{list_id}/members`, and each member of a batch subscribe."""

    email_address: str
    status: str
    tags: list[str] | None = None


class UpsertBody(_Body, kw_only=True):
    """The body of a PUT of a member. Its `tags` are those of a new member."""

    email_address: _Text = msgspec.UNSET
    status: _Text = msgspec.UNSET
    status_if_new: _Text = msgspec.UNSET
    tags: list[str] | None = None


class UpdateBody(_Body, kw_only=True):
    """The body of a PATCH of a member."""

    email_address: _Text = msgspec.UNSET
    status: _Text = msgspec.UNSET


_add = msgspec.json.Decoder(AddBody)
_upsert = msgspec.json.Decoder(UpsertBody)
_update = msgspec.json.Decoder(UpdateBody)


class AddMember(msgspec.Struct, frozen=True, gc=False):
    """Adds a member, or restores an archived one."""

    list_id: str
    address: str
    details: Details
    tags: tuple[str, ...]

    @property
    def row_count(self) -> int:
        """One for the member, and one for each tag."""
        return 1 + len(self.tags)

    def want(self, list_set: ListSet) -> None:
        """Ask for the member with the address, and for the tags."""
        list_set.want_address(self.address)
        list_set.tags.want(self.tags)

    def apply(self, list_set: ListSet) -> Response:
        """Return the member."""
        member = transitions.add(list_set, self.address, self.details, self.tags)
        return Response(200, list_set.render_member(member))


class _ChangeMember(msgspec.Struct, frozen=True, gc=False):
    """A call that changes the member that its path names; it may change the address."""

    list_id: str
    key: str
    address: str | None
    details: Details

    @property
    def row_count(self) -> int:
        """One for the member."""
        return 1

    def want(self, list_set: ListSet) -> None:
        """Ask for the member that the path names, and for the one with the address."""
        list_set.want_member(self.key)
        if self.address is not None:
            list_set.want_address(self.address)


class UpsertMember(_ChangeMember, frozen=True, gc=False):
    """Adds a member, or updates an existing one."""

    status_if_new: str | None
    tags: tuple[str, ...]

    @property
    def row_count(self) -> int:
        """One for the member, and one for each tag."""
        return 1 + len(self.tags)

    def want(self, list_set: ListSet) -> None:
        """Ask for the members as for any change, and for the tags."""
        _ChangeMember.want(self, list_set)
        if self.tags:
            list_set.tags.want(self.tags)

    def apply(self, list_set: ListSet) -> Response:
        """Return the member."""
        member = transitions.upsert(
            list_set, self.key, self.address, self.details, self.status_if_new, self.tags
        )
        return Response(200, list_set.render_member(member))


class UpdateMember(_ChangeMember, frozen=True, gc=False):
    """Updates an existing member."""

    def apply(self, list_set: ListSet) -> Response:
        """Return the member."""
        before = list_set.members.get(self.key)
        member = transitions.update(list_set, before, self.address, self.details)
        return Response(200, list_set.render_member(member))


class PathCall(msgspec.Struct, frozen=True, gc=False):
    """A call without a body; `act` answers it, and gets the part of the path after `members/`."""

    list_id: str
    key: str
    act: Callable[[ListSet, str], Response]
    row_count: int

    def want(self, list_set: ListSet) -> None:
        """Ask for the member."""
        list_set.want_member(self.key)

    def apply(self, list_set: ListSet) -> Response:
        """Return the response of `act`."""
        return self.act(list_set, self.key)


def read_add(request: Request, settings: AudienceSettings) -> MemberCall:
    """Read `POST …/members`."""
    try:
        return make_add(request, settings, decode(_add, request.body))
    except Refused as first:
        raise _name_all_faults(first, AddBody, request, settings, STATUSES) from None


def make_add(request: Request, settings: AudienceSettings, body: AddBody) -> AddMember:
    """Return the call that adds one member; raises Refused if the body is wrong."""
    address = check_email_address(body.email_address, refuses_fake=settings.refuses_fake_addresses)
    status = read_choice("status", body.status, STATUSES)
    tags = _read_tag_names(body.tags) if body.tags else ()
    details = _read_details(request, body, status)
    return AddMember(request.path_params["list_id"], address, details, tags)


def read_upsert(request: Request, settings: AudienceSettings) -> MemberCall:
    """Read `PUT …/members/{subscriber_hash}`."""
    try:
        return _make_upsert(request, settings, decode(_upsert, request.body))
    except Refused as first:
        raise _name_all_faults(first, UpsertBody, request, settings, STATUSES) from None


def _make_upsert(request: Request, settings: AudienceSettings, body: UpsertBody) -> UpsertMember:
    return UpsertMember(
        request.path_params["list_id"],
        request.path_params["subscriber_hash"],
        _read_address(body.email_address, settings),
        _read_details(request, body, _check_status("status", body.status, STATUSES)),
        _check_status("status_if_new", body.status_if_new, STATUSES),
        _read_tag_names(body.tags) if body.tags else (),
    )


def read_update(request: Request, settings: AudienceSettings) -> MemberCall:
    """Read `PATCH …/members/{subscriber_hash}`."""
    try:
        return _make_update(request, settings, decode(_update, request.body))
    except Refused as first:
        raise _name_all_faults(first, UpdateBody, request, settings, PATCH_STATUSES) from None


def _make_update(request: Request, settings: AudienceSettings, body: UpdateBody) -> UpdateMember:
    return UpdateMember(
        request.path_params["list_id"],
        request.path_params["subscriber_hash"],
        _read_address(body.email_address, settings),
        _read_details(request, body, _check_status("status", body.status, PATCH_STATUSES)),
    )


def make_path_handler(act: Callable[[ListSet, str], Response], *, row_count: int) -> MemberHandler:
    """Return the handler for calls without a body, which `act` answers."""

    def read(request: Request, _settings: AudienceSettings) -> MemberCall:
        values = request.path_params
        return PathCall(values["list_id"], values["subscriber_hash"], act, row_count)

    return MemberHandler(read)


def get_member(list_set: ListSet, key: str) -> Response:
    """Answer `GET …/members/{subscriber_hash}`."""
    return Response(200, list_set.render_member(list_set.members.get(key)))


def archive_member(list_set: ListSet, key: str) -> Response:
    """Answer `DELETE …/members/{subscriber_hash}`."""
    member = list_set.members.get(key)
    if member.status in {"archived", "pending", "cleaned"}:
        raise method_not_allowed(("GET", "PUT"), _CANNOT_ARCHIVE)
    transitions.archive(list_set, member)
    return NO_CONTENT


def delete_member(list_set: ListSet, key: str) -> Response:
    """Answer `POST …/members/{subscriber_hash}/actions/delete-permanent`."""
    transitions.delete(list_set, list_set.members.get(key))
    return NO_CONTENT


def read_tag_name(name: str) -> str:
    """Return the name of a tag as it is stored; raises Refused."""
    name = name.strip()
    if not name:
        raise invalid_field("tags", "A tag's name should not be blank.")
    if len(name) > limits.tag_name_characters_max:
        most = limits.tag_name_characters_max
        raise invalid_field("tags", f"A tag's name should have {most} characters or less.")
    return _check_text("tags", name)


def check_tag_count(count: int) -> None:
    """Raise a 400 if one call has too many tags for a member."""
    if count > limits.tags_per_call_max:
        most = limits.tags_per_call_max
        raise invalid_field("tags", f"This collection should have {most} items or less.")


def _read_tag_names(names: list[str]) -> tuple[str, ...]:
    check_tag_count(len(names))
    if len(names) > _CACHED_TAGS_MAX:
        return _read_distinct_tag_names(names)
    return _read_cached_tag_names(tuple(names))


@lru_cache(maxsize=1024)  # many calls have the same tags
def _read_cached_tag_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return _read_distinct_tag_names(names)


def _read_distinct_tag_names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(read_tag_name, names)))


def _read_details(request: Request, body: _Body, status: str | None) -> Details:
    if body.interests:
        _refuse_interests(body.interests)
    if body.marketing_permissions:
        _refuse_marketing_permissions(body.marketing_permissions)
    return Details(
        status=status,
        email_type=_read_email_type(body.email_type),
        merge_fields=_read_merge_fields(body.merge_fields),
        language=_read_language(body.language),
        vip=body.vip,
        location=_read_location(body.location),
        ip_signup=_read_ip("ip_signup", body.ip_signup),
        timestamp_signup=_read_moment("timestamp_signup", body.timestamp_signup),
        ip_opt=_read_ip("ip_opt", body.ip_opt),
        timestamp_opt=_read_moment("timestamp_opt", body.timestamp_opt),
        skips_required=request.read_flag("skip_merge_validation"),
    )


def _refuse_interests(given: Mapping[str, bool] | list[Any]) -> None:
    """Raise a 400: no list has interests."""
    if isinstance(given, list):
        raise invalid_field("interests", "Schema describes object, array found instead")
    detail = f"Invalid interest ID: '{next(iter(given))}'."
    raise invalid_resource(detail)


def _refuse_marketing_permissions(_given: list[Any]) -> None:
    """Raise a 400: no list has texts for marketing permissions."""
    raise invalid_field("marketing_permissions", "This list has no marketing permissions.")


def _name_all_faults(
    first: Refused,
    body_type: type,
    request: Request,
    settings: AudienceSettings,
    statuses: tuple[str, ...],
) -> Refused:
    """Return the problem that names every wrong field of a body, of which `first` was found.

    Only a body that is wrong is read a second time, so that all others are read fast.
    """
    if first.problem.title != "Invalid Resource" or not can_explain(request.body):
        return first
    values, errors = decode_fields(body_type, request.body)
    found = [*errors, *_find_wrong_values(values, settings, statuses)]
    # A problem of one field may have a text of its own, without `errors`.
    return first if len(found) <= 1 else invalid_fields(*found)


def _find_wrong_values(
    values: Mapping[str, Any], settings: AudienceSettings, statuses: tuple[str, ...]
) -> Iterable[FieldError]:
    checks: dict[str, Callable[[Any], object]] = {
        "email_address": partial(_read_address, settings=settings),
        "status": partial(_check_status, "status", allowed=statuses),
        "status_if_new": partial(_check_status, "status_if_new", allowed=STATUSES),
        "email_type": _read_email_type,
        "merge_fields": _read_merge_fields,
        "language": _read_language,
        "location": _read_location,
        "ip_signup": partial(_read_ip, "ip_signup"),
        "timestamp_signup": partial(_read_moment, "timestamp_signup"),
        "ip_opt": partial(_read_ip, "ip_opt"),
        "timestamp_opt": partial(_read_moment, "timestamp_opt"),
        "tags": _read_tag_names,
        "interests": _refuse_interests,
        "marketing_permissions": _refuse_marketing_permissions,
    }
    for name, value in values.items():
        # An empty value of these is the same as none.
        if value or name in {"email_address", "status", "status_if_new"}:
            try:
                checks.get(name, bool)(value)
            except Refused as refused:
                problem = refused.problem
                yield from problem.errors or (FieldError(name, problem.detail),)


def _read_address(address: str | msgspec.UnsetType, settings: AudienceSettings) -> str | None:
    if address is msgspec.UNSET:
        return None
    return check_email_address(address, refuses_fake=settings.refuses_fake_addresses)


def _check_status(
    field: str, status: str | msgspec.UnsetType, allowed: tuple[str, ...]
) -> str | None:
    return None if status is msgspec.UNSET else read_choice(field, status, allowed)


def _read_language(language: str | None) -> str | None:
    if language is None:
        return None
    _check_length("language", language, limits.language_characters_max)
    return _check_text("language", language)


def _read_email_type(email_type: str | None) -> str | None:
    return read_choice("email_type", email_type, _EMAIL_TYPES) if email_type else None


def _read_merge_fields(given: Mapping[str, Any] | list[Any] | None) -> Mapping[str, Any]:
    if not given:
        return {}
    if isinstance(given, list):
        raise invalid_field("merge_fields", "Schema describes object, array found instead")
    return given


def _read_location(location: MemberCallsLocation | None) -> tuple[float, float] | None:
    if location is None:
        return None
    latitude = _read_number("location.latitude", location.latitude)
    longitude = _read_number("location.longitude", location.longitude)
    if not (abs(latitude) <= _LATITUDE_MAX and abs(longitude) <= _LONGITUDE_MAX):
        raise invalid_field("location", "There is no such place on earth.")
    return latitude, longitude


def _read_number(field: str, value: float | str) -> float:
    """Return a number that may be given as a text; an empty text is 0."""
    try:
        number = float(value or 0)
    except ValueError:
        number = nan
    if not isfinite(number):  # as text, "nan" and "inf" are numbers for Python
        raise invalid_field(field, "Schema describes number, string found instead")
    return number


_NO_ADDRESS = "This value should be an IPv4 or IPv6 address."


def _read_ip(field: str, value: str | None) -> str | None:
    if value:
        _check_length(field, value, limits.ip_address_characters_max)
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            raise invalid_field(field, _NO_ADDRESS) from None
        zone = getattr(address, "scope_id", None) or ""  # any text after a `%`, for Python
        if (
            len(zone) > limits.ip_zone_characters_max
            or not zone.isascii()
            or not zone.isprintable()
        ):
            raise invalid_field(field, _NO_ADDRESS)
    return value


def _read_moment(field: str, value: str | None) -> Microseconds | None:
    if value is None or not value.strip():
        return None
    moment = parse_iso(value)
    if moment is None or not _EARLIEST <= moment <= _LATEST:
        raise invalid_field(field, "This value should be a date and time in ISO 8601.")
    return moment


def _check_length(field: str, text: str, most: int) -> None:
    if len(text) > most:
        raise invalid_field(field, f"This value should have {most} characters or less.")


def _check_text(field: str, text: str) -> str:
    if not is_storable(text):
        raise invalid_field(field, "This value holds characters that cannot be stored.")
    return text


_CANNOT_ARCHIVE = (
    "This list member cannot be removed. Can not archive a contact that is bounced, pending or "
    "archived"
)
