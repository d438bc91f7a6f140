"""Admit: when a batch of an account ends, the oldest held batch of the account may begin."""

from sqlalchemy import Connection

from batchway.lifecycle.parts import Parts
from batchway.model.batch import is_small
from batchway.model.step import Step
from batchway.store import admission


def choose_first_step(parts: Parts, operation_count: int) -> Step:
    """Return the first step of a batch with that many operations."""
    return Step.RUN if is_small(operation_count, parts.limits) else Step.SPLIT


def admit_next(parts: Parts, connection: Connection, account_id: int) -> None:
    """Hand the oldest held batch of an account over, in the transaction that ends another batch.

    The caller must have locked the account before any batch: all transactions lock in this order.
    """
    held = admission.release_oldest(connection, account_id)
    if held is not None:
        parts.hand_over(connection, choose_first_step(parts, held.operation_count), held.id)
