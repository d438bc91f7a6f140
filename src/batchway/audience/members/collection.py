"""`GET /lists/{list_id}/members`: the members of a list, with filters and sort orders."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.audience.collections import (
    NOTHING,
    Conditions,
    SortOrder,
    filter_by_choice,
    filter_by_flag,
    filter_by_moment,
    filter_by_text,
    read_conditions,
)
from batchway.audience.list_collection import ListScope
from batchway.audience.lists.rows import count_members, find_list
from batchway.audience.members.body import MemberBody, MemberRenderer
from batchway.audience.members.member import ARCHIVED, COLUMNS, STATUSES, Member
from batchway.audience.members.rows import parse_rows
from batchway.audience.merge_fields.rows import find_merge_fields
from batchway.audience.merge_fields.rules import MergeRules
from batchway.contract.links import Link
from batchway.contract.paging import Page, parse_page
from batchway.contract.problems import bad_request, invalid_field
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.store.database import Row, run

_INTEREST_FILTERS = ("interest_category_id", "interest_ids", "interest_match")
FILTERS = (
    filter_by_text(
        "email_type", "email_type = :email_type", "Only members with this type of email."
    ),
    filter_by_choice(
        "status",
        "status = :status",
        "Only members with this status. Without it, archived members are shown, too.",
        (*STATUSES, ARCHIVED),
    ),
    filter_by_moment(
        "since_timestamp_opt",
        "timestamp_opt > :since_timestamp_opt",
        "Only members who confirmed after this time.",
    ),
    filter_by_moment(
        "before_timestamp_opt",
        "timestamp_opt < :before_timestamp_opt",
        "Only members who confirmed before this time.",
    ),
    filter_by_moment(
        "since_last_changed",
        "last_changed > :since_last_changed",
        "Only members who were changed after this time.",
    ),
    filter_by_moment(
        "before_last_changed",
        "last_changed < :before_last_changed",
        "Only members who were changed before this time.",
    ),
    filter_by_moment(
        "unsubscribed_since",
        "last_changed > :unsubscribed_since",
        "Only members who unsubscribed after this time; with `status=unsubscribed` only.",
    ),
    filter_by_text(
        "unique_email_id",
        "unique_email_id = :unique_email_id",
        "Only the member with this `unique_email_id`.",
    ),
    filter_by_flag("vip_only", "vip", "Only members who are VIPs."),
    # No campaign was ever sent to a list, so that all its members meet this condition.
    filter_by_flag(
        "since_last_campaign",
        "1 = 1",
        "Only members who changed their status since the last campaign; with a `status` only.",
    ),
    # No list has interests, so that a query that names one is refused.
    *(
        filter_by_text(name, NOTHING, "Refused: a list has no interests.")
        for name in _INTEREST_FILTERS
    ),
)
_BY_KEY = "id"
_MERGE_FIELDS = COLUMNS.index("merge_fields")
SORT_ORDER = SortOrder(
    {name: name for name in ("timestamp_opt", "timestamp_signup", "last_changed")},
    key="id",
    default="DESC",
    unsorted=_BY_KEY,
)
# The filters for which the counters of a list know the number of members.
_COUNTED_FILTERS = frozenset({"status"})


class Members(msgspec.Struct, rename={"links": "_links"}):
    """A page of the members of a list."""

    members: list[MemberBody]
    list_id: str
    total_items: int
    links: list[Link]


def get_members(request: Request, caller: Caller, connection: Connection) -> Response:
    """Answer `GET /lists/{list_id}/members`."""
    row = find_list(connection, caller.account_id, request.path_params["list_id"])
    scope = ListScope(connection, caller.account_id, row.id)
    part = parse_page(request.params)
    conditions = _read_conditions(request.params)
    order_by = SORT_ORDER.read(request.params)
    total = _count_members(scope, request, conditions)
    previous = request.continuation
    if previous and previous.after_key is not None and order_by == _BY_KEY:
        conditions = _continue_after(conditions, previous.after_key)
        part = Page(part.count, 0)
    found = _select_members(scope, conditions, order_by, part)
    rules = MergeRules(find_merge_fields(connection, caller.account_id, row.id))
    render = MemberRenderer(row.public_id, rules, caller.links).defer_rendering
    path = f"/lists/{row.public_id}"
    return Response(
        200,
        Members(
            [render(member) for member in found],
            row.public_id,
            total,
            caller.links.build_collection_links(
                "Lists/Members", path, f"{path}/members", create=True
            ),
        ),
        last_key=found[-1].id if found and order_by == _BY_KEY else None,
    )


def _read_conditions(params: Mapping[str, str]) -> Conditions:
    conditions = read_conditions(FILTERS, params)
    if "unsubscribed_since" in conditions.values and params.get("status") != "unsubscribed":
        detail = "unsubscribed_since can only be used together with status=unsubscribed."
        raise bad_request(detail)
    if params.get("since_last_campaign", "").strip() and "status" not in conditions.values:
        detail = "Status is required when using since_last_campaign filter."
        raise bad_request(detail)
    for name in _INTEREST_FILTERS:
        if name in conditions.values:
            raise invalid_field(name, "This list has no interests.")
    return conditions


def _count_members(scope: ListScope, request: Request, conditions: Conditions) -> int:
    """Return how many members meet the conditions; counted once for all pages of a GET in a batch.

    To count the rows of a large list takes longer than to read a page of it.
    """
    if request.continuation is not None:
        return request.continuation.total_items
    if conditions.names <= _COUNTED_FILTERS:
        return count_members(scope, conditions.values.get("status"))
    return int(
        run(
            scope.connection,
            f"""
            SELECT count(*) FROM members
            WHERE account_id = :account_id AND list_id = :list_id {conditions.sql}
            """,
            account_id=scope.account_id,
            list_id=scope.list_id,
            **conditions.values,
        ).scalar_one()
    )


def _continue_after(conditions: Conditions, key: int) -> Conditions:
    """Return conditions for the members after a key: faster and more exact than an offset."""
    return Conditions(
        f"{conditions.sql} AND id > :after_key",
        {**conditions.values, "after_key": key},
        conditions.names,
    )


def _select_members(
    scope: ListScope, conditions: Conditions, order_by: str, part: Page
) -> list[Member]:
    rows = run(
        scope.connection,
        f"""
        SELECT {", ".join(COLUMNS)} FROM members
        WHERE account_id = :account_id AND list_id = :list_id {conditions.sql}
        ORDER BY {order_by} LIMIT :count OFFSET :offset
        """,
        account_id=scope.account_id,
        list_id=scope.list_id,
        count=part.count,
        offset=part.offset,
        **conditions.values,
    )
    return parse_rows(scope, list(_take_page(rows)))


def _take_page(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows of one page: at least one, and then until the values are large."""
    size = 0
    for row in rows:
        yield row
        size += len(row[_MERGE_FIELDS])
        if size >= limits.page_bytes_max:
            return
