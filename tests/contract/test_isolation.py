"""Resources of one account are a 404 for another account, in single calls and in batches."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.contract.shared_servers import (
    Api,
    Call,
    CallSender,
    check_problem,
    insert_batches,
    open_tables,
)
from tests.receiver import Receiver
from tests.scenario import Server, add_member, wait_until

ANN = {"email_address": "ann@example.com", "status": "subscribed"}


@dataclass(frozen=True)
class Owned:
    """Ids of resources of the first account."""

    list_id: str
    member: dict[str, Any]
    batch_id: str


@pytest.fixture
def owned(api: Api) -> Owned:
    """A list with a member and a tag, and a finished batch."""
    list_id = api.new_list()
    member = api.call_ok("POST", f"/lists/{list_id}/members", ANN | {"tags": ["vip"]})
    batch_id = api.submit({"method": "GET", "path": f"/lists/{list_id}"})
    api.wait_until_finished(batch_id)
    return Owned(list_id, member, batch_id)


TAGS = {"tags": [{"name": "theirs", "status": "active"}]}
FIELD = {"name": "Theirs", "type": "text"}
CALLS: list[Call] = [
    ("GET", "/lists/{list_id}", None),
    ("PATCH", "/lists/{list_id}", {"name": "Theirs"}),
    ("DELETE", "/lists/{list_id}", None),
    ("POST", "/lists/{list_id}", {"members": [ANN]}),
    ("GET", "/lists/{list_id}/members", None),
    ("POST", "/lists/{list_id}/members", ANN | {"email_address": "eve@example.com"}),
    ("GET", "/lists/{list_id}/members/{hash}", None),
    ("GET", "/lists/{list_id}/members/{contact_id}", None),
    ("GET", "/lists/{list_id}/members/ann@example.com", None),
    ("PUT", "/lists/{list_id}/members/{hash}", ANN),
    ("PATCH", "/lists/{list_id}/members/{hash}", {"vip": True}),
    ("DELETE", "/lists/{list_id}/members/{hash}", None),
    ("POST", "/lists/{list_id}/members/{hash}/actions/delete-permanent", None),
    ("GET", "/lists/{list_id}/members/{hash}/tags", None),
    ("POST", "/lists/{list_id}/members/{hash}/tags", TAGS),
    ("GET", "/lists/{list_id}/merge-fields", None),
    ("POST", "/lists/{list_id}/merge-fields", FIELD),
    ("GET", "/lists/{list_id}/merge-fields/1", None),
    ("PATCH", "/lists/{list_id}/merge-fields/1", {"name": "Theirs"}),
    ("DELETE", "/lists/{list_id}/merge-fields/1", None),
    # The path of a list of the account itself does not lead to members of another one.
    ("GET", "/lists/{own_list_id}/members/{contact_id}", None),
    ("PATCH", "/lists/{own_list_id}/members/{contact_id}", {"vip": True}),
    ("DELETE", "/lists/{own_list_id}/members/{hash}", None),
    # An invalid call is a 404, too: its errors would reveal that the list exists.
    ("POST", "/lists/{list_id}/members", {}),
    ("PATCH", "/lists/{list_id}/members/{hash}", {"status": "x"}),
]


def test_another_account_finds_nothing(api: Api, own_api: Api, owned: Owned) -> None:
    """Every id is a 404 for another account, and no resource of the owner changes."""
    names = {
        "list_id": owned.list_id,
        "own_list_id": own_api.new_list(),
        "hash": owned.member["id"],
        "contact_id": owned.member["contact_id"],
    }
    before = _get_everything(api, owned)

    calls = [(method, path.format(**names), body) for method, path, body in CALLS]
    answers = CallSender(own_api, is_batched=True).many(calls)

    for call, answer in zip(calls, answers, strict=True):
        document = check_problem(own_api.call(*call), 404, "Resource Not Found")
        assert (404, document | {"instance": ""}) == answer, call

    assert before == _get_everything(api, owned)


def test_operations_on_anothers_list(own_api: Api, owned: Owned) -> None:
    """Operations on the account's own list succeed in the same batch."""
    own = own_api.new_list()

    results = own_api.run_batch(
        add_member(owned.list_id, "eve@example.com"),
        add_member(own, "eve@example.com"),
        {"method": "GET", "path": "/lists"},
    )

    assert [404, 200, 200] == [result.status_code for result in results]
    assert [own] == [listed["id"] for listed in results[2].response["lists"]]


