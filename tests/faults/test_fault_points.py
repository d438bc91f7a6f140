"""At each fault point a process dies, or pauses, once: nothing is lost or done twice.

A new fault point in `Event` is tested without a new test.
"""

from pathlib import Path

import httpx
import psutil
import pytest

from batchway import limits
from batchway.limits import Limits
from batchway.observers.base import FAULT_POINTS, Event
from tests.faults.batch_events import add_webhook, check_event
from tests.faults.batch_monitor import BatchMonitor
from tests.faults.one_time_fault import OneTimeFault
from tests.faults.workloads import MixedWorkload, PagedWorkload
from tests.receiver import Receiver
from tests.scenario import Server, add_member, wait_until

SUBMIT = [Event.SUBMIT_BEFORE_COMMIT, Event.SUBMIT_AFTER_COMMIT]
# Servers have no target that sends; `test_sending.py` kills workers that do.
IN_WORKERS = [
    point for point in FAULT_POINTS if point not in SUBMIT and not point.startswith("send.")
]

LARGE_GROUP_COUNT = 600  # 6,000 operations: two chunks
SMALL_GROUP_COUNT = 40  # 400 operations: one hop
PAGED_LARGE, PAGED_SMALL = Limits.small_batch_operations_max + 1, 10  # operations
LOOPBACK = {"BATCHWAY_EGRESS_ALLOW": "127.0.0.0/8"}
PAUSE_SECONDS = limits.lease_seconds + 2 * limits.sweep_seconds  # taken for dead, taken over


@pytest.mark.parametrize("point", IN_WORKERS, ids=str)
def test_a_death_in_a_worker(
    server: Server, receiver: Receiver, tmp_path: Path, point: Event
) -> None:
    """Another worker takes over, and each operation of a batch takes effect exactly once.

    The steps of a large batch are separate hand-overs. A small batch runs as one, which is resumed
    after its last commit. The webhook gets one event for each batch.
    """
    fault = OneTimeFault(point, tmp_path / "struck")
    server.start(**fault.make_variables(), **LOOPBACK).wait_until_ready()
    add_webhook(server, receiver)

    for workload in choose_workloads(server, point):
        workload.prepare(server)
        fault.arm()
        monitor = BatchMonitor(server, server.submit(workload.operations()))
        monitor.wait_until_finished()
        wait_until(lambda: fault.has_fired, f"a process dies at {fault.point}")
        workload.check(server, monitor.batch_id)
        check_event(receiver, monitor.batch_id)


def choose_workloads(server: Server, point: Event) -> list[MixedWorkload | PagedWorkload]:
    """Return batches whose steps reach the fault point."""
    list_id = server.new_list()
    large, small = (
        MixedWorkload(list_id, "large", LARGE_GROUP_COUNT),
        MixedWorkload(list_id, "small", SMALL_GROUP_COUNT),
    )
    match point.partition(".")[0]:
        case "split":
            return [large]
        case "pages":
            return [
                PagedWorkload(list_id, PAGED_LARGE),
                PagedWorkload(server.new_list(), PAGED_SMALL),
            ]
        case "deliver":
            return [small]
        case _:
            return [large, small]


@pytest.mark.parametrize("point", SUBMIT, ids=str)
def test_a_death_while_submitting(server: Server, tmp_path: Path, point: Event) -> None:
    """The caller gets no answer; the batch was either accepted and finishes, or not stored.

    The next call waits for the new process: the connection is not refused.
    """
    fault = OneTimeFault(point, tmp_path / "struck")
    server.start(**fault.make_variables()).wait_until_ready()
    list_id = server.new_list()
    operations = [add_member(list_id, f"{number}@example.com") for number in range(1_000)]
    fault.arm()

    with pytest.raises(httpx.TransportError) as lost:
        server.submit(operations)

    assert not isinstance(lost.value, httpx.ConnectError)
    assert fault.has_fired
    accepted = [batch["id"] for batch in server.get("/batches")["batches"]]
    assert (1 if point is Event.SUBMIT_AFTER_COMMIT else 0) == len(accepted)
    monitors = [
        BatchMonitor(server, batch_id) for batch_id in (*accepted, server.submit(operations))
    ]
    for monitor in monitors:
        monitor.wait_until_finished()

    assert [200] * 1_000 == [
        result.status_code for result in server.get_results(monitors[0].batch_id)
    ]
    assert 1_000 == len(server.get_members(list_id))


@pytest.mark.long
@pytest.mark.parametrize("point", IN_WORKERS, ids=str)
def test_a_worker_that_comes_back(
    server: Server, receiver: Receiver, tmp_path: Path, point: Event
) -> None:
    """A worker that pauses for longer than its lease does no harm when it continues."""
    fault = OneTimeFault(point, tmp_path / "struck", "SIGSTOP")
    server.workers = 2
    server.start(**fault.make_variables(), **LOOPBACK).wait_until_ready()
    add_webhook(server, receiver)
    workload = choose_workloads(server, point)[0]
    workload.prepare(server)
    fault.arm()
    monitor = BatchMonitor(server, server.submit(workload.operations()))
    wait_until(lambda: fault.has_fired, f"a worker pauses at {point}")
    [paused] = wait_until(lambda: find_stopped_workers(server), "a worker pauses")

    monitor.poll_for(PAUSE_SECONDS)
    paused.resume()
    monitor.wait_until_finished()

    wait_until(lambda: not find_stopped_workers(server), "the worker wakes up")
    workload.check(server, monitor.batch_id)
    check_event(receiver, monitor.batch_id)


def find_stopped_workers(server: Server) -> list[psutil.Process]:
    """Return the workers that are paused."""
    return [
        process
        for process in server.find_children("worker")
        if process.status() == psutil.STATUS_STOPPED
    ]
