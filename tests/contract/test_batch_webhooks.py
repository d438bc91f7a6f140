"""`/batch-webhooks`: the five calls of the contract, and secrets, which are shown once."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from batchway.kit.egress import LATE, NOT_HTTP, UNREACHABLE
from tests.contract.shared_servers import (
    Api,
    Body,
    check_problem,
    create_account,
    describe_wrong_type,
    get_field_errors,
    running_server,
)
from tests.receiver import Receiver, Reply, open_receiver
from tests.scenario import wait_until

UNVERIFIED = "We couldn't verify the URL is working. Please double check and try again. "
KEYS = ["id", "url", "enabled", "signing_enabled", "_links"]
WITH_SECRET = ["id", "url", "enabled", "signing_enabled", "signing_secret", "_links"]
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32}")


@pytest.fixture(scope="session")
def impatient_api(tmp_path_factory: pytest.TempPathFactory, http: httpx.Client) -> Iterator[Api]:
    """A server that waits one second for a URL."""
    folder = tmp_path_factory.mktemp("impatient")
    limits = '{"delivery_seconds_max": 1}'
    with running_server(folder, BATCHWAY_LIMITS=limits) as server:
        yield Api(server, http)


# --- The five calls ------------------------------------------------------------------------------


def test_create(own_api: Api, receiver: Receiver) -> None:
    """The reply has the contract's keys in order. By default a webhook is enabled and signs."""
    created = own_api.new_webhook(receiver.url, colour="green")

    assert WITH_SECRET == list(created)
    assert re.fullmatch("[0-9a-f]{10}", created["id"])
    assert SECRET.fullmatch(created["signing_secret"])
    assert (receiver.url, True, True) == (
        created["url"],
        created["enabled"],
        created["signing_enabled"],
    )


def test_links(own_api: Api, receiver: Receiver) -> None:
    """A webhook links to itself, its collection, and the calls that change and delete it."""
    created = own_api.new_webhook(receiver.url)
    base = own_api.server.url
    schema, itself = f"{base}/schema/3.0", f"{base}/3.0/batch-webhooks/{created['id']}"
    response = f"{schema}/Definitions/BatchWebhooks/Response.json"

    assert [
        {"rel": "self", "href": itself, "method": "GET", "targetSchema": response},
        {
            "rel": "parent",
            "href": f"{base}/3.0/batch-webhooks",
            "method": "GET",
            "targetSchema": f"{schema}/Definitions/BatchWebhooks/CollectionResponse.json",
            "schema": f"{schema}/Paths/BatchWebhooks/Collection.json",
        },
        {
            "rel": "update",
            "href": itself,
            "method": "PATCH",
            "targetSchema": response,
            "schema": f"{schema}/Definitions/BatchWebhooks/PATCH.json",
        },
        {"rel": "delete", "href": itself, "method": "DELETE"},
    ] == created["_links"]


def test_get_and_list(own_api: Api, receiver: Receiver) -> None:
    """GET and the collection show webhooks oldest first, without secrets."""
    created = [own_api.new_webhook(receiver.url) for _ in range(3)]
    shown = [own_api.call_ok("GET", f"/batch-webhooks/{webhook['id']}") for webhook in created]
    listed = own_api.call_ok("GET", "/batch-webhooks")

    for webhook in created:
        del webhook["signing_secret"]
    assert [KEYS] * 3 == [list(webhook) for webhook in shown]
    assert created == shown
    assert ["webhooks", "total_items", "_links"] == list(listed)
    assert (created, 3) == (listed["webhooks"], listed["total_items"])
    assert ["self", "parent", "create"] == [link["rel"] for link in listed["_links"]]


def test_pages_and_fields(own_api: Api, receiver: Receiver) -> None:
    """`count`, `offset`, `fields` and `exclude_fields` work as in other collections."""
    ids = [own_api.new_webhook(receiver.url)["id"] for _ in range(12)]

    first = own_api.call_ok("GET", "/batch-webhooks")
    page = own_api.call_ok("GET", "/batch-webhooks", count="2", offset="1", fields="webhooks.id")
    rest = own_api.call_ok("GET", "/batch-webhooks", offset="10", exclude_fields="_links")
    one = own_api.call_ok("GET", f"/batch-webhooks/{ids[0]}", exclude_fields="_links,url")
    created = own_api.call_ok(
        "POST", "/batch-webhooks", {"url": receiver.url}, fields="enabled,signing_secret"
    )

    assert (ids[:10], 12) == (
        [webhook["id"] for webhook in first["webhooks"]],
        first["total_items"],
    )
    assert {"webhooks": [{"id": ids[1]}, {"id": ids[2]}]} == page
    assert ids[10:] == [webhook["id"] for webhook in rest["webhooks"]]
    assert ["webhooks", "total_items"] == list(rest)
    assert {"id": ids[0], "enabled": True, "signing_enabled": True} == one
    assert {"enabled", "signing_secret"} == set(created)


