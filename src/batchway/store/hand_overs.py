"""Numbers of hand-overs: each one that is written gets an id that was never used before.

To hand a step over is to release it: in one statement the step gets the next number, and nobody
holds it any more.
"""

from sqlalchemy import Connection

from batchway.kit.clock import SECOND, Microseconds
from batchway.model.step import Step, StepName
from batchway.store.claims import is_free
from batchway.store.database import run

EARLY_MAX: Microseconds = 2 * SECOND  # a delayed hand-over may come early by this much


def next_number(connection: Connection, name: StepName, worker: str) -> int | None:
    """Release a step; the number of its next hand-over.

    None if the step has no work left, or if another living worker holds it.
    """
    if name.step.is_of_chunk:
        return _release_chunk(connection, name, worker)
    if name.step is Step.DELIVER:
        return _count_for_delivery(connection, name)
    return _release_batch(connection, name, worker)


def _release_chunk(connection: Connection, name: StepName, worker: str) -> int | None:
    return run(
        connection,
        f"""
        UPDATE chunks SET hand_over_count = hand_over_count + 1, claimed_by = NULL
        WHERE batch_id = :batch_id AND number = :number AND state = 'waiting'
          AND {is_free(connection)}
        RETURNING hand_over_count -- no account: steps work for all accounts
        """,
        batch_id=name.key,
        number=name.number,
        worker=worker,
    ).scalar_one_or_none()


def _count_for_delivery(connection: Connection, name: StepName) -> int | None:
    return run(
        connection,
        """
        UPDATE deliveries SET hand_over_count = hand_over_count + 1
        WHERE id = :delivery_id AND state = 'pending'
        RETURNING hand_over_count -- no account: steps work for all accounts
        """,
        delivery_id=name.key,
    ).scalar_one_or_none()


def _release_batch(connection: Connection, name: StepName, worker: str) -> int | None:
    return run(
        connection,
        f"""
        UPDATE batches SET hand_over_count = hand_over_count + 1, claimed_by = NULL
        WHERE id = :batch_id AND status NOT IN ('finished', 'deleted') AND {is_free(connection)}
        RETURNING hand_over_count -- no account: steps work for all accounts
        """,
        batch_id=name.key,
        worker=worker,
    ).scalar_one_or_none()
