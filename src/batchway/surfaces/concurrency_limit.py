"""Limits the concurrent requests of each API key in this process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from batchway.contract.problems import too_many_requests

_RETRY_AFTER_SECONDS = 1


class ConcurrencyLimit:
    """Counts requests by key. It is used only on the event loop, so that it needs no lock."""

    def __init__(self, maximum: int, description: str) -> None:
        """`maximum` is that of each key. `description` names the requests in error messages."""
        self._maximum = maximum
        self._description = description
        self._counts: Counter[int] = Counter()

    @contextmanager
    def hold_slot(self, api_key_id: int) -> Iterator[None]:
        """Count a request of a key during the block. Raises a 429 if there are too many."""
        if self._counts[api_key_id] >= self._maximum:
            detail = (
                f"You have exceeded the limit of {self._maximum} simultaneous {self._description}. "
                "Wait for one to end, or send the calls as operations of a batch."
            )
            raise too_many_requests(detail, _RETRY_AFTER_SECONDS)
        self._counts[api_key_id] += 1
        try:
            yield
        finally:
            self._counts[api_key_id] -= 1
            if not self._counts[api_key_id]:
                del self._counts[api_key_id]
