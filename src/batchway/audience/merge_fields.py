"""`/lists/{list_id}/merge-fields`: which values the members of a list have besides an address."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.audience.base import reads, writes
from batchway.audience.body import decode_body, decode_changes
from batchway.audience.list_rows import ListRow, find_list, save_list, touch_list
from batchway.audience.merge_types import Options, Type, complete_options
from batchway.audience.merge_values import MergeField, check_default
from batchway.contract.description import ON_ONE, ON_PAGE, Described, Parameter
from batchway.contract.links import Link, Links
from batchway.contract.paging import page
from batchway.contract.problems import (
    FieldError,
    invalid_field,
    invalid_fields,
    invalid_resource,
    not_found,
)
from batchway.contract.request import Caller, Request
from batchway.contract.response import NO_CONTENT, Response, encode
from batchway.store.database import any_of, for_update, insert_many, run, values_for

__all__ = ["FIRST_FIELDS", "ROUTES", "MergeField", "insert_fields", "of_lists"]

_TAG = re.compile(r"[A-Z0-9_]{1,10}")
_ADDRESS_TAG = "EMAIL"  # every list has it, as the field 0; it is the member's address
_DEFINITION = "Lists/MergeFields"

_FIRST_TYPES: tuple[tuple[str, str, Type], ...] = (
    ("FNAME", "First Name", "text"),
    ("LNAME", "Last Name", "text"),
    ("ADDRESS", "Address", "address"),
    ("PHONE", "Phone Number", "phone"),
    ("BIRTHDAY", "Birthday", "birthday"),
)
# What a new list begins with. The address is shown first, as number 1.
FIRST_FIELDS = tuple(
    MergeField(
        merge_id=number,
        tag=tag,
        name=name,
        type=kind,
        display_order=number + 1,
        options=complete_options(kind, Options()),
    )
    for number, (tag, name, kind) in enumerate(_FIRST_TYPES, start=1)
)

_COLUMNS = MergeField.__struct_fields__


class _Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of a merge field."""

    tag: str = ""
    name: str
    type: Type
    required: bool = False
    default_value: str = ""
    public: bool = False
    display_order: int = 0
    options: Options = Options()
    help_text: str = ""


class _Body(MergeField, frozen=True, kw_only=True):
    list_id: str
    links: list[Link] = msgspec.field(name="_links")


class _Collection(msgspec.Struct, frozen=True):
    merge_fields: list[_Body]
    list_id: str
    total_items: int
    links: list[Link] = msgspec.field(name="_links")


_given = msgspec.json.Decoder(_Given)
_options = msgspec.json.Decoder(Options)


def _show_all(request: Request, caller: Caller, connection: Connection) -> Response:
    row = _list_of(request, caller, connection)
    fields = _filtered(_fields(connection, caller, row), request)
    part = page(request.params)
    path = f"/lists/{row.public_id}"
    return Response(
        200,
        _Collection(
            [
                _body(field, row, caller.links)
                for field in fields[part.offset : part.offset + part.count]
            ],
            row.public_id,
            len(fields),
            caller.links.collection(_DEFINITION, path, f"{path}/merge-fields", create=True),
        ),
    )


def _show(request: Request, caller: Caller, connection: Connection) -> Response:
    row = _list_of(request, caller, connection)
    field = _chosen(_fields(connection, caller, row), request)
    return Response(200, _body(field, row, caller.links))


def _create(request: Request, caller: Caller, connection: Connection) -> Response:
    row = _list_of(request, caller, connection, for_update(connection))
    given = decode_body(_given, request.body)
    others = _fields(connection, caller, row)
    if len(others) >= limits.merge_fields_per_list_max:
        most = limits.merge_fields_per_list_max
        detail = f"A list has at most {most} merge fields. Delete one first."
        raise invalid_resource(detail)
    merge_id = row.settings.merge_id_last + 1
    options = complete_options(given.type, given.options)
    field = _checked(merge_id, given, options, _free_tag(merge_id, others), others)
    settings = msgspec.structs.replace(row.settings, merge_id_last=merge_id)
    save_list(connection, caller.account_id, row.id, row.name, settings)
    insert_fields(connection, caller.account_id, row.id, [field])
    return Response(200, _body(field, row, caller.links))


