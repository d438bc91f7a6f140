"""Numbers of hand-overs: every hand-over gets an id that was never used before.

A step that is handed over is released: one statement takes the next number of the step and ends
the claim on it.
"""

from sqlalchemy import Connection

from batchway.kit.clock import SECOND, Microseconds
from batchway.model.step import Step, StepName
from batchway.store.claims import sql_is_free
from batchway.store.database import run

EARLY_MAX: Microseconds = 2 * SECOND  # a delayed hand-over may come early by this much


def take_number(connection: Connection, name: StepName, worker: str) -> int | None:
    """Release a step and return the number of its next hand-over.

    Return None if the step has no work left, or if another living worker has claimed it.
    """
    if name.step.is_of_chunk:
        return _release_chunk(connection, name, worker)
    if name.step is Step.DELIVER:
        return _take_delivery_number(connection, name)
    return _release_batch(connection, name, worker)


def _release_chunk(connection: Connection, name: StepName, worker: str) -> int | None:
    number: int | None = run(
        connection,
        f"""
        UPDATE chunks SET hand_over_count = hand_over_count + 1, claimed_by = NULL
        WHERE batch_id = :batch_id AND number = :number AND state = 'waiting'
          AND {sql_is_free(connection)}
        RETURNING hand_over_count -- no account: steps work for all accounts
        """,
        batch_id=name.key,
        number=name.number,
        worker=worker,
    ).scalar_one_or_none()
    return number


def _take_delivery_number(connection: Connection, name: StepName) -> int | None:
    number: int | None = run(
        connection,
        """
        UPDATE deliveries SET hand_over_count = hand_over_count + 1
        WHERE id = :delivery_id AND state = 'pending'
        RETURNING hand_over_count -- no account: steps work for all accounts
        """,
        delivery_id=name.key,
    ).scalar_one_or_none()
    return number


def _release_batch(connection: Connection, name: StepName, worker: str) -> int | None:
    number: int | None = run(
        connection,
        f"""
        UPDATE batches SET hand_over_count = hand_over_count + 1, claimed_by = NULL
        WHERE id = :batch_id AND status NOT IN ('finished', 'deleted') AND {sql_is_free(connection)}
        RETURNING hand_over_count -- no account: steps work for all accounts
        """,
        batch_id=name.key,
        worker=worker,
    ).scalar_one_or_none()
    return number
