"""Every state in which a step can wait is left by itself: the table of docs/concepts/guarantees.md.

Each visit puts one step into such a state while no worker runs. A worker is started then, and must
end all of them.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import text

from batchway import limits
from batchway.audience.lists.deletion import delete_list
from batchway.kit.clock import DAY, SECOND
from batchway.lifecycle.delete import delete_batch
from batchway.model.batch import Batch
from batchway.model.step import Step, StepName
from batchway.store import chunks, leases
from tests.faults.live_worker import (
    SMALL_COUNT,
    LiveWorker,
    add_webhook,
    make_paged_list,
    open_worker,
)
from tests.receiver import Receiver
from tests.scenario import Server, wait_until
from tests.steps import run, split

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "guarantees.md"
HEADING = "## Who notices a step that waits"
DEAD, OTHER = "worker-dead", "worker-other"
SOON_SECONDS = 0.1

IsDone = Callable[[], bool]
_ROW = re.compile(r"^\| (?P<state>[^|]+) \|[^|]+\|[^|]+\| (?P<seconds>\d+) s", re.MULTILINE)


def wait_in_the_queue(live: LiveWorker) -> IsDone:
    """Submit a batch."""
    return expect_end(live, live.submit(SMALL_COUNT))


def wait_with_a_delay(live: LiveWorker) -> IsDone:
    """Hand a step over as the worker does when it failed."""
    batch = live.submit(SMALL_COUNT)
    remove_hand_overs(live, batch)
    with live.runner.parts.database.write() as connection:
        name = StepName(Step.RUN, batch.id)
        live.runner.app.hand_overs.write(connection, name, SOON_SECONDS, failure_count=1)
    return expect_end(live, batch)


def wait_with_a_long_delay(live: LiveWorker) -> IsDone:
    """Hand a step over with the delay that it has if a clock has gone back by a day."""
    batch = live.submit(SMALL_COUNT)
    remove_hand_overs(live, batch)
    with live.runner.parts.database.write() as connection:
        name = StepName(Step.RUN, batch.id)
        live.runner.app.hand_overs.write(connection, name, DAY / SECOND, failure_count=1)
    return expect_end(live, batch)


def wait_on_a_moved_clock(live: LiveWorker) -> IsDone:
    """Let a delivery wait, and the database's clock go back by a day."""
    is_done = wait_for_an_attempt(live)
    live.join_installation()
    later = f"next_attempt_at = next_attempt_at + {DAY}, touched_at = touched_at + {DAY}"
    execute(live, f"UPDATE deliveries SET {later}")
    execute(live, f"UPDATE installation SET seen_at = {live.runner.clock() + DAY}")
    return is_done


def leave_the_queue(live: LiveWorker) -> IsDone:
    """Remove the hand-over of a batch."""
    batch = live.submit(SMALL_COUNT)
    remove_hand_overs(live, batch)
    return expect_end(live, batch)


def dequeue_in_living_worker(live: LiveWorker) -> IsDone:
    """Let another worker have dequeued a step, until this one runs: see `lose_dequeued_step`."""
    with live.runner.parts.database.write() as connection:
        leases.renew(connection, OTHER, is_ready=False, seconds=limits.lease_seconds)
    return dequeue(live, OTHER)


def lose_dequeued_step(live: LiveWorker) -> None:
    """Let the worker have dequeued a step, which it does not run."""
    change = f"UPDATE {live.runner.engine_table} SET executor_id = '{live.runner.parts.worker}'"
    execute(live, f"{change} WHERE executor_id = '{OTHER}'")


def dequeue_in_dead_worker(live: LiveWorker) -> IsDone:
    """Let a worker without a lease have dequeued a step."""
    return dequeue(live, DEAD)


def dequeue(live: LiveWorker, worker: str) -> IsDone:
    """Let a worker have dequeued a step."""
    batch = live.submit(SMALL_COUNT)
    change_hand_overs(
        live,
        batch,
        f"UPDATE {live.runner.engine_table} SET status = 'PENDING', executor_id = '{worker}'",
    )
    return expect_end(live, batch)


def claim_in_living_worker(live: LiveWorker) -> IsDone:
    """Let the worker have claimed a chunk, which it does not run."""
    return claim(live, live.runner.parts.worker)


def claim_in_dead_worker(live: LiveWorker) -> IsDone:
    """Let a worker without a lease have claimed a chunk."""
    return claim(live, DEAD)


def claim(live: LiveWorker, worker: str) -> IsDone:
    """Let a worker have claimed a chunk. The engine has nothing to do for its batch."""
    batch = live.submit(SMALL_COUNT)
    split(live.runner.parts, batch.id)
    with live.runner.parts.database.write() as connection:
        assert chunks.claim(connection, batch, 0, worker)
    remove_hand_overs(live, batch)
    return expect_end(live, batch)


def be_held(live: LiveWorker) -> IsDone:
    """Hold a batch, and let its account forget it."""
    batch = live.submit(SMALL_COUNT)
    execute(live, f"UPDATE batches SET is_held = TRUE WHERE id = {batch.id}")
    remove_hand_overs(live, batch)
    return expect_end(live, batch)


def be_postponed(live: LiveWorker) -> IsDone:
    """Let a chunk wait for a time."""
    batch = live.submit(SMALL_COUNT)
    split(live.runner.parts, batch.id)
    with live.runner.parts.database.write() as connection:
        [chunk, *_] = chunks.find_waiting(connection, batch)
        chunks.postpone(connection, batch, chunk, SOON_SECONDS, "The receiver is busy.")
    remove_hand_overs(live, batch)
    return expect_end(live, batch)


