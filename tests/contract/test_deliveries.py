"""The events that webhooks get when a batch is finished, and the log of deliveries."""

import hmac
import re
from contextlib import ExitStack, suppress
from dataclasses import replace
from json import JSONDecodeError
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, unquote, unquote_plus

import httpx
import pytest
from sqlalchemy import text
from standardwebhooks import Webhook, WebhookVerificationError

from batchway import limits
from tests.contract.shared_servers import (
    FAR_FUTURE,
    Api,
    Body,
    check_problem,
    create_account,
    get_field_errors,
    open_tables,
    read_raw_results,
    running_server,
)
from tests.receiver import Delivery, Receiver, Reply, open_receiver
from tests.scenario import NOWHERE, PING, add_member, wait_until

LOG_KEYS = ["deliveries", "total_items", "failing_since", "disabled_reason", "_links"]
DELIVERY_KEYS = [
    "id",
    "type",
    "batch_id",
    "state",
    "fired_at",
    "attempt_count",
    "next_attempt_at",
    "attempts",
    "_links",
]
ATTEMPT_KEYS = [
    "number",
    "attempted_at",
    "duration_ms",
    "status_code",
    "reason",
    "answer_start",
]


def make_path(webhook: Any, *more: str) -> str:
    """Return the path of a webhook, or of a resource below it."""
    return "/".join(["/batch-webhooks", webhook["id"], *more])


def get_deliveries(api: Api, webhook: Any, **params: str) -> list[Any]:
    """Return the deliveries to a webhook."""
    found: list[Any] = api.call_ok("GET", make_path(webhook, "deliveries"), **params)["deliveries"]
    return found


def wait_for_tried(api: Api, webhook: Any, state: str, count: int = 1) -> list[Any]:
    """Wait until `count` deliveries in this state have been attempted, and return them."""

    def found() -> list[Any]:
        log = get_deliveries(api, webhook, state=state, count="100")
        return log if len([entry for entry in log if entry["attempt_count"]]) >= count else []

    return wait_until(found, f"{count} {state}")


# --- Which events are sent ------------------------------------------------------------------------


def test_one_event_for_each_batch_and_webhook(own_api: Api, receiver: Receiver) -> None:
    """Every enabled webhook gets an event for every batch, also without operations."""
    webhooks = [own_api.new_webhook(receiver.url) for _ in range(2)]
    with open_receiver() as silent:
        own_api.new_webhook(silent.url, enabled=False)
        ids = [own_api.submit(*operations) for operations in ([PING], [], [NOWHERE] * 3)]
        for webhook in webhooks:
            wait_for_tried(own_api, webhook, "delivered", len(ids))
        assert [] == silent.deliveries()

    fields = [parse_qs(delivery.body.decode())["data[id]"][0] for delivery in receiver.deliveries()]
    assert sorted(ids * 2) == sorted(fields)
    assert 6 == len({delivery.headers["webhook-id"] for delivery in receiver.deliveries()})


def test_other_accounts_get_no_event(own_api: Api, api: Api, receiver: Receiver) -> None:
    """The webhooks of an account get events of its batches only."""
    webhook = own_api.new_webhook(receiver.url)
    api.wait_until_finished(api.submit(PING))
    batch_id = own_api.submit(PING)

    [entry] = wait_for_tried(own_api, webhook, "delivered")
    assert batch_id == entry["batch_id"]
    assert 1 == len(receiver.deliveries())


def test_cancelled_batch(own_api: Api, receiver: Receiver) -> None:
    """A cancelled batch has an event, too."""
    webhook = own_api.new_webhook(receiver.url)
    list_id = own_api.new_list()
    batch_id = own_api.submit(*(add_member(list_id, f"{n}@example.com") for n in range(6_000)))
    own_api.call_ok("POST", f"/batches/{batch_id}/actions/cancel")

    [entry] = wait_for_tried(own_api, webhook, "delivered")
    own_api.wait_until_finished(batch_id)
    assert batch_id == entry["batch_id"]
    assert 1 == len(receiver.deliveries())


# --- The body of an event -------------------------------------------------------------------------


