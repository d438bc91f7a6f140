"""Webhooks that are disabled, deliveries that are sent again, secrets that are rotated."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from batchway import limits
from batchway.kit import webhook_signatures
from batchway.kit.clock import SECOND, format_iso
from batchway.limits import Limits
from batchway.store import accounts
from tests.faults.delivery_runner import (
    BROKEN,
    HOUR,
    DeliveryRunner,
    get_event_ids,
    get_log,
    get_only_delivery,
    get_result_link,
    make_path,
)
from tests.receiver import Delivery, Receiver, Reply, open_receiver
from tests.step_runner import DAY

pytest_plugins = ["tests.faults.delivery_runner"]


# --- Disable --------------------------------------------------------------------------------------


def test_gone(account: DeliveryRunner, receiver: Receiver) -> None:
    """A 410 disables the webhook at once, and ends all of its pending deliveries."""
    webhook = account.new_webhook(receiver)
    receiver.script(Reply(410))
    for _ in range(3):
        account.finish_batch()
    keys = account.get_pending_keys()

    account.runner.run_twice(lambda: account.deliver(keys[1]))
    account.runner.check_no_effect(*account.make_steps(keys))

    log = get_log(account, webhook)
    assert ["exhausted"] * 3 == [delivery["state"] for delivery in log["deliveries"]]
    assert [0, 1, 0] == [delivery["attempt_count"] for delivery in log["deliveries"]]
    assert "It answered 410 Gone." == log["disabled_reason"]
    assert not account.call_ok("GET", make_path(webhook))["enabled"]
    assert 1 == len(receiver.deliveries())
    account.finish_batch()
    assert [] == account.get_pending_keys()


def test_days_of_failures(account: DeliveryRunner, receiver: Receiver) -> None:
    """Five days without a success disable a webhook; enabling it resets the count.

    The first failure after days without events does not disable it, only the fifth of an event.
    """
    webhook = account.new_webhook(receiver)
    receiver.answer_posts(BROKEN)
    clock, first_failure = account.runner.clock, account.runner.clock.now
    account.finish_batch()
    account.exhaust()
    days_later = first_failure + Limits.webhook_failing_days_max * DAY
    clock.now = days_later - HOUR
    for _ in range(2):
        account.finish_batch()
    for _ in range(limits.webhook_failing_attempts_min - 1):
        account.deliver_pending()
    one, other = account.get_pending_keys()
    clock.now = days_later - 1
    account.deliver(one)
    clock.now = days_later
    account.finish_batch()
    account.deliver(account.get_pending_keys()[-1])
    before = get_log(account, webhook)
    account.deliver(other)
    after = get_log(account, webhook)

    since = format_iso(first_failure)
    assert (since, "") == (before["failing_since"], before["disabled_reason"])
    assert (since, f"Every attempt has failed since {since}.") == (
        after["failing_since"],
        after["disabled_reason"],
    )
    assert [] == account.get_pending_keys()
    assert not account.call_ok("GET", make_path(webhook))["enabled"]
    account.call_ok("PATCH", make_path(webhook), {"enabled": True})
    enabled = get_log(account, webhook)
    assert ("", "") == (enabled["failing_since"], enabled["disabled_reason"])
    assert [] == account.get_pending_keys()


def test_a_success_ends_the_failing(account: DeliveryRunner, receiver: Receiver) -> None:
    """After a success, the days of failures are counted from the next failure."""
    webhook = account.new_webhook(receiver)
    receiver.script(BROKEN)
    account.finish_batch()
    account.deliver_pending()
    assert get_log(account, webhook)["failing_since"]
    account.deliver_pending()

    assert "" == get_log(account, webhook)["failing_since"]
    account.runner.clock.now += 6 * DAY
    receiver.script(BROKEN)
    account.finish_batch()
    account.deliver_pending()
    assert format_iso(account.runner.clock.now) == get_log(account, webhook)["failing_since"]
    assert account.call_ok("GET", make_path(webhook))["enabled"]


def test_disabling_gives_up_what_is_pending(account: DeliveryRunner, receiver: Receiver) -> None:
    """Deliveries that ended with the disabling stay ended when the webhook is enabled."""
    webhook = account.new_webhook(receiver)
    account.finish_batch()
    keys = account.get_pending_keys()
    account.call_ok("PATCH", make_path(webhook), {"enabled": False})
    account.call_ok("PATCH", make_path(webhook), {"enabled": True})

    account.runner.check_no_effect(lambda: account.deliver(keys[0]))

    assert "exhausted" == get_only_delivery(account, webhook)["state"]
    assert [] == receiver.deliveries()


def test_a_deleted_webhook_leaves_nothing(account: DeliveryRunner, receiver: Receiver) -> None:
    """A webhook is deleted with its deliveries and attempts; those of other webhooks stay."""
    webhook, other = account.new_webhook(receiver), account.new_webhook(receiver)
    receiver.script(BROKEN, BROKEN)
    account.finish_batch()
    account.deliver_pending()
    keys, before = account.get_pending_keys(), account.runner.take_snapshot()
    account.call_ok("DELETE", make_path(webhook))

    account.runner.check_no_effect(lambda: account.deliver(keys[0]))

    after = account.runner.take_snapshot()
    for table in ("batch_webhooks", "deliveries", "delivery_attempts"):
        [name] = [table_name for table_name in before if table_name.endswith(f".{table}")]
        assert 1 == len(before[name]) - len(after[name])
    assert 1 == get_only_delivery(account, other)["attempt_count"]
    assert 404 == account.call("GET", make_path(webhook, "deliveries"))[0]


def test_a_key_is_revoked_while_it_makes_a_webhook(
    account: DeliveryRunner, receiver: Receiver
) -> None:
    """A revoked key cannot create a webhook, because nothing would delete that webhook."""
    identity, parts = account.runner.identity, account.runner.parts
    with parts.database.write() as connection:
        assert accounts.revoke_key(connection, identity.api_key_id, account.runner.clock())

    status, _ = account.call("POST", "/batch-webhooks", {"url": receiver.url})

    assert 401 == status
    assert 0 == account.call_ok("GET", "/batch-webhooks")["total_items"]


# --- Resend and recover ---------------------------------------------------------------------------


def test_resend(account: DeliveryRunner, receiver: Receiver) -> None:
    """A resent delivery begins its schedule anew under the same id, and its log continues."""
    webhook = account.new_webhook(receiver)
    receiver.answer_posts(BROKEN)
    account.finish_batch()
    account.exhaust()
    entry = get_only_delivery(account, webhook)
    path = make_path(webhook, "deliveries", entry["id"], "actions", "resend")

    resent = account.call_ok("POST", path)
    refused, _ = account.call("POST", path)
    account.deliver_pending()
    waited = (account.get_next_attempt_at() - account.runner.clock.now) / SECOND
    account.exhaust()

    now_pending = {"state": "pending", "next_attempt_at": resent["next_attempt_at"]}
    assert entry | now_pending == resent
    assert 409 == refused  # it is pending already
    assert 4.5 <= waited < 10
    after = get_only_delivery(account, webhook)
    assert ("exhausted", 18) == (after["state"], after["attempt_count"])
    assert list(range(1, 19)) == [attempt["number"] for attempt in after["attempts"]]
    assert [entry["id"]] * 18 == get_event_ids(receiver.deliveries())


def test_resend_of_what_was_delivered(account: DeliveryRunner, receiver: Receiver) -> None:
    """A delivered event can be sent again, with a new link."""
    webhook = account.new_webhook(receiver)
    account.finish_batch()
    account.deliver_pending()
    entry = get_only_delivery(account, webhook)
    account.runner.clock.now += HOUR
    account.call_ok("POST", make_path(webhook, "deliveries", entry["id"], "actions", "resend"))
    account.deliver_pending()

    first, second = receiver.deliveries()
    assert [entry["id"]] * 2 == get_event_ids([first, second])
    assert get_result_link(first) != get_result_link(second)
    assert "delivered" == get_only_delivery(account, webhook)["state"]


def test_recover(account: DeliveryRunner, receiver: Receiver) -> None:
    """Exactly the deliveries that were given up since a given time are sent again."""
    webhook = account.new_webhook(receiver)
    for _ in range(4):
        account.finish_batch()
        account.runner.clock.now += SECOND
    fired = [delivery["fired_at"] for delivery in get_log(account, webhook)["deliveries"]]
    account.deliver(account.get_pending_keys()[-1])
    account.call_ok("PATCH", make_path(webhook), {"enabled": False})
    account.call_ok("PATCH", make_path(webhook), {"enabled": True})
    path = make_path(webhook, "actions", "recover")

    assert {"recovered": 2} == account.call_ok("POST", path, {"since": fired[2]})
    assert {"recovered": 0} == account.call_ok("POST", path, {"since": fired[2]})
    assert 2 == len(account.get_pending_keys())
    account.deliver_pending()
    states = [delivery["state"] for delivery in get_log(account, webhook)["deliveries"]]
    assert ["delivered", "delivered", "delivered", "exhausted"] == states


def test_recover_a_thousand_at_a_time(
    account: DeliveryRunner, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call recovers the oldest deliveries up to a limit; further calls recover the others."""
    monkeypatch.setattr(limits, "webhook_recovered_max", 2)
    webhook = account.new_webhook(receiver)
    for _ in range(3):
        account.finish_batch()
    oldest = account.get_pending_keys()[:2]
    account.call_ok("PATCH", make_path(webhook), {"enabled": False})
    account.call_ok("PATCH", make_path(webhook), {"enabled": True})
    path, body = make_path(webhook, "actions", "recover"), {"since": "2001-01-01"}

    assert {"recovered": 2} == account.call_ok("POST", path, body)
    assert oldest == account.get_pending_keys()
    assert {"recovered": 1} == account.call_ok("POST", path, body)
    assert {"recovered": 0} == account.call_ok("POST", path, body)


