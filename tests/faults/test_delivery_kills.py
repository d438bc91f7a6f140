"""A process dies during a delivery: the event arrives, always under the same id."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from batchway.observers.base import FAULT_POINTS, Event
from tests.faults.one_time_fault import OneTimeFault
from tests.receiver import Receiver, Reply
from tests.scenario import PING, Server, wait_until

POINTS = [point for point in FAULT_POINTS if point.startswith("deliver.")]


@pytest.fixture
def server(server: Server) -> Server:
    """A server that may send events to this machine."""
    server.variables = {"BATCHWAY_EGRESS_ALLOW": "127.0.0.0/8"}
    return server


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_death_while_delivering(
    server: Server, receiver: Receiver, tmp_path: Path, point: Event
) -> None:
    """Another process sends the event, a second time if needed, and logs it as delivered."""
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
    """Deliveries need no API process; the restarted one shows the log."""
    server.start().wait_until_ready()
    path = new_webhook(server, receiver)
    receiver.script(Reply(delay_seconds=1))
    server.submit([PING])
    receiver.wait_for(1)
    server.kill_child("api")

    check_delivered(server, receiver, path)
    assert 1 == len(receiver.deliveries())


def test_all_dies_while_a_delivery_waits(server: Server, receiver: Receiver) -> None:
    """After a restart of all processes, the planned attempt is made."""
    server.start().wait_until_ready()
    path = new_webhook(server, receiver)
    receiver.script(Reply(500))
    server.submit([PING])
    wait_until(lambda: find_delivery(server, path, "pending", 1), "the first attempt fails")
    server.kill()
    server.start().wait_until_ready()

    entry = check_delivered(server, receiver, path)
    assert [500, 200] == [attempt["status_code"] for attempt in entry["attempts"]]
    assert 2 == len(receiver.deliveries())


def new_webhook(server: Server, receiver: Receiver) -> str:
    """Create a webhook, and return the path of its deliveries."""
    reply = server.call("POST", "/batch-webhooks", json={"url": receiver.url})
    assert 200 == reply.status_code, reply.text
    return f"/batch-webhooks/{reply.json()['id']}/deliveries"


def check_delivered(server: Server, receiver: Receiver, path: str) -> Any:
    """Wait until the only delivery is delivered; check that each request had its id; return it."""
    entry = wait_until(
        lambda: find_delivery(server, path, "delivered", 1), "the event is delivered"
    )
    assert {entry["id"]} == {delivery.headers["webhook-id"] for delivery in receiver.deliveries()}
    assert 200 == entry["attempts"][-1]["status_code"]
    return entry


def find_delivery(server: Server, path: str, state: str, attempt_count: int) -> Any:
    """Return the only delivery if it is in this state after this number of attempts."""
    try:
        found = server.get(path, state=state)["deliveries"]
    except httpx.TransportError:
        return None  # the API is being started again
    return next((entry for entry in found if entry["attempt_count"] >= attempt_count), None)
