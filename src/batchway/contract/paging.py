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


def page(params: Mapping[str, str]) -> Page:
    """The page that a query string asks for; a count over the maximum is answered with it."""
    count = _number(params, "count", limits.page_count_default)
    offset = _number(params, "offset", 0)
    return Page(min(count, limits.page_count_max), min(offset, _OFFSET_MAX))


def _number(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise invalid_fields(FieldError(name, "This value should be a whole number of 0 or more."))
    return int(text[:20])
