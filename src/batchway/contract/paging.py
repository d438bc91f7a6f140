"""`count` and `offset` of a collection."""

from collections.abc import Mapping

import msgspec

from batchway import limits
from batchway.contract.problems import FieldError, invalid_fields

_OFFSET_MAX = (1 << 63) - 1


class Page(msgspec.Struct, frozen=True):
    """Which part of a collection is asked for."""

    count: int
    offset: int


class Continuation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the next page of a collection begins that is being paged through.

    `total_items` is what the first page said. Where a collection is in the order of its keys,
    `after_key` is the last one that was shown: neither slow nor mistaken when others come and go.
    """

    offset: int
    total_items: int
    after_key: int | None = None


def page(params: Mapping[str, str]) -> Page:
    """The page that a query string asks for; a count over the maximum is answered with it."""
    count = _parse_number(params, "count", limits.page_count_default)
    offset = _parse_number(params, "offset", 0)
    return Page(min(count, limits.page_count_max), min(offset, _OFFSET_MAX))


def _parse_number(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise invalid_fields(FieldError(name, "This value should be a whole number of 0 or more."))
    return int(text[:20])