def test_body(own_api: Api, receiver: Receiver) -> None:
    """The body has the batch as a status call shows it; only the token of the link differs."""
    webhook = own_api.new_webhook(receiver.url)
    batch_id = own_api.submit(PING, NOWHERE)
    [delivery] = receiver.wait_for(1)
    [entry] = wait_for_tried(own_api, webhook, "delivered")
    batch = own_api.call_ok("GET", f"/batches/{batch_id}")
    fields = dict(parse_qsl(delivery.body.decode()))
    link, _, token = fields["data[response_body_url]"].partition("?t=")
    assert link == batch["response_body_url"].partition("?t=")[0]

    batch["response_body_url"] = f"{link}?t={token}"
    fired_at = entry["fired_at"][:19].replace("T", " ")
    pairs = [("type", "batch_operation_completed"), ("fired_at", fired_at)]
    pairs += [(f"data[{name}]", str(batch[name])) for name in list(batch)[:-1]]
    pairs += [
        (f"data[_links][{number}][{name}]", link[name])
        for number, link in enumerate(batch["_links"])
        for name in ("rel", "href", "method", "targetSchema", "schema")
        if name in link
    ]
    expected = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    assert expected.encode() == delivery.body
    assert ("POST", "/hook") == (delivery.method, delivery.path)
    assert "application/x-www-form-urlencoded" == delivery.headers["content-type"]


def test_every_parser_agrees(own_api: Api, receiver: Receiver) -> None:
    """A form parser, one for brackets, and one that decodes twice agree; the link downloads."""
    own_api.new_webhook(receiver.url)
    own_api.submit(PING, NOWHERE)
    [delivery] = receiver.wait_for(1)
    body = delivery.body.decode("ascii")

    flat = {name: value for name, [value] in parse_qs(body, strict_parsing=True).items()}
    nested = parse_brackets(body)
    link = dict(parse_qsl(unquote(body)))["data[response_body_url]"]

    data = nested["data"]
    assert flat["type"] == nested["type"] == "batch_operation_completed"
    assert flat["data[errored_operations]"] == data["errored_operations"] == "1"
    assert flat["data[completed_at]"] == data["completed_at"]
    assert flat["data[_links][2][method]"] == data["_links"]["2"]["method"] == "DELETE"
    assert link == flat["data[response_body_url]"] == data["response_body_url"]
    archive = own_api.http.get(link)
    assert [200, 404] == [result["status_code"] for result in read_raw_results(archive.content)]


def parse_brackets(body: str) -> Any:
    """Parse a form as PHP does: `a[b][0]=c` is an array in an array."""
    found: dict[str, Any] = {}
    for pair in body.split("&"):
        name, _, value = pair.partition("=")
        first, *keys = re.findall(r"[^\[\]]+", unquote_plus(name))
        inner = found
        for key, following in zip([first, *keys], keys, strict=False):
            assert following
            inner = inner.setdefault(key, {})
        inner[[first, *keys][-1]] = unquote_plus(value)
    return found


def test_batch_without_operations(own_api: Api, receiver: Receiver) -> None:
    """The event of a batch without operations has an empty link."""
    own_api.new_webhook(receiver.url)
    own_api.submit()
    [delivery] = receiver.wait_for(1)

    fields = dict(parse_qsl(delivery.body.decode(), keep_blank_values=True))
    assert ("0", "finished", "") == (
        fields["data[total_operations]"],
        fields["data[status]"],
        fields["data[response_body_url]"],
    )


# --- Signatures ----------------------------------------------------------------------------------


def test_signatures(own_api: Api, receiver: Receiver) -> None:
    """A Standard Webhooks library verifies the event; Mailchimp's signature can be recomputed."""
    secret = own_api.new_webhook(receiver.url)["signing_secret"]
    own_api.submit(PING)
    [delivery] = receiver.wait_for(1)

    verify(secret, delivery)
    with pytest.raises(WebhookVerificationError):
        verify("whsec_" + "A" * 32, delivery)
    with pytest.raises(WebhookVerificationError):
        verify(secret, Delivery("POST", "", delivery.headers, delivery.body + b"&"))
    seconds = delivery.headers["webhook-timestamp"]
    signature = sign_as_mailchimp(secret, seconds, delivery.body)
    assert f"t={seconds},v1={signature}" == delivery.headers["x-mailchimp-signature"]