def test_update(own_api: Api, receiver: Receiver) -> None:
    """A PATCH changes only the fields that it names."""
    created = own_api.new_webhook(receiver.url, enabled=False)
    path = f"/batch-webhooks/{created['id']}"
    del created["signing_secret"]
    assert not created["enabled"]

    for changes in (
        {"enabled": True},
        {},
        {"colour": "green"},
        {"url": f"{receiver.url}/elsewhere"},
        {"signing_enabled": False},
        {"signing_enabled": True, "enabled": False},
    ):
        created |= {name: value for name, value in changes.items() if name in created}
        assert created == own_api.call_ok("PATCH", path, changes)
        assert created == own_api.call_ok("GET", path)


def test_delete(own_api: Api, receiver: Receiver) -> None:
    """DELETE is a 204 without a body, and then the webhook is gone."""
    path = f"/batch-webhooks/{own_api.new_webhook(receiver.url)['id']}"

    reply = own_api.call("DELETE", path)

    assert (204, b"") == (reply.status_code, reply.content)
    assert 0 == own_api.call_ok("GET", "/batch-webhooks")["total_items"]
    check_problem(own_api.call("DELETE", path), 404, "Resource Not Found")


@pytest.mark.parametrize(
    ("method", "below"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/actions/rotate-secret"),
        ("POST", "/actions/test"),
        ("POST", "/actions/recover"),
        ("GET", "/deliveries"),
        ("GET", "/deliveries/msg_1"),
        ("POST", "/deliveries/msg_1/actions/resend"),
    ],
)
def test_not_found(own_api: Api, api: Api, receiver: Receiver, method: str, below: str) -> None:
    """A webhook of another account is a 404, like one that does not exist."""
    theirs = own_api.new_webhook(receiver.url)["id"]
    body = {"since": "2026-01-01", "url": f"{receiver.url}/new"} if method != "GET" else None

    for webhook_id in ("0123456789", theirs):
        reply = api.call(method, f"/batch-webhooks/{webhook_id}{below}", body)
        check_problem(reply, 404, "Resource Not Found")
    assert 1 == own_api.call_ok("GET", "/batch-webhooks")["total_items"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/batch-webhooks", "GET, POST"),
        ("POST", "/batch-webhooks/0123456789", "GET, PATCH, DELETE"),
    ],
)
def test_method_not_allowed(api: Api, method: str, path: str, allowed: str) -> None:
    """The reply lists the allowed methods."""
    reply = api.call(method, path, {})

    check_problem(reply, 405, "Method Not Allowed")
    assert allowed == reply.headers["allow"]


# --- Refused webhooks -----------------------------------------------------------------------------


WRONG_TYPES: list[tuple[Body, str, str]] = [
    ([], "", describe_wrong_type("object", "array")),
    ({"url": None}, "url", describe_wrong_type("string", "NULL")),
    ({"url": 5}, "url", describe_wrong_type("string", "integer")),
    (
        {"url": "http://a.example", "enabled": "yes"},
        "enabled",
        describe_wrong_type("boolean", "string"),
    ),
    (
        {"url": "http://a.example", "enabled": None},
        "enabled",
        describe_wrong_type("boolean", "NULL"),
    ),
    (
        {"url": "http://a.example", "enabled": 1},
        "enabled",
        describe_wrong_type("boolean", "integer"),
    ),
    (
        {"url": "http://a.example", "signing_enabled": {}},
        "signing_enabled",
        describe_wrong_type("boolean", "object"),
    ),
]


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b"", "", "Required fields were not provided: url"),
        ({"enabled": True}, "", "Required fields were not provided: url"),
        *WRONG_TYPES,
    ],
)
def test_new_one_of_a_wrong_form(api: Api, body: Body, field: str, message: str) -> None:
    """An invalid body of a POST is refused with the wrong field."""
    document = check_problem(api.call("POST", "/batch-webhooks", body), 400, "Invalid Resource")

    assert [(field, message)] == get_field_errors(document)


