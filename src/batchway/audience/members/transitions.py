"""The state machine of members: what each call does to a member.

| member before | call | result |
|---|---|---|
| none | add, upsert | a new member |
| archived | add | the same contact is restored with its tags |
| any other | add | 400 Member Exists |
| none at the path, one with the address | upsert | 400 Member Exists |
| found | upsert, update | what is given changes, the address too; `last_changed` if anything does |
| cleaned, or has unsubscribed itself | change to subscribed | 400 Member In Compliance State |
| deleted for good | add, upsert, change of address | 400 Forgotten Email Not Subscribed |
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from batchway.audience.members.member import (
    ARCHIVED,
    UNSUBSCRIBED_BY_API,
    Member,
    change_address,
)
from batchway.audience.working_set import ListSet
from batchway.contract.problems import Refused, build_problem, invalid_field
from batchway.kit.clock import Microseconds
from batchway.kit.ids import compute_subscriber_hash, compute_unique_email_id


class Details(msgspec.Struct, frozen=True, gc=False):
    """The values that a call gives for a member; None for a value that it does not give."""

    status: str | None = None
    email_type: str | None = None
    merge_fields: Mapping[str, Any] = {}
    language: str | None = None
    vip: bool | None = None
    location: tuple[float, float] | None = None
    ip_signup: str | None = None
    timestamp_signup: Microseconds | None = None
    ip_opt: str | None = None
    timestamp_opt: Microseconds | None = None
    skips_required: bool = False


def add(
    list_set: ListSet,
    address: str,
    details: Details,
    tag_names: tuple[str, ...] = (),
) -> Member:
    """Add a new member, or restore an archived one."""
    before = list_set.members.find_by_address(address)
    if before is None:
        after = _make_member(list_set, address, details, tag_names)
    elif before.is_archived:
        after = _change(list_set, before, details)
        tags = list_set.tags.add_to(after.tags, tag_names)
        after = _stamp(list_set, before, msgspec.structs.replace(after, tags=tags))
    else:
        raise _refuse_existing(address)
    list_set.members.put(after)
    return after


def upsert(  # noqa: PLR0913 - what a PUT can say
    list_set: ListSet,
    key: str,
    address: str | None,
    details: Details,
    status_if_new: str | None,
    tag_names: tuple[str, ...] = (),
) -> Member:
    """Update the member that the path names; if there is none, add one with the address and tags.

    The tags of a member that exists do not change.
    """
    before = list_set.members.find(key)
    if before is not None:
        return update(list_set, before, address, details)
    if address is None:
        raise invalid_field("", "Required fields were not provided: email_address")
    status = details.status or status_if_new
    if status is None:
        raise invalid_field("", "Required fields were not provided: status_if_new")
    return add(list_set, address, msgspec.structs.replace(details, status=status), tag_names)


def update(
    list_set: ListSet,
    before: Member,
    address: str | None,
    details: Details,
) -> Member:
    """Change the values that are given."""
    member = before
    if address is not None and address != before.email_address:
        member = _change_address(list_set, before, address)
    after = _stamp(list_set, before, _change(list_set, member, details))
    if after is not before:
        list_set.members.put(after)
    return after


def archive(list_set: ListSet, member: Member) -> None:
    """Archive a member, which can be restored with its tags."""
    list_set.members.put(
        msgspec.structs.replace(member, status=ARCHIVED, last_changed=list_set.caller.now)
    )


def delete(list_set: ListSet, member: Member) -> None:
    """Delete a member for good; its address cannot be added any more."""
    list_set.members.delete(member)
    list_set.forgotten.add(member)


def set_tags(
    list_set: ListSet,
    member: Member,
    active: tuple[str, ...],
    inactive: tuple[str, ...],
) -> Member:
    """Add the active tags to a member and remove the inactive ones; return the member."""
    inactive_names = {name.lower() for name in inactive}
    kept = tuple(tag for tag in member.tags if tag.name.lower() not in inactive_names)
    tags = list_set.tags.add_to(kept if inactive_names else member.tags, active)
    if {tag.id for tag in tags} == {tag.id for tag in member.tags}:
        return member
    after = msgspec.structs.replace(member, tags=tags, last_changed=list_set.caller.now)
    list_set.members.put(after)
    return after


def _refuse_existing(address: str) -> Refused:
    detail = f"{address} is already a list member. Use PUT to insert or update list members."
    return Refused(build_problem(400, "Member Exists", detail))


def _make_member(
    list_set: ListSet,
    address: str,
    details: Details,
    tag_names: tuple[str, ...],
) -> Member:
    """Return a new member. It is created in one step, because a chunk has thousands of them."""
    if list_set.forgotten.has_address(address):
        raise _refuse_forgotten(address)
    merge_fields = list_set.merge_fields.rules.read_values(
        details.merge_fields, None, skip_required=details.skips_required
    )
    now, account_id = list_set.caller.now, list_set.caller.account_id
    status = details.status or ""
    latitude, longitude = details.location or (0.0, 0.0)
    subscribed_at = now if status == "subscribed" else None
    return Member(
        id=list_set.take_key("members"),
        account_id=account_id,
        list_id=list_set.id,
        subscriber_hash=compute_subscriber_hash(address),
        email_address=address,
        unique_email_id=compute_unique_email_id(account_id, address),
        status=status,
        email_type=details.email_type or "html",
        merge_fields=merge_fields,
        language=details.language or "",
        vip=bool(details.vip),
        latitude=latitude,
        longitude=longitude,
        ip_signup=details.ip_signup or "",
        timestamp_signup=details.timestamp_signup,
        ip_opt=details.ip_opt or (list_set.caller.client_address if subscribed_at else ""),
        timestamp_opt=_choose(details.timestamp_opt, subscribed_at),
        source="API - Generic",
        unsubscribe_reason=UNSUBSCRIBED_BY_API if status == "unsubscribed" else "",
        last_changed=now,
        revision=0,
        tags=list_set.tags.get_for_new_member(tag_names),
    )


def _change_address(list_set: ListSet, before: Member, address: str) -> Member:
    other = list_set.members.find_by_address(address)
    if other is not None and other.id != before.id:
        raise _refuse_existing(address)
    if other is None and list_set.forgotten.has_address(address):
        raise _refuse_forgotten(address)
    return change_address(before, address)


def _change(list_set: ListSet, before: Member, details: Details) -> Member:
    status = details.status or before.status
    if status == "subscribed" and before.is_in_compliance_state:
        raise _refuse_compliance_state(before.email_address)
    merge_fields = list_set.merge_fields.rules.read_values(
        details.merge_fields, before.merge_fields, skip_required=details.skips_required
    )
    latitude, longitude = details.location or (before.latitude, before.longitude)
    ip_opt, timestamp_opt = before.ip_opt, before.timestamp_opt
    if status == "subscribed" and before.is_archived:
        ip_opt, timestamp_opt = list_set.caller.client_address, list_set.caller.now
    return msgspec.structs.replace(
        before,
        status=status,
        email_type=details.email_type or before.email_type,
        merge_fields=merge_fields,
        language=_choose(details.language, before.language),
        vip=_choose(details.vip, before.vip),
        latitude=latitude,
        longitude=longitude,
        ip_signup=_choose(details.ip_signup, before.ip_signup),
        timestamp_signup=_choose(details.timestamp_signup, before.timestamp_signup),
        ip_opt=_choose(details.ip_opt, ip_opt),
        timestamp_opt=_choose(details.timestamp_opt, timestamp_opt),
        unsubscribe_reason=_choose_unsubscribe_reason(before, status),
    )


def _stamp(list_set: ListSet, before: Member, after: Member) -> Member:
    """Return a member with the time of its change; `before` itself if nothing has changed."""
    if after == before:
        return before
    return msgspec.structs.replace(after, last_changed=list_set.caller.now)


def _choose_unsubscribe_reason(before: Member, status: str) -> str:
    if status != "unsubscribed":
        return ""
    return before.unsubscribe_reason if before.status == status else UNSUBSCRIBED_BY_API


def _choose(given: Any, stored: Any) -> Any:  # noqa: ANN401 - any column
    return stored if given is None else given


def _refuse_forgotten(address: str) -> Refused:
    detail = (
        f"{address} was permanently deleted and cannot be re-imported. The contact must "
        "re-subscribe to get back on the list."
    )
    return Refused(build_problem(400, "Forgotten Email Not Subscribed", detail))


def _refuse_compliance_state(address: str) -> Refused:
    detail = (
        f"{address} is in a compliance state due to unsubscribe, bounce, or compliance review "
        "and cannot be subscribed."
    )
    return Refused(build_problem(400, "Member In Compliance State", detail))
