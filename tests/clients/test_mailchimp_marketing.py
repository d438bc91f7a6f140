"""The official Python client, unmodified, against a real server."""

import json
from collections.abc import Callable
from hashlib import md5
from typing import Any
from urllib.parse import parse_qsl

import mailchimp_marketing
import pytest
import requests
from mailchimp_marketing.api_client import ApiClientError

from tests.audience import NEW_LIST
from tests.contract.shared_servers import Api, read_raw_results
from tests.receiver import Receiver, Reply
from tests.scenario import KEY, Server, wait_until

ANN = "Ann@example.com"
HASH = md5(ANN.lower().encode(), usedforsecurity=False).hexdigest()
MEMBER = {"email_address": ANN, "status": "subscribed"}


def client_of(server: Server, **config: str) -> Any:
    """Return a client for the address of the server."""
    client = mailchimp_marketing.Client(config or {"api_key": server.key})
    client.api_client.host = f"{server.url}/3.0"
    return client


@pytest.fixture
def client(server: Server) -> Any:
    """A client with the key."""
    return client_of(server)


@pytest.fixture
def list_id(client: Any) -> str:
    """A new list."""
    return str(client.lists.create_list(NEW_LIST)["id"])


def refusal(call: Callable[[], Any]) -> tuple[int, dict[str, Any]]:
    """Return status and document that a call is refused with."""
    with pytest.raises(ApiClientError) as caught:
        call()
    return caught.value.status_code, json.loads(caught.value.text)


@pytest.mark.parametrize("config", [{"api_key": KEY}, {"access_token": KEY}])
def test_ping_and_root(server: Server, config: dict[str, str]) -> None:
    """The key works as a password and as a token."""
    client = client_of(server, **config)

    assert {"health_status": "Everything's Chimpy!"} == client.ping.get()
    assert "Default" == client.root.get_root()["account_name"]
    assert {"account_name": "Default"} == client.root.get_root(fields=["account_name"])


def test_lists(client: Any, list_id: str) -> None:
    """Lists can be created, read, listed, updated and deleted."""
    assert NEW_LIST["name"] == client.lists.get_list(list_id)["name"]
    assert "Other" == client.lists.update_list(list_id, {"name": "Other"})["name"]
    found = client.lists.get_all_lists(
        fields=["lists.id", "total_items"], count=1000, sort_field="date_created", sort_dir="DESC"
    )
    assert {"id": list_id} in found["lists"]
    assert {"lists", "total_items"} == set(found)
    deleted = client.lists.delete_list(list_id)

    assert (204, b"") == (deleted.status_code, deleted.content)
    assert 404 == refusal(lambda: client.lists.get_list(list_id))[0]


def test_members(client: Any, list_id: str) -> None:
    """Members can be added, read, listed, updated and upserted."""
    lists = client.lists
    made = lists.add_list_member(list_id, MEMBER | {"tags": ["a"]})
    assert (HASH, "subscribed") == (made["id"], made["status"])
    assert made == lists.get_list_member(list_id, HASH)
    assert ANN == lists.get_list_member(list_id, ANN)["email_address"]

    page = lists.get_list_members_info(list_id, count=5, status="subscribed", vip_only=False)
    assert ([HASH], 1) == ([member["id"] for member in page["members"]], page["total_items"])
    changed = lists.update_list_member(list_id, HASH, {"vip": True})
    assert changed["vip"]
    body = {"email_address": ANN, "status_if_new": "pending", "language": "uk"}
    upserted = lists.set_list_member(list_id, HASH, body)
    assert ("subscribed", "uk") == (upserted["status"], upserted["language"])


def test_upsert_and_removal(client: Any, list_id: str) -> None:
    """An upsert creates a member; an archived one stays; a deleted one is gone."""
    lists = client.lists
    body = {"email_address": ANN, "status_if_new": "pending"}
    assert "pending" == lists.set_list_member(list_id, HASH, body)["status"]
    assert "subscribed" == lists.set_list_member(list_id, HASH, {"status": "subscribed"})["status"]

    assert 204 == lists.delete_list_member(list_id, HASH).status_code
    assert "archived" == lists.get_list_member(list_id, HASH)["status"]
    assert 204 == lists.delete_list_member_permanent(list_id, HASH).status_code
    assert 404 == refusal(lambda: lists.get_list_member(list_id, HASH))[0]


