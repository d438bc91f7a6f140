"""Which hand-overs a worker really runs.

A worker can lose one: it has dequeued it and does not run it, and the engine could not record its
end, as the disk was full or the database read-only. The engine keeps it under the name of a worker
that lives, so that nobody would take it over.
"""

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from batchway import limits


class RunningHandOvers:
    """The hand-overs that this worker runs now. Used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._idle_since: dict[str, float] = {}  # pending in the engine's books, but not running

    @contextmanager
    def run(self, workflow_id: str) -> Iterator[None]:
        """Run a hand-over in this block."""
        with self._lock:
            self._running.add(workflow_id)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(workflow_id)

    def find_lost(self, pending: Collection[str]) -> list[str]:
        """Those of the engine's books that have not been running for `lease_seconds`.

        `pending` are all that the books show as run by this worker. One that was just dequeued or
        has just ended is not lost. Called by one thread.
        """
        now = time.monotonic()
        with self._lock:
            idle = set(pending) - self._running
        self._idle_since = {each: self._idle_since.get(each, now) for each in idle}
        return [
            workflow_id
            for workflow_id, since in self._idle_since.items()
            if now - since >= limits.lease_seconds
        ]
