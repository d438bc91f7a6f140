"""Batch webhooks of accounts."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from batchway.kit.clock import Microseconds
from batchway.kit.ids import new_public_id
from batchway.model.webhook import BatchWebhook
from batchway.store import deliveries
from batchway.store.database import run, sql_for_share, sql_for_update

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
    """Insert a webhook with a new public id, and return it."""
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
            return _parse_row(row)


def count(connection: Connection, account_id: int) -> int:
    """Return how many webhooks an account has."""
    statement = "SELECT count(*) FROM batch_webhooks WHERE account_id = :account_id"
    return int(run(connection, statement, account_id=account_id).scalar_one())


def find(
    connection: Connection, account_id: int, public_id: str, *, locked: bool = False
) -> BatchWebhook | None:
    """Return a webhook by its public id, or None; `locked` until the commit to be changed."""
    values = {"account_id": account_id, "public_id": public_id}
    return _select_one(connection, "public_id = :public_id", values, locked=locked)


def get(
    connection: Connection, account_id: int, webhook_id: int, *, locked: bool = False
) -> BatchWebhook | None:
    """Return a webhook by its internal key, or None; `locked` until the commit to be changed."""
    values = {"account_id": account_id, "webhook_id": webhook_id}
    return _select_one(connection, "id = :webhook_id", values, locked=locked)


def _select_one(
    connection: Connection, condition: str, values: Mapping[str, Any], *, locked: bool
) -> BatchWebhook | None:
    row = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batch_webhooks
        WHERE account_id = :account_id AND {condition}
        {sql_for_update(connection) if locked else ""}
        """,
        **values,
    ).one_or_none()
    return None if row is None else _parse_row(row)


def find_page(
    connection: Connection, account_id: int, count: int, offset: int
) -> list[BatchWebhook]:
    """Return one page of an account's webhooks, oldest first."""
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
    return [_parse_row(row) for row in rows]


def find_enabled(connection: Connection, account_id: int) -> list[BatchWebhook]:
    """Return the enabled webhooks of an account, locked against changes until the commit."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batch_webhooks
        WHERE account_id = :account_id AND enabled
        ORDER BY id
        {sql_for_share(connection)}
        """,
        account_id=account_id,
    )
    return [_parse_row(row) for row in rows]


def find_by_key(connection: Connection, api_key_id: int) -> list[BatchWebhook]:
    """Return the webhooks that an API key has created, locked until the commit."""
    rows = run(
        connection,
        f"""
        SELECT {_COLUMNS} FROM batch_webhooks WHERE api_key_id = :api_key_id
        ORDER BY id
        {sql_for_update(connection)}
        -- no account: an API key belongs to one account
        """,
        api_key_id=api_key_id,
    )
    return [_parse_row(row) for row in rows]


def save(connection: Connection, webhook: BatchWebhook) -> None:
    """Write all columns that can change of a webhook that the caller has `locked`."""
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
    deliveries.remove_by_webhook(connection, webhook.account_id, webhook.id)
    run(
        connection,
        "DELETE FROM batch_webhooks WHERE account_id = :account_id AND id = :webhook_id",
        account_id=webhook.account_id,
        webhook_id=webhook.id,
    )


def _parse_row(row: Any) -> BatchWebhook:  # noqa: ANN401 - a database row
    values = row._asdict()
    secrets = {
        name: None if values[name] is None else bytes(values[name])
        for name in ("secret", "old_secret")
    }
    flags = {name: bool(values[name]) for name in ("enabled", "signing_enabled")}
    return BatchWebhook(**values | secrets | flags)