def test_tags(client: Any, list_id: str) -> None:
    """Tags can be updated and read."""
    client.lists.add_list_member(list_id, MEMBER)
    changes = [{"name": "a", "status": "active"}, {"name": "b", "status": "inactive"}]

    assert 204 == client.lists.update_list_member_tags(list_id, HASH, {"tags": changes}).status_code

    page = client.lists.get_list_member_tags(list_id, HASH)
    assert (["a"], 1) == ([tag["name"] for tag in page["tags"]], page["total_items"])


def test_batch_subscribe(client: Any, list_id: str) -> None:
    """One call adds many members."""
    members = [{"email_address": f"m{n}@example.com", "status": "subscribed"} for n in range(20)]

    answer = client.lists.batch_list_members(list_id, {"members": [*members, members[0]]})

    assert (20, 0, 1) == tuple(
        answer[name] for name in ("total_created", "total_updated", "error_count")
    )


def test_merge_fields(client: Any, list_id: str) -> None:
    """Merge fields can be added, read, listed, updated and deleted."""
    lists = client.lists
    made = lists.add_list_merge_field(list_id, {"name": "Age", "type": "number", "tag": "AGE"})
    merge_id = made["merge_id"]

    assert (6, 80) == (made.pop("total_items"), made.pop("merge_field_limit"))
    assert made == lists.get_list_merge_field(list_id, merge_id)
    assert 6 == lists.get_list_merge_fields(list_id)["total_items"]
    assert [made] == lists.get_list_merge_fields(list_id, type="number")["merge_fields"]
    changed = lists.update_list_merge_field(list_id, merge_id, {"name": "Years"})
    assert ("Years", "AGE") == (changed["name"], changed["tag"])
    assert 204 == lists.delete_list_merge_field(list_id, merge_id).status_code
    assert 404 == refusal(lambda: lists.get_list_merge_field(list_id, merge_id))[0]


def test_batches(client: Any, api: Api, list_id: str) -> None:
    """A batch can be started, polled, downloaded, listed and deleted."""
    path = f"/lists/{list_id}/members"
    operations = [
        {
            "method": "POST",
            "path": path,
            "operation_id": f"crm-{number}",
            "body": json.dumps({"email_address": f"m{number}@example.com", "status": status}),
        }
        for number, status in enumerate(("subscribed", "pending", "wrong"))
    ]

    started = client.batches.start({"operations": operations})
    batch_id = started["id"]
    wait_until(
        lambda: client.batches.status(batch_id)["status"] == "finished", "the batch finishes"
    )
    batch = client.batches.status(batch_id)
    archive = requests.get(batch["response_body_url"], timeout=60)

    assert (3, 3, 1) == tuple(
        batch[f"{name}_operations"] for name in ("total", "finished", "errored")
    )
    assert [("crm-0", 200), ("crm-1", 200), ("crm-2", 400)] == [
        (result["operation_id"], result["status_code"])
        for result in read_raw_results(archive.content)
    ]
    assert batch_id in [batch["id"] for batch in client.batches.list(count=1000)["batches"]]
    assert {"id": batch_id} == client.batches.status(batch_id, fields=["id"])
    assert 204 == client.batches.delete_request(batch_id).status_code
    assert 404 == refusal(lambda: client.batches.status(batch_id))[0]
    assert 404 == requests.get(batch["response_body_url"], timeout=60).status_code
    assert 2 == api.call_ok("GET", path)["total_items"]


def test_batch_pages(client: Any) -> None:
    """Batches are listed in pages, newest first; fields can be excluded."""
    ids = [client.batches.start({"operations": []})["id"] for _ in range(3)]

    first = client.batches.list(count=2, fields=["batches.id", "total_items"])
    rest = client.batches.list(count=1, offset=2, exclude_fields=["batches._links", "_links"])

    assert [{"id": ids[2]}, {"id": ids[1]}] == first["batches"]
    assert first["total_items"] >= 3
    assert ids[0] == rest["batches"][0]["id"]
    assert "_links" not in rest["batches"][0]
    whole = client.batches.status(ids[0], exclude_fields=["_links"])
    assert (ids[0], False) == (whole["id"], "_links" in whole)