def _update(request: Request, caller: Caller, connection: Connection) -> Response:
    row = _list_of(request, caller, connection, for_update(connection))
    fields = _fields(connection, caller, row)
    field = _chosen(fields, request)
    current = _Given(**{each: getattr(field, each) for each in _Given.__struct_fields__})
    given = decode_changes(_given, current, request.body)
    given = msgspec.structs.replace(given, type=field.type)  # it stays what it was made as
    options = complete_options(field.type, given.options)
    if field.type == "text":
        options = field.options  # the size can only be chosen at first
    others = [each for each in fields if each is not field]
    changed = _checked(field.merge_id, given, options, field.tag, others)
    touch_list(connection, caller.account_id, row.id)
    _save(connection, caller.account_id, row.id, changed)
    return Response(200, _body(changed, row, caller.links))


def _delete(request: Request, caller: Caller, connection: Connection) -> Response:
    row = _list_of(request, caller, connection, for_update(connection))
    field = _chosen(_fields(connection, caller, row), request)
    touch_list(connection, caller.account_id, row.id)
    run(
        connection,
        """
        DELETE FROM merge_fields
        WHERE account_id = :account_id AND list_id = :list_id AND merge_id = :merge_id
        """,
        account_id=caller.account_id,
        list_id=row.id,
        merge_id=field.merge_id,
    )
    return NO_CONTENT


def _list_of(request: Request, caller: Caller, connection: Connection, lock: str = "") -> ListRow:
    return find_list(connection, caller.account_id, request.path_params["list_id"], lock)


def _fields(connection: Connection, caller: Caller, row: ListRow) -> tuple[MergeField, ...]:
    return of_lists(connection, caller.account_id, [row.id])[row.id]


def _chosen(fields: Iterable[MergeField], request: Request) -> MergeField:
    for field in fields:
        if str(field.merge_id) == request.path_params["merge_id"]:
            return field
    raise not_found()


def _filtered(fields: Sequence[MergeField], request: Request) -> Sequence[MergeField]:
    kind = request.params.get("type", "")
    if kind and kind not in get_args(Type):
        message = f"Value '{kind}' is not one of the values that this field can have."
        raise invalid_field("type", message)
    is_required = request.flag("required") if request.params.get("required") else None
    return [
        field
        for field in fields
        if kind in {"", field.type} and is_required in {None, field.required}
    ]


def _free_tag(merge_id: int, others: Iterable[MergeField]) -> str:
    """The tag of a field that is given none."""
    taken = {each.tag for each in others}
    number = merge_id
    while f"MMERGE{number}" in taken:
        number += 1
    return f"MMERGE{number}"


def _checked(
    merge_id: int, given: _Given, options: Options, tag: str, others: Sequence[MergeField]
) -> MergeField:
    """The field that a client describes; raises 400. `tag` and the last place are defaults."""
    values = {each: getattr(given, each) for each in _Given.__struct_fields__}
    values["options"] = options
    given_tag = given.tag.strip()
    # Some letters beyond ASCII become others in upper case.
    values["tag"] = (given_tag.upper() if given_tag.isascii() else given_tag) or tag
    if not given.display_order:
        values["display_order"] = max((each.display_order for each in others), default=1) + 1
    field = MergeField(merge_id=merge_id, **values)
    errors = list(_errors(field))
    if errors:
        raise invalid_fields(*errors)
    if field.tag == _ADDRESS_TAG or any(field.tag == each.tag for each in others):
        detail = f'A Merge Field with the tag "{field.tag}" already exists for this list.'
        raise invalid_resource(detail, [FieldError("tag", detail)])
    check_default(field)
    return field


def _errors(field: MergeField) -> Iterator[FieldError]:
    if not field.name.strip():
        yield FieldError("name", "This value should not be blank.")
    if not _TAG.fullmatch(field.tag):
        message = "A tag has at most 10 characters: letters A to Z, digits and underscores."
        yield FieldError("tag", message)
    if not 0 < field.display_order <= limits.merge_display_order_max:
        yield FieldError(
            "display_order", f"This value should be from 1 to {limits.merge_display_order_max}."
        )


