"""A call to answer, whether it came alone over HTTP or as an operation of a batch."""

from collections.abc import Mapping

import msgspec

from batchway.contract.links import Links
from batchway.contract.paging import Continuation
from batchway.kit.clock import Microseconds

_TRUE = frozenset({"true", "1"})


class Caller(msgspec.Struct, frozen=True):
    """For whom, when and under which address a call, or a whole chunk of calls, is answered."""

    account_id: int
    account_name: str
    now: Microseconds
    links: Links


class Request(msgspec.Struct, gc=False):
    """`path` is relative to /3.0 and begins with a slash; `params` is the query string.

    `headers` have lower-case names. `path_params` are filled in by the route table. A GET of a
    batch that does not name a `count` `is_paged`: it is answered with a page as large as may be,
    and goes on at its `continuation`.
    """

    method: str
    path: str
    params: Mapping[str, str]
    body: bytes | None = None
    path_params: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    is_paged: bool = False
    continuation: Continuation | None = None

    def flag(self, name: str) -> bool:
        """A boolean query parameter: `true` and `1` are true, anything else is false."""
        return self.params.get(name, "").lower() in _TRUE
