"""The client of `mailchimp3`, unmodified, against a real server."""

import json
from collections.abc import Callable
from hashlib import md5
from typing import Any

import pytest
import requests
from mailchimp3 import MailChimp
from mailchimp3.mailchimpclient import MailChimpError, MailChimpOAuth

from tests.audience import CONTACT, NEW_LIST
from tests.contract.shared_servers import Api, read_raw_results
from tests.receiver import Receiver, Reply
from tests.scenario import KEY, Server, wait_until

ANN = "ann@example.com"
HASH = md5(ANN.encode(), usedforsecurity=False).hexdigest()
MEMBER = {"email_address": ANN, "status": "subscribed"}
# What this client itself asks for.
LIST = NEW_LIST | {"contact": CONTACT | {"state": "", "zip": ""}}


def client_of(server: Server, key: str = "") -> Any:
    """Return a client for the address of the server."""
    client = MailChimp(mc_api=key or server.key, mc_user="somebody")
    client.base_url = f"{server.url}/3.0/"
    return client


@pytest.fixture
def client(server: Server) -> Any:
    """A client with the key."""
    return client_of(server)


@pytest.fixture
def list_id(client: Any) -> str:
    """A new list."""
    return str(client.lists.create(LIST)["id"])


def refusal(call: Callable[[], Any]) -> dict[str, Any]:
    """Return the problem that a call is refused with."""
    with pytest.raises(MailChimpError) as caught:
        call()
    [problem] = caught.value.args
    assert problem["response"].status_code == problem["status"]
    return dict(problem)


def test_ping_and_root(client: Any) -> None:
    """The client can check its key and read the account."""
    assert {"health_status": "Everything's Chimpy!"} == client.ping.get()
    assert "Default" == client.root.get()["account_name"]
    assert {"account_name": "Default"} == client.api_root.get(fields="account_name")


def test_oauth(client: Any) -> None:
    """The client can send its key as an OAuth token."""
    client.auth = MailChimpOAuth(KEY)

    assert {"health_status": "Everything's Chimpy!"} == client.ping.get()


def test_lists(client: Any, list_id: str) -> None:
    """Lists can be created, read, listed, updated and deleted."""
    assert LIST["name"] == client.lists.get(list_id)["name"]
    assert "Other" == client.lists.update(list_id, LIST | {"name": "Other"})["name"]
    found = client.lists.all(get_all=True, fields="lists.id")
    assert {"id": list_id} in found["lists"]
    assert found["total_items"] >= 1
    assert client.lists.delete(list_id) is None

    assert 404 == refusal(lambda: client.lists.get(list_id))["status"]


def test_members(client: Any, list_id: str) -> None:
    """Members can be created, read, listed, updated, upserted, archived and deleted permanently."""
    members = client.lists.members
    made = members.create(list_id, MEMBER)
    assert (HASH, made) == (made["id"], members.get(list_id, HASH))
    assert made == members.get(list_id, ANN)

    page = members.all(list_id, count=5, status="subscribed")
    assert [HASH] == [member["id"] for member in page["members"]]
    assert members.update(list_id, HASH, {"vip": True})["vip"]
    body = {"email_address": ANN, "status_if_new": "pending", "language": "uk"}
    assert ("subscribed", "uk") == _some(members.create_or_update(list_id, HASH, body))
    other = {"email_address": "bob@example.com", "status_if_new": "pending"}
    assert ("pending", "") == _some(members.create_or_update(list_id, "bob@example.com", other))
    assert members.delete(list_id, HASH) is None
    assert "archived" == members.get(list_id, HASH)["status"]
    assert members.delete_permanent(list_id, HASH) is None
    assert 404 == refusal(lambda: members.get(list_id, HASH))["status"]


def test_all_members(client: Any, api: Api, list_id: str) -> None:
    """`get_all` reads all pages."""
    for first in (0, 500, 1000):
        given = [
            {"email_address": f"m{number}@example.com", "status": "subscribed"}
            for number in range(first, min(first + 500, 1_100))
        ]
        api.call_ok("POST", f"/lists/{list_id}", {"members": given})

    found = client.lists.members.all(list_id, get_all=True, fields="members.email_address")

    wanted = {f"m{number}@example.com" for number in range(1_100)}
    assert 1_100 == len(found["members"]) == found["total_items"]
    assert wanted == {member["email_address"] for member in found["members"]}


def test_tags(client: Any, list_id: str) -> None:
    """Tags can be updated and read."""
    client.lists.members.create(list_id, MEMBER)
    changes = {"tags": [{"name": "a", "status": "active"}, {"name": "b", "status": "inactive"}]}

    assert client.lists.members.tags.update(list_id, HASH, changes) is None

    page = client.lists.members.tags.all(list_id, HASH)
    assert (["a"], 1) == ([tag["name"] for tag in page["tags"]], page["total_items"])


def test_batch_subscribe(client: Any, list_id: str) -> None:
    """One call adds many members."""
    client.lists.members.create(list_id, MEMBER)
    members = [MEMBER | {"vip": True}, MEMBER | {"email_address": "bob@example.com"}]

    answer = client.lists.update_members(list_id, {"members": members, "update_existing": True})

    assert (1, 1, 0) == tuple(
        answer[name] for name in ("total_created", "total_updated", "error_count")
    )


