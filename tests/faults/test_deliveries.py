"""Deliveries: what is tried again and when, by hand; then by real processes that are killed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from batchway import limits
from batchway.kit import webhook_signatures
from batchway.kit.clock import SECOND, iso
from batchway.kit.egress import LATE, NOT_HTTP, UNREACHABLE
from batchway.lifecycle.announce import announce
from batchway.lifecycle.cancel import cancel
from batchway.lifecycle.run import run
from batchway.lifecycle.split import split
from batchway.lifecycle.stop import stop
from batchway.lifecycle.sweep import sweep
from batchway.store import batches
from tests.faults.by_hand import DAY
from tests.faults.delivering import Delivering, delivering, ids_of, path_of
from tests.postgres import Postgres
from tests.receiver import Delivery, Receiver, Reply, receiving

LARGE = 6_000  # operations: two chunks
HOUR = 60 * 60 * SECOND
BROKEN = Reply(500, body=b"broken")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def first_account(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Delivering]:
    """Deliveries on each database in turn, for all tests of this file."""
    folder = tmp_path_factory.mktemp("deliveries")
    if request.param == "sqlite":
        with delivering(folder, "") as opened:
            yield opened
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        with postgres.database() as url, delivering(folder, url) as opened:
            yield opened


@pytest.fixture
def account(first_account: Delivering) -> Delivering:
    """An account of this test's own."""
    return first_account.another_account()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiving() as opened:
        yield opened


def log_of(account: Delivering, webhook: Any) -> Any:
    """The deliveries to a webhook."""
    return account.done("GET", path_of(webhook, "deliveries"))


def only_entry(account: Delivering, webhook: Any) -> Any:
    """The only delivery to a webhook."""
    [entry] = log_of(account, webhook)["deliveries"]
    return entry


def link_in(delivery: Delivery) -> str:
    """The link to the results that an event holds."""
    [link] = parse_qs(delivery.body.decode())["data[response_body_url]"]
    return link


# --- The schedule --------------------------------------------------------------------------------


def test_schedule(account: Delivering, receiver: Receiver) -> None:
    """Nine attempts under one id, each as long after the last one as planned, and all logged."""
    webhook = account.new_webhook(receiver)
    receiver.answer_posts(BROKEN)
    account.finish_batch()
    waits, moments = [], []
    while account.pending():
        account.deliver_pending()
        moments.append(account.hand.clock.now)
        if account.pending():
            waits.append((account.next_attempt_at() - moments[-1]) / SECOND)

    assert len(limits.delivery_waits_seconds) == len(waits) == 8
    for planned, waited in zip(limits.delivery_waits_seconds, waits, strict=True):
        assert planned * 0.9 <= waited < planned * 1.1 + 5  # the attempt itself takes a while
    entry = only_entry(account, webhook)
    assert ("exhausted", 9, "") == tuple(
        entry[name] for name in ("state", "attempt_count", "next_attempt_at")
    )
    assert [
        {
            "number": number,
            "attempted_at": iso(moment),
            "duration_ms": attempt["duration_ms"],
            "status_code": 500,
            "reason": "",
            "answer_start": "broken",
        }
        for number, (moment, attempt) in enumerate(zip(moments, entry["attempts"], strict=True), 1)
    ] == entry["attempts"]
    assert [entry["id"]] * 9 == ids_of(receiver.deliveries())
    assert account.done("GET", path_of(webhook))["enabled"]


def test_each_attempt_is_made_anew(account: Delivering, receiver: Receiver) -> None:
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
    assert account.hand.clock.now // SECOND == times[1] > times[0]
    for name in ("webhook-signature", "x-mailchimp-signature"):
        assert first.headers[name] != second.headers[name]


def token_in(delivery: Delivery) -> bytes:
    """What opens the results, without which two attempts are alike."""
    return link_in(delivery).partition("?t=")[2].encode()


