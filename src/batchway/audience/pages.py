"""Pages of a whole collection, for a GET of a batch that does not name a `count`."""

import msgspec

from batchway import limits
from batchway.contract.paging import Continuation, parse_page
from batchway.contract.request import Request
from batchway.contract.response import EMPTY_OBJECT, Response, encode


def ask_for_page(request: Request, items: str) -> None:
    """Change the parameters so that they ask for the next page, unless they have a `count`."""
    has_count = bool(request.params.get("count", "").strip())
    request.is_paged = request.is_paged and bool(items) and not has_count
    if not request.is_paged:
        return
    params = {**request.params, "count": str(limits.page_count_max)}
    if request.continuation is not None:
        params["offset"] = str(request.continuation.offset)
    request.params = params


def find_next_page(
    request: Request, items: str, response: Response
) -> tuple[int, Continuation | None]:
    """Return how many items a response holds, and the continuation if there is a next page."""
    returned = len(getattr(response.body, items))
    offset = parse_page(request.params).offset + returned
    total: int = response.body.total_items
    if not returned or offset >= total:
        return returned, None
    return returned, Continuation(offset, total, response.last_key)


def encode_page(response: Response, returned: int, continuation: Continuation | None) -> Response:
    """Return the page with `returned_item_count` as its last key.

    The body is encoded, so that pages need less memory until they are recorded.
    """
    body = encode(response.body)
    comma = b"" if body == EMPTY_OBJECT else b","
    counted = b'%b%b"returned_item_count":%d}' % (body[:-1], comma, returned)
    return msgspec.structs.replace(response, body=msgspec.Raw(counted), continuation=continuation)
