"""Deliveries of events to batch webhooks, and their attempts."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from batchway.kit.clock import SECOND, Microseconds
from batchway.kit.ids import new_delivery_id
from batchway.model.webhook import Attempt, BatchWebhook, Delivery, DeliveryState
from batchway.store.database import bind_values, run, sql_in, sql_now
from batchway.store.hand_overs import EARLY_MAX

_COLUMNS = """id, account_id, public_id, batch_webhook_id, batch_id, state, fired_at,
    attempt_count, attempts_before, next_attempt_at"""


def insert(
    connection: Connection, webhook: BatchWebhook, batch_id: int | None, now: Microseconds
) -> Delivery | None:
    """Insert a delivery that is due now; None if the webhook has one for this batch already."""
    row = run(
        connection,
        f"""
        INSERT INTO deliveries (account_id, public_id, batch_webhook_id, batch_id, state,
                                fired_at, next_attempt_at, touched_at)
        VALUES (:account_id, :public_id, :webhook_id, :batch_id, 'pending',
                :now, {sql_now(connection)}, {sql_now(connection)})
        ON CONFLICT (batch_id, batch_webhook_id) DO NOTHING
        RETURNING {_COLUMNS}
        """,
        account_id=webhook.account_id,
        public_id=new_delivery_id(),
        webhook_id=webhook.id,
        batch_id=batch_id,
        now=now,
    ).one_or_none()
    return None if row is None else _parse_row(row)


def get(connection: Connection, delivery_id: int) -> Delivery | None:
    """Return a delivery by its internal key, or None."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM deliveries WHERE id = :delivery_id
        -- no account: steps work for all accounts
        """,
        delivery_id=delivery_id,
    ).one_or_none()
    return None if row is None else _parse_row(row)


def get_due(connection: Connection, delivery_id: int) -> Delivery | None:
    """Return a delivery if an attempt is due now or in at most `EARLY_MAX`, otherwise None."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM deliveries
        WHERE id = :delivery_id AND state = 'pending'
          AND next_attempt_at <= {sql_now(connection)} + :early
        -- no account: steps work for all accounts
        """,
        delivery_id=delivery_id,
        early=EARLY_MAX,
    ).one_or_none()
    return None if row is None else _parse_row(row)


def find(connection: Connection, webhook: BatchWebhook, public_id: str) -> Delivery | None:
    """Return a delivery to a webhook by its public id, or None."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM deliveries
        WHERE account_id = :account_id AND batch_webhook_id = :webhook_id
          AND public_id = :public_id
        """,
        account_id=webhook.account_id,
        webhook_id=webhook.id,
        public_id=public_id,
    ).one_or_none()
    return None if row is None else _parse_row(row)


def find_page(
    connection: Connection,
    webhook: BatchWebhook,
    state: DeliveryState | None,
    count: int,
    offset: int,
) -> tuple[list[Delivery], int]:
    """Return one page of the deliveries to a webhook, newest first, and how many there are."""
    condition = "" if state is None else "AND state = :state"
    values: dict[str, Any] = {"account_id": webhook.account_id, "webhook_id": webhook.id}
    if state is not None:
        values["state"] = state
    total = run(
        connection,
        f"""
        SELECT count(*) FROM deliveries
        WHERE account_id = :account_id AND batch_webhook_id = :webhook_id {condition}
        """,
        **values,
    ).scalar_one()
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM deliveries
        WHERE account_id = :account_id AND batch_webhook_id = :webhook_id {condition}
        ORDER BY id DESC LIMIT :count OFFSET :offset
        """,
        count=count,
        offset=offset,
        **values,
    )
    return [_parse_row(row) for row in rows], int(total)


def find_attempts(
    connection: Connection, account_id: int, delivery_ids: Sequence[int]
) -> dict[int, list[Attempt]]:
    """Return the attempts of each of these deliveries, in order, by the key of the delivery."""
    rows = run(
        connection,
        f"""
        SELECT delivery_id, number, attempted_at, duration, status_code, reason, answer_start
        FROM delivery_attempts
        WHERE account_id = :account_id AND delivery_id {sql_in(connection, "ids")}
        ORDER BY delivery_id, number
        """,
        account_id=account_id,
        ids=bind_values(connection, delivery_ids),
    )
    found: dict[int, list[Attempt]] = {delivery_id: [] for delivery_id in delivery_ids}
    for row in rows:
        found[row.delivery_id].append(Attempt(*row))
    return found


def count_undelivered(connection: Connection, account_id: int) -> int:
    """Return how many deliveries of an account are pending without any attempt."""
    statement = """
        SELECT count(*) FROM deliveries
        WHERE account_id = :account_id AND state = 'pending' AND attempt_count = 0
        """
    return int(run(connection, statement, account_id=account_id).scalar_one())


def count_due(connection: Connection, webhook: BatchWebhook) -> int:
    """Return how many pending deliveries to a webhook are due."""
    statement = f"""
        SELECT count(*) FROM deliveries
        WHERE account_id = :account_id AND batch_webhook_id = :webhook_id
          AND state = 'pending' AND next_attempt_at <= {sql_now(connection)}
        """
    return int(
        run(
            connection,
            statement,
            account_id=webhook.account_id,
            webhook_id=webhook.id,
        ).scalar_one()
    )


def postpone(connection: Connection, delivery: Delivery, seconds: float) -> bool:
    """Postpone a delivery without an attempt; return False if it is no longer pending."""
    postponed = run(
        connection,
        f"""
        UPDATE deliveries SET next_attempt_at = {sql_now(connection)} + :span
        WHERE id = :delivery_id AND account_id = :account_id AND state = 'pending'
        """,
        delivery_id=delivery.id,
        account_id=delivery.account_id,
        span=int(seconds * SECOND),
    )
    return bool(postponed.rowcount)