def test_a_step_that_comes_too_early(account: Delivering, receiver: Receiver) -> None:
    """A hand-over that the engine brings before its time sends nothing."""
    account.new_webhook(receiver)
    receiver.script(BROKEN)
    account.finish_batch()
    account.deliver_pending()
    [key] = account.pending()
    account.hand.clock.now = account.next_attempt_at() - 3 * SECOND

    account.hand.idle(lambda: account.deliver(key))

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
    account: Delivering, receiver: Receiver, header: str, least: float, most: float
) -> None:
    """A receiver can ask for a longer wait, up to a limit, and never for a shorter one."""
    webhook = account.new_webhook(receiver)
    if header == "a date":
        asked = datetime.fromtimestamp(account.hand.clock.now // SECOND + 300, tz=UTC)
        header = format_datetime(asked, usegmt=True)
    receiver.script(Reply(503, {"Retry-After": header}))
    account.finish_batch()
    account.deliver_pending()

    [attempt] = only_entry(account, webhook)["attempts"]
    waited = (account.next_attempt_at() - account.hand.clock.now) / SECOND
    took = attempt["duration_ms"] / 1_000
    assert least + took - 1 <= waited <= most + took + 1


# --- What an attempt comes to --------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success(account: Delivering, receiver: Receiver, status: int) -> None:
    """Any 2xx ends the delivery, whatever the answer says."""
    webhook = account.new_webhook(receiver)
    receiver.script(Reply(status, {"Retry-After": "60"}))
    account.finish_batch()
    [key] = account.pending()

    account.hand.twice(lambda: account.deliver(key))

    entry = only_entry(account, webhook)
    assert ("delivered", 1, "") == tuple(
        entry[name] for name in ("state", "attempt_count", "next_attempt_at")
    )
    assert 1 == len(receiver.deliveries())


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure(account: Delivering, receiver: Receiver, status: int) -> None:
    """It is logged as an answer, tried again, and not followed."""
    webhook = account.new_webhook(receiver)
    account.finish_batch()
    [key] = account.pending()
    with receiving() as elsewhere:
        receiver.script(Reply.redirect(elsewhere.url, status))
        account.hand.twice(lambda: account.deliver(key))
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
def test_no_answer(
    account: Delivering, monkeypatch: pytest.MonkeyPatch, reply: Reply | None, reason: str
) -> None:
    """It is logged without a status, with the reason, and tried again."""
    monkeypatch.setattr(limits, "delivery_seconds_max", 1.0)
    with receiving() as receiver:
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
    account: Delivering, receiver: Receiver, body: bytes, start: str
) -> None:
    """The log keeps the first characters, whatever bytes came and however many."""
    webhook = account.new_webhook(receiver)
    receiver.script(Reply(200, body=body))
    account.finish_batch()
    account.deliver_pending()

    [attempt] = only_entry(account, webhook)["attempts"]
    assert (200, start) == (attempt["status_code"], attempt["answer_start"])


def test_two_attempts_at_once(account: Delivering, receiver: Receiver) -> None:
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


def test_an_announcement_twice(account: Delivering, receiver: Receiver) -> None:
    """A batch has one event for a webhook, however often it is announced."""
    account.new_webhook(receiver)
    batch = account.finish_batch()
    parts = account.hand.parts

    def again() -> None:
        with parts.database.write() as connection:
            announce(parts, connection, batch, parts.clock())

    account.hand.idle(again)
    assert 1 == len(account.pending())


def test_deleted_batches_tell_nobody(account: Delivering, receiver: Receiver) -> None:
    """Neither one that was pending, nor one that ran, nor a finished one that nobody heard of."""
    account.new_webhook(receiver)
    hand, parts = account.hand, account.hand.parts
    receiver.script(BROKEN)
    waiting, running = (hand.submit(hand.additions(size)) for size in (1, LARGE))
    split(parts, running.id)
    finished, failed_once = account.finish_batch(), account.finish_batch()
    keys = account.pending()
    account.deliver(keys[1])
    for batch in (waiting, running, finished, failed_once):
        assert cancel(parts, batch.account_id, batch.public_id)
    run(parts, waiting.id)
    run(parts, running.id)
    hand.clock.now += HOUR

    hand.idle(*(lambda key=key: account.deliver(key) for key in keys))  # type: ignore[misc]
    sweep(parts, lambda *_: True)
    hand.idle(*(lambda key=key: account.deliver(key) for key in keys))  # type: ignore[misc]

    assert [] == account.pending()
    assert 1 == len(receiver.deliveries())


