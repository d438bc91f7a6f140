"""`/lists`: the lists ("audiences") of an account."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.audience.base import make_read_handler, make_write_handler
from batchway.audience.body import decode_body, decode_changes
from batchway.audience.collections import (
    NOTHING,
    Filter,
    SortOrder,
    filter_by_flag,
    filter_by_moment,
    read_conditions,
)
from batchway.audience.countries import read_country_code
from batchway.audience.lists.body import ListBody, ListCounts, render_list
from batchway.audience.lists.deletion import delete_list
from batchway.audience.lists.rows import (
    COLUMNS,
    ListRow,
    ListSettings,
    NewList,
    find_list,
    insert_list,
    list_owner_settings,
    parse_row,
    save_list,
)
from batchway.audience.merge_fields.rows import FIRST_FIELDS, insert_merge_fields
from batchway.contract.description import (
    ON_ONE,
    ON_PAGE,
    CallDescription,
    Parameter,
    build_sort_parameters,
)
from batchway.contract.links import Link
from batchway.contract.paging import Page, parse_page
from batchway.contract.problems import forbidden, invalid_field
from batchway.contract.request import Caller, Request
from batchway.contract.response import NO_CONTENT, Response
from batchway.kit.ids import compute_subscriber_hash
from batchway.store.database import run, sql_for_update

_COUNTS = """
    list_stats.subscribed_count, list_stats.unsubscribed_count, list_stats.cleaned_count,
    list_stats.pending_count, list_stats.transactional_count, list_stats.archived_count,
    list_stats.last_subscribed_at, list_stats.last_unsubscribed_at,
    (SELECT COUNT(*) FROM merge_fields
     WHERE merge_fields.account_id = lists.account_id AND merge_fields.list_id = lists.id)