@pytest.mark.parametrize(("body", "field", "message"), WRONG_TYPES)
def test_change_of_a_wrong_form(
    own_api: Api, receiver: Receiver, body: Body, field: str, message: str
) -> None:
    """An invalid body of a PATCH is refused like that of a POST, and changes nothing."""
    path = f"/batch-webhooks/{own_api.new_webhook(receiver.url)['id']}"
    before = own_api.call_ok("GET", path)

    document = check_problem(own_api.call("PATCH", path, body), 400, "Invalid Resource")

    assert [(field, message)] == get_field_errors(document)
    assert before == own_api.call_ok("GET", path)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "The URL must begin with http:// or https://."),
        ("ftp://example.com/", "The URL must begin with http:// or https://."),
        ("example.com", "The URL must begin with http:// or https://."),
        ("http://", "The URL's host is not valid."),
        ("http://user:secret@example.com/", "must not contain a user name or a password."),
        ("http://exam ple.com/", "contains a space"),
        ("http://example.com/" + "a" * 2_048, "longer than 2048 characters."),
        ("http://example.com:0/", "port must be a number from 1 to 65535."),
    ],
)
def test_invalid_url(own_api: Api, url: str, what: str) -> None:
    """The message says what is wrong with the URL."""
    reply = own_api.call("POST", "/batch-webhooks", {"url": url})

    [(field, message)] = get_field_errors(check_problem(reply, 400, "Invalid Resource"))
    assert ("url", True) == (field, message.startswith("Invalid URL. "))
    assert what in message
    assert 0 == own_api.call_ok("GET", "/batch-webhooks")["total_items"]


def test_twenty_of_an_account(own_api: Api, receiver: Receiver) -> None:
    """The 21st webhook is refused before its URL is checked; after a deletion it is accepted."""
    created = [own_api.new_webhook(receiver.url) for _ in range(20)]
    visits = len(receiver.visits())

    reply = own_api.call("POST", "/batch-webhooks", {"url": receiver.url})

    document = check_problem(reply, 400, "Bad Request")
    assert (
        "An account can have 20 batch webhooks at a time. Delete one first." == document["detail"]
    )
    assert visits == len(receiver.visits()) == 20
    own_api.call_ok("DELETE", f"/batch-webhooks/{created[7]['id']}")
    own_api.new_webhook(receiver.url)
    assert 20 == own_api.call_ok("GET", "/batch-webhooks")["total_items"]


def test_racing_for_the_last_place(own_api: Api, receiver: Receiver) -> None:
    """Of several simultaneous requests for the 20th webhook, one succeeds."""
    for _ in range(19):
        own_api.new_webhook(receiver.url)
    visits = len(receiver.visits())
    receiver.answer_gets(Reply(delay_seconds=0.5))  # so that each sees room before it asks

    with ThreadPoolExecutor(2) as threads:  # more URLs of an account are not checked at once
        body = {"url": receiver.url}
        calls = [threads.submit(own_api.call, "POST", "/batch-webhooks", body) for _ in range(2)]
        statuses = [call.result().status_code for call in calls]

    assert [200, 400] == sorted(statuses)
    assert 20 == own_api.call_ok("GET", "/batch-webhooks")["total_items"]
    assert visits < len(receiver.visits())


# --- The check of the URL -------------------------------------------------------------------------


def test_when_a_url_is_visited(own_api: Api, receiver: Receiver) -> None:
    """A URL is checked by a GET when it is created or changed, and at no other time."""
    path = f"/batch-webhooks/{own_api.new_webhook(receiver.url)['id']}"
    assert ["/hook"] == [visit.path for visit in receiver.visits()]

    for changes in ({"enabled": False}, {"signing_enabled": False}, {"url": receiver.url}, {}):
        own_api.call_ok("PATCH", path, changes)
    own_api.call_ok("GET", path)
    assert 1 == len(receiver.visits())

    own_api.call_ok("PATCH", path, {"url": f"{receiver.url}/2?a=b"})
    assert ["/hook", "/hook/2?a=b"] == [visit.path for visit in receiver.visits()]
    assert [] == receiver.deliveries()


@pytest.mark.parametrize(
    "reply",
    [Reply(400), Reply(403), Reply(404), Reply(500), Reply(304), Reply.redirect("/hook", 301)],
    ids=lambda reply: str(reply.status),
)
def test_url_that_answers_otherwise(own_api: Api, receiver: Receiver, reply: Reply) -> None:
    """The error has the status of the URL; a redirect is not followed; nothing is stored."""
    path = f"/batch-webhooks/{own_api.new_webhook(receiver.url)['id']}"
    before = own_api.call_ok("GET", "/batch-webhooks")
    receiver.answer_gets(reply)

    body = {"url": f"{receiver.url}/new"}
    replies = [own_api.call("POST", "/batch-webhooks", body), own_api.call("PATCH", path, body)]

    for refused in replies:
        document = check_problem(refused, 400, "Invalid Resource")
        assert [("url", f"{UNVERIFIED}HTTP Code: {reply.status}")] == get_field_errors(document)
    assert before == own_api.call_ok("GET", "/batch-webhooks")
    assert 3 == len(receiver.visits())


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_url_that_answers_well(own_api: Api, receiver: Receiver, status: int) -> None:
    """Any 2xx status is accepted."""
    receiver.answer_gets(Reply(status))

    assert own_api.new_webhook(receiver.url)["enabled"]


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_url_that_does_not_answer_in_time(impatient_api: Api, behaviour: Any) -> None:
    """The wait is limited, even if bytes arrive all the time."""
    with open_receiver() as receiver:
        receiver.answer_gets(Reply(behaviour=behaviour))
        reply = impatient_api.call("POST", "/batch-webhooks", {"url": receiver.url})

    document = check_problem(reply, 400, "Invalid Resource")
    assert [("url", UNVERIFIED + LATE)] == get_field_errors(document)


