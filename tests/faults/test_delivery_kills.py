"""A process dies while an event is on its way: the event arrives, always under the same id."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from batchway.observers.base import FAULT_POINTS, Event
from tests.faults.one_time_fault import OneTimeFault
from tests.receiver import Receiver, Reply, open_receiver
from tests.scenario import Server, wait_until

POINTS = [point for point in FAULT_POINTS if point.startswith("deliver.")]
PING = {"method": "GET", "path": "/ping"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with open_receiver() as opened:
        yield opened


@pytest.fixture
def server(server: Server) -> Server:
    """A server that may send events to this machine."""
    server.variables = {"BATCHWAY_EGRESS_ALLOW": "127.0.0.0/8"}
    return server


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_death_while_delivering(
    server: Server, receiver: Receiver, tmp_path: Path, point: Event
) -> None:
    """Another process sends the event, once more if need be, and the log shows it delivered."""
    fault = OneTimeFault(point, tmp_path / "struck")
    server.start(**fault.make_variables()).wait_until_ready()
    path = new_webhook(server, receiver)
    fault.arm()

    server.submit([PING])

    wait_until(lambda: fault.has_fired, f"a process dies at {point}")
    check_delivered(server, receiver, path)
    is_sent_twice = point in {Event.DELIVER_AFTER_SEND, Event.DELIVER_BEFORE_COMMIT}
    assert (2 if is_sent_twice else 1) == len(receiver.deliveries())


def test_the_api_dies_while_an_event_is_sent(server: Server, receiver: Receiver) -> None:
    """Deliveries need no API; the new one shows the log."""
    server.start().wait_until_ready()
    path = new_webhook(server, receiver)
    receiver.script(Reply(delay_seconds=1))
    server.submit([PING])
    receiver.wait_for(1)
    server.kill_child("api")

    check_delivered(server, receiver, path)
    assert 1 == len(receiver.deliveries())


def test_all_dies_while_a_delivery_waits(server: Server, receiver: Receiver) -> None:
    """The attempt that was planned is made by those who are started then."""
    server.start().wait_until_ready()
    path = new_webhook(server, receiver)
    receiver.script(Reply(500))
    server.submit([PING])
    wait_until(lambda: entry_of(server, path, "pending", 1), "the first attempt fails")
    server.kill()
    server.start().wait_until_ready()

    entry = check_delivered(server, receiver, path)
    assert [500, 200] == [each["status_code"] for each in entry["attempts"]]
    assert 2 == len(receiver.deliveries())


def new_webhook(server: Server, receiver: Receiver) -> str:
    """The path of a new webhook's deliveries."""
    reply = server.call("POST", "/batch-webhooks", json={"url": receiver.url})
    assert 200 == reply.status_code, reply.text
    return f"/batch-webhooks/{reply.json()['id']}/deliveries"


def check_delivered(server: Server, receiver: Receiver, path: str) -> Any:
    """The only entry of the log, once it is delivered; every request named its id."""
    entry = wait_until(lambda: entry_of(server, path, "delivered", 1), "the event is delivered")
    assert {entry["id"]} == {each.headers["webhook-id"] for each in receiver.deliveries()}
    assert 200 == entry["attempts"][-1]["status_code"]
    return entry


def entry_of(server: Server, path: str, state: str, attempt_count: int) -> Any:
    """The only entry of the log, if it is in a state after so many attempts or more."""
    try:
        found = server.get(path, state=state)["deliveries"]
    except httpx.TransportError:
        return None  # the API is being started again
    return next((each for each in found if each["attempt_count"] >= attempt_count), None)