def test_batch_webhooks(hooked: Server, receiver: Receiver) -> None:
    """Webhooks can be created, read, listed, updated and removed."""
    hooks = client_of(hooked).batchWebhooks

    made = hooks.create({"url": receiver.url})
    assert (receiver.url, True) == (made["url"], made["enabled"])
    assert made["id"] == hooks.get(made["id"])["id"]
    assert {"enabled": True} == hooks.get(made["id"], fields=["enabled"])
    page = hooks.list(count=5, offset=0)
    assert ([made["id"]], 1) == (
        [webhook["id"] for webhook in page["webhooks"]],
        page["total_items"],
    )
    changed = hooks.update(made["id"], {"url": f"{receiver.url}/other", "enabled": False})
    assert (f"{receiver.url}/other", False) == (changed["url"], changed["enabled"])
    assert {"total_items": 1} == hooks.list(exclude_fields=["webhooks", "_links"])
    assert 204 == hooks.remove(made["id"]).status_code

    assert 404 == refusal(lambda: hooks.get(made["id"]))[0]
    assert 0 == hooks.list()["total_items"]


def test_batch_webhook_is_called(hooked: Server, receiver: Receiver) -> None:
    """The event of a webhook links to the results."""
    client = client_of(hooked)
    client.batchWebhooks.create({"url": receiver.url})
    batch_id = client.batches.start({"operations": [{"method": "GET", "path": "/ping"}]})["id"]

    [delivery] = receiver.wait_for(1)

    fields = dict(parse_qsl(delivery.body.decode(), strict_parsing=True))
    assert ("batch_operation_completed", batch_id) == (fields["type"], fields["data[id]"])
    archive = requests.get(fields["data[response_body_url]"], timeout=60)
    assert [200] == [result["status_code"] for result in read_raw_results(archive.content)]


def test_batch_webhook_errors(hooked: Server, receiver: Receiver) -> None:
    """A missing URL, one that does not answer, and the twenty-first webhook are refused."""
    hooks = client_of(hooked).batchWebhooks
    receiver.answer_gets(Reply(500))
    status, document = refusal(lambda: hooks.create({"url": receiver.url}))
    assert (400, ["url"]) == (status, [error["field"] for error in document["errors"]])
    status, document = refusal(lambda: hooks.create({}))
    assert (400, "Invalid Resource") == (status, document["title"])

    receiver.answer_gets(Reply(200))
    for number in range(20):
        hooks.create({"url": f"{receiver.url}/{number}"})

    assert 400 == refusal(lambda: hooks.create({"url": f"{receiver.url}/20"}))[0]
    assert 20 == hooks.list()["total_items"]


def test_errors(client: Any, list_id: str) -> None:
    """Errors are the client's own exceptions with the server's problem document."""
    client.lists.add_list_member(list_id, MEMBER)

    status, document = refusal(lambda: client.lists.add_list_member(list_id, MEMBER))
    assert (400, "Member Exists", 400) == (status, document["title"], document["status"])
    assert document["detail"].startswith(f"{ANN} is already a list member.")
    status, document = refusal(lambda: client.lists.get_list("0123456789"))
    assert (404, "Resource Not Found") == (status, document["title"])
    status, document = refusal(lambda: client.batches.start({"operations": [[]]}))
    assert [
        {
            "field": "operations.item:0",
            "message": "Schema describes object, array found instead",
        }
    ] == document["errors"]
    status, document = refusal(lambda: client.lists.create_list({}))
    assert (400, "Invalid Resource") == (status, document["title"])
    assert 405 == refusal(lambda: _archive_twice(client, list_id))[0]


@pytest.mark.parametrize("config", [{"api_key": "f" * 32 + "-us1"}, {"access_token": "x"}])
def test_wrong_keys(server: Server, config: dict[str, str]) -> None:
    """A wrong key is refused with its own error."""
    client = client_of(server, **config)

    status, document = refusal(client.ping.get)

    assert (401, "API Key Invalid") == (status, document["title"])


def _archive_twice(client: Any, list_id: str) -> None:
    client.lists.delete_list_member(list_id, HASH)
    client.lists.delete_list_member(list_id, HASH)