def test_signatures_of_two_secrets(own_api: Api, receiver: Receiver) -> None:
    """After a rotation both secrets verify."""
    webhook = own_api.new_webhook(receiver.url)
    rotated = own_api.call_ok("POST", make_path(webhook, "actions", "rotate-secret"))
    secrets = [rotated["signing_secret"], webhook["signing_secret"]]
    own_api.submit(PING)
    [delivery] = receiver.wait_for(1)

    for secret in secrets:
        verify(secret, delivery)
    seconds = delivery.headers["webhook-timestamp"]
    own = [f"v1={sign_as_mailchimp(secret, seconds, delivery.body)}" for secret in secrets]
    assert ",".join([f"t={seconds}", *own]) == delivery.headers["x-mailchimp-signature"]


def test_without_signatures(own_api: Api, receiver: Receiver) -> None:
    """An event without signatures has the headers for id and time."""
    webhook = own_api.new_webhook(receiver.url)
    own_api.call_ok("PATCH", make_path(webhook), {"signing_enabled": False})
    own_api.submit(PING)
    [delivery] = receiver.wait_for(1)

    assert {"webhook-id", "webhook-timestamp"} == {
        name for name in delivery.headers if name.startswith(("webhook-", "x-"))
    }


def verify(secret: str, delivery: Delivery) -> None:
    """Verify an event as a consumer does; raise WebhookVerificationError if it is not signed."""
    with suppress(JSONDecodeError):  # what is verified the library takes for JSON, which it is not
        Webhook(secret).verify(delivery.body, dict(delivery.headers))


def sign_as_mailchimp(secret: str, seconds: str, body: bytes) -> str:
    """Return the hexadecimal part of `X-Mailchimp-Signature`."""
    return hmac.new(secret.encode(), f"{seconds}.".encode() + body, "sha256").hexdigest()


# --- The log -------------------------------------------------------------------------------------


def test_log(own_api: Api, receiver: Receiver) -> None:
    """Deliveries are listed newest first with their attempts, and can be filtered by state."""
    webhook = own_api.new_webhook(receiver.url)
    assert ["deliveries", [], 0] == [
        *list(own_api.call_ok("GET", make_path(webhook, "deliveries")))[:1],
        *list(own_api.call_ok("GET", make_path(webhook, "deliveries")).values())[:2],
    ]
    delivered_id = own_api.submit(PING)
    wait_for_tried(own_api, webhook, "delivered")
    receiver.answer_posts(Reply(500, body=b"not now"))
    failed_id = own_api.submit(PING)
    wait_for_tried(own_api, webhook, "pending")

    log = own_api.call_ok("GET", make_path(webhook, "deliveries"))
    failed, delivered = log["deliveries"]
    assert LOG_KEYS == list(log)
    assert [DELIVERY_KEYS] * 2 == [list(entry) for entry in (failed, delivered)]
    assert [failed_id, delivered_id] == [entry["batch_id"] for entry in (failed, delivered)]
    assert ("batch_operation_completed", "delivered", 1, "") == tuple(
        delivered[name] for name in ("type", "state", "attempt_count", "next_attempt_at")
    )
    assert failed["next_attempt_at"] > failed["fired_at"]
    [attempt] = failed["attempts"]
    assert ATTEMPT_KEYS == list(attempt)
    assert (1, 500, "", "not now") == tuple(
        attempt[name] for name in ("number", "status_code", "reason", "answer_start")
    )
    assert (2, attempt["attempted_at"], "") == (
        log["total_items"],
        log["failing_since"],
        log["disabled_reason"],
    )


