"""The member state machine: what adding, upserting, updating and archiving make of a member.

| start | call | what follows |
|---|---|---|
| none | add, upsert | a new member |
| archived | add | the same contact comes back; its tags stay |
| any other | add | 400 Member Exists |
| none at the path, address on the list | upsert | 400 Member Exists |
| there | upsert, update | what is given changes; the address may |
| cleaned, or unsubscribed by own wish | become subscribed | 400 Member In Compliance State |
| deleted for good | add, upsert, change of address | 400 Forgotten Email Not Subscribed |
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from batchway.audience import member as members
from batchway.audience.member import UNSUBSCRIBED_BY_API, Member, Tag
from batchway.audience.working_set import ListSet, WorkingSet
from batchway.contract.problems import Refused, invalid_field, problem
from batchway.kit.clock import Microseconds
from batchway.kit.ids import subscriber_hash, unique_email_id


class Details(msgspec.Struct, frozen=True, gc=False):
    """What a call says of a member; None is "nothing said"."""

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
    working: WorkingSet,
    audience: ListSet,
    address: str,
    details: Details,
    tag_names: tuple[str, ...] = (),
) -> Member:
    """A new member, or an archived one that comes back."""
    before = audience.with_address(address)
    if before is None:
        after = _new(working, audience, address, details, tag_names)
    elif before.is_archived:
        after = _changed(working, audience, before, details)
        tags = _with_tags(working, audience, after.tags, tag_names)
        after = msgspec.structs.replace(after, tags=tags)
    else:
        raise member_exists(address)
    audience.put(after)
    return after


def upsert(  # noqa: PLR0913 - the call's own arguments
    working: WorkingSet,
    audience: ListSet,
    key: str,
    address: str | None,
    details: Details,
    status_if_new: str | None,
) -> Member:
    """Update the member that the path names; if there is none, add one with the address."""
    before = audience.find(key)
    if before is not None:
        return update(working, audience, before, address, details)
    if address is None:
        raise invalid_field("", "Required fields were not provided: email_address")
    status = details.status or status_if_new
    if status is None:
        raise invalid_field("", "Required fields were not provided: status_if_new")
    return add(working, audience, address, msgspec.structs.replace(details, status=status))


def update(
    working: WorkingSet,
    audience: ListSet,
    before: Member,
    address: str | None,
    details: Details,
) -> Member:
    """Change what is given, and keep the rest."""
    moved = before
    if address is not None and address != before.email_address:
        moved = _moved(audience, before, address)
    after = _changed(working, audience, moved, details)
    audience.put(after)
    return after


def archive(working: WorkingSet, audience: ListSet, member: Member) -> None:
    """Take a member out of the audience; it can come back with its tags."""
    audience.put(
        msgspec.structs.replace(member, status=members.ARCHIVED, last_changed=working.caller.now)
    )


def set_tags(
    working: WorkingSet,
    audience: ListSet,
    member: Member,
    active: tuple[str, ...],
    inactive: tuple[str, ...],
) -> None:
    """Put a member into some tags and take it out of others; unknown inactive ones are fine."""
    gone = {name.lower() for name in inactive}
    kept = tuple(tag for tag in member.tags if tag.name.lower() not in gone)
    tags = _with_tags(working, audience, kept if gone else member.tags, active)
    if {tag.id for tag in tags} != {tag.id for tag in member.tags}:
        now = working.caller.now
        audience.put(msgspec.structs.replace(member, tags=tags, last_changed=now))


def member_exists(address: str) -> Refused:
    """400: the address is on the list."""
    detail = f"{address} is already a list member. Use PUT to insert or update list members."
    return Refused(problem(400, "Member Exists", detail))


def _new(
    working: WorkingSet,
    audience: ListSet,
    address: str,
    details: Details,
    tag_names: tuple[str, ...],
) -> Member:
    """A new member, made in one go: a chunk has thousands of them."""
    if audience.is_forgotten(address):
        raise _forgotten(address)
    merge_fields = audience.rules.accept(
        details.merge_fields, None, skip_required=details.skips_required
    )
    now, account_id = working.caller.now, working.caller.account_id
    status = details.status or ""
    latitude, longitude = details.location or (0.0, 0.0)
    subscribed_at = now if status == "subscribed" else None
    return Member(
        id=working.next_key("members"),
        account_id=account_id,
        list_id=audience.id,
        subscriber_hash=subscriber_hash(address),
        email_address=address,
        unique_email_id=unique_email_id(account_id, address),
        status=status,
        email_type=details.email_type or "html",
        merge_fields=merge_fields,
        language=details.language or "",
        vip=bool(details.vip),
        latitude=latitude,
        longitude=longitude,
        ip_signup=details.ip_signup or "",
        timestamp_signup=details.timestamp_signup,
        ip_opt=details.ip_opt or "",
        timestamp_opt=_given(details.timestamp_opt, subscribed_at),
        source="API - Generic",
        unsubscribe_reason=UNSUBSCRIBED_BY_API if status == "unsubscribed" else "",
        last_changed=now,
        revision=0,
        tags=_first_tags(working, audience, tag_names),
    )


def _moved(audience: ListSet, before: Member, address: str) -> Member:
    other = audience.with_address(address)
    if other is not None and other.id != before.id:
        raise member_exists(address)
    if other is None and audience.is_forgotten(address):
        raise _forgotten(address)
    return members.with_address(before, address)


def _changed(working: WorkingSet, audience: ListSet, before: Member, details: Details) -> Member:
    status = details.status or before.status
    if status == "subscribed" and before.is_in_compliance_state:
        raise _in_compliance_state(before.email_address)
    merge_fields = audience.rules.accept(
        details.merge_fields, before.merge_fields, skip_required=details.skips_required
    )
    latitude, longitude = details.location or (before.latitude, before.longitude)
    return msgspec.structs.replace(
        before,
        status=status,
        email_type=details.email_type or before.email_type,
        merge_fields=merge_fields,
        language=_given(details.language, before.language),
        vip=_given(details.vip, before.vip),
        latitude=latitude,
        longitude=longitude,
        ip_signup=_given(details.ip_signup, before.ip_signup),
        timestamp_signup=_given(details.timestamp_signup, before.timestamp_signup),
        ip_opt=_given(details.ip_opt, before.ip_opt),
        timestamp_opt=_opted_in_at(working, before, status, details),
        unsubscribe_reason=_unsubscribe_reason(before, status),
        last_changed=working.caller.now,
    )


def _opted_in_at(
    working: WorkingSet, before: Member, status: str, details: Details
) -> Microseconds | None:
    if details.timestamp_opt is not None:
        return details.timestamp_opt
    becomes_subscribed = status == "subscribed" and before.is_archived
    return working.caller.now if becomes_subscribed else before.timestamp_opt


def _unsubscribe_reason(before: Member, status: str) -> str:
    if status != "unsubscribed":
        return ""
    return before.unsubscribe_reason if before.status == status else UNSUBSCRIBED_BY_API


def _first_tags(working: WorkingSet, audience: ListSet, names: tuple[str, ...]) -> tuple[Tag, ...]:
    """The tags of a new member: many come with the same ones."""
    tags = audience.first_tags.get(names)
    if tags is None:
        tags = audience.first_tags[names] = _with_tags(working, audience, (), names)
    return tags


def _with_tags(
    working: WorkingSet, audience: ListSet, present: tuple[Tag, ...], names: tuple[str, ...]
) -> tuple[Tag, ...]:
    """The tags that are `present` and those named; tags that do not exist are made."""
    if not names:
        return present
    wanted = {name.lower(): name for name in names}
    for tag in present:
        wanted.pop(tag.name.lower(), None)
    if not wanted:
        return present
    added = [_tag(working, audience, *each) for each in wanted.items()]
    return tuple(sorted((*present, *added), key=_tag_id))


def _tag(working: WorkingSet, audience: ListSet, name_key: str, name: str) -> Tag:
    known = audience.tags.get(name_key)
    if known is None:
        known = Tag(working.next_key("list_segments"), name, working.caller.now)
        audience.tags[name_key] = known
        audience.new_tags.append(known)
    # One moment for all that a set of calls adds, so that one tag serves them all.
    if known.added_at != working.caller.now:
        known = msgspec.structs.replace(known, added_at=working.caller.now)
        audience.tags[name_key] = known
    return known


def _tag_id(tag: Tag) -> int:
    return tag.id


def _given(value: Any, stored: Any) -> Any:  # noqa: ANN401 - any column
    return stored if value is None else value


def _forgotten(address: str) -> Refused:
    detail = (
        f"{address} was permanently deleted and cannot be re-imported. The contact must "
        "re-subscribe to get back on the list."
    )
    return Refused(problem(400, "Forgotten Email Not Subscribed", detail))


def _in_compliance_state(address: str) -> Refused:
    detail = (
        f"{address} is in a compliance state due to unsubscribe, bounce, or compliance review "
        "and cannot be subscribed."
    )
    return Refused(problem(400, "Member In Compliance State", detail))
