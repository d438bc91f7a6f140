"""Deliveries: retries, the outcomes of an attempt, and the batches that have events."""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qs

import pytest

from batchway import limits
from batchway.kit.clock import SECOND, format_iso
from batchway.kit.egress import LATE, NOT_HTTP, UNREACHABLE
from batchway.lifecycle.announce import announce_batch
from batchway.lifecycle.cancel import cancel_batch
from batchway.lifecycle.delete import delete_batch
from batchway.lifecycle.sweep import sweep
from batchway.limits import Limits
from tests.faults.delivery_runner import (
    BROKEN,
    HOUR,
    DeliveryRunner,
    get_event_ids,
    get_only_delivery,
    get_result_link,
    make_path,
)
from tests.receiver import Delivery, Receiver, Reply, open_receiver
from tests.step_runner import LARGE
from tests.steps import run, split

pytest_plugins = ["tests.faults.delivery_runner"]


# --- The schedule --------------------------------------------------------------------------------


def test_schedule(account: DeliveryRunner, receiver: Receiver) -> None:
    """A delivery has nine attempts under one id, with the planned waits, and all are logged."""
    webhook = account.new_webhook(receiver)
    receiver.answer_posts(BROKEN)
    account.finish_batch()
    waits, moments = [], []
    while account.get_pending_keys():
        account.deliver_pending()
        moments.append(account.runner.clock.now)
        if account.get_pending_keys():
            waits.append((account.get_next_attempt_at() - moments[-1]) / SECOND)

    assert len(Limits.delivery_waits_seconds) == len(waits) == 8
    for planned, waited in zip(Limits.delivery_waits_seconds, waits, strict=True):
        assert planned * 0.9 <= waited < planned * 1.1 + 5  # the attempt itself takes a while
    entry = get_only_delivery(account, webhook)
    assert ("exhausted", 9, "") == tuple(
        entry[name] for name in ("state", "attempt_count", "next_attempt_at")
    )
    assert [
        {
            "number": number,
            "attempted_at": format_iso(moment),
            "duration_ms": attempt["duration_ms"],
            "status_code": 500,
            "reason": "",
            "answer_start": "broken",
        }
        for number, (moment, attempt) in enumerate(zip(moments, entry["attempts"], strict=True), 1)
    ] == entry["attempts"]
    assert [entry["id"]] * 9 == get_event_ids(receiver.deliveries())
    assert account.call_ok("GET", make_path(webhook))["enabled"]


def test_each_attempt_is_made_anew(account: DeliveryRunner, receiver: Receiver) -> None:
    """Each attempt has a new time, signature and link; the rest of the event does not change."""
    account.new_webhook(receiver)
    receiver.script(BROKEN)
    account.finish_batch()
    account.deliver_pending()
    account.deliver_pending()

    first, second = receiver.deliveries()
    assert get_result_link(first) != get_result_link(second)
    assert first.body.replace(get_token(first), b"") == second.body.replace(get_token(second), b"")
    times = [int(delivery.headers["webhook-timestamp"]) for delivery in (first, second)]
    assert account.runner.clock.now // SECOND == times[1] > times[0]
    for name in ("webhook-signature", "x-mailchimp-signature"):
        assert first.headers[name] != second.headers[name]


def get_token(delivery: Delivery) -> bytes:
    """Return the token of the result link, which differs between two attempts."""
    return get_result_link(delivery).partition("?t=")[2].encode()