def test_a_batch_that_is_stopped_is_told_of(account: Delivering, receiver: Receiver) -> None:
    """It ends as any other: with its results, and one event."""
    account.new_webhook(receiver)
    batch = account.hand.submit(account.hand.additions(2))
    stop(account.hand.parts, batch.account_id, batch.public_id)
    run(account.hand.parts, batch.id)
    account.deliver_pending()

    [delivery] = receiver.deliveries()
    told = parse_qs(delivery.body.decode())
    assert [batch.public_id] == told["data[id]"]
    assert ["2"] == told["data[errored_operations]"]


@pytest.mark.parametrize("change", ["disable", "delete"])
def test_a_webhook_goes_while_a_batch_finishes(
    account: Delivering, receiver: Receiver, change: str
) -> None:
    """Whichever commits first, no event is left that would be pending for ever."""
    webhook = account.new_webhook(receiver)
    parts, path = account.hand.parts, path_of(webhook)
    batch = account.hand.submit(account.hand.additions(1))
    request = ("PATCH", path, {"enabled": False}) if change == "disable" else ("DELETE", path)
    with ThreadPoolExecutor(1) as threads:
        with parts.database.write() as connection:
            announce(parts, connection, batch, parts.clock())
            changing = threads.submit(account.call, *request)  # type: ignore[arg-type]
            assert not wait([changing], timeout=0.5).done  # until this one commits
        status, _ = changing.result()

    assert (200 if change == "disable" else 204) == status
    assert [] == account.pending()


# --- Disabled ------------------------------------------------------------------------------------


def test_gone(account: Delivering, receiver: Receiver) -> None:
    """A 410 disables the webhook at once; whatever is pending is given up."""
    webhook = account.new_webhook(receiver)
    receiver.script(Reply(410))
    for _ in range(3):
        account.finish_batch()
    keys = account.pending()

    account.hand.twice(lambda: account.deliver(keys[1]))
    account.hand.idle(*(lambda key=key: account.deliver(key) for key in keys))  # type: ignore[misc]

    log = log_of(account, webhook)
    assert ["exhausted"] * 3 == [each["state"] for each in log["deliveries"]]
    assert [0, 1, 0] == [each["attempt_count"] for each in log["deliveries"]]
    assert "It answered 410 Gone." == log["disabled_reason"]
    assert not account.done("GET", path_of(webhook))["enabled"]
    assert 1 == len(receiver.deliveries())
    account.finish_batch()
    assert [] == account.pending()


def test_days_of_failures(account: Delivering, receiver: Receiver) -> None:
    """Five days without a success disable a webhook, not a moment less; enabling begins anew."""
    webhook = account.new_webhook(receiver)
    receiver.answer_posts(BROKEN)
    clock, first_failure = account.hand.clock, account.hand.clock.now
    account.finish_batch()
    account.exhaust()
    clock.now = first_failure + limits.webhook_failing_days_max * DAY - 1
    account.finish_batch()
    account.deliver_pending()
    before = log_of(account, webhook)
    clock.now += 1
    account.finish_batch()
    account.deliver(account.pending()[-1])
    after = log_of(account, webhook)

    since = iso(first_failure)
    assert (since, "") == (before["failing_since"], before["disabled_reason"])
    assert (since, f"Every attempt has failed since {since}.") == (
        after["failing_since"],
        after["disabled_reason"],
    )
    assert [] == account.pending()
    assert not account.done("GET", path_of(webhook))["enabled"]
    account.done("PATCH", path_of(webhook), {"enabled": True})
    enabled = log_of(account, webhook)
    assert ("", "") == (enabled["failing_since"], enabled["disabled_reason"])
    assert [] == account.pending()


