"""Polls a batch while it runs, and checks that its status and counters only increase."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.scenario import GIVE_UP_SECONDS, Server, wait_until

STATUSES = ["pending", "preprocessing", "started", "finalizing", "finished"]


@dataclass
class BatchMonitor:
    """One batch, and all replies that `poll` got for it."""

    server: Server
    batch_id: str
    seen: list[dict[str, Any]] = field(default_factory=list)

    def poll(self) -> bool:
        """GET the batch, compare it with the last reply, and return whether it is finished.

        While the API restarts, a call may fail. A refused connection is an error: the
        supervisor keeps the socket open.
        """
        try:
            batch = self.server.get_batch(self.batch_id)
        except httpx.ConnectError:
            raise
        except httpx.TransportError:
            return False
        if self.seen:
            _check_progress(self.seen[-1], batch)
        _check_reply(batch)
        self.seen.append(batch)
        return bool(batch["status"] == "finished")

    def wait_until_finished(self) -> None:
        """Poll until the batch is finished."""
        wait_until(self.poll, f"batch {self.batch_id} finishes")

    def poll_for(self, seconds: float) -> None:
        """Poll for some time."""
        poll_batches([self], seconds)

    @property
    def is_running(self) -> bool:
        """Return whether the batch was not finished in the last reply."""
        return not self.seen or self.seen[-1]["status"] != "finished"


def poll_batches(monitors: Sequence[BatchMonitor], seconds: float) -> None:
    """Poll several batches for some time."""
    end = time.monotonic() + seconds

    def is_over() -> bool:
        for monitor in monitors:
            monitor.poll()
        return time.monotonic() >= end

    wait_until(is_over, "the time is over", seconds + GIVE_UP_SECONDS)


def _check_reply(batch: dict[str, Any]) -> None:
    total, finished = batch["total_operations"], batch["finished_operations"]
    is_finished = batch["status"] == "finished"

    assert batch["status"] in STATUSES
    assert 0 <= batch["errored_operations"] <= finished <= total
    assert finished == total or batch["status"] in STATUSES[:3]
    assert is_finished == bool(batch["completed_at"]) == bool(batch["response_body_url"])


def _check_progress(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert STATUSES.index(before["status"]) <= STATUSES.index(after["status"]), (before, after)
    for counter in ("total_operations", "finished_operations", "errored_operations"):
        assert before[counter] <= after[counter], (before, after)
    for fixed in ("id", "submitted_at"):
        assert before[fixed] == after[fixed], (before, after)
