"""The parameters `count` and `offset`: which part of a collection a client reads."""

from collections.abc import Mapping

import msgspec

from batchway import limits
from batchway.contract.problems import FieldError, invalid_fields

_OFFSET_MAX = (1 << 63) - 1


class Page(msgspec.Struct, frozen=True):
    """The part of a collection that a client asked for."""

    count: int
    offset: int


class Continuation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The beginning of the next page, for a GET operation that pages through a whole collection.

    `total_items` is the number that the first page reported. `after_key` is the key of the last
    item of the page before, in collections that are sorted by their key. Unlike an offset, a key
    is fast to find, and stays correct when items are added or deleted meanwhile.
    """

    offset: int
    total_items: int
    after_key: int | None = None


def parse_page(params: Mapping[str, str]) -> Page:
    """Read the page from a query string. A count above the maximum is reduced to the maximum."""
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
