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
from tests.faults.mixture import Mixture, Paged
from tests.faults.trap import Trap
from tests.faults.watch import Watch
from tests.receiver import Delivery, Receiver, receiving
from tests.scenario import Server, add_member, until

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
    with receiving() as opened:
        yield opened


@pytest.mark.parametrize("point", IN_WORKERS, ids=str)
def test_a_death_in_a_worker(
    server: Server, receiver: Receiver, tmp_path: Path, point: Event
) -> None:
    """The work is taken over, and each operation of a batch takes effect exactly once.

    In a large batch, whose steps are hops of their own; and in a small one, which runs in one hop
    and is taken up where its last commit left it. The webhook hears of each under one id.
    """
    trap = Trap(point, tmp_path / "struck")
    server.start(**trap.laid(), **LOOPBACK).ready()
    add_webhook(server, receiver)

    for work in works(server, point):
        work.prepare(server)
        trap.set()
        watch = Watch(server, server.submit(work.operations()))
        watch.until_finished()
        until(lambda: trap.has_struck, f"a process dies at {trap.point}")
        work.check(server, watch.batch_id)
        check_told(receiver, watch.batch_id)


def works(server: Server, point: Event) -> list[Mixture | Paged]:
    """Batches, large and small, whose steps come to the point."""
    list_id = server.new_list()
    large, small = (
        Mixture(list_id, "large", LARGE_GROUP_COUNT),
        Mixture(list_id, "small", SMALL_GROUP_COUNT),
    )
    match point.partition(".")[0]:
        case "split":
            return [large]
        case "pages":
            return [Paged(list_id, PAGED_LARGE), Paged(server.new_list(), PAGED_SMALL)]
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
    told = until(lambda: events(receiver, batch_id), f"the webhook hears of {batch_id}")

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
    assert (1 if point is Event.SUBMIT_AFTER_COMMIT else 0) == len(accepted)
    watches = [Watch(server, batch_id) for batch_id in (*accepted, server.submit(operations))]
    for watch in watches:
        watch.until_finished()

    assert [200] * 1_000 == [each.status_code for each in server.results(watches[0].batch_id)]
    assert 1_000 == len(server.members(list_id))


@pytest.mark.long
@pytest.mark.parametrize("point", IN_WORKERS, ids=str)
def test_a_worker_that_comes_back(
    server: Server, receiver: Receiver, tmp_path: Path, point: Event
) -> None:
    """A worker pauses for longer than its lease; what it does when it wakes harms nothing."""
    trap = Trap(point, tmp_path / "struck", "SIGSTOP")
    server.workers = 2
    server.start(**trap.laid(), **LOOPBACK).ready()
    add_webhook(server, receiver)
    work = works(server, point)[0]
    work.prepare(server)
    trap.set()
    watch = Watch(server, server.submit(work.operations()))
    until(lambda: trap.has_struck, f"a worker pauses at {point}")
    [paused] = until(lambda: stopped_workers(server), "a worker pauses")

    watch.look_for(PAUSE_SECONDS)
    paused.resume()
    watch.until_finished()

    until(lambda: not stopped_workers(server), "the worker wakes up")
    work.check(server, watch.batch_id)
    check_told(receiver, watch.batch_id)


def stopped_workers(server: Server) -> list[psutil.Process]:
    """The workers that are paused."""
    return [each for each in server.running("worker") if each.status() == psutil.STATUS_STOPPED]
