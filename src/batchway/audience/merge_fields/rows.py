"""The rows of merge fields, and the merge fields of a new list."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection

from batchway.audience.collections import ALL_ITEMS, Conditions
from batchway.audience.merge_fields.rules import MergeField
from batchway.audience.merge_fields.types import Options, Type, complete_options
from batchway.contract.response import encode
from batchway.store.database import Row, insert_many, run

_FIRST_TYPES: tuple[tuple[str, str, Type], ...] = (
    ("FNAME", "First Name", "text"),
    ("LNAME", "Last Name", "text"),
    ("ADDRESS", "Address", "address"),
    ("PHONE", "Phone Number", "phone"),
    ("BIRTHDAY", "Birthday", "birthday"),
)
# The merge fields of a new list. Number 1 of the display order is the address.
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

_options = msgspec.json.Decoder(Options)


def find_merge_fields(
    connection: Connection, account_id: int, list_id: int, conditions: Conditions = ALL_ITEMS
) -> tuple[MergeField, ...]:
    """Return the merge fields of a list, in the order in which they are shown."""
    rows = run(
        connection,
        f"""
        SELECT {", ".join(_COLUMNS)} FROM merge_fields
        WHERE account_id = :account_id AND list_id = :list_id {conditions.sql}
        ORDER BY display_order, merge_id
        """,
        account_id=account_id,
        list_id=list_id,
        **conditions.values,
    )
    return tuple(_parse_row(row) for row in rows)


def _parse_row(row: Row) -> MergeField:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["required"], values["public"] = bool(values["required"]), bool(values["public"])
    values["options"] = _options.decode(values["options"])
    return MergeField(**values)


def insert_merge_fields(
    connection: Connection, account_id: int, list_id: int, fields: Iterable[MergeField]
) -> None:
    """Store new merge fields of a list, whose row the caller has locked or inserted."""
    rows = [(account_id, list_id, *_make_row(field).values()) for field in fields]
    insert_many(connection, "merge_fields", ("account_id", "list_id", *_COLUMNS), rows)


def save_merge_field(
    connection: Connection, account_id: int, list_id: int, field: MergeField
) -> None:
    """Store everything that can change of a merge field."""
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
        **_make_row(field),
    )


def delete_merge_field(
    connection: Connection, account_id: int, list_id: int, merge_id: int
) -> None:
    """Delete a merge field. Its values remain in the rows of members, but are not shown."""
    run(
        connection,
        """
        DELETE FROM merge_fields
        WHERE account_id = :account_id AND list_id = :list_id AND merge_id = :merge_id
        """,
        account_id=account_id,
        list_id=list_id,
        merge_id=merge_id,
    )


def _make_row(field: MergeField) -> dict[str, Any]:
    return msgspec.structs.asdict(field) | {"options": encode(field.options).decode()}
