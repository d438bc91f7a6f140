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
    ids_of,
    link_in,
    only_entry,
    path_of,
)
from tests.receiver import Delivery, Receiver, Reply, open_receiver
from tests.steps import run, split

pytest_plugins = ["tests.faults.delivery_runner"]

LARGE = 6_000  # operations: two chunks


# --- The schedule --------------------------------------------------------------------------------


def test_schedule(account: DeliveryRunner, receiver: Receiver) -> None:
    """Nine attempts under one id, each as long after the last one as planned, and all logged."""
    webhook = account.new_webhook(receiver)
    receiver.answer_posts(BROKEN)
    account.finish_batch()
    waits, moments = [], []
    while account.pending():
        account.deliver_pending()
        moments.append(account.runner.clock.now)
        if account.pending():
            waits.append((account.next_attempt_at() - moments[-1]) / SECOND)

    assert len(Limits.delivery_waits_seconds) == len(waits) == 8
    for planned, waited in zip(Limits.delivery_waits_seconds, waits, strict=True):
        assert planned * 0.9 <= waited < planned * 1.1 + 5  # the attempt itself takes a while
    entry = only_entry(account, webhook)
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
    assert [entry["id"]] * 9 == ids_of(receiver.deliveries())
    assert account.call_ok("GET", path_of(webhook))["enabled"]


def test_each_attempt_is_made_anew(account: DeliveryRunner, receiver: Receiver) -> None:
    """A later attempt has its own time, signature and link; all else stays as it was."""
    account.new_webhook(receiver)
    receiver.script(BROKEN)
    account.finish_batch()
    account.deliver_pending()
    account.deliver_pending()

    first, second = receiver.deliveries()
    assert link_in(first) != link_in(second)
    assert first.body.replace(token_in(first), b"") == second.body.replace(token_in(second), b"")
    times = [int(each.headers["webhook-timestamp"]) for each in (first, second)]
    assert account.runner.clock.now // SECOND == times[1] > times[0]
    for name in ("webhook-signature", "x-mailchimp-signature"):
        assert first.headers[name] != second.headers[name]


def token_in(delivery: Delivery) -> bytes:
    """What opens the results, without which two attempts are alike."""
    return link_in(delivery).partition("?t=")[2].encode()


def test_a_step_that_comes_too_early(account: DeliveryRunner, receiver: Receiver) -> None:
    """A hand-over that the engine brings before its time sends nothing."""
    account.new_webhook(receiver)
    receiver.script(BROKEN)
    account.finish_batch()
    account.deliver_pending()
    [key] = account.pending()
    account.runner.clock.now = account.next_attempt_at() - 3 * SECOND

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

    [attempt] = only_entry(account, webhook)["attempts"]
    waited = (account.next_attempt_at() - account.runner.clock.now) / SECOND
    took = attempt["duration_ms"] / 1_000
    assert least + took - 1 <= waited <= most + took + 1


# --- What an attempt comes to --------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success(account: DeliveryRunner, receiver: Receiver, status: int) -> None:
    """Any 2xx ends the delivery, whatever the answer says."""
    webhook = account.new_webhook(receiver)
    receiver.script(Reply(status, {"Retry-After": "60"}))
    account.finish_batch()
    [key] = account.pending()

    account.runner.run_twice(lambda: account.deliver(key))

    entry = only_entry(account, webhook)
    assert ("delivered", 1, "") == tuple(
        entry[name] for name in ("state", "attempt_count", "next_attempt_at")
    )
    assert 1 == len(receiver.deliveries())


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure(account: DeliveryRunner, receiver: Receiver, status: int) -> None:
    """It is logged as an answer, tried again, and not followed."""
    webhook = account.new_webhook(receiver)
    account.finish_batch()
    [key] = account.pending()
    with open_receiver() as elsewhere:
        receiver.script(Reply.redirect(elsewhere.url, status))
        account.runner.run_twice(lambda: account.deliver(key))
        assert [] == elsewhere.deliveries() + elsewhere.visits()

    entry = only_entry(account, webhook)
    assert ("pending", [status]) == (
        entry["state"],
        [each["status_code"] for each in entry["attempts"]],
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
    """It is logged without a status, with the reason, and tried again."""
    account.set_limits(delivery_seconds_max=1.0)
    with open_receiver() as receiver:
        webhook = account.new_webhook(receiver)
        account.finish_batch()
        if reply is not None:
            receiver.script(reply)
            account.deliver_pending()
    if reply is None:  # nobody listens any more
        account.deliver_pending()

    entry = only_entry(account, webhook)
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
    """The log keeps the first characters, whatever bytes came and however many."""
    webhook = account.new_webhook(receiver)
    receiver.script(Reply(200, body=body))
    account.finish_batch()
    account.deliver_pending()

    [attempt] = only_entry(account, webhook)["attempts"]
    assert (200, start) == (attempt["status_code"], attempt["answer_start"])


def test_two_attempts_at_once(account: DeliveryRunner, receiver: Receiver) -> None:
    """A delivery that two workers make is sent twice under one id, and logged once."""
    webhook = account.new_webhook(receiver)
    receiver.answer_posts(Reply(500, delay_seconds=0.5))
    account.finish_batch()
    [key] = account.pending()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(account.deliver, [key, key]))

    entry = only_entry(account, webhook)
    assert [entry["id"]] * 2 == ids_of(receiver.deliveries())
    assert (1, 1) == (entry["attempt_count"], len(entry["attempts"]))


