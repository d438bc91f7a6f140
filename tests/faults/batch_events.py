"""The events of batches at a receiver of webhooks."""

from urllib.parse import parse_qs

from tests.receiver import Delivery, Receiver
from tests.scenario import Server, wait_until


def add_webhook(server: Server, receiver: Receiver) -> None:
    """Create a webhook."""
    reply = server.call("POST", "/batch-webhooks", json={"url": receiver.url})
    assert 200 == reply.status_code, reply.text


def check_event(receiver: Receiver, batch_id: str) -> None:
    """Check that the batch has one event, however often it was sent."""
    deliveries = wait_until(
        lambda: find_events(receiver, batch_id), f"an event of batch {batch_id} arrives"
    )

    assert 1 == len({delivery.headers["webhook-id"] for delivery in deliveries})


def find_events(receiver: Receiver, batch_id: str) -> list[Delivery]:
    """Return the events of a batch that have arrived."""
    return [
        delivery
        for delivery in receiver.deliveries()
        if [batch_id] == parse_qs(delivery.body.decode())["data[id]"]
    ]
