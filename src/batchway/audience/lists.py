"""`/lists`: the lists ("audiences") of an account."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.audience import merge_fields
from batchway.audience.base import reads, writes
from batchway.audience.body import decode_body, decode_changes
from batchway.audience.list_body import ListBody, ListCounts, render_list
from batchway.audience.list_rows import (
    COLUMNS,
    GivenSettings,
    ListRow,
    ListSettings,
    NewList,
    find_list,
    list_row,
    save_list,
    touch_list,
)
from batchway.contract.description import ON_ONE, ON_PAGE, Described, Parameter, order
from batchway.contract.links import Link
from batchway.contract.paging import Page, page
from batchway.contract.problems import forbidden, invalid_field
from batchway.contract.request import Caller, Request
from batchway.contract.response import NO_CONTENT, Response, encode
from batchway.kit import ids
from batchway.kit.clock import Microseconds, parse_iso
from batchway.store.database import for_update, run

__all__ = ["ROUTES", "ListRow", "find_list", "insert_list", "touch_list"]


_COUNTS = """
    list_stats.subscribed_count, list_stats.unsubscribed_count, list_stats.cleaned_count,
    list_stats.pending_count, list_stats.transactional_count, list_stats.archived_count,
    list_stats.last_subscribed_at, list_stats.last_unsubscribed_at,
    (SELECT COUNT(*) FROM merge_fields
     WHERE merge_fields.account_id = lists.account_id AND merge_fields.list_id = lists.id)