def record(
    connection: Connection,
    delivery: Delivery,
    attempt: Attempt,
    state: DeliveryState,
    wait_seconds: float | None,
) -> bool:
    """Store an attempt and the delivery's new state; return False if another was stored meanwhile.

    The next attempt is due after `wait_seconds`; None if no attempt follows.
    """
    moment = sql_now(connection)
    changed = run(
        connection,
        f"""
        UPDATE deliveries
        SET state = :state, attempt_count = :number, next_attempt_at = {moment} + :span,
            touched_at = {moment}
        WHERE id = :delivery_id AND account_id = :account_id
          AND state = 'pending' AND attempt_count = :number - 1
          AND attempts_before = :attempts_before
        """,
        delivery_id=delivery.id,
        account_id=delivery.account_id,
        attempts_before=delivery.attempts_before,
        state=state,
        number=attempt.number,
        span=None if wait_seconds is None else int(wait_seconds * SECOND),
    )
    if not changed.rowcount:
        return False
    run(
        connection,
        """
        INSERT INTO delivery_attempts (delivery_id, number, account_id, attempted_at, duration,
                                       status_code, reason, answer_start)
        VALUES (:delivery_id, :number, :account_id, :attempted_at, :duration,
                :status_code, :reason, :answer_start)
        """,
        delivery_id=delivery.id,
        number=attempt.number,
        account_id=delivery.account_id,
        attempted_at=attempt.attempted_at,
        duration=attempt.duration,
        status_code=attempt.status_code,
        reason=attempt.reason,
        answer_start=attempt.answer_start,
    )
    return True


def resend(connection: Connection, delivery: Delivery) -> bool:
    """Restart the schedule of a delivery; return False if it is still pending."""
    changed = run(
        connection,
        f"""
        UPDATE deliveries SET {_sql_restart(connection)}
        WHERE id = :delivery_id AND account_id = :account_id AND state <> 'pending'
        """,
        delivery_id=delivery.id,
        account_id=delivery.account_id,
    )
    return bool(changed.rowcount)


def recover(
    connection: Connection,
    webhook: BatchWebhook,
    since: Microseconds,
    count: int,
) -> list[int]:
    """Restart the oldest exhausted deliveries of events since a moment; return their keys."""
    rows = run(
        connection,
        f"""
        UPDATE deliveries SET {_sql_restart(connection)}
        WHERE account_id = :account_id AND id IN (
            SELECT id FROM deliveries
            WHERE account_id = :account_id AND batch_webhook_id = :webhook_id
              AND state = 'exhausted' AND fired_at >= :since
            ORDER BY id LIMIT :count)
        RETURNING id
        """,
        account_id=webhook.account_id,
        webhook_id=webhook.id,
        since=since,
        count=count,
    )
    return sorted(rows.scalars())


def _sql_restart(connection: Connection) -> str:
    """Return SQL that makes a delivery due now, with its whole schedule of attempts."""
    return f"""state = 'pending', attempts_before = attempt_count,
            next_attempt_at = {sql_now(connection)}, touched_at = {sql_now(connection)}"""


def exhaust_all(connection: Connection, webhook: BatchWebhook) -> None:
    """End all pending deliveries to a webhook that is disabled."""
    run(
        connection,
        f"""
        UPDATE deliveries
        SET state = 'exhausted', next_attempt_at = NULL, touched_at = {sql_now(connection)}
        WHERE account_id = :account_id AND batch_webhook_id = :webhook_id AND state = 'pending'
        """,
        account_id=webhook.account_id,
        webhook_id=webhook.id,
    )


def remove_by_batch(connection: Connection, account_id: int, batch_id: int) -> None:
    """Delete the deliveries of a batch with their attempts."""
    condition = "account_id = :account_id AND batch_id = :batch_id"
    _remove(connection, condition, account_id=account_id, batch_id=batch_id)


def remove_by_webhook(connection: Connection, account_id: int, webhook_id: int) -> None:
    """Delete the deliveries of a webhook with their attempts."""
    condition = "account_id = :account_id AND batch_webhook_id = :webhook_id"
    _remove(connection, condition, account_id=account_id, webhook_id=webhook_id)


def remove_tests(connection: Connection, fired_before: Microseconds) -> None:
    """Delete old test events. Other deliveries are deleted when their batch is."""
    _remove(connection, "batch_id IS NULL AND fired_at < :fired_before", fired_before=fired_before)


def _remove(connection: Connection, condition: str, **values: int) -> None:
    """Delete deliveries first, then their attempts: the order in which `record` writes them.

    So an attempt that is recorded at the same time is either deleted here, or not stored because
    its delivery is gone. In the other order it could be stored between the two statements, and
    would never be deleted.
    """
    removed = run(
        connection,
        f"""
        DELETE FROM deliveries WHERE {condition} RETURNING id
        -- no account: callers put it into the condition, except the sweep, for all accounts
        """,
        **values,
    ).scalars()
    run(
        connection,
        f"""
        DELETE FROM delivery_attempts WHERE delivery_id {sql_in(connection, "ids")}
        -- no account: these are the attempts of the deliveries above
        """,
        ids=bind_values(connection, removed),
    )


def _parse_row(row: Any) -> Delivery:  # noqa: ANN401 - a database row
    values = row._asdict()
    return Delivery(**values | {"state": DeliveryState(values["state"])})
