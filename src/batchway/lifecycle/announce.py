"""Announce: one event for each enabled webhook, in the transaction that finishes a batch."""

from sqlalchemy import Connection

from batchway.kit.clock import Microseconds
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch
from batchway.model.step import Step
from batchway.store import batch_webhooks, deliveries


def announce(parts: Parts, connection: Connection, batch: Batch, now: Microseconds) -> None:
    """Hand a delivery over for each webhook that wants to hear of the batch. Once only."""
    for webhook in batch_webhooks.find_enabled(connection, batch.account_id):
        delivery = deliveries.insert(connection, webhook, batch.id, now)
        if delivery is not None:
            parts.hand_over(connection, Step.DELIVER, delivery.id)
