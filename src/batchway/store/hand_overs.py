"""Numbers for hand-overs: each one that is written gets an id that was never used before."""

from sqlalchemy import Connection

from batchway.model.step import Step
from batchway.store.database import run


def next_number(connection: Connection, step: Step, key: int, number: int) -> int | None:
    """The number of the next hand-over of a step, or None if that step has no work left.

    `key` is that of a batch, or of a delivery.
    """
    if step is Step.EXECUTE:
        return _of_chunk(connection, key, number)
    if step is Step.DELIVER:
        return _of_delivery(connection, key)
    return _of_batch(connection, key)


def last_number(connection: Connection, step: Step, key: int, number: int) -> int | None:
    """The number of the newest hand-over of a step that has work left, or None."""
    if step is Step.EXECUTE:
        statement = """
            SELECT hand_over_count FROM chunks
            WHERE batch_id = :batch_id AND number = :number AND state = 'waiting'
            -- no account: the sweep works for all accounts
            """
        return run(connection, statement, batch_id=key, number=number).scalar_one_or_none()
    if step is Step.DELIVER:
        statement = """
            SELECT hand_over_count FROM deliveries
            WHERE id = :delivery_id AND state = 'pending'
            -- no account: the sweep works for all accounts
            """
        return run(connection, statement, delivery_id=key).scalar_one_or_none()
    statement = """
        SELECT hand_over_count FROM batches
        WHERE id = :batch_id AND status NOT IN ('finished', 'deleted')
        -- no account: the sweep works for all accounts
        """
    return run(connection, statement, batch_id=key).scalar_one_or_none()


def _of_chunk(connection: Connection, batch_id: int, number: int) -> int | None:
    return run(
        connection,
        """
        UPDATE chunks SET hand_over_count = hand_over_count + 1
        WHERE batch_id = :batch_id AND number = :number AND state = 'waiting'
        RETURNING hand_over_count -- no account: steps work for all accounts
        """,
        batch_id=batch_id,
        number=number,
    ).scalar_one_or_none()


def _of_delivery(connection: Connection, delivery_id: int) -> int | None:
    return run(
        connection,
        """
        UPDATE deliveries SET hand_over_count = hand_over_count + 1
        WHERE id = :delivery_id AND state = 'pending'
        RETURNING hand_over_count -- no account: steps work for all accounts
        """,
        delivery_id=delivery_id,
    ).scalar_one_or_none()


def _of_batch(connection: Connection, batch_id: int) -> int | None:
    return run(
        connection,
        """
        UPDATE batches SET hand_over_count = hand_over_count + 1
        WHERE id = :batch_id AND status NOT IN ('finished', 'deleted')
        RETURNING hand_over_count -- no account: steps work for all accounts
        """,
        batch_id=batch_id,
    ).scalar_one_or_none()