def test_a_step_that_comes_too_early(account: DeliveryRunner, receiver: Receiver) -> None:
    """A delivery that the engine runs before its time sends nothing."""
    account.new_webhook(receiver)
    receiver.script(BROKEN)
    account.finish_batch()
    account.deliver_pending()
    [key] = account.get_pending_keys()
    account.runner.clock.now = account.get_next_attempt_at() - 3 * SECOND

    account.runner.check_no_effect(lambda: account.deliver(key))

    assert 1 == len(receiver.deliveries())


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("120", 120, 120),
        ("999999999", limits.retry_after_seconds_max, limits.retry_after_seconds_max),
        ("0", 4.5, 5.5),
        ("soon", 4.5, 5.5),
        ("-5", 4.5, 5.5),
        ("a date", 300, 300),
    ],
)
def test_retry_after(
    account: DeliveryRunner, receiver: Receiver, header: str, least: float, most: float
) -> None:
    """A receiver can ask for a longer wait, up to a limit, and never for a shorter one."""
    webhook = account.new_webhook(receiver)
    if header == "a date":
        asked = datetime.fromtimestamp(account.runner.clock.now // SECOND + 300, tz=UTC)
        header = format_datetime(asked, usegmt=True)
    receiver.script(Reply(503, {"Retry-After": header}))
    account.finish_batch()
    account.deliver_pending()

    [attempt] = get_only_delivery(account, webhook)["attempts"]
    waited = (account.get_next_attempt_at() - account.runner.clock.now) / SECOND
    took = attempt["duration_ms"] / 1_000
    assert least + took - 1 <= waited <= most + took + 1


# --- Outcomes of an attempt -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success(account: DeliveryRunner, receiver: Receiver, status: int) -> None:
    """Any 2xx status ends the delivery."""
    webhook = account.new_webhook(receiver)
    receiver.script(Reply(status, {"Retry-After": "60"}))
    account.finish_batch()
    [key] = account.get_pending_keys()

    account.runner.run_twice(lambda: account.deliver(key))

    entry = get_only_delivery(account, webhook)
    assert ("delivered", 1, "") == tuple(
        entry[name] for name in ("state", "attempt_count", "next_attempt_at")
    )
    assert 1 == len(receiver.deliveries())


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure(account: DeliveryRunner, receiver: Receiver, status: int) -> None:
    """A redirect is logged and retried, and not followed."""
    webhook = account.new_webhook(receiver)
    account.finish_batch()
    [key] = account.get_pending_keys()
    with open_receiver() as elsewhere:
        receiver.script(Reply.redirect(elsewhere.url, status))
        account.runner.run_twice(lambda: account.deliver(key))
        assert [] == elsewhere.deliveries() + elsewhere.visits()

    entry = get_only_delivery(account, webhook)
    assert ("pending", [status]) == (
        entry["state"],
        [attempt["status_code"] for attempt in entry["attempts"]],
    )


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(behaviour="hang"), LATE),
        (Reply(behaviour="drip"), LATE),
        (Reply(behaviour="close"), NOT_HTTP),
        (None, UNREACHABLE),
    ],
)
def test_no_answer(account: DeliveryRunner, reply: Reply | None, reason: str) -> None:
    """An attempt without an answer is logged with its reason and without a status, and retried."""
    account.set_limits(delivery_seconds_max=1.0)
    with open_receiver() as receiver:
        webhook = account.new_webhook(receiver)
        account.finish_batch()
        if reply is not None:
            receiver.script(reply)
            account.deliver_pending()
    if reply is None:  # nobody listens any more
        account.deliver_pending()

    entry = get_only_delivery(account, webhook)
    [attempt] = entry["attempts"]
    assert ("pending", None, reason, "") == (
        entry["state"],
        attempt["status_code"],
        attempt["reason"],
        attempt["answer_start"],
    )
    assert (0 if reply is None else 1) == len(receiver.deliveries())


@pytest.mark.parametrize(
    ("body", "start"),
    [
        (b"x" * 10_000_000, "x" * 500),
        ("é".encode() * 600, "é" * 500),
        (b"a\0b\xff", "a\ufffdb\ufffd"),
        (b"", ""),
    ],
)
def test_start_of_an_answer(
    account: DeliveryRunner, receiver: Receiver, body: bytes, start: str
) -> None:
    """The log keeps the first 500 characters of an answer, whatever its bytes and its size."""
    webhook = account.new_webhook(receiver)
    receiver.script(Reply(200, body=body))
    account.finish_batch()
    account.deliver_pending()

    [attempt] = get_only_delivery(account, webhook)["attempts"]
    assert (200, start) == (attempt["status_code"], attempt["answer_start"])