def test_batches_of_another_account(api: Api, own_api: Api, owned: Owned) -> None:
    """Batches of another account cannot be seen, deleted or listed."""
    path = f"/batches/{owned.batch_id}"

    check_problem(own_api.call("GET", path), 404, "Resource Not Found")
    check_problem(own_api.call("DELETE", path), 404, "Resource Not Found")

    assert 0 == own_api.call_ok("GET", "/batches")["total_items"]
    assert 200 == api.http.get(api.get_link(owned.batch_id)).status_code


@dataclass(frozen=True)
class WebhookIds:
    """Ids of a webhook and a delivery of the first account, and of a webhook of the second one."""

    webhook_id: str
    delivery_id: str
    own_webhook_id: str


@pytest.fixture
def webhook_ids(api: Api, own_api: Api, receiver: Receiver) -> Iterator[WebhookIds]:
    """Webhooks of two accounts, with a test event for the first one."""
    made = [
        owner.call_ok("POST", "/batch-webhooks", {"url": receiver.url}) for owner in (api, own_api)
    ]
    webhook_id, own_webhook_id = (webhook["id"] for webhook in made)
    delivery = api.call_ok("POST", f"/batch-webhooks/{webhook_id}/actions/test")
    path = f"/batch-webhooks/{webhook_id}/deliveries/{delivery['id']}"
    wait_until(
        lambda: api.call_ok("GET", path)["state"] == "delivered", "the test event is delivered"
    )
    yield WebhookIds(webhook_id, delivery["id"], own_webhook_id)
    api.call_ok("DELETE", f"/batch-webhooks/{webhook_id}")


_WEBHOOK = "/batch-webhooks/{webhook_id}"
OWN_CALLS: list[Call] = [
    ("GET", "/batches/{batch_id}/operations", None),
    ("GET", "/batches/{batch_id}/operations/0", None),
    ("GET", "/batches/{batch_id}/errors", None),
    ("GET", "/batches/{batch_id}/events", None),
    ("POST", "/batches/{batch_id}/actions/retry", None),
    ("POST", "/batches/{batch_id}/actions/cancel", None),
    ("GET", _WEBHOOK, None),
    ("PATCH", _WEBHOOK, {"enabled": False}),
    ("PATCH", _WEBHOOK, {"url": "https://example.com/elsewhere"}),
    ("DELETE", _WEBHOOK, None),
    ("POST", f"{_WEBHOOK}/actions/rotate-secret", None),
    ("POST", f"{_WEBHOOK}/actions/test", None),
    ("POST", f"{_WEBHOOK}/actions/recover", {"since": "2020-01-01"}),
    ("GET", f"{_WEBHOOK}/deliveries", None),
    ("GET", f"{_WEBHOOK}/deliveries/{{delivery_id}}", None),
    ("POST", f"{_WEBHOOK}/deliveries/{{delivery_id}}/actions/resend", None),
    # The path of a webhook of the account itself does not lead to deliveries of another one.
    ("GET", "/batch-webhooks/{own_webhook_id}/deliveries/{delivery_id}", None),
    ("POST", "/batch-webhooks/{own_webhook_id}/deliveries/{delivery_id}/actions/resend", None),
]


def test_results_webhooks_and_deliveries(
    api: Api, own_api: Api, owned: Owned, webhook_ids: WebhookIds, receiver: Receiver
) -> None:
    """Every id is a 404, and nothing of the owner changes or is sent."""
    before = _get_webhook_state(api, webhook_ids)
    sent = len(receiver.deliveries())

    for method, path, body in OWN_CALLS:
        named = path.format(batch_id=owned.batch_id, **vars(webhook_ids))
        check_problem(own_api.call(method, named, body), 404, "Resource Not Found")

    webhooks = own_api.call_ok("GET", "/batch-webhooks")
    assert [webhook_ids.own_webhook_id] == [webhook["id"] for webhook in webhooks["webhooks"]]
    assert 1 == webhooks["total_items"]
    deliveries = own_api.call_ok("GET", f"/batch-webhooks/{webhook_ids.own_webhook_id}/deliveries")
    assert 0 == deliveries["total_items"]
    assert before == _get_webhook_state(api, webhook_ids)
    assert sent == len(receiver.deliveries())


