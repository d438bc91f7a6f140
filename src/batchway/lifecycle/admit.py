"""Admit: when a batch of an account ends, the oldest one that was held may begin."""

from sqlalchemy import Connection

from batchway.lifecycle.parts import Parts
from batchway.model.batch import is_small
from batchway.model.step import Step
from batchway.store import admission


def first_step(parts: Parts, operation_count: int) -> Step:
    """What a pending batch of that many operations waits for."""
    return Step.RUN if is_small(operation_count, parts.limits) else Step.SPLIT


def admit_next(parts: Parts, connection: Connection, account_id: int) -> None:
    """Hand the oldest held batch over, in the transaction that ends another one.

    The caller has locked the account before it touched any batch: everyone locks in this order.
    """
    waiting = admission.release_oldest(connection, account_id)
    if waiting is not None:
        parts.hand_over(connection, first_step(parts, waiting.operation_count), waiting.id)
