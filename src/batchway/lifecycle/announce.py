"""Announce: create a delivery for each enabled webhook when a batch finishes."""

from sqlalchemy import Connection

from batchway.kit.clock import Microseconds
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch
from batchway.model.step import Step
from batchway.store import batch_webhooks, deliveries


def announce_batch(parts: Parts, connection: Connection, batch: Batch, now: Microseconds) -> None:
    """Create and hand over the deliveries, in the transaction that finishes the batch.

    A webhook gets one delivery for a batch, even if this is called twice.
    """
    for webhook in batch_webhooks.find_enabled(connection, batch.account_id):
        delivery = deliveries.insert(connection, webhook, batch.id, now)
        if delivery is not None:
            parts.hand_over(connection, Step.DELIVER, delivery.id)
