"""A delivery is removed with its batch or its webhook, also while an attempt is recorded."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, text

from batchway.model.batch import Batch
from batchway.model.webhook import Attempt, BatchWebhook, Delivery, DeliveryState
from batchway.store import batch_webhooks, batches, deliveries
from tests.faults.delivery_runner import DeliveryRunner
from tests.receiver import Receiver
from tests.scenario import wait_until
from tests.step_runner import StepRunner

pytest_plugins = ["tests.faults.delivery_runner"]

Removal = Callable[[Connection, Batch, BatchWebhook], None]


def remove_batch(connection: Connection, batch: Batch, _webhook: BatchWebhook) -> None:
    """Remove the batch, as the sweep does."""
    batches.remove(connection, batch)


def remove_webhook(connection: Connection, _batch: Batch, webhook: BatchWebhook) -> None:
    """Delete the webhook, as its owner does."""
    batch_webhooks.delete(connection, webhook)


@pytest.mark.parametrize("remove", [remove_batch, remove_webhook])
def test_an_attempt_recorded_during_the_removal_goes_too(
    account: DeliveryRunner, receiver: Receiver, remove: Removal
) -> None:
    """An attempt that commits while its delivery is being removed leaves no row."""
    runner = account.runner
    account.new_webhook(receiver)
    batch, webhook, delivery = make_delivery(account)
    attempt = Attempt(delivery.id, 1, runner.clock(), 1)

    def remove_all() -> None:
        with runner.parts.database.write() as connection:
            remove(connection, batch, webhook)

    with ThreadPoolExecutor(1) as pool:
        with runner.parts.database.write() as connection:
            assert deliveries.record(connection, delivery, attempt, DeliveryState.DELIVERED, None)
            removal = pool.submit(remove_all)
            wait_until_blocked(runner, removal)
        removal.result()

    with runner.parts.database.read() as connection:
        assert deliveries.get(connection, delivery.id) is None
        found = deliveries.find_attempts(connection, batch.account_id, [delivery.id])
    assert {delivery.id: []} == found


def make_delivery(account: DeliveryRunner) -> tuple[Batch, BatchWebhook, Delivery]:
    """Finish a batch, and return it with the only webhook and its pending delivery."""
    batch = account.finish_batch()
    [key] = account.get_pending_keys()
    with account.runner.parts.database.write() as connection:  # it locks the webhooks
        [webhook] = batch_webhooks.find_enabled(connection, batch.account_id)
        delivery = deliveries.get(connection, key)
    assert delivery
    return batch, webhook, delivery


def wait_until_blocked(runner: StepRunner, removal: Future[None]) -> None:
    """Wait until the removal waits for the row. SQLite runs one writer at a time anyway."""
    if runner.parts.database.is_sqlite:
        return

    def is_blocked() -> bool:
        with runner.parts.database.read() as connection:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool(connection.execute(text(sql)).scalar()) or removal.done()

    wait_until(is_blocked, "the removal waits")
