"""Looks at a batch while it runs: what its owner sees may only ever go forward."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.scenario import GIVE_UP_SECONDS, Server, until

STATUSES = ["pending", "preprocessing", "started", "finalizing", "finished"]


@dataclass
class Watch:
    """One batch, and all that was seen of it."""

    server: Server
    batch_id: str
    seen: list[dict[str, Any]] = field(default_factory=list)

    def look(self) -> bool:
        """Look once, and compare with the time before; whether the batch is finished.

        While the API is being started again nothing is seen. Refused connections are not
        expected: the supervisor holds the socket.
        """
        try:
            batch = self.server.batch(self.batch_id)
        except httpx.ConnectError:
            raise
        except httpx.TransportError:
            return False
        if self.seen:
            _check_forward(self.seen[-1], batch)
        _check_alone(batch)
        self.seen.append(batch)
        return bool(batch["status"] == "finished")

    def until_finished(self) -> None:
        """Look until the end of the batch."""
        until(self.look, f"batch {self.batch_id} finishes")

    def look_for(self, seconds: float) -> None:
        """Look for some time."""
        look_at([self], seconds)

    @property
    def is_running(self) -> bool:
        """Whether it was not finished when last seen."""
        return not self.seen or self.seen[-1]["status"] != "finished"


def look_at(watches: Sequence[Watch], seconds: float) -> None:
    """Look at several batches for some time."""
    end = time.monotonic() + seconds

    def is_over() -> bool:
        for watch in watches:
            watch.look()
        return time.monotonic() >= end

    until(is_over, "time goes by", seconds + GIVE_UP_SECONDS)


def _check_alone(batch: dict[str, Any]) -> None:
    total, finished = batch["total_operations"], batch["finished_operations"]
    is_finished = batch["status"] == "finished"

    assert batch["status"] in STATUSES
    assert 0 <= batch["errored_operations"] <= finished <= total
    assert finished == total or batch["status"] in STATUSES[:3]
    assert is_finished == bool(batch["completed_at"]) == bool(batch["response_body_url"])


def _check_forward(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert STATUSES.index(before["status"]) <= STATUSES.index(after["status"]), (before, after)
    for counter in ("total_operations", "finished_operations", "errored_operations"):
        assert before[counter] <= after[counter], (before, after)
    for fixed in ("id", "submitted_at"):
        assert before[fixed] == after[fixed], (before, after)