def _body(field: MergeField, row: ListRow, links: Links) -> _Body:
    parent = f"/lists/{row.public_id}/merge-fields"
    values = {each: getattr(field, each) for each in _COLUMNS}
    return _Body(
        list_id=row.public_id,
        links=links.instance(
            _DEFINITION, parent, f"{parent}/{field.merge_id}", methods=("PATCH", "DELETE")
        ),
        **values,
    )


def of_lists(
    connection: Connection, account_id: int, list_ids: Iterable[int]
) -> dict[int, tuple[MergeField, ...]]:
    """The merge fields of each of these lists, in the order in which they are shown."""
    found: dict[int, list[MergeField]] = {each: [] for each in list_ids}
    rows = run(
        connection,
        f"""
        SELECT list_id, {", ".join(_COLUMNS)} FROM merge_fields
        WHERE account_id = :account_id AND list_id {any_of(connection, "list_ids")}
        ORDER BY list_id, display_order, merge_id
        """,
        account_id=account_id,
        list_ids=values_for(connection, found),
    )
    for list_id, *values in rows:
        found[list_id].append(_field_of(values))
    return {each: tuple(fields) for each, fields in found.items()}


def _field_of(values: Sequence[Any]) -> MergeField:
    given = dict(zip(_COLUMNS, values, strict=True))
    given["required"], given["public"] = bool(given["required"]), bool(given["public"])
    given["options"] = _options.decode(given["options"])
    return MergeField(**given)


def insert_fields(
    connection: Connection, account_id: int, list_id: int, fields: Iterable[MergeField]
) -> None:
    """Store new merge fields of a list, whose row the caller has locked or just made."""
    rows = [(account_id, list_id, *_stored(field).values()) for field in fields]
    insert_many(connection, "merge_fields", ("account_id", "list_id", *_COLUMNS), rows)


def _save(connection: Connection, account_id: int, list_id: int, field: MergeField) -> None:
    run(
        connection,
        """
        UPDATE merge_fields
        SET tag = :tag, name = :name, required = :required, default_value = :default_value,
            public = :public, display_order = :display_order, options = :options,
            help_text = :help_text
        WHERE account_id = :account_id AND list_id = :list_id AND merge_id = :merge_id
        """,
        account_id=account_id,
        list_id=list_id,
        **_stored(field),
    )


def _stored(field: MergeField) -> dict[str, Any]:
    values = {each: getattr(field, each) for each in _COLUMNS}
    values["options"] = encode(field.options).decode()
    return values


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
        reads(_show_all, items="merge_fields"),
        Described(
            "The merge fields of a list, in the order in which they are shown.",
            query=(
                *ON_PAGE,
                Parameter(
                    name="type", description="Only fields of this type.", choices=get_args(Type)
                ),
                Parameter(
                    name="required",
                    description="Only fields that are required, or only those that are not.",
                    kind="boolean",
                ),
            ),
            reply=_Collection,
            tag=_TITLE,
        ),
    ),
    (
        "POST",
        _ALL,
        writes(_create),
        Described(
            "Add a merge field to a list.",
            body=_Given,
            body_details=_DETAILS,
            body_example={"tag": "CITY", "name": "City", "type": "text"},
            reply=_Body,
            tag=_TITLE,
        ),
    ),
    (
        "GET",
        _ONE,
        reads(_show),
        Described("One merge field.", query=ON_ONE, reply=_Body, tag=_TITLE),
    ),
    (
        "PATCH",
        _ONE,
        writes(_update),
        Described(
            "Change a merge field; its type stays.",
            body=_Given,
            is_body_partial=True,
            body_details=_DETAILS,
            body_example={"name": "Home town"},
            reply=_Body,
            tag=_TITLE,
        ),
    ),
    (
        "DELETE",
        _ONE,
        writes(_delete),
        Described("Delete a merge field, and its values of all members.", tag=_TITLE),
    ),
)