# --- Signatures ----------------------------------------------------------------------------------


def test_rotated_secrets_overlap(account: DeliveryRunner, receiver: Receiver) -> None:
    """For a day after a rotation both secrets verify, then only the new one."""
    webhook = account.new_webhook(receiver)
    rotated = account.call_ok("POST", make_path(webhook, "actions", "rotate-secret"))
    secrets = (webhook["signing_secret"], rotated["signing_secret"])
    end = account.runner.clock.now + limits.webhook_secret_overlap_hours * HOUR
    found = []
    for moment in (account.runner.clock.now, end - 1, end):
        account.finish_batch()
        account.runner.clock.now = moment
        account.deliver_pending()
        delivery = receiver.deliveries()[-1]
        found.append([is_signed(delivery, secret, moment // SECOND) for secret in secrets])

    assert [[True, True], [True, True], [False, True]] == found


def test_a_rotation_within_the_overlap(account: DeliveryRunner, receiver: Receiver) -> None:
    """A second rotation within the overlap is refused unless it is forced."""
    webhook = account.new_webhook(receiver)
    path, clock = make_path(webhook, "actions", "rotate-secret"), account.runner.clock
    first = account.call_ok("POST", path)
    clock.now += limits.webhook_secret_overlap_hours * HOUR - 1
    refused, problem = account.call("POST", path)
    account.finish_batch()
    account.deliver_pending()
    forced = account.call_ok("POST", path, force="true")
    account.finish_batch()
    account.deliver_pending()
    clock.now += limits.webhook_secret_overlap_hours * HOUR
    account.call_ok("POST", path)

    assert (409, True) == (refused, "force=true" in problem["detail"])
    secrets = [reply["signing_secret"] for reply in (webhook, first, forced)]
    before, after = (
        [
            is_signed(delivery, secret, int(delivery.headers["webhook-timestamp"]))
            for secret in secrets
        ]
        for delivery in receiver.deliveries()
    )
    assert ([True, True, False], [False, True, True]) == (before, after)


def test_a_first_secret_can_be_rotated_at_once(account: DeliveryRunner, receiver: Receiver) -> None:
    """A webhook that had no secret can be rotated twice within a day."""
    body = {"url": receiver.url, "signing_enabled": False}
    path = make_path(account.call_ok("POST", "/batch-webhooks", body), "actions", "rotate-secret")

    for expected in (200, 200, 409):
        assert expected == account.call("POST", path)[0]


def is_signed(delivery: Delivery, secret: str, now_seconds: int) -> bool:
    """Return whether both signature headers are valid for a secret. They must agree."""
    standard = webhook_signatures.verify(secret, delivery.headers, delivery.body, now_seconds)
    time, *signatures = delivery.headers["x-mailchimp-signature"].split(",")
    [own] = webhook_signatures.sign_mailchimp([secret], now_seconds, delivery.body).split(",")[1:]
    assert f"t={now_seconds}" == time
    assert standard == (own in signatures)
    return standard


# --- Simultaneous attempts ------------------------------------------------------------------------


def test_receivers_that_hang(account: DeliveryRunner) -> None:
    """Each webhook whose receiver hangs has four attempts at once; all other deliveries are made.

    The clock is fixed, so that no webhook counts as slow, and the numbers are exact.
    """
    accounts, third = [account, account.add_account()], account.add_account()
    per_webhook = limits.webhook_attempts_at_once_max
    with (
        open_receiver() as fine,
        ThreadPoolExecutor(4 * per_webhook) as threads,
        open_receiver() as hanging,
    ):
        hanging.answer_posts(Reply(behaviour="hang"))
        for owner in accounts:
            for receiver in (hanging, hanging, fine):
                owner.new_webhook(receiver)
            for _ in range(per_webhook + 1):
                owner.finish_batch()
        third.new_webhook(fine)
        third.finish_batch()

        for owner in accounts:
            first, second, last = (owner.get_pending_keys()[number::3] for number in range(3))
            start_hanging(threads, owner, first[:per_webhook] + second[:per_webhook], hanging)
            for key in (first[per_webhook], second[per_webhook], *last):
                owner.deliver(key)  # a webhook that hangs has no free slot
        third.deliver_pending()

        assert 4 * per_webhook == len(hanging.deliveries()) == 16
        assert 2 * (per_webhook + 1) + 1 == len(fine.deliveries())
        for owner in accounts:
            assert 2 * (per_webhook + 1) == len(owner.get_pending_keys())


def start_hanging(
    threads: ThreadPoolExecutor, account: DeliveryRunner, keys: list[int], hanging: Receiver
) -> None:
    """Start deliveries to a receiver that hangs."""
    count = len(hanging.deliveries())
    for key in keys:
        threads.submit(account.deliver, key)
    hanging.wait_for(count + len(keys))