"""
_COLUMN_COUNT = len(ListRow.__struct_fields__)

_HOLDS_MEMBER = """EXISTS (
    SELECT 1 FROM members
    WHERE members.account_id = :account_id AND members.list_id = lists.id
    AND members.subscriber_hash = :email AND members.status <> 'archived'
)"""
_FILTERS = (
    filter_by_moment(
        "since_date_created",
        "lists.created_at >= :since_date_created",
        "Only lists made at this time or later.",
    ),
    filter_by_moment(
        "before_date_created",
        "lists.created_at < :before_date_created",
        "Only lists made before this time.",
    ),
    # There are no campaigns and no stores, so that no list meets these conditions.
    filter_by_moment(
        "since_campaign_last_sent", NOTHING, "No list at all: nothing was sent to any."
    ),
    filter_by_moment(
        "before_campaign_last_sent", NOTHING, "No list at all: nothing was sent to any."
    ),
    Filter(
        Parameter(name="email", description="Only lists that have this address as a member."),
        _HOLDS_MEMBER,
        lambda _name, address: compute_subscriber_hash(address),
    ),
    filter_by_flag("has_ecommerce_store", NOTHING, "If true, no list at all: none has a store."),
)
_ORDER = SortOrder({"date_created": "lists.created_at"}, key="lists.id", default="ASC")

_new_list = msgspec.json.Decoder(NewList)


class ListsConstraints(msgspec.Struct, frozen=True):
    """Whether the account may create another list."""

    may_create: bool
    max_instances: int
    current_total_instances: int


class ListsCollection(msgspec.Struct, frozen=True):
    """A page of the lists of an account."""

    lists: list[ListBody]
    total_items: int
    constraints: ListsConstraints
    links: list[Link] = msgspec.field(name="_links")


def _get_lists(request: Request, caller: Caller, connection: Connection) -> Response:
    conditions = read_conditions(_FILTERS, request.params)
    order_by, part = _ORDER.read(request.params), parse_page(request.params)
    values = {**conditions.values, "account_id": caller.account_id}
    found = _select(
        connection,
        f"{conditions.sql} ORDER BY {order_by} LIMIT :count OFFSET :offset",
        values,
        part,
    )
    existing = _count(connection, "", {"account_id": caller.account_id})
    most = limits.lists_per_account_max
    return Response(
        200,
        ListsCollection(
            [_render(caller, request, row, counts) for row, counts in found],
            _count(connection, conditions.sql, values) if conditions.sql else existing,
            ListsConstraints(existing < most, most, existing),
            caller.links.build_collection_links("Lists", "/", "/lists", create=True),
        ),
    )


def _get_list(request: Request, caller: Caller, connection: Connection) -> Response:
    row = find_list(connection, caller.account_id, request.path_params["list_id"])
    return _read_list(request, caller, connection, row.id)


def _create_list(request: Request, caller: Caller, connection: Connection) -> Response:
    new = _check(decode_body(_new_list, request.body))
    # Two calls at the same time may exceed the limit by one, which does no harm.
    if _count(connection, "", {"account_id": caller.account_id}) >= limits.lists_per_account_max:
        detail = f"An account has at most {limits.lists_per_account_max} lists. Delete one first."
        raise forbidden(detail)
    settings = ListSettings(merge_id_last=len(FIRST_FIELDS), **list_owner_settings(new))
    list_id = insert_list(connection, caller.account_id, new.name, settings, caller.now)
    insert_merge_fields(connection, caller.account_id, list_id, FIRST_FIELDS)
    return _read_list(request, caller, connection, list_id)


def _update_list(request: Request, caller: Caller, connection: Connection) -> Response:
    row = find_list(
        connection, caller.account_id, request.path_params["list_id"], sql_for_update(connection)
    )
    current = NewList(name=row.name, **list_owner_settings(row.settings))
    changed = _check(decode_changes(_new_list, current, request.body))
    settings = ListSettings(
        merge_id_last=row.settings.merge_id_last, **list_owner_settings(changed)
    )
    save_list(connection, caller.account_id, row.id, changed.name, settings)
    return _read_list(request, caller, connection, row.id)


def _delete_list(request: Request, caller: Caller, connection: Connection) -> Response:
    row = find_list(
        connection, caller.account_id, request.path_params["list_id"], sql_for_update(connection)
    )
    delete_list(connection, caller.account_id, row.id, caller.now)
    return NO_CONTENT


def _check(new: NewList) -> NewList:
    """Return the list with a valid country; raises 400."""
    if not new.name.strip():
        raise invalid_field("name", "This value should not be blank.")
    country = read_country_code(new.contact.country)
    contact = msgspec.structs.replace(new.contact, country=country)
    return msgspec.structs.replace(new, contact=contact)


def _read_list(request: Request, caller: Caller, connection: Connection, list_id: int) -> Response:
    values = {"account_id": caller.account_id, "list_id": list_id}
    [found] = _select(connection, "AND lists.id = :list_id", values)
    return Response(200, _render(caller, request, *found))


def _render(caller: Caller, request: Request, row: ListRow, counts: ListCounts) -> ListBody:
    shows_contacts = request.read_flag("include_total_contacts")
    return render_list(caller.links, row, counts, shows_contacts=shows_contacts)


def _select(
    connection: Connection, rest: str, values: Mapping[str, Any], part: Page | None = None
) -> list[tuple[ListRow, ListCounts]]:
    bounds = {"count": part.count, "offset": part.offset} if part else {}
    rows = run(
        connection,
        f"""
        SELECT {COLUMNS}, {_COUNTS}
        FROM lists JOIN list_stats ON list_stats.list_id = lists.id
        WHERE lists.account_id = :account_id {rest}
        """,
        **values,
        **bounds,
    )
    return [(parse_row(*row[:_COLUMN_COUNT]), ListCounts(*row[_COLUMN_COUNT:])) for row in rows]


def _count(connection: Connection, conditions: str, values: Mapping[str, Any]) -> int:
    statement = f"SELECT COUNT(*) FROM lists WHERE lists.account_id = :account_id {conditions}"
    return int(run(connection, statement, **values).scalar_one())


_TAG = "Lists"
_WITH_CONTACTS = Parameter(
    name="include_total_contacts",
    description="Show `stats.total_contacts`: subscribed, unsubscribed and transactional ones.",
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

ROUTES = (
    (
        "GET",
        "/lists",
        make_read_handler(_get_lists, items="lists"),
        CallDescription(
            "The lists of the account.",
            query=(
                *ON_PAGE,
                *(filter_.parameter for filter_ in _FILTERS),
                _WITH_CONTACTS,
                *build_sort_parameters("date_created", default="ASC"),
            ),
            reply=ListsCollection,
            tag=_TAG,
        ),
    ),
    (
        "POST",
        "/lists",
        make_write_handler(_create_list),
        CallDescription(
            "Create a list.",
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
        make_read_handler(_get_list),
        CallDescription("One list.", query=(*ON_ONE, _WITH_CONTACTS), reply=ListBody, tag=_TAG),
    ),
    (
        "PATCH",
        "/lists/{list_id}",
        make_write_handler(_update_list),
        CallDescription(
            "Change the name and the settings of a list.",
            notes="Fields that are not given do not change.",
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
        make_write_handler(_delete_list),
        CallDescription("Delete a list and all its members permanently.", tag=_TAG),
    ),
)