"""
_COLUMN_COUNT = len(ListRow.__struct_fields__)

_new_list = msgspec.json.Decoder(NewList)


class _Constraints(msgspec.Struct, frozen=True):
    may_create: bool
    max_instances: int
    current_total_instances: int


class _Collection(msgspec.Struct, frozen=True):
    lists: list[ListBody]
    total_items: int
    constraints: _Constraints
    links: list[Link] = msgspec.field(name="_links")


def _show_all(request: Request, caller: Caller, connection: Connection) -> Response:
    conditions, values = _filters(request)
    order, part = _order(request.params), page(request.params)
    values["account_id"] = caller.account_id
    found = _select(connection, f"{conditions} {order} LIMIT :count OFFSET :offset", values, part)
    existing = _count(connection, "", {"account_id": caller.account_id})
    most = limits.lists_per_account_max
    return Response(
        200,
        _Collection(
            [_render(caller, request, *each) for each in found],
            _count(connection, conditions, values) if conditions else existing,
            _Constraints(existing < most, most, existing),
            caller.links.collection("Lists", "/", "/lists", create=True),
        ),
    )


def _show(request: Request, caller: Caller, connection: Connection) -> Response:
    row = find_list(connection, caller.account_id, request.path_params["list_id"])
    return _reply(request, caller, connection, row.id)


def _create(request: Request, caller: Caller, connection: Connection) -> Response:
    given = _checked(decode_body(_new_list, request.body))
    # Two calls at once may both see the last place free: the bound need not be exact.
    if _count(connection, "", {"account_id": caller.account_id}) >= limits.lists_per_account_max:
        detail = f"An account has at most {limits.lists_per_account_max} lists. Delete one first."
        raise forbidden(detail)
    list_id = insert_list(connection, caller.account_id, given, caller.now)
    return _reply(request, caller, connection, list_id)


def _update(request: Request, caller: Caller, connection: Connection) -> Response:
    row = find_list(
        connection, caller.account_id, request.path_params["list_id"], for_update(connection)
    )
    current = NewList(name=row.name, **_given(row.settings))
    changed = _checked(decode_changes(_new_list, current, request.body))
    settings = ListSettings(merge_id_last=row.settings.merge_id_last, **_given(changed))
    save_list(connection, caller.account_id, row.id, changed.name, settings)
    return _reply(request, caller, connection, row.id)


def _delete(request: Request, caller: Caller, connection: Connection) -> Response:
    row = find_list(
        connection, caller.account_id, request.path_params["list_id"], for_update(connection)
    )
    for statement in _DELETIONS:
        run(connection, statement, account_id=caller.account_id, list_id=row.id)
    return NO_CONTENT


_DELETIONS = (
    """
    DELETE FROM list_segment_members
    WHERE account_id = :account_id AND list_segment_id IN (
        SELECT id FROM list_segments WHERE account_id = :account_id AND list_id = :list_id
    )
    """,
    *(
        f"DELETE FROM {table} WHERE account_id = :account_id AND list_id = :list_id"
        for table in ("list_segments", "members", "forgotten_members", "merge_fields", "list_stats")
    ),
    "DELETE FROM lists WHERE account_id = :account_id AND id = :list_id",
)


def _checked(given: NewList) -> NewList:
    if not given.name.strip():
        raise invalid_field("name", "This value should not be blank.")
    return given


def _given(settings: GivenSettings) -> dict[str, Any]:
    return {each: getattr(settings, each) for each in GivenSettings.__struct_fields__}


def insert_list(
    connection: Connection,
    account_id: int,
    given: NewList,
    now: Microseconds,
    make_id: Callable[[], str] = ids.new_public_id,
) -> int:
    """A new list with the merge fields that every list begins with; its key."""
    settings = ListSettings(merge_id_last=len(merge_fields.FIRST_FIELDS), **_given(given))
    list_id = None
    while list_id is None:  # a public id that is taken is made again
        list_id = run(
            connection,
            """
            INSERT INTO lists (account_id, public_id, name, settings, created_at)
            VALUES (:account_id, :public_id, :name, :settings, :now)
            ON CONFLICT (public_id) DO NOTHING
            RETURNING id
            """,
            account_id=account_id,
            public_id=make_id(),
            name=given.name,
            settings=encode(settings).decode(),
            now=now,
        ).scalar_one_or_none()
    run(
        connection,
        "INSERT INTO list_stats (account_id, list_id) VALUES (:account_id, :list_id)",
        account_id=account_id,
        list_id=list_id,
    )
    merge_fields.insert_fields(connection, account_id, list_id, merge_fields.FIRST_FIELDS)
    return int(list_id)


def _reply(request: Request, caller: Caller, connection: Connection, list_id: int) -> Response:
    values = {"account_id": caller.account_id, "list_id": list_id}
    [found] = _select(connection, "AND lists.id = :list_id", values)
    return Response(200, _render(caller, request, *found))


def _render(caller: Caller, request: Request, row: ListRow, counts: ListCounts) -> ListBody:
    shows_contacts = request.flag("include_total_contacts")
    return render_list(caller.links, row, counts, shows_contacts=shows_contacts)


def _select(
    connection: Connection, rest: str, values: Mapping[str, Any], part: Page | None = None
) -> list[tuple[ListRow, ListCounts]]:
    limits = {"count": part.count, "offset": part.offset} if part else {}
    rows = run(
        connection,
        f"""
        SELECT {COLUMNS}, {_COUNTS}
        FROM lists JOIN list_stats ON list_stats.list_id = lists.id
        WHERE lists.account_id = :account_id {rest}
        """,
        **values,
        **limits,
    )
    return [(list_row(*row[:_COLUMN_COUNT]), ListCounts(*row[_COLUMN_COUNT:])) for row in rows]


def _count(connection: Connection, conditions: str, values: Mapping[str, Any]) -> int:
    statement = f"SELECT COUNT(*) FROM lists WHERE lists.account_id = :account_id {conditions}"
    return int(run(connection, statement, **values).scalar_one())


def _filters(request: Request) -> tuple[str, dict[str, Any]]:
    """The conditions that a collection is asked for, each beginning with AND, and their values."""
    params = request.params
    conditions: list[str] = []
    values: dict[str, Any] = {}
    if (since := _moment(params, "since_date_created")) is not None:
        conditions.append("AND lists.created_at >= :since")
        values["since"] = since
    if (before := _moment(params, "before_date_created")) is not None:
        conditions.append("AND lists.created_at < :before")
        values["before"] = before
    if email_address := params.get("email", "").strip():
        conditions.append(_HOLDS_MEMBER)
        values["subscriber_hash"] = ids.subscriber_hash(email_address)
    sent = [_moment(params, f"{each}_campaign_last_sent") for each in ("since", "before")]
    # There are no campaigns and no stores: nothing was sent to any list, and none has a store.
    if sent != [None, None] or request.flag("has_ecommerce_store"):
        conditions.append("AND 1 = 0")
    return " ".join(conditions), values


_HOLDS_MEMBER = """
    AND EXISTS (
        SELECT 1 FROM members
        WHERE members.account_id = :account_id AND members.list_id = lists.id
        AND members.subscriber_hash = :subscriber_hash AND members.status <> 'archived'
    )
