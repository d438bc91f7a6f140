"""`/lists/{list_id}/merge-fields`: the fields for values of members besides an address."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.audience.base import make_read_handler, make_write_handler
from batchway.audience.body import decode_body, decode_changes
from batchway.audience.collections import filter_by_boolean, filter_by_choice, read_conditions
from batchway.audience.lists.rows import ListRow, find_list, save_list, touch_list
from batchway.audience.merge_fields.rows import (
    delete_merge_field,
    find_merge_fields,
    insert_merge_fields,
    save_merge_field,
)
from batchway.audience.merge_fields.rules import MergeField, check_default
from batchway.audience.merge_fields.types import Options, Type, complete_options
from batchway.contract.description import ON_ONE, ON_PAGE, CallDescription
from batchway.contract.links import Link, Links
from batchway.contract.paging import parse_page
from batchway.contract.problems import (
    FieldError,
    invalid_fields,
    invalid_resource,
    not_found,
)
from batchway.contract.request import Caller, Request
from batchway.contract.response import NO_CONTENT, Response
from batchway.store.database import sql_for_update

_TAG = re.compile(r"[A-Z0-9_]{1,10}")
_ADDRESS_TAG = "EMAIL"  # the tag of the address, which every list has as field 0
_SCHEMA = "Lists/MergeFields"

_FILTERS = (
    filter_by_choice("type", "type = :type", "Only fields of this type.", get_args(Type)),
    filter_by_boolean(
        "required",
        "required = :required",
        "Only fields that are required, or only those that are not.",
    ),
)


class MergeFieldsGiven(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say about a merge field."""

    tag: str = ""
    name: str
    type: Type
    required: bool = False
    default_value: str = ""
    public: bool = False
    display_order: int = 0
    options: Options = Options()
    help_text: str = ""


class MergeFieldsBody(MergeField, frozen=True, kw_only=True):
    """A merge field as the API shows it."""

    list_id: str
    links: list[Link] = msgspec.field(name="_links")


class MergeFieldsCollection(msgspec.Struct, frozen=True):
    """A page of the merge fields of a list."""

    merge_fields: list[MergeFieldsBody]
    list_id: str
    total_items: int
    merge_field_limit: int
    links: list[Link] = msgspec.field(name="_links")


class MergeFieldsCreated(MergeFieldsBody, frozen=True, kw_only=True):
    """A new merge field, and how many the list has and may have."""

    total_items: int
    merge_field_limit: int


_definition = msgspec.json.Decoder(MergeFieldsGiven)


def _get_merge_fields(request: Request, caller: Caller, connection: Connection) -> Response:
    row = _find_list(request, caller, connection)
    conditions = read_conditions(_FILTERS, request.params)
    found = find_merge_fields(connection, caller.account_id, row.id, conditions)
    fields = sorted(found, key=lambda field: field.tag)
    part = parse_page(request.params)
    path = f"/lists/{row.public_id}"
    return Response(
        200,
        MergeFieldsCollection(
            [
                _render(field, row, caller.links)
                for field in fields[part.offset : part.offset + part.count]
            ],
            row.public_id,
            len(fields),
            limits.merge_fields_per_list_max,
            caller.links.build_collection_links(_SCHEMA, path, f"{path}/merge-fields", create=True),
        ),
    )


def _get_merge_field(request: Request, caller: Caller, connection: Connection) -> Response:
    row = _find_list(request, caller, connection)
    field = _find_field(_find_fields(connection, caller, row), request)
    return Response(200, _render(field, row, caller.links))


def _create_merge_field(request: Request, caller: Caller, connection: Connection) -> Response:
    row = _find_list(request, caller, connection, sql_for_update(connection))
    definition = decode_body(_definition, request.body)
    others = _find_fields(connection, caller, row)
    if len(others) >= limits.merge_fields_per_list_max:
        most = limits.merge_fields_per_list_max
        detail = f"A list has at most {most} merge fields. Delete one first."
        raise invalid_resource(detail)
    merge_id = row.settings.merge_id_last + 1
    options = complete_options(definition.type, definition.options)
    field = _make_field(merge_id, definition, options, _choose_tag(merge_id, others), others)
    settings = msgspec.structs.replace(row.settings, merge_id_last=merge_id)
    save_list(connection, caller.account_id, row.id, row.name, settings)
    insert_merge_fields(connection, caller.account_id, row.id, [field])
    body = MergeFieldsCreated(
        total_items=len(others) + 1,
        merge_field_limit=limits.merge_fields_per_list_max,
        **msgspec.structs.asdict(_render(field, row, caller.links)),
    )
    return Response(200, body)


def _update_merge_field(request: Request, caller: Caller, connection: Connection) -> Response:
    row = _find_list(request, caller, connection, sql_for_update(connection))
    fields = _find_fields(connection, caller, row)
    field = _find_field(fields, request)
    current = MergeFieldsGiven(**_list_given_values(field))
    definition = decode_changes(_definition, current, request.body)
    definition = msgspec.structs.replace(definition, type=field.type)  # the type never changes
    options = complete_options(field.type, definition.options)
    if field.type == "text":
        options = field.options  # the size can only be chosen when the field is made
    others = [other for other in fields if other is not field]
    changed = _make_field(field.merge_id, definition, options, field.tag, others)
    touch_list(connection, caller.account_id, row.id)
    save_merge_field(connection, caller.account_id, row.id, changed)
    return Response(200, _render(changed, row, caller.links))