def test_urls_that_hang(tmp_path: Path, http: httpx.Client) -> None:
    """Few URLs are checked at once, other checks are refused, and all other calls still work."""
    outlasting_the_test = '{"delivery_seconds_max": 300}'
    with running_server(tmp_path, BATCHWAY_LIMITS=outlasting_the_test) as server:
        apis = [Api(replace(server, key=create_account(server)), http) for _ in range(5)]
        with ThreadPoolExecutor(50) as threads, open_receiver() as receiver:
            receiver.answer_gets(Reply(behaviour="hang"))
            calls = [
                threads.submit(api.call, "POST", "/batch-webhooks", {"url": receiver.url})
                for api in apis
                for _ in range(10)  # all the requests that a key may have under way
            ]
            wait_until(lambda: len([call for call in calls if call.done()]) == 42, "42 are refused")

            assert 200 == http.get(f"{server.url}/healthz").status_code
            assert [200] * 5 == [api.call("GET", "/ping").status_code for api in apis]
            refused = [call.result() for call in calls if call.done()]
            assert 8 == len(receiver.visits())
        for reply in refused:
            check_problem(reply, 429, "Too Many Requests")
            assert int(reply.headers["retry-after"]) > 0


def test_url_that_hangs_up(api: Api, receiver: Receiver) -> None:
    """The error says that the URL did not answer with HTTP."""
    receiver.answer_gets(Reply(behaviour="close"))

    reply = api.call("POST", "/batch-webhooks", {"url": receiver.url})

    document = check_problem(reply, 400, "Invalid Resource")
    assert [("url", UNVERIFIED + NOT_HTTP)] == get_field_errors(document)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{closed_port}/",
        "http://10.0.0.1/",
        "http://192.168.1.1:22/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://no-such-host.invalid/",
    ],
)
def test_url_that_cannot_be_reached(api: Api, url: str) -> None:
    """All unreachable URLs get the same message, so that it reveals nothing of the network."""
    with socket.socket() as bound:  # it does not listen
        bound.bind(("127.0.0.1", 0))
        given = url.replace("{closed_port}", str(bound.getsockname()[1]))
        reply = api.call("POST", "/batch-webhooks", {"url": given})

    document = check_problem(reply, 400, "Invalid Resource")
    assert [("url", UNVERIFIED + UNREACHABLE)] == get_field_errors(document)


# --- Secrets -------------------------------------------------------------------------------------


def test_rotated_secret(own_api: Api, receiver: Receiver) -> None:
    """Only the reply to the rotation shows the new secret."""
    created = own_api.new_webhook(receiver.url)
    path = f"/batch-webhooks/{created['id']}"

    rotated = own_api.call_ok("POST", f"{path}/actions/rotate-secret")

    assert WITH_SECRET == list(rotated)
    assert SECRET.fullmatch(rotated["signing_secret"])
    assert created["signing_secret"] != rotated["signing_secret"]
    for reply in (
        own_api.call("GET", path),
        own_api.call("GET", "/batch-webhooks"),
        own_api.call("PATCH", path, {"signing_enabled": True}),
        own_api.call("PATCH", path, {"enabled": False}),
    ):
        assert 200 == reply.status_code
        assert "whsec_" not in reply.text
        assert "signing_secret" not in reply.text


def test_secret_of_a_webhook_that_begins_to_sign(own_api: Api, receiver: Receiver) -> None:
    """The first PATCH that enables signatures shows the secret."""
    created = own_api.new_webhook(receiver.url, signing_enabled=False)
    path = f"/batch-webhooks/{created['id']}"
    assert KEYS == list(created)

    for changes, keys in (
        ({"enabled": True}, KEYS),
        ({"signing_enabled": False}, KEYS),
        ({"signing_enabled": True}, WITH_SECRET),
        ({"signing_enabled": True}, KEYS),
        ({"signing_enabled": False}, KEYS),
        ({"signing_enabled": True}, KEYS),  # the secret is still the same
    ):
        assert keys == list(own_api.call_ok("PATCH", path, changes))


def test_secrets_are_not_written_down(own_api: Api, receiver: Receiver) -> None:
    """Secrets are neither in the log nor readable in the data folder."""
    secret = own_api.new_webhook(receiver.url)["signing_secret"].removeprefix("whsec_")

    assert secret not in own_api.server.read_log()
    for file in (own_api.server.folder / "data").glob("batchway.db*"):
        assert secret.encode() not in file.read_bytes()