def test_parts_of_the_log(own_api: Api, receiver: Receiver) -> None:
    """The log has single deliveries, pages, selected fields and a filter by state."""
    webhook = own_api.new_webhook(receiver.url)
    for _ in range(3):
        own_api.call_ok("POST", make_path(webhook, "actions", "test"))
    found = wait_for_tried(own_api, webhook, "delivered", 3)
    path = make_path(webhook, "deliveries")

    page = own_api.call_ok("GET", path, count="1", offset="1", fields="deliveries.id,total_items")
    assert {"deliveries": [{"id": found[1]["id"]}], "total_items": 3} == page
    assert found[2] == own_api.call_ok("GET", f"{path}/{found[2]['id']}")
    for state, count in (("pending", 0), ("delivered", 3), ("exhausted", 0), ("", 3)):
        log = own_api.call_ok("GET", path, state=state)
        assert (count, count) == (len(log["deliveries"]), log["total_items"])
    reply = own_api.call("GET", path, state="lost")
    assert [("state", "Value should be one of pending, delivered, exhausted.")] == get_field_errors(
        check_problem(reply, 400, "Invalid Resource")
    )
    check_problem(own_api.call("GET", f"{path}/msg_1"), 404, "Resource Not Found")


def test_test_event(own_api: Api, receiver: Receiver) -> None:
    """A test event is signed as any other, and is in the log without a batch."""
    webhook = own_api.new_webhook(receiver.url)

    answer = own_api.call_ok("POST", make_path(webhook, "actions", "test"))

    assert DELIVERY_KEYS == list(answer)
    assert ("test", "", "pending", []) == tuple(
        answer[name] for name in ("type", "batch_id", "state", "attempts")
    )
    [delivery] = receiver.wait_for(1)
    assert answer["id"] == delivery.headers["webhook-id"]
    assert ["test"] == parse_qs(delivery.body.decode())["type"]
    verify(webhook["signing_secret"], delivery)
    [entry] = wait_for_tried(own_api, webhook, "delivered")
    assert (answer["id"], "test", "") == (entry["id"], entry["type"], entry["batch_id"])


# --- Resend and recover ---------------------------------------------------------------------------


def test_resend_and_recover(own_api: Api, receiver: Receiver) -> None:
    """Deliveries that were given up are sent again, each under its own id."""
    webhook = own_api.new_webhook(receiver.url)
    receiver.script(Reply(410))
    own_api.submit(PING)
    [entry] = wait_for_tried(own_api, webhook, "exhausted")
    own_api.call_ok("PATCH", make_path(webhook), {"enabled": True})

    resent = own_api.call_ok(
        "POST", make_path(webhook, "deliveries", entry["id"], "actions", "resend")
    )
    [delivered] = wait_for_tried(own_api, webhook, "delivered")
    receiver.script(Reply(410))
    own_api.submit(PING)
    wait_for_tried(own_api, webhook, "exhausted")
    own_api.call_ok("PATCH", make_path(webhook), {"enabled": True})
    recovered = own_api.call_ok(
        "POST", make_path(webhook, "actions", "recover"), {"since": entry["fired_at"]}
    )
    wait_for_tried(own_api, webhook, "delivered", 2)

    assert (entry["id"], "pending") == (resent["id"], resent["state"])
    assert [410, 200] == [attempt["status_code"] for attempt in delivered["attempts"]]
    assert {"recovered": 1} == recovered
    ids = [delivery.headers["webhook-id"] for delivery in receiver.deliveries()]
    assert ids[0] == ids[1] == entry["id"]
    assert ids[2] == ids[3] != entry["id"]


def test_resend_that_does_not_fit(own_api: Api, receiver: Receiver) -> None:
    """A resend is a 409 if the delivery is pending or the webhook disabled, or a 404."""
    webhook = own_api.new_webhook(receiver.url)
    receiver.answer_posts(Reply(500))
    own_api.submit(PING)
    [entry] = wait_for_tried(own_api, webhook, "pending")
    path = make_path(webhook, "deliveries", entry["id"], "actions", "resend")

    check_problem(own_api.call("POST", path), 409, "Conflict")
    own_api.call_ok("PATCH", make_path(webhook), {"enabled": False})
    check_problem(own_api.call("POST", path), 409, "Conflict")
    recover = own_api.call(
        "POST", make_path(webhook, "actions", "recover"), {"since": "2026-01-01"}
    )
    check_problem(recover, 409, "Conflict")
    test = own_api.call("POST", make_path(webhook, "actions", "test"))
    check_problem(test, 409, "Conflict")
    assert 1 == len(get_deliveries(own_api, webhook))
    unknown = make_path(webhook, "deliveries", "msg_1", "actions", "resend")
    check_problem(own_api.call("POST", unknown), 404, "Resource Not Found")


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (None, "", "Required fields were not provided: since"),
        ({"since": 5}, "since", "Schema describes string, integer found instead"),
        ({"since": ""}, "since", "This value should be a date and time in ISO 8601."),
        ({"since": "yesterday"}, "since", "This value should be a date and time in ISO 8601."),
    ],
)
def test_recover_since_when(
    own_api: Api, receiver: Receiver, body: Body, field: str, message: str
) -> None:
    """`since` must be a date and time."""
    path = make_path(own_api.new_webhook(receiver.url), "actions", "recover")

    document = check_problem(own_api.call("POST", path, body), 400, "Invalid Resource")

    assert [(field, message)] == get_field_errors(document)


