"""`/lists/{list_id}/merge-fields`: which values the members of a list have besides an address."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection

from batchway import limits
from batchway.audience.base import reads, writes
from batchway.audience.body import decode_body, decode_changes
from batchway.audience.list_rows import ListRow, find_list, save_list, touch_list
from batchway.audience.merge_types import Options, Type, complete_options
from batchway.audience.merge_values import MergeField, check_default
from batchway.contract.links import Link, Links
from batchway.contract.paging import page
from batchway.contract.problems import FieldError, invalid_field, invalid_resource, not_found
from batchway.contract.request import Caller, Request
from batchway.contract.response import NO_CONTENT, Response, encode
from batchway.store.database import any_of, for_update, insert_many, run, values_for

__all__ = ["FIRST_FIELDS", "ROUTES", "MergeField", "insert_fields", "of_lists"]

_TAG = re.compile(r"[A-Z0-9_]{1,10}")
_ADDRESS_TAG = "EMAIL"  # every list has it, as the field 0; it is the member's address
_DISPLAY_ORDER_MAX = 1_000_000
_MERGE_ID_DIGITS_MAX = 9
_DEFINITION = "Lists/MergeFields"

# A new list begins with these; the address itself is shown first, as number 1.
FIRST_FIELDS = (
    MergeField(
        merge_id=1, tag="FNAME", name="First Name", type="text", display_order=2, options=Options()
    ),
    MergeField(
        merge_id=2, tag="LNAME", name="Last Name", type="text", display_order=3, options=Options()
    ),
    MergeField(
        merge_id=3, tag="ADDRESS", name="Address", type="address", display_order=4, options=Options()
    ),
    MergeField(
        merge_id=4, tag="PHONE", name="Phone Number", type="phone", display_order=5, options=Options()
    ),
    MergeField(
        merge_id=5, tag="BIRTHDAY", name="Birthday", type="birthday", display_order=6, options=Options()
    ),
)


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