def _delete_merge_field(request: Request, caller: Caller, connection: Connection) -> Response:
    row = _find_list(request, caller, connection, sql_for_update(connection))
    field = _find_field(_find_fields(connection, caller, row), request)
    touch_list(connection, caller.account_id, row.id)
    delete_merge_field(connection, caller.account_id, row.id, field.merge_id)
    return NO_CONTENT


def _find_list(request: Request, caller: Caller, connection: Connection, lock: str = "") -> ListRow:
    return find_list(connection, caller.account_id, request.path_params["list_id"], lock)


def _find_fields(connection: Connection, caller: Caller, row: ListRow) -> tuple[MergeField, ...]:
    return find_merge_fields(connection, caller.account_id, row.id)


def _find_field(fields: Iterable[MergeField], request: Request) -> MergeField:
    for field in fields:
        if str(field.merge_id) == request.path_params["merge_id"]:
            return field
    raise not_found()


def _choose_tag(merge_id: int, others: Iterable[MergeField]) -> str:
    """Return the tag of a field whose definition names none."""
    taken = {field.tag for field in others}
    number = merge_id
    while f"MMERGE{number}" in taken:
        number += 1
    return f"MMERGE{number}"


def _make_field(
    merge_id: int,
    definition: MergeFieldsGiven,
    options: Options,
    tag: str,
    others: Sequence[MergeField],
) -> MergeField:
    """Return the field of a definition; raises 400. `tag` and the last place are defaults."""
    values = _list_given_values(definition)
    values["options"] = options
    given_tag = definition.tag.strip()
    # The upper case of some other letters is in ASCII.
    values["tag"] = (given_tag.upper() if given_tag.isascii() else given_tag) or tag
    if not definition.display_order:
        values["display_order"] = max((other.display_order for other in others), default=1) + 1
    field = MergeField(merge_id=merge_id, **values)
    errors = list(_find_errors(field))
    if errors:
        raise invalid_fields(*errors)
    if field.tag == _ADDRESS_TAG or any(field.tag == other.tag for other in others):
        detail = f'A Merge Field with the tag "{field.tag}" already exists for this list.'
        raise invalid_resource(detail, [FieldError("tag", detail)])
    check_default(field)
    return field


def _list_given_values(field: MergeField | MergeFieldsGiven) -> dict[str, Any]:
    return {name: getattr(field, name) for name in MergeFieldsGiven.__struct_fields__}


def _find_errors(field: MergeField) -> Iterator[FieldError]:
    if not field.name.strip():
        yield FieldError("name", "This value should not be blank.")
    if not _TAG.fullmatch(field.tag):
        message = "A tag has at most 10 characters: letters A to Z, digits and underscores."
        yield FieldError("tag", message)
    if not 0 < field.display_order <= limits.merge_display_order_max:
        yield FieldError(
            "display_order", f"This value should be from 1 to {limits.merge_display_order_max}."
        )


def _render(field: MergeField, row: ListRow, links: Links) -> MergeFieldsBody:
    parent = f"/lists/{row.public_id}/merge-fields"
    return MergeFieldsBody(
        list_id=row.public_id,
        links=links.build_object_links(
            _SCHEMA, parent, f"{parent}/{field.merge_id}", methods=("PATCH", "DELETE")
        ),
        **msgspec.structs.asdict(field),
    )


_TITLE = "Merge fields"
_ALL = "/lists/{list_id}/merge-fields"
_ONE = "/lists/{list_id}/merge-fields/{merge_id}"
_DETAILS: dict[str, dict[str, Any]] = {
    "tag": {
        "description": "What the field is called in `merge_fields` of a member.",
        "pattern": "^[A-Za-z0-9_]{0,10}$",
    },
    "display_order": {"minimum": 0, "maximum": limits.merge_display_order_max},
    "options.choices": {"description": "What a radio or dropdown field may hold."},
    "options.size": {"minimum": 0, "maximum": limits.merge_text_characters_max},
}

ROUTES = (
    (
        "GET",
        _ALL,
        make_read_handler(_get_merge_fields, items="merge_fields"),
        CallDescription(
            "The merge fields of a list, in the order of their tags.",
            query=(
                *ON_PAGE,
                *(filter_.parameter for filter_ in _FILTERS),
            ),
            reply=MergeFieldsCollection,
            tag=_TITLE,
        ),
    ),
    (
        "POST",
        _ALL,
        make_write_handler(_create_merge_field),
        CallDescription(
            "Add a merge field to a list.",
            body=MergeFieldsGiven,
            body_details=_DETAILS,
            body_example={"tag": "CITY", "name": "City", "type": "text"},
            reply=MergeFieldsCreated,
            tag=_TITLE,
        ),
    ),
    (
        "GET",
        _ONE,
        make_read_handler(_get_merge_field),
        CallDescription("One merge field.", query=ON_ONE, reply=MergeFieldsBody, tag=_TITLE),
    ),
    (
        "PATCH",
        _ONE,
        make_write_handler(_update_merge_field),
        CallDescription(
            "Change a merge field, except its type.",
            body=MergeFieldsGiven,
            is_body_partial=True,
            body_details=_DETAILS,
            body_example={"name": "Home town"},
            reply=MergeFieldsBody,
            tag=_TITLE,
        ),
    ),
    (
        "DELETE",
        _ONE,
        make_write_handler(_delete_merge_field),
        CallDescription("Delete a merge field, and its values of all members.", tag=_TITLE),
    ),
)