# --- Who is told ---------------------------------------------------------------------------------


def test_an_announcement_twice(account: DeliveryRunner, receiver: Receiver) -> None:
    """A batch has one event for a webhook, however often it is announced."""
    account.new_webhook(receiver)
    batch = account.finish_batch()
    parts = account.runner.parts

    def again() -> None:
        with parts.database.write() as connection:
            announce_batch(parts, connection, batch, parts.clock())

    account.runner.check_no_effect(again)
    assert 1 == len(account.pending())


def test_deleted_batches_tell_nobody(account: DeliveryRunner, receiver: Receiver) -> None:
    """Neither one that was pending, nor one that ran, nor a finished one that nobody heard of."""
    account.new_webhook(receiver)
    runner, parts = account.runner, account.runner.parts
    receiver.script(BROKEN)
    waiting, running = (runner.submit(runner.make_additions(size)) for size in (1, LARGE))
    split(parts, running.id)
    finished, failed_once = account.finish_batch(), account.finish_batch()
    keys = account.pending()
    account.deliver(keys[1])
    for batch in (waiting, running, finished, failed_once):
        assert delete_batch(parts, batch.account_id, batch.public_id)
    run(parts, waiting.id)
    run(parts, running.id)
    runner.clock.now += HOUR

    runner.check_no_effect(*account.steps(keys))
    sweep(parts, lambda _: ())
    runner.check_no_effect(*account.steps(keys))

    assert [] == account.pending()
    assert 1 == len(receiver.deliveries())


def test_a_batch_that_is_stopped_is_told_of(account: DeliveryRunner, receiver: Receiver) -> None:
    """It ends as any other: with its results, and one event."""
    account.new_webhook(receiver)
    batch = account.runner.submit(account.runner.make_additions(2))
    cancel_batch(account.runner.parts, batch.account_id, batch.public_id)
    run(account.runner.parts, batch.id)
    account.deliver_pending()

    [delivery] = receiver.deliveries()
    told = parse_qs(delivery.body.decode())
    assert [batch.public_id] == told["data[id]"]
    assert ["2"] == told["data[errored_operations]"]


@pytest.mark.parametrize("change", ["disable", "delete"])
def test_a_webhook_goes_while_a_batch_finishes(
    account: DeliveryRunner, receiver: Receiver, change: str
) -> None:
    """Whichever commits first, no event is left that would be pending for ever."""
    webhook = account.new_webhook(receiver)
    parts, path = account.runner.parts, path_of(webhook)
    batch = account.runner.submit(account.runner.make_additions(1))
    request = ("PATCH", path, {"enabled": False}) if change == "disable" else ("DELETE", path)
    with ThreadPoolExecutor(1) as threads:
        with parts.database.write() as connection:
            announce_batch(parts, connection, batch, parts.clock())
            changing = threads.submit(account.call, *request)
            assert not wait([changing], timeout=0.5).done  # until this one commits
        status, _ = changing.result()

    assert (200 if change == "disable" else 204) == status
    assert [] == account.pending()