def test_two_attempts_at_once(account: DeliveryRunner, receiver: Receiver) -> None:
    """A delivery that two workers attempt at once is sent twice under one id, and logged once."""
    webhook = account.new_webhook(receiver)
    receiver.answer_posts(Reply(500, delay_seconds=0.5))
    account.finish_batch()
    [key] = account.get_pending_keys()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(account.deliver, [key, key]))

    entry = get_only_delivery(account, webhook)
    assert [entry["id"]] * 2 == get_event_ids(receiver.deliveries())
    assert (1, 1) == (entry["attempt_count"], len(entry["attempts"]))


# --- Which batches have events --------------------------------------------------------------------


def test_an_announcement_twice(account: DeliveryRunner, receiver: Receiver) -> None:
    """A batch that is announced twice has one event for each webhook."""
    account.new_webhook(receiver)
    batch = account.finish_batch()
    parts = account.runner.parts

    def announce_again() -> None:
        with parts.database.write() as connection:
            announce_batch(parts, connection, batch, parts.clock())

    account.runner.check_no_effect(announce_again)
    assert 1 == len(account.get_pending_keys())


def test_deleted_batches_send_no_event(account: DeliveryRunner, receiver: Receiver) -> None:
    """A batch that is deleted sends no event, whether it was pending, running or finished."""
    account.new_webhook(receiver)
    runner, parts = account.runner, account.runner.parts
    receiver.script(BROKEN)
    waiting, running = (runner.submit(runner.make_additions(size)) for size in (1, LARGE))
    split(parts, running.id)
    finished, failed_once = account.finish_batch(), account.finish_batch()
    keys = account.get_pending_keys()
    account.deliver(keys[1])
    for batch in (waiting, running, finished, failed_once):
        assert delete_batch(parts, batch.account_id, batch.public_id)
    run(parts, waiting.id)
    run(parts, running.id)
    runner.clock.now += HOUR

    runner.check_no_effect(*account.make_steps(keys))
    sweep(parts, lambda _: ())
    runner.check_no_effect(*account.make_steps(keys))

    assert [] == account.get_pending_keys()
    assert 1 == len(receiver.deliveries())


def test_a_cancelled_batch_has_an_event(account: DeliveryRunner, receiver: Receiver) -> None:
    """A cancelled batch has results and one event, like any other."""
    account.new_webhook(receiver)
    batch = account.runner.submit(account.runner.make_additions(2))
    cancel_batch(account.runner.parts, batch.account_id, batch.public_id)
    run(account.runner.parts, batch.id)
    account.deliver_pending()

    [delivery] = receiver.deliveries()
    fields = parse_qs(delivery.body.decode())
    assert [batch.public_id] == fields["data[id]"]
    assert ["2"] == fields["data[errored_operations]"]


@pytest.mark.parametrize("change", ["disable", "delete"])
def test_a_webhook_ends_while_a_batch_finishes(
    account: DeliveryRunner, receiver: Receiver, change: str
) -> None:
    """No pending event stays when a webhook is disabled or deleted while a batch finishes."""
    webhook = account.new_webhook(receiver)
    parts, path = account.runner.parts, make_path(webhook)
    batch = account.runner.submit(account.runner.make_additions(1))
    request = ("PATCH", path, {"enabled": False}) if change == "disable" else ("DELETE", path)
    with ThreadPoolExecutor(1) as threads:
        with parts.database.write() as connection:
            announce_batch(parts, connection, batch, parts.clock())
            changing = threads.submit(account.call, *request)
            assert not wait([changing], timeout=0.5).done  # until this one commits
        status, _ = changing.result()

    assert (200 if change == "disable" else 204) == status
    assert [] == account.get_pending_keys()