def wait_for_an_attempt(live: LiveWorker) -> IsDone:
    """Remove the hand-over of a delivery."""
    batch = live.submit(SMALL_COUNT)
    run(live.runner.parts, batch.id)
    assert live.is_finished(batch)
    where = f"batch_id = {batch.id}"
    [delivery_id] = select(live, f"SELECT id FROM deliveries WHERE {where}")
    ids = f"workflow_uuid LIKE '{delivery_id}/deliver/%'"
    execute(live, f"DELETE FROM {live.runner.engine_table} WHERE {ids}")
    return lambda: (
        not select(live, f"SELECT id FROM deliveries WHERE {where} AND state = 'pending'")
    )


def delete_a_batch(live: LiveWorker) -> IsDone:
    """Delete a batch."""
    batch = live.submit(SMALL_COUNT)
    assert delete_batch(live.runner.parts, batch.account_id, batch.public_id)
    live.member_count -= 1  # it is deleted before it runs
    return lambda: live.runner.load_batch(batch) is None


def delete_a_list(live: LiveWorker) -> IsDone:
    """Delete a list with members."""
    runner, list_id = live.runner, make_paged_list(live.runner)
    [list_key] = select(live, f"SELECT id FROM lists WHERE public_id = '{list_id}'")
    with runner.parts.database.write() as connection:
        delete_list(connection, runner.identity.account.id, list_key, runner.clock())
    return lambda: not select(live, f"SELECT id FROM members WHERE list_id = {list_key}")


def let_the_caretaker_die(live: LiveWorker) -> IsDone:
    """Let a worker without a lease be the caretaker, for a second."""
    end = "expires_at"
    with live.runner.parts.database.write() as connection:
        ends_at = live.runner.clock() + 1_000_000
        values = {"dead": DEAD, "ends_at": ends_at}
        statement = f"INSERT INTO leases (name, holder, is_ready, {end})"
        connection.execute(
            text(f"{statement} VALUES ('caretaker', :dead, FALSE, :ends_at)"), values
        )
    return lambda: not select(live, f"SELECT name FROM leases WHERE holder = '{DEAD}'")


class Row(NamedTuple):
    """How a test enters a state, and the longest time until somebody looks."""

    enter: Callable[[LiveWorker], IsDone]
    seconds: float


ROUND = limits.sweep_seconds
OVERDUE = limits.overdue_seconds + ROUND
LEASE = limits.lease_seconds + ROUND
LOST = (limits.lost_looks_min + 1) * ROUND
ROWS: Mapping[str, Row] = {
    "in the queue": Row(wait_in_the_queue, limits.idle_poll_seconds),
    "in the queue with a delay, because it failed": Row(wait_with_a_delay, 1),
    "in the queue with a delay that a clock has made long": Row(wait_with_a_long_delay, OVERDUE),
    "waiting for a time, and the database's clock has gone back": Row(wait_on_a_moved_clock, ROUND),
    "not in the queue any more": Row(leave_the_queue, OVERDUE),
    "dequeued, and not run by its worker, which lives": Row(dequeue_in_living_worker, LOST),
    "dequeued by a worker that has died": Row(dequeue_in_dead_worker, LEASE),
    "claimed, and not run by its worker, which lives": Row(claim_in_living_worker, ROUND),
    "claimed by a worker that has died": Row(claim_in_dead_worker, LEASE),
    "held, because its account runs as many batches as it may": Row(be_held, OVERDUE),
    "postponed by its target": Row(be_postponed, OVERDUE),
    "the next attempt of a delivery": Row(wait_for_an_attempt, OVERDUE),
    "the removal of a deleted batch": Row(delete_a_batch, ROUND),
    "the removal of the rows of a deleted list": Row(delete_a_list, ROUND),
    "the caretaker's, which has died": Row(let_the_caretaker_die, LEASE),
}


def test_the_table_has_each_state() -> None:
    """The documented states and times are those that this file visits."""
    section = PAGE.read_text().split(HEADING)[1].split("\n## ")[0]
    documented = {row["state"]: float(row["seconds"]) for row in _ROW.finditer(section)}

    assert {state: row.seconds for state, row in ROWS.items()} == documented


def test_each_state_is_left(
    server: Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker ends every state in which a step can wait."""
    with open_worker(server, monkeypatch) as live:
        add_webhook(live, receiver)
        are_done = {state: row.enter(live) for state, row in ROWS.items()}
        assert [] == [state for state, is_done in are_done.items() if is_done()]
        with live.run():
            lose_dequeued_step(live)
            for state, is_done in are_done.items():
                wait_until(is_done, f"what is {state} goes on", 60)


def expect_end(live: LiveWorker, batch: Batch) -> IsDone:
    """Return whether the batch is finished, when it is called."""
    return lambda: live.is_finished(batch)


def remove_hand_overs(live: LiveWorker, batch: Batch) -> None:
    """Let the engine forget a batch."""
    change_hand_overs(live, batch, f"DELETE FROM {live.runner.engine_table}")


def change_hand_overs(live: LiveWorker, batch: Batch, statement: str) -> None:
    """Execute a statement about the hand-overs of a batch."""
    is_of_batch = f"workflow_uuid LIKE '{batch.id}/%' AND workflow_uuid NOT LIKE '%/deliver/%'"
    execute(live, f"{statement} WHERE {is_of_batch}")


def execute(live: LiveWorker, statement: str) -> None:
    """Execute a statement."""
    with live.runner.parts.database.write() as connection:
        connection.execute(text(statement))


def select(live: LiveWorker, statement: str) -> list[int]:
    """Return the first column of rows."""
    with live.runner.parts.database.read() as connection:
        return list(connection.execute(text(statement)).scalars())
