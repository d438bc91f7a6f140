"""At each named place a process dies, or pauses, once: nothing is lost, nothing is done twice.

A new member of `FaultPoint` is tested without writing a test.
"""

from pathlib import Path

import httpx
import psutil
import pytest

from batchway import limits
from batchway.faults import FaultPoint
from tests.faults.mixture import Mixture
from tests.faults.trap import Trap
from tests.faults.watch import Watch
from tests.scenario import Server, add_member, until

SUBMIT = [FaultPoint.SUBMIT_BEFORE_COMMIT, FaultPoint.SUBMIT_AFTER_COMMIT]
ONLY_IN_LARGE_BATCHES = [FaultPoint.SPLIT_BEFORE_COMMIT, FaultPoint.SPLIT_AFTER_COMMIT]
IN_WORKERS = [point for point in FaultPoint if point not in SUBMIT]

LARGE_GROUP_COUNT = 600  # 6,000 operations: two chunks
SMALL_GROUP_COUNT = 40  # 400 operations: one hop
PAUSE_SECONDS = limits.lease_seconds + 2 * limits.sweep_seconds  # taken for dead, taken over


@pytest.mark.parametrize("point", IN_WORKERS, ids=str)
def test_a_death_in_a_worker(server: Server, tmp_path: Path, point: FaultPoint) -> None:
    """The work is taken over, and each operation of a batch takes effect exactly once.

    In a large batch, whose steps are hops of their own; and in a small one, which runs in one hop
    and is taken up where its last commit left it.
    """
    trap = Trap(point, tmp_path / "struck")
    server.start(**trap.laid()).ready()
    list_id = server.new_list()

    die_in(server, trap, Mixture(list_id, "large", LARGE_GROUP_COUNT))
    if point not in ONLY_IN_LARGE_BATCHES:
        die_in(server, trap, Mixture(list_id, "small", SMALL_GROUP_COUNT))


def die_in(server: Server, trap: Trap, mixture: Mixture) -> None:
    """Submit, die, be taken over, finish; then compare the results with the audience."""
    mixture.prepare(server)
    trap.set()

    watch = Watch(server, server.submit(mixture.operations()))
    watch.until_finished()

    until(lambda: trap.has_struck, f"a process dies at {trap.point}")
    mixture.check(server, watch.batch_id)


@pytest.mark.parametrize("point", SUBMIT, ids=str)
def test_a_death_while_submitting(server: Server, tmp_path: Path, point: FaultPoint) -> None:
    """The caller gets no answer; the batch is there and finishes, or it never was.

    Whoever calls next waits for the new process: the connection is not refused.
    """
    trap = Trap(point, tmp_path / "struck")
    server.start(**trap.laid()).ready()
    list_id = server.new_list()
    operations = [add_member(list_id, f"{number}@example.com") for number in range(1_000)]
    trap.set()

    with pytest.raises(httpx.TransportError) as lost:
        server.submit(operations)

    assert not isinstance(lost.value, httpx.ConnectError)
    assert trap.has_struck
    accepted = [each["id"] for each in server.get("/batches")["batches"]]
    assert (1 if point is FaultPoint.SUBMIT_AFTER_COMMIT else 0) == len(accepted)
    watches = [Watch(server, batch_id) for batch_id in (*accepted, server.submit(operations))]
    for watch in watches:
        watch.until_finished()

    assert [200] * 1_000 == [each.status_code for each in server.results(watches[0].batch_id)]
    assert 1_000 == len(server.members(list_id))


@pytest.mark.long
@pytest.mark.parametrize("point", IN_WORKERS, ids=str)
def test_a_worker_that_comes_back(server: Server, tmp_path: Path, point: FaultPoint) -> None:
    """A worker pauses for longer than its lease; what it does when it wakes harms nothing."""
    trap = Trap(point, tmp_path / "struck", "SIGSTOP")
    server.workers = 2
    server.start(**trap.laid()).ready()
    mixture = Mixture(server.new_list(), "paused", LARGE_GROUP_COUNT)
    mixture.prepare(server)
    trap.set()
    watch = Watch(server, server.submit(mixture.operations()))
    until(lambda: trap.has_struck, f"a worker pauses at {point}")
    [paused] = until(lambda: stopped_workers(server), "a worker pauses")

    watch.look_for(PAUSE_SECONDS)
    paused.resume()
    watch.until_finished()

    until(lambda: not stopped_workers(server), "the worker wakes up")
    mixture.check(server, watch.batch_id)


def stopped_workers(server: Server) -> list[psutil.Process]:
    """The workers that are paused."""
    return [each for each in server.running("worker") if each.status() == psutil.STATUS_STOPPED]
