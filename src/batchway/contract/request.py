"""A call, either a single HTTP request or an operation of a batch."""

from collections.abc import Mapping

import msgspec

from batchway.contract.links import Links
from batchway.contract.paging import Continuation
from batchway.kit.clock import Microseconds

_TRUE = frozenset({"true", "1"})


class Caller(msgspec.Struct, frozen=True):
    """The account, the time and the base of links, of one call or of all calls of a chunk.

    `client_address` is the network address that the call or the batch came from, if it is known.
    """

    account_id: int
    account_name: str
    now: Microseconds
    links: Links
    client_address: str = ""


class Request(msgspec.Struct, gc=False):
    """One call.

    `path` is relative to /3.0 and begins with a slash. `params` is the query string. `headers` have
    lower-case names. The route table fills in `path_params`. `is_paged` is set for a GET operation
    without a `count`: it reads the whole collection, in pages as large as possible, and
    `continuation` is where the next page begins. The client `chose_headers` for an operation of a
    batch: none of them may be ignored.
    """

    method: str
    path: str
    params: Mapping[str, str]
    body: bytes | None = None
    path_params: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    is_paged: bool = False
    continuation: Continuation | None = None
    chose_headers: bool = False

    def read_flag(self, name: str) -> bool:
        """Read a boolean query parameter: `true` and `1` are true, anything else is false."""
        return self.params.get(name, "").lower() in _TRUE
