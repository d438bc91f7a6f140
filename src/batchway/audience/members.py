"""The members of a list: the routes, and the collection with its filters."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection

from batchway.audience import merge_fields
from batchway.audience.base import reads
from batchway.audience.lists import find_list
from batchway.audience.member import ARCHIVED, COLUMNS, STATUSES, Member, from_row
from batchway.audience.member_body import MemberBody, MemberRenderer
from batchway.audience.member_calls import (
    AddBody,
    OnMembers,
    UpdateBody,
    UpsertBody,
    archive_member,
    delete_member,
    get_member,
    on_one,
    read_add,
    read_update,
    read_upsert,
)
from batchway.audience.member_details import MEMBER_DETAILS, SKIP_MERGE_VALIDATION
from batchway.audience.member_rows import tags_of
from batchway.audience.merge_values import MergeRules
from batchway.contract.description import ON_ONE, ON_PAGE, Described, Parameter, order
from batchway.contract.links import Link
from batchway.contract.paging import Page, page
from batchway.contract.problems import bad_request, invalid_field
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.kit.clock import Microseconds, parse_iso
from batchway.store.database import run

_SORTABLE = ("timestamp_opt", "timestamp_signup", "last_changed")
_BY_KEY = "id"
_TRUE = frozenset({"true", "1"})


class _Members(msgspec.Struct, rename={"links": "_links"}):
    members: list[MemberBody]
    list_id: str
    total_items: int
    links: list[Link]


def get_members(request: Request, caller: Caller, connection: Connection) -> Response:
    """`GET /lists/{list_id}/members`."""
    row = find_list(connection, caller.account_id, request.path_params["list_id"])
    wanted = page(request.params)
    filters, values = _filters(request.params)
    values |= {"account_id": caller.account_id, "list_id": row.id}
    where = " AND ".join(["TRUE", *filters])
    order = _order(request.params)
    total = _total(connection, request, where, values)
    if request.continuation and request.continuation.after_key is not None and order == _BY_KEY:
        where, wanted = f"{where} AND id > :after_key", Page(wanted.count, 0)
        values["after_key"] = request.continuation.after_key
    found = _select(connection, where, order, wanted, values)
    fields = merge_fields.of_lists(connection, caller.account_id, [row.id])
    rules = MergeRules(fields.get(row.id, ()))
    render = MemberRenderer(row.public_id, rules, caller.links).body
    return Response(
        200,
        _Members(
            [render(member) for member in found],
            row.public_id,
            total,
            caller.links.collection(
                "Lists/Members",
                f"/lists/{row.public_id}",
                f"/lists/{row.public_id}/members",
                create=True,
            ),
        ),
        last_key=found[-1].id if found and order == _BY_KEY else None,
    )


def _total(connection: Connection, request: Request, where: str, values: Mapping[str, Any]) -> int:
    """Counted once for all pages: counting a large list takes longer than reading a page."""
    if request.continuation is not None:
        return request.continuation.total_items
    return int(
        run(
            connection,
            f"""
            SELECT count(*) FROM members
            WHERE account_id = :account_id AND list_id = :list_id AND {where}
            """,
            **values,
        ).scalar_one()
    )


def _select(
    connection: Connection, where: str, order: str, wanted: Page, values: dict[str, Any]
) -> list[Member]:
    statement = f"""
        SELECT {", ".join(COLUMNS)} FROM members
        WHERE account_id = :account_id AND list_id = :list_id AND {where}
        ORDER BY {order} LIMIT :count OFFSET :offset
        """
    rows = list(run(connection, statement, count=wanted.count, offset=wanted.offset, **values))
    tags = tags_of(connection, values["account_id"], [row.id for row in rows])
    return [from_row(row, tags.get(row.id, ())) for row in rows]


def _filters(params: Mapping[str, str]) -> tuple[list[str], dict[str, Any]]:
    """SQL conditions and their values; filters are ANDed."""
    conditions: list[str] = []
    values: dict[str, Any] = {}
    for name, (condition, read) in _FILTERS.items():
        if params.get(name, "").strip():
            conditions.append(condition)
            values[name] = read(name, params[name].strip())
    if params.get("vip_only", "").lower() in _TRUE:
        conditions.append("vip")
    if "unsubscribed_since" in values and params.get("status") != "unsubscribed":
        detail = "unsubscribed_since can only be used together with status=unsubscribed."
        raise bad_request(detail)
    return conditions, values


def _order(params: Mapping[str, str]) -> str:
    column = params.get("sort_field", "").strip()
    direction = params.get("sort_dir", "").strip().upper() or "DESC"
    if column and column not in _SORTABLE:
        raise invalid_field("sort_field", f"Value should be one of {', '.join(_SORTABLE)}.")
    if direction not in {"ASC", "DESC"}:
        raise invalid_field("sort_dir", "Value should be one of ASC, DESC.")
    return f"{column} {direction}, id {direction}" if column else _BY_KEY


def _moment(name: str, text: str) -> Microseconds:
    moment = parse_iso(text)
    if moment is None:
        raise invalid_field(name, "This value should be a date and time in ISO 8601.")
    return moment


def _status(name: str, text: str) -> str:
    if text not in {*STATUSES, ARCHIVED}:
        raise invalid_field(name, f"Value should be one of {', '.join((*STATUSES, ARCHIVED))}.")
    return text


def _text(_name: str, text: str) -> str:
    return text


_FILTERS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "email_type": ("email_type = :email_type", _text),
    "status": ("status = :status", _status),
    "since_timestamp_opt": ("timestamp_opt > :since_timestamp_opt", _moment),
    "before_timestamp_opt": ("timestamp_opt < :before_timestamp_opt", _moment),
    "since_last_changed": ("last_changed > :since_last_changed", _moment),
    "before_last_changed": ("last_changed < :before_last_changed", _moment),
    "unsubscribed_since": ("last_changed > :unsubscribed_since", _moment),
    "unique_email_id": ("unique_email_id = :unique_email_id", _text),
}

_ALL = "/lists/{list_id}/members"
_ONE = "/lists/{list_id}/members/{subscriber_hash}"

_TAG = "Members"
_DETAILS = MEMBER_DETAILS | {"status": {"enum": [*STATUSES]}}
_QUERY = (
    *ON_PAGE,
    Parameter(name="email_type", description="Only members with this type of email."),
    Parameter(
        name="status",
        description="Only members with this status. Without it, archived members are shown, too.",
        choices=(*STATUSES, ARCHIVED),
    ),
    *(
        Parameter(name=name, description=description, format="date-time")
        for name, description in (
            ("since_timestamp_opt", "Only members who confirmed after this time."),
            ("before_timestamp_opt", "Only members who confirmed before this time."),
            ("since_last_changed", "Only members who were changed after this time."),
            ("before_last_changed", "Only members who were changed before this time."),
            (
                "unsubscribed_since",
                "Only members who unsubscribed after this time; with `status=unsubscribed` only.",
            ),
        )
    ),
    Parameter(name="unique_email_id", description="Only the member with this `unique_email_id`."),
    Parameter(name="vip_only", description="Only members who are VIPs.", kind="boolean"),
    *order(*_SORTABLE, default="DESC"),
)

ROUTES = (
    (
        "GET",
        _ALL,
        reads(get_members, items="members"),
        Described(
            "The members of a list, oldest first unless they are sorted.",
            query=_QUERY,
            reply=_Members,
            tag=_TAG,
        ),
    ),
    (
        "POST",
        _ALL,
        OnMembers(read_add),
        Described(
            "Add a member to a list.",
            notes="An address that is there is refused, unless its member is archived.",
            query=(SKIP_MERGE_VALIDATION,),
            body=AddBody,
            body_details=_DETAILS,
            body_example={
                "email_address": "ann@example.com",
                "status": "subscribed",
                "merge_fields": {"FNAME": "Ann", "LNAME": "Lee"},
            },
            reply=MemberBody,
            tag=_TAG,
        ),
    ),
    (
        "GET",
        _ONE,
        on_one(get_member),
        Described("One member.", query=ON_ONE, reply=MemberBody, tag=_TAG),
    ),
    (
        "PUT",
        _ONE,
        OnMembers(read_upsert),
        Described(
            "Add a member, or update the one that is there.",
            query=(SKIP_MERGE_VALIDATION,),
            body=UpsertBody,
            body_details=_DETAILS | {"status_if_new": {"enum": [*STATUSES]}},
            body_example={
                "email_address": "ann@example.com",
                "status_if_new": "subscribed",
                "merge_fields": {"FNAME": "Ann"},
            },
            reply=MemberBody,
            tag=_TAG,
        ),
    ),
    (
        "PATCH",
        _ONE,
        OnMembers(read_update),
        Described(
            "Update a member that is there.",
            query=(SKIP_MERGE_VALIDATION,),
            body=UpdateBody,
            body_details=MEMBER_DETAILS
            | {"status": {"enum": [each for each in STATUSES if each != "transactional"]}},
            body_example={"merge_fields": {"FNAME": "Anna"}},
            reply=MemberBody,
            tag=_TAG,
        ),
    ),
    (
        "DELETE",
        _ONE,
        on_one(archive_member),
        Described("Archive a member; it can come back.", errors=(405,), tag=_TAG),
    ),
    (
        "POST",
        f"{_ONE}/actions/delete-permanent",
        on_one(delete_member),
        Described("Delete a member for good; the address cannot be added again.", tag=_TAG),
    ),
)