def test_a_success_ends_the_failing(account: Delivering, receiver: Receiver) -> None:
    """The days are counted from the first failure after it."""
    webhook = account.new_webhook(receiver)
    receiver.script(BROKEN)
    account.finish_batch()
    account.deliver_pending()
    assert log_of(account, webhook)["failing_since"]
    account.deliver_pending()

    assert "" == log_of(account, webhook)["failing_since"]
    account.hand.clock.now += 6 * DAY
    receiver.script(BROKEN)
    account.finish_batch()
    account.deliver_pending()
    assert iso(account.hand.clock.now) == log_of(account, webhook)["failing_since"]
    assert account.done("GET", path_of(webhook))["enabled"]


def test_disabling_gives_up_what_is_pending(account: Delivering, receiver: Receiver) -> None:
    """It is not sent when the webhook is enabled again, unless someone asks."""
    webhook = account.new_webhook(receiver)
    account.finish_batch()
    keys = account.pending()
    account.done("PATCH", path_of(webhook), {"enabled": False})
    account.done("PATCH", path_of(webhook), {"enabled": True})

    account.hand.idle(lambda: account.deliver(keys[0]))

    assert "exhausted" == only_entry(account, webhook)["state"]
    assert [] == receiver.deliveries()


def test_a_deleted_webhook_leaves_nothing(account: Delivering, receiver: Receiver) -> None:
    """Its deliveries and their attempts go with it, and those of another webhook stay."""
    webhook, other = account.new_webhook(receiver), account.new_webhook(receiver)
    receiver.script(BROKEN, BROKEN)
    account.finish_batch()
    account.deliver_pending()
    keys, before = account.pending(), account.hand.snapshot()
    account.done("DELETE", path_of(webhook))

    account.hand.idle(lambda: account.deliver(keys[0]))

    after = account.hand.snapshot()
    for table in ("batch_webhooks", "deliveries", "delivery_attempts"):
        [name] = [each for each in before if each.endswith(f".{table}")]
        assert 1 == len(before[name]) - len(after[name])
    assert 1 == only_entry(account, other)["attempt_count"]
    assert 404 == account.call("GET", path_of(webhook, "deliveries"))[0]


# --- Sent again ----------------------------------------------------------------------------------


def test_resend(account: Delivering, receiver: Receiver) -> None:
    """What was given up begins its schedule anew, under the same id, and its log goes on."""
    webhook = account.new_webhook(receiver)
    receiver.answer_posts(BROKEN)
    account.finish_batch()
    account.exhaust()
    entry = only_entry(account, webhook)
    path = path_of(webhook, "deliveries", entry["id"], "actions", "resend")

    again = account.done("POST", path)
    refused, _ = account.call("POST", path)
    account.deliver_pending()
    waited = (account.next_attempt_at() - account.hand.clock.now) / SECOND
    account.exhaust()

    now_pending = {"state": "pending", "next_attempt_at": again["next_attempt_at"]}
    assert entry | now_pending == again
    assert 409 == refused  # it is pending already
    assert 4.5 <= waited < 10
    after = only_entry(account, webhook)
    assert ("exhausted", 18) == (after["state"], after["attempt_count"])
    assert list(range(1, 19)) == [each["number"] for each in after["attempts"]]
    assert [entry["id"]] * 18 == ids_of(receiver.deliveries())


def test_resend_of_what_was_delivered(account: Delivering, receiver: Receiver) -> None:
    """A receiver that lost an event gets it once more, with a link that is fresh."""
    webhook = account.new_webhook(receiver)
    account.finish_batch()
    account.deliver_pending()
    entry = only_entry(account, webhook)
    account.hand.clock.now += HOUR
    account.done("POST", path_of(webhook, "deliveries", entry["id"], "actions", "resend"))
    account.deliver_pending()

    first, second = receiver.deliveries()
    assert [entry["id"]] * 2 == ids_of([first, second])
    assert link_in(first) != link_in(second)
    assert "delivered" == only_entry(account, webhook)["state"]