def test_merge_fields(client: Any, list_id: str) -> None:
    """Merge fields can be created, read, listed, updated and deleted."""
    fields = client.lists.merge_fields
    made = fields.create(list_id, {"name": "Age", "type": "number"})
    merge_id = made["merge_id"]

    assert (6, 80) == (made.pop("total_items"), made.pop("merge_field_limit"))
    assert made == fields.get(list_id, merge_id)
    assert 6 == len(fields.all(list_id, get_all=True)["merge_fields"])
    assert "Years" == fields.update(list_id, merge_id, {"name": "Years"})["name"]
    assert fields.delete(list_id, merge_id) is None
    assert 404 == refusal(lambda: fields.get(list_id, merge_id))["status"]


def test_batches(client: Any, list_id: str) -> None:
    """A batch can be created, polled, downloaded, listed and deleted."""
    path = f"lists/{list_id}/members"
    operations = [
        {"method": "POST", "path": path, "operation_id": "add", "body": json.dumps(MEMBER)},
        {"method": "GET", "path": f"{path}/{HASH}", "operation_id": "get"},
        {"method": "DELETE", "path": f"{path}/{HASH}", "operation_id": "delete"},
        {"method": "GET", "path": "nowhere", "operation_id": "lost"},
    ]

    batch_id = client.batches.create({"operations": operations})["id"]
    wait_until(lambda: client.batches.get(batch_id)["status"] == "finished", "the batch finishes")
    batch = client.batches.get(batch_id)
    archive = requests.get(batch["response_body_url"], timeout=60)

    assert (4, 4, 1) == tuple(
        batch[f"{name}_operations"] for name in ("total", "finished", "errored")
    )
    assert {"add": 200, "get": 200, "delete": 204, "lost": 404} == {
        result["operation_id"]: result["status_code"]
        for result in read_raw_results(archive.content)
    }
    listed = client.batches.all(get_all=True, fields="batches.id")
    assert {"id": batch_id} in listed["batches"]
    assert client.batches.delete(batch_id) is None
    assert 404 == refusal(lambda: client.batches.get(batch_id))["status"]


def test_batch_pages(client: Any) -> None:
    """Batches are listed in pages, newest first; the older name of the call works, too."""
    ids = [client.batch_operations.create({"operations": []})["id"] for _ in range(3)]

    first = client.batches.all(count=2, fields="batches.id")
    rest = client.batches.all(count=1, offset=2, exclude_fields="batches._links")

    assert [{"id": ids[2]}, {"id": ids[1]}] == first["batches"]
    assert (ids[0], False) == (rest["batches"][0]["id"], "_links" in rest["batches"][0])
    assert {"id": ids[0]} == client.batches.get(ids[0], fields="id")


def test_batch_webhooks(hooked: Server, receiver: Receiver) -> None:
    """Webhooks can be created, read, listed, updated and deleted."""
    hooks = client_of(hooked).batch_webhooks

    made = hooks.create({"url": receiver.url})
    assert (receiver.url, True) == (made["url"], made["enabled"])
    assert made["id"] == hooks.get(made["id"])["id"]
    assert {"url": receiver.url} == hooks.get(made["id"], fields="url")
    second = hooks.create({"url": f"{receiver.url}/second"})
    found = hooks.all(get_all=True, fields="webhooks.id")
    assert ({made["id"], second["id"]}, 2) == (
        {webhook["id"] for webhook in found["webhooks"]},
        found["total_items"],
    )
    assert 1 == len(hooks.all(count=1, offset=1)["webhooks"])
    body = {"url": f"{receiver.url}/other", "enabled": False}
    changed = hooks.update(made["id"], body)
    assert (body["url"], False) == (changed["url"], changed["enabled"])
    assert hooks.delete(made["id"]) is None

    assert 404 == refusal(lambda: hooks.get(made["id"]))["status"]
    assert [second["id"]] == [webhook["id"] for webhook in hooks.all()["webhooks"]]


def test_batch_webhook_errors(hooked: Server, receiver: Receiver) -> None:
    """A URL that does not answer a GET is refused on create and on update."""
    hooks = client_of(hooked).batch_webhooks
    made = hooks.create({"url": receiver.url})
    receiver.answer_gets(Reply(403))

    problem = refusal(lambda: hooks.create({"url": f"{receiver.url}/other"}))
    assert (400, ["url"]) == (problem["status"], [error["field"] for error in problem["errors"]])
    problem = refusal(lambda: hooks.update(made["id"], {"url": f"{receiver.url}/other"}))
    assert (400, ["url"]) == (problem["status"], [error["field"] for error in problem["errors"]])
    assert receiver.url == hooks.get(made["id"])["url"]


def test_errors(server: Server, client: Any, list_id: str) -> None:
    """Errors are the client's own exceptions with the server's problem document."""
    client.lists.members.create(list_id, MEMBER)

    problem = refusal(lambda: client.lists.members.create(list_id, MEMBER))
    assert "Member Exists" == problem["title"]
    assert problem["detail"].startswith(f"{ANN} is already a list member.")
    assert problem["response"].headers["x-request-id"] == problem["instance"]
    problem = refusal(lambda: client.lists.members.update(list_id, HASH, {"status": "x"}))
    assert ["status"] == [error["field"] for error in problem["errors"]]
    problem = refusal(client_of(server, "f" * 32 + "-us1").ping.get)
    assert (401, "API Key Invalid") == (problem["status"], problem["title"])


def _some(member: dict[str, Any]) -> tuple[str, str]:
    return member["status"], member["language"]