def test_events_go_to_webhooks_of_their_account(
    own_api: Api, webhook_ids: WebhookIds, receiver: Receiver
) -> None:
    """The event of a batch goes to webhooks of its account only."""
    batch_id = own_api.submit({"method": "GET", "path": "/ping"})
    own_api.wait_until_finished(batch_id)

    path = f"/batch-webhooks/{webhook_ids.own_webhook_id}/deliveries"
    wait_until(
        lambda: own_api.call_ok("GET", path, state="delivered")["total_items"], "it is delivered"
    )
    own_deliveries = own_api.call_ok("GET", path)["deliveries"]

    assert [batch_id] == [entry["batch_id"] for entry in own_deliveries]
    sent = [delivery for delivery in receiver.deliveries() if batch_id.encode() in delivery.body]
    assert {own_deliveries[0]["id"]} == {delivery.headers["webhook-id"] for delivery in sent}


def test_the_same_idempotency_key(api: Api, own_api: Api) -> None:
    """The same key in two accounts makes two batches, also with different bodies."""
    ping = {"method": "GET", "path": "/ping"}
    theirs = _submit_once(api, [ping])
    others = [_submit_once(own_api, [ping, ping]), _submit_once(own_api, [ping, ping])]

    assert others[0] == others[1] != theirs
    assert 1 == own_api.call_ok("GET", "/batches")["total_items"]
    assert 2 == own_api.wait_until_finished(others[0])["total_operations"]


def _submit_once(api: Api, operations: list[dict[str, Any]]) -> str:
    reply = api.http.post(
        f"{api.server.url}/3.0/batches",
        auth=("any", api.server.key),
        headers={"Idempotency-Key": "the-same-in-both"},
        json={"operations": operations},
    )
    assert 200 == reply.status_code, reply.text
    return str(reply.json()["id"])


def test_links_of_another_account(api: Api, own_api: Api, owned: Owned) -> None:
    """The token of one batch does not open the results of another one."""
    own_batch = own_api.submit({"method": "GET", "path": "/ping"})
    own_api.wait_until_finished(own_batch)
    own_link, link = own_api.get_link(own_batch), api.get_link(owned.batch_id)

    assert 200 == api.http.get(own_link).status_code
    exchanged = f"{link.partition('?')[0]}?{own_link.partition('?')[2]}"
    assert 403 == api.http.get(exchanged).status_code


def test_usage_is_of_one_account(api: Api, own_api: Api, webhook_ids: WebhookIds) -> None:
    """The usage counts batches of the account only."""
    insert_batches(api, "pending", count=3)

    usage = own_api.call_ok("GET", "/limits")["usage"]

    assert webhook_ids.own_webhook_id
    assert {
        "pending_batches": 0,
        "running_batches": 0,
        "undelivered_events": 0,
        "batch_webhooks": 1,
    } == usage


def test_collections_and_counts(own_api: Api, owned: Owned) -> None:
    """Collections and counts do not include other accounts."""
    lists = own_api.call_ok("GET", "/lists")
    filtered = own_api.call_ok("GET", "/lists", email="ann@example.com")
    root = own_api.call_ok("GET", "/")

    assert ([], 0) == (lists["lists"], lists["total_items"])
    assert 0 == lists["constraints"]["current_total_instances"]
    assert 0 == filtered["total_items"]
    assert (0, "Another") == (root["total_subscribers"], root["account_name"])
    assert owned.list_id


def test_same_address_in_two_accounts(api: Api, own_api: Api, owned: Owned) -> None:
    """Contacts with one address in two accounts share the hash of the address only."""
    mine = own_api.call_ok("POST", f"/lists/{own_api.new_list()}/members", ANN)

    assert owned.member["id"] == mine["id"]
    for name in ("contact_id", "web_id", "unique_email_id"):
        assert owned.member[name] != mine[name]
    own_api.call_ok(
        "POST", f"/lists/{mine['list_id']}/members/{mine['id']}/actions/delete-permanent"
    )
    assert 200 == api.call("GET", f"/lists/{owned.list_id}/members/{mine['id']}").status_code


@dataclass(frozen=True)
class AccountWithKeys:
    """An account with two keys that commands created."""

    number: str
    first: Api
    second: Api
    first_key_number: str