"""


def _moment(params: Mapping[str, str], name: str) -> Microseconds | None:
    text = params.get(name, "").strip()
    if not text:
        return None
    moment = parse_iso(text)
    if moment is None:
        raise invalid_field(name, "This value should be a date and time in ISO 8601 format.")
    return moment


def _order(params: Mapping[str, str]) -> str:
    if params.get("sort_field", "date_created") != "date_created":
        raise invalid_field("sort_field", "Lists can only be sorted by date_created.")
    direction = params.get("sort_dir", "ASC").upper()
    if direction not in {"ASC", "DESC"}:
        raise invalid_field("sort_dir", "This value should be ASC or DESC.")
    return f"ORDER BY lists.created_at {direction}, lists.id {direction}"


_TAG = "Lists"
_WITH_CONTACTS = Parameter(
    name="include_total_contacts",
    description="Show `stats.total_contacts`: every contact that is stored, archived ones too.",
    kind="boolean",
)
_EXAMPLE = {
    "name": "Readers",
    "contact": {
        "company": "Acme",
        "address1": "1 Main Street",
        "city": "Springfield",
        "country": "US",
    },
    "permission_reminder": "You signed up with us.",
    "campaign_defaults": {
        "from_name": "Acme",
        "from_email": "acme@example.com",
        "subject": "",
        "language": "en",
    },
    "email_type_option": True,
}


def _since(name: str, description: str) -> Parameter:
    return Parameter(name=name, description=description, format="date-time")


_FILTERS = (
    _since("since_date_created", "Only lists made at this time or later."),
    _since("before_date_created", "Only lists made before this time."),
    _since("since_campaign_last_sent", "No list at all: nothing was sent to any."),
    _since("before_campaign_last_sent", "No list at all: nothing was sent to any."),
    Parameter(name="email", description="Only lists that have this address as a member."),
    Parameter(
        name="has_ecommerce_store",
        description="If true, no list at all: none has a store.",
        kind="boolean",
    ),
)

ROUTES = (
    (
        "GET",
        "/lists",
        reads(_show_all, items="lists"),
        Described(
            "The lists of the account.",
            query=(*ON_PAGE, *_FILTERS, _WITH_CONTACTS, *order("date_created", default="ASC")),
            reply=_Collection,
            tag=_TAG,
        ),
    ),
    (
        "POST",
        "/lists",
        writes(_create),
        Described(
            "Make a list.",
            body=NewList,
            body_example=_EXAMPLE,
            reply=ListBody,
            errors=(403,),
            tag=_TAG,
        ),
    ),
    (
        "GET",
        "/lists/{list_id}",
        reads(_show),
        Described("One list.", query=(*ON_ONE, _WITH_CONTACTS), reply=ListBody, tag=_TAG),
    ),
    (
        "PATCH",
        "/lists/{list_id}",
        writes(_update),
        Described(
            "Change the name and the settings of a list.",
            notes="What is not given stays as it is.",
            body=NewList,
            is_body_partial=True,
            body_example={"name": "Friends"},
            reply=ListBody,
            tag=_TAG,
        ),
    ),
    (
        "DELETE",
        "/lists/{list_id}",
        writes(_delete),
        Described("Delete a list with all its members, for good.", tag=_TAG),
    ),
)