# --- Receivers that hang, and undelivered events --------------------------------------------------


def test_receivers_that_hang(
    tmp_path: Path, database_url: str, http: httpx.Client, receiver: Receiver
) -> None:
    """Receivers that hang delay neither batches nor events for other webhooks and accounts.

    A worker makes fewer attempts to a webhook that is slow, so their number depends on time here.
    With a fixed clock it is exact: see `test_receivers_that_hang` in tests/faults.
    """
    outlasting_the_test = '{"delivery_seconds_max": 300}'
    with (
        running_server(tmp_path, database_url, BATCHWAY_LIMITS=outlasting_the_test) as server,
        ExitStack() as stack,
    ):
        hanging = [stack.enter_context(open_receiver()) for _ in range(4)]
        for hanging_receiver in hanging:
            hanging_receiver.answer_posts(Reply(behaviour="hang"))
        first, second, third = (
            Api(replace(server, key=create_account(server)), http) for _ in range(3)
        )
        hung = [
            (api, api.new_webhook(hanging_receiver.url))
            for api, hanging_receiver in zip((first, first, second, second), hanging, strict=True)
        ]
        fine = [(api, api.new_webhook(receiver.url)) for api in (first, third)]
        for _ in range(20):
            for api in (first, second):
                api.submit(PING)
        for hanging_receiver in hanging:
            hanging_receiver.wait_for(1)

        third.wait_until_finished(third.submit(PING))
        for (api, webhook), count in zip(fine, (20, 1), strict=True):
            wait_for_tried(api, webhook, "delivered", count)

        assert all(
            len(hanging_receiver.deliveries()) <= limits.webhook_attempts_at_once_max
            for hanging_receiver in hanging
        )
        assert [[0] * 20] * 4 == [
            [entry["attempt_count"] for entry in get_deliveries(api, webhook, count="100")]
            for api, webhook in hung
        ]


def test_too_many_events_wait(own_api: Api, receiver: Receiver) -> None:
    """With 500 events that have not been attempted no batch is accepted; with 499 one is."""
    webhook = own_api.new_webhook(receiver.url)
    insert_undelivered(own_api, webhook, 500)

    reply = own_api.call("POST", "/batches", {"operations": [PING]})

    document = check_problem(reply, 429, "Too Many Requests")
    assert "500 pending batch webhook requests" in document["detail"]
    assert int(reply.headers["retry-after"]) > 0
    assert 500 == own_api.call_ok("GET", "/limits")["usage"]["undelivered_events"]
    assert 0 == own_api.call_ok("GET", "/batches")["total_items"]
    with open_tables(own_api.server) as connection:
        connection.execute(
            text("DELETE FROM deliveries WHERE public_id LIKE '%\\_499' ESCAPE '\\'")
        )
    own_api.submit(PING)


def insert_undelivered(api: Api, webhook: Any, count: int) -> None:
    """Insert events without attempts, which no call can create."""
    copy = """
        INSERT INTO deliveries (account_id, public_id, batch_webhook_id, state, fired_at,
                                next_attempt_at, touched_at)
        SELECT account_id, :id, id, 'pending', created_at, :far, :far
        FROM batch_webhooks WHERE public_id = :webhook
    """
    values = {"far": FAR_FUTURE, "webhook": webhook["id"]}
    with open_tables(api.server) as connection:
        connection.execute(
            text(copy), [values | {"id": f"{webhook['id']}_{n}"} for n in range(count)]
        )
