"""Which hand-overs a worker really runs, and which of them it has lost.

A worker loses a hand-over that it has dequeued if the database refuses writes for a while: the step
fails, handing it over again fails, and the engine cannot record the end. The engine then shows the
hand-over as run by a worker that lives, so that no other worker takes it over. Only the process
itself knows that it does not run it.
"""

import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from batchway import limits


class RunningHandOvers:
    """The hand-overs that one process runs, by their ids in the engine. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._idle_looks: dict[str, int] = {}
        self._given_up: set[str] = set()

    @contextmanager
    def run(self, hand_over_id: str) -> Iterator[bool]:
        """Run a hand-over in this block; yield False if it was given up, and must not be run."""
        with self._lock:
            may_run = hand_over_id not in self._given_up
            self._running[hand_over_id] += 1
        try:
            yield may_run
        finally:
            with self._lock:
                self._running[hand_over_id] -= 1
                self._running += Counter()  # without those that are zero

    def give_up_lost(self, dequeued: Collection[str]) -> list[str]:
        """Return the hand-overs that are lost, and never run them from now on.

        `dequeued` are all that the engine shows as run by this worker. One of them is lost if it
        did not run at several looks in a row: it was not just dequeued, and has not just ended.
        """
        with self._lock:
            idle = [each for each in dequeued if each not in self._running]
            self._idle_looks = {each: self._idle_looks.get(each, 0) + 1 for each in idle}
            lost = [
                each for each, looks in self._idle_looks.items() if looks >= limits.lost_looks_min
            ]
            self._given_up = set(lost)
            return lost
