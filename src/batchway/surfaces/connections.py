"""How many requests of one API key are under way at once, in this process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from batchway.contract.problems import too_many_requests

_RETRY_AFTER_SECONDS = 1


class Connections:
    """Counts requests by key; used on the event loop only, so that it needs no lock."""

    def __init__(self, most: int, what: str) -> None:
        """At most so many at once; `what` names them in the refusal."""
        self._most = most
        self._what = what
        self._open: Counter[int] = Counter()

    @contextmanager
    def one(self, api_key_id: int) -> Iterator[None]:
        """Hold one; raises 429 if there are too many."""
        if self._open[api_key_id] >= self._most:
            detail = (
                f"You have exceeded the limit of {self._most} simultaneous {self._what}. Wait for "
                "one to end, or send the calls as operations of a batch."
            )
            raise too_many_requests(detail, _RETRY_AFTER_SECONDS)
        self._open[api_key_id] += 1
        try:
            yield
        finally:
            self._open[api_key_id] -= 1
            if not self._open[api_key_id]:
                del self._open[api_key_id]