@pytest.fixture
def account_with_keys(server: Server, http: httpx.Client) -> AccountWithKeys:
    """An account that was created by `accounts create` and `keys create`."""
    made = server.run_command("accounts", "create", "Acme Ltd").stdout.split()
    number, key = made[1], made[made.index("key") + 1]
    other = server.run_command("keys", "create", "--account", number).stdout.split()[0]
    lines = server.run_command("keys", "list").stdout.splitlines()
    [key_number, _] = [line.split()[0] for line in lines if line.split()[2] == number]
    first, second = (Api(replace(server, key=api_key), http) for api_key in (key, other))
    return AccountWithKeys(number, first, second, key_number)


def test_revoked_key(account_with_keys: AccountWithKeys) -> None:
    """A revoked key is refused, and operations of its batches that have not run get a 401."""
    first, second = account_with_keys.first, account_with_keys.second
    assert "Acme Ltd" == first.call_ok("GET", "/")["account_name"]
    list_id = first.new_list()
    busy = insert_batches(second, "started", count=10)
    operations = [add_member(list_id, f"m{n}@example.com", str(n)) for n in range(20)]
    waiting = first.submit(*operations)

    printed = first.server.run_command("keys", "revoke", account_with_keys.first_key_number).stdout

    assert "was revoked" in printed
    wait_until(lambda: 401 == first.call("GET", "/ping").status_code, "the key is refused")
    check_problem(first.call("GET", "/ping"), 401, "API Key Invalid")
    check_problem(first.call("GET", f"/batches/{waiting}"), 401, "API Key Invalid")
    assert list_id == second.call_ok("GET", f"/lists/{list_id}")["id"]
    second.call_ok("DELETE", f"/batches/{busy}")  # makes room for the one that waits
    batch = second.wait_until_finished(waiting)
    results = second.server.get_results(waiting)
    assert (20, 20, 20) == tuple(
        batch[f"{counter}_operations"] for counter in ("total", "finished", "errored")
    )
    assert {(401, "API Key Invalid", "")} == {
        (result.status_code, result.response["title"], result.response["instance"])
        for result in results
    }
    assert [str(n) for n in range(20)] == [result.operation_id for result in results]
    assert 0 == second.call_ok("GET", f"/lists/{list_id}/members")["total_items"]


def test_every_row_has_its_account(own_api: Api, receiver: Receiver) -> None:
    """All rows that an account creates have its id."""
    list_id = own_api.new_list()
    add = add_member(list_id, "ann@example.com", tags=["a"])
    own_api.run_batch(add)
    _submit_once(own_api, [add])
    webhook = own_api.call_ok("POST", "/batch-webhooks", {"url": receiver.url})
    own_api.call_ok("POST", f"/batch-webhooks/{webhook['id']}/actions/test")
    receiver.wait_for(1)
    path = f"/batch-webhooks/{webhook['id']}/deliveries"
    wait_until(
        lambda: own_api.call_ok("GET", path, state="delivered")["total_items"], "it is delivered"
    )
    tables_of_ours = (
        "lists",
        "members",
        "merge_fields",
        "list_segments",
        "list_segment_members",
        "batches",
        "batch_inputs",
        "segments",
        "idempotency_keys",
        "batch_webhooks",
        "deliveries",
        "delivery_attempts",
    )
    with open_tables(own_api.server) as connection:
        query = "SELECT account_id FROM batches ORDER BY id DESC LIMIT 1"
        account_id = connection.execute(text(query)).scalar_one()
        for table in tables_of_ours:
            count = f"SELECT count(*) FROM {table} WHERE account_id = :account_id"
            found = connection.execute(text(count), {"account_id": account_id}).scalar_one()
            assert found > 0, table


def _get_everything(api: Api, owned: Owned) -> list[Any]:
    paths = ("", "/members", "/merge-fields", f"/members/{owned.member['id']}/tags")
    return [api.call_ok("GET", f"/lists/{owned.list_id}{path}") for path in paths]


def _get_webhook_state(api: Api, webhook_ids: WebhookIds) -> list[Any]:
    path = f"/batch-webhooks/{webhook_ids.webhook_id}"
    return [
        api.call_ok("GET", path),
        api.call_ok("GET", f"{path}/deliveries/{webhook_ids.delivery_id}"),
    ]
