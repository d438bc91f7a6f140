"""At each named place a process dies, or pauses, once: nothing is lost, nothing is done twice.

A new member of `Event` is tested without writing a test.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import psutil
import pytest

from batchway import limits
from batchway.limits import Limits
from batchway.observers.base import FAULT_POINTS, Event
from tests.faults.batch_monitor import BatchMonitor
from tests.faults.one_time_fault import OneTimeFault
from tests.faults.workloads import MixedWorkload, PagedWorkload
from tests.receiver import Delivery, Receiver, open_receiver
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


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Hears of the batches that finish."""
    with open_receiver() as opened:
        yield opened


@pytest.mark.parametrize("point", IN_WORKERS, ids=str)
def test_a_death_in_a_worker(
    server: Server, receiver: Receiver, tmp_path: Path, point: Event
) -> None:
    """The work is taken over, and each operation of a batch takes effect exactly once.

    In a large batch, whose steps are hops of their own; and in a small one, which runs in one hop
    and is taken up where its last commit left it. The webhook hears of each under one id.
    """
    fault = OneTimeFault(point, tmp_path / "struck")
    server.start(**fault.make_variables(), **LOOPBACK).wait_until_ready()
    add_webhook(server, receiver)

    for work in works(server, point):
        work.prepare(server)
        fault.arm()
        monitor = BatchMonitor(server, server.submit(work.operations()))
        monitor.wait_until_finished()
        wait_until(lambda: fault.has_fired, f"a process dies at {fault.point}")
        work.check(server, monitor.batch_id)
        check_told(receiver, monitor.batch_id)


def works(server: Server, point: Event) -> list[MixedWorkload | PagedWorkload]:
    """Batches, large and small, whose steps come to the point."""
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


def add_webhook(server: Server, receiver: Receiver) -> None:
    """The account's batches are told of from now on."""
    reply = server.call("POST", "/batch-webhooks", json={"url": receiver.url})
    assert 200 == reply.status_code, reply.text


def check_told(receiver: Receiver, batch_id: str) -> None:
    """One event, however often it was sent."""
    told = wait_until(lambda: events(receiver, batch_id), f"the webhook hears of {batch_id}")

    assert 1 == len({each.headers["webhook-id"] for each in told})


def events(receiver: Receiver, batch_id: str) -> list[Delivery]:
    """What has come about a batch."""
    return [
        each
        for each in receiver.deliveries()
        if [batch_id] == parse_qs(each.body.decode())["data[id]"]
    ]


@pytest.mark.parametrize("point", SUBMIT, ids=str)
def test_a_death_while_submitting(server: Server, tmp_path: Path, point: Event) -> None:
    """The caller gets no answer; the batch is there and finishes, or it never was.

    Whoever calls next waits for the new process: the connection is not refused.
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
    accepted = [each["id"] for each in server.get("/batches")["batches"]]
    assert (1 if point is Event.SUBMIT_AFTER_COMMIT else 0) == len(accepted)
    monitors = [
        BatchMonitor(server, batch_id) for batch_id in (*accepted, server.submit(operations))
    ]
    for monitor in monitors:
        monitor.wait_until_finished()

    assert [200] * 1_000 == [each.status_code for each in server.get_results(monitors[0].batch_id)]
    assert 1_000 == len(server.get_members(list_id))


@pytest.mark.long
@pytest.mark.parametrize("point", IN_WORKERS, ids=str)
def test_a_worker_that_comes_back(
    server: Server, receiver: Receiver, tmp_path: Path, point: Event
) -> None:
    """A worker pauses for longer than its lease; what it does when it wakes harms nothing."""
    fault = OneTimeFault(point, tmp_path / "struck", "SIGSTOP")
    server.workers = 2
    server.start(**fault.make_variables(), **LOOPBACK).wait_until_ready()
    add_webhook(server, receiver)
    work = works(server, point)[0]
    work.prepare(server)
    fault.arm()
    monitor = BatchMonitor(server, server.submit(work.operations()))
    wait_until(lambda: fault.has_fired, f"a worker pauses at {point}")
    [paused] = wait_until(lambda: stopped_workers(server), "a worker pauses")

    monitor.poll_for(PAUSE_SECONDS)
    paused.resume()
    monitor.wait_until_finished()

    wait_until(lambda: not stopped_workers(server), "the worker wakes up")
    work.check(server, monitor.batch_id)
    check_told(receiver, monitor.batch_id)


def stopped_workers(server: Server) -> list[psutil.Process]:
    """The workers that are paused."""
    return [
        each for each in server.find_children("worker") if each.status() == psutil.STATUS_STOPPED
    ]