def test_recover(account: Delivering, receiver: Receiver) -> None:
    """Everything that was given up since a moment is sent again, and nothing else."""
    webhook = account.new_webhook(receiver)
    for _ in range(4):
        account.finish_batch()
        account.hand.clock.now += SECOND
    fired = [each["fired_at"] for each in log_of(account, webhook)["deliveries"]]
    account.deliver(account.pending()[-1])
    account.done("PATCH", path_of(webhook), {"enabled": False})
    account.done("PATCH", path_of(webhook), {"enabled": True})
    path = path_of(webhook, "actions", "recover")

    assert {"recovered": 2} == account.done("POST", path, {"since": fired[2]})
    assert {"recovered": 0} == account.done("POST", path, {"since": fired[2]})
    assert 2 == len(account.pending())
    account.deliver_pending()
    states = [each["state"] for each in log_of(account, webhook)["deliveries"]]
    assert ["delivered", "delivered", "delivered", "exhausted"] == states


def test_recover_a_thousand_at_a_time(
    account: Delivering, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first; whoever gets the full number asks again."""
    monkeypatch.setattr(limits, "webhook_recovered_max", 2)
    webhook = account.new_webhook(receiver)
    for _ in range(3):
        account.finish_batch()
    oldest = account.pending()[:2]
    account.done("PATCH", path_of(webhook), {"enabled": False})
    account.done("PATCH", path_of(webhook), {"enabled": True})
    path, body = path_of(webhook, "actions", "recover"), {"since": "2001-01-01"}

    assert {"recovered": 2} == account.done("POST", path, body)
    assert oldest == account.pending()
    assert {"recovered": 1} == account.done("POST", path, body)
    assert {"recovered": 0} == account.done("POST", path, body)


# --- Signatures ----------------------------------------------------------------------------------


def test_rotated_secrets_overlap(account: Delivering, receiver: Receiver) -> None:
    """For a day both secrets verify, then only the new one."""
    webhook = account.new_webhook(receiver)
    rotated = account.done("POST", path_of(webhook, "actions", "rotate-secret"))
    secrets = (webhook["signing_secret"], rotated["signing_secret"])
    end = account.hand.clock.now + limits.webhook_secret_overlap_hours * HOUR
    found = []
    for moment in (account.hand.clock.now, end - 1, end):
        account.finish_batch()
        account.hand.clock.now = moment
        account.deliver_pending()
        delivery = receiver.deliveries()[-1]
        found.append([is_signed(delivery, secret, moment // SECOND) for secret in secrets])

    assert [[True, True], [True, True], [False, True]] == found


def is_signed(delivery: Delivery, secret: str, now_seconds: int) -> bool:
    """Whether both headers have a signature by a secret; they must agree."""
    standard = webhook_signatures.verify(secret, delivery.headers, delivery.body, now_seconds)
    time, *signatures = delivery.headers["x-mailchimp-signature"].split(",")
    [own] = webhook_signatures.mailchimp([secret], now_seconds, delivery.body).split(",")[1:]
    assert f"t={now_seconds}" == time
    assert standard == (own in signatures)
    return standard


# --- Turns ---------------------------------------------------------------------------------------


def test_turns(account: Delivering) -> None:
    """Attempts that hang take up only so many turns of a worker: of a webhook, of an account."""
    other = account.another_account()
    per_webhook = limits.webhook_attempts_at_once_max
    per_account = limits.deliveries_per_worker_max // 2
    with ThreadPoolExecutor(per_account) as threads, receiving() as hanging, receiving() as fine:
        hanging.answer_posts(Reply(behaviour="hang"))
        for receiver in (hanging, hanging, fine):
            account.new_webhook(receiver)
        other.new_webhook(fine)
        for _ in range(per_webhook + 1):
            account.finish_batch()
        other.finish_batch()
        keys = account.pending()
        first, second, third = keys[0::3], keys[1::3], keys[2::3]

        for count, some in ((per_webhook, first), (per_account, second)):
            for key in some[:-1]:
                threads.submit(account.deliver, key)
            hanging.wait_for(count)
            account.deliver(some[-1])  # no turn: it is handed over for later
            if count < per_account:
                account.deliver(third[0])
        account.deliver(third[1])  # the account has no turn, though this webhook has
        other.deliver_pending()

        assert per_account == len(hanging.deliveries())
        assert 2 == len(fine.deliveries())
    account.deliver(third[1])  # all turns have been given back
    assert account.pending().count(third[1]) == 1
