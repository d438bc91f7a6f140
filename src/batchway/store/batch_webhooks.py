"""Batch webhooks of accounts."""

from typing import Any

from sqlalchemy import Connection

from batchway.kit.clock import Microseconds
from batchway.kit.ids import new_public_id
from batchway.model.webhook import BatchWebhook
from batchway.store import deliveries
from batchway.store.database import for_share, for_update, run

_COLUMNS = """id, account_id, public_id, url, enabled, signing_enabled, secret, old_secret,
    old_secret_until, failing_since, disabled_reason, created_at"""


def insert(  # noqa: PLR0913 - one argument a column
    connection: Connection,
    *,
    account_id: int,
    api_key_id: int,
    url: str,
    enabled: bool,
    signing_enabled: bool,
    secret: bytes | None,
    now: Microseconds,
) -> BatchWebhook:
    """A new webhook under a public id of its own."""
    while True:
        row = run(
            connection,
            f"""
            INSERT INTO batch_webhooks (account_id, api_key_id, public_id, url, enabled,
                                        signing_enabled, secret, created_at)
            VALUES (:account_id, :api_key_id, :public_id, :url, :enabled,
                    :signing_enabled, :secret, :now)
            ON CONFLICT (public_id) DO NOTHING
            RETURNING {_COLUMNS}
            """,
            account_id=account_id,
            api_key_id=api_key_id,
            public_id=new_public_id(),
            url=url,
            enabled=enabled,
            signing_enabled=signing_enabled,
            secret=secret,
            now=now,
        ).one_or_none()
        if row is not None:
            return _webhook(row)


def count(connection: Connection, account_id: int) -> int:
    """How many webhooks an account has."""
    statement = "SELECT count(*) FROM batch_webhooks WHERE account_id = :account_id"
    return int(run(connection, statement, account_id=account_id).scalar_one())


def find(
    connection: Connection, account_id: int, public_id: str, *, locked: bool = False
) -> BatchWebhook | None:
    """An account's webhook; `locked` until the commit if it is to be changed."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batch_webhooks
        WHERE account_id = :account_id AND public_id = :public_id
        {for_update(connection) if locked else ""}
        """,
        account_id=account_id,
        public_id=public_id,
    ).one_or_none()
    return None if row is None else _webhook(row)


def get(
    connection: Connection, account_id: int, webhook_id: int, *, locked: bool = False
) -> BatchWebhook | None:
    """A webhook by its internal key."""
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batch_webhooks
        WHERE account_id = :account_id AND id = :webhook_id
        {for_update(connection) if locked else ""}
        """,
        account_id=account_id,
        webhook_id=webhook_id,
    ).one_or_none()
    return None if row is None else _webhook(row)


def page_of(connection: Connection, account_id: int, count: int, offset: int) -> list[BatchWebhook]:
    """One page of an account's webhooks, oldest first."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batch_webhooks WHERE account_id = :account_id
        ORDER BY id LIMIT :count OFFSET :offset
        """,
        account_id=account_id,
        count=count,
        offset=offset,
    )
    return [_webhook(row) for row in rows]


def enabled(connection: Connection, account_id: int) -> list[BatchWebhook]:
    """The webhooks that want to hear of finished batches; they stay so until the commit."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batch_webhooks
        WHERE account_id = :account_id AND enabled
        ORDER BY id
        {for_share(connection)}
        """,
        account_id=account_id,
    )
    return [_webhook(row) for row in rows]


def of_key(connection: Connection, api_key_id: int) -> list[BatchWebhook]:
    """The webhooks that a key has made, `locked` until the commit; for the operator."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batch_webhooks WHERE api_key_id = :api_key_id
        ORDER BY id
        {for_update(connection)}
        -- no account: a key belongs to one
        """,
        api_key_id=api_key_id,
    )
    return [_webhook(row) for row in rows]


def save(connection: Connection, webhook: BatchWebhook) -> None:
    """Write all that can change of a webhook that the caller has found `locked`."""
    run(
        connection,
        """
        UPDATE batch_webhooks
        SET url = :url, enabled = :enabled, signing_enabled = :signing_enabled,
            secret = :secret, old_secret = :old_secret, old_secret_until = :old_secret_until,
            failing_since = :failing_since, disabled_reason = :disabled_reason
        WHERE account_id = :account_id AND id = :webhook_id
        """,
        account_id=webhook.account_id,
        webhook_id=webhook.id,
        url=webhook.url,
        enabled=webhook.enabled,
        signing_enabled=webhook.signing_enabled,
        secret=webhook.secret,
        old_secret=webhook.old_secret,
        old_secret_until=webhook.old_secret_until,
        failing_since=webhook.failing_since,
        disabled_reason=webhook.disabled_reason,
    )


def delete(connection: Connection, webhook: BatchWebhook) -> None:
    """Delete a webhook with its deliveries."""
    deliveries.remove_of_webhook(connection, webhook.account_id, webhook.id)
    run(
        connection,
        "DELETE FROM batch_webhooks WHERE account_id = :account_id AND id = :webhook_id",
        account_id=webhook.account_id,
        webhook_id=webhook.id,
    )


def _webhook(row: Any) -> BatchWebhook:  # noqa: ANN401 - a database row
    values = row._asdict()
    secrets = {
        name: None if values[name] is None else bytes(values[name])
        for name in ("secret", "old_secret")
    }
    flags = {name: bool(values[name]) for name in ("enabled", "signing_enabled")}
    return BatchWebhook(**values | secrets | flags)
