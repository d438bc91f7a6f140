"""The official Node client, unmodified, against a real server.

Each subject is a script in `node/` that makes the calls and prints one JSON document with the
replies.
"""

from hashlib import md5
from typing import Any

import pytest

from tests.clients.programs import NODE, document_of
from tests.contract.shared_servers import Api
from tests.receiver import Receiver, Reply, open_receiver
from tests.scenario import Server

pytestmark = pytest.mark.usefixtures("node_modules")

HASH = md5(b"ann@example.com", usedforsecurity=False).hexdigest()
MEMBER_EXISTS = "ann@example.com is already a list member."


def run(script: str, server: Server, *arguments: str) -> Any:
    """Run a script against a server, and return its document."""
    return document_of("node", NODE / script, server.url, server.key, *arguments)


def problem(refused: Any) -> tuple[int, str]:
    """Return `err.status` and `err.response.body.title`, which users of this client read."""
    assert refused["status"] == refused["body"]["status"]
    return refused["status"], refused["body"]["title"]


def test_the_lock_names_no_registry() -> None:
    """The lock file has no registry, so that `npm ci` uses that of the machine."""
    lock = (NODE / "package-lock.json").read_text()

    assert "http" not in lock, "Run `npm run lock` in tests/clients/node."
    assert lock.count('"version"') == lock.count('"integrity": "sha512-')


def test_ping(server: Server) -> None:
    """The key works as a password and as a token; a wrong key is refused."""
    seen = run("ping.mjs", server)

    healthy = {"health_status": "Everything's Chimpy!"}
    assert [healthy, healthy] == [seen["withKey"], seen["withToken"]]
    assert {"account_name": "Default"} == seen["root"]
    assert (401, "API Key Invalid") == problem(seen["wrong"])


def test_batches(api: Api) -> None:
    """A batch can be started, polled, downloaded, listed and deleted."""
    seen = run("batches.mjs", api.server, api.new_list())

    batch = seen["batch"]
    assert seen["started"]["id"] == batch["id"]
    assert ("finished", 3, 3, 1) == (
        batch["status"],
        *(batch[f"{name}_operations"] for name in ("total", "finished", "errored")),
    )
    assert ["crm-0", "crm-1", "crm-2"] == sorted(seen["operationIds"])
    assert {"id": batch["id"]} in seen["listed"]["batches"]
    assert {"id": batch["id"]} == seen["part"]
    assert seen["deleted"] is None
    assert (404, "Resource Not Found") == problem(seen["gone"])
    assert 404 == seen["archiveGone"]


def test_batch_webhooks(hooked: Server, receiver: Receiver) -> None:
    """Webhooks can be created, read, listed, updated and removed; a bad URL is refused."""
    with open_receiver() as deaf:
        deaf.answer_gets(Reply(500))
        seen = run("batch_webhooks.mjs", hooked, receiver.url, deaf.url)

    created = seen["created"]
    assert (receiver.url, True) == (created["url"], created["enabled"])
    assert created["id"] == seen["got"]["id"]
    assert {"url": receiver.url} == seen["part"]
    assert ([created["id"]], 1) == (
        [webhook["id"] for webhook in seen["listed"]["webhooks"]],
        seen["listed"]["total_items"],
    )
    assert (receiver.url, False) == (seen["disabled"]["url"], seen["disabled"]["enabled"])
    assert (f"{receiver.url}/other", False) == (seen["moved"]["url"], seen["moved"]["enabled"])
    assert ["/hook", "/hook/other"] == [visit.path for visit in receiver.visits()]
    assert 400 == problem(seen["refusedDeaf"])[0]
    assert ["url"] == [error["field"] for error in seen["refusedDeaf"]["body"]["errors"]]
    assert (400, "Invalid Resource") == problem(seen["refusedEmpty"])
    assert seen["removed"] is None
    assert (404, "Resource Not Found") == problem(seen["gone"])
    assert ([], 0) == (seen["listedAfter"]["webhooks"], seen["listedAfter"]["total_items"])


def test_members(api: Api) -> None:
    """A member can be added, changed, archived and deleted."""
    seen = run("members.mjs", api.server, api.new_list())

    made = seen["made"]
    assert (HASH, "Ann@example.com", "subscribed") == (
        made["id"],
        made["email_address"],
        made["status"],
    )
    assert made == seen["got"]
    assert {"total_items": 1} == seen["page"]
    assert seen["changed"]["vip"]
    assert ("subscribed", "uk") == (seen["upserted"]["status"], seen["upserted"]["language"])
    assert seen["archived"] is None
    assert "archived" == seen["after"]["status"]


def test_errors(api: Api) -> None:
    """Errors have `err.status`, and the problem document in `err.response.body`."""
    seen = run("errors.mjs", api.server, api.new_list())

    assert (400, "Member Exists") == problem(seen["exists"])
    assert seen["exists"]["body"]["detail"].startswith(MEMBER_EXISTS)
    assert (404, "Resource Not Found") == problem(seen["lost"])
    assert [
        {
            "field": "operations.item:0",
            "message": "Schema describes object, array found instead",
        }
    ] == seen["badBatch"]["body"]["errors"]
    assert (400, "Invalid Resource") == problem(seen["badList"])
