"""`/batches`: accepted and refused batches, and how a batch is shown."""

import json
import re
from typing import Any

import pytest
from sqlalchemy import text

from tests.contract.shared_servers import (
    FAR_FUTURE,
    Api,
    Body,
    check_problem,
    describe_wrong_type,
    execute_sql,
    get_field_errors,
    insert_batches,
    make_member,
    open_tables,
    read_raw_results,
)
from tests.scenario import PING, add_member, wait_until

STATUSES = ("pending", "preprocessing", "started", "finalizing", "finished")
KEYS = [
    "id",
    "status",
    "total_operations",
    "finished_operations",
    "errored_operations",
    "submitted_at",
    "completed_at",
    "response_body_url",
    "_links",
]
LAST_CHANGED = re.compile(r'"last_changed":"[^"]+"')


# --- Refused batches ------------------------------------------------------------------------------


METHODS = "Value should be one of GET, POST, PUT, PATCH, DELETE."
BLANK = "This value should not be blank."


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ([PING], "", describe_wrong_type("object", "array")),
        ({}, "", "Required fields were not provided: operations"),
        (b"", "", "Required fields were not provided: operations"),
        ({"operations": None}, "operations", "Schema describes array, NULL found instead"),
        ({"operations": PING}, "operations", "Schema describes array, object found instead"),
        ({"operations": "[]"}, "operations", "Schema describes array, string found instead"),
    ],
)
def test_request_that_is_refused(api: Api, body: Body, field: str, message: str) -> None:
    """A body of a wrong form is refused."""
    document = check_problem(api.call("POST", "/batches", body), 400, "Invalid Resource")

    assert [(field, message)] == get_field_errors(document)
    assert document["detail"].endswith("For field-specific details, see the 'errors' array.")


@pytest.mark.parametrize("position", [0, 325])
@pytest.mark.parametrize(
    ("operation", "field", "message"),
    [
        ([], "", describe_wrong_type("object", "array")),
        (None, "", describe_wrong_type("object", "NULL")),
        ("GET /ping", "", describe_wrong_type("object", "string")),
        ({"path": "/ping"}, "", "Required fields were not provided: method"),
        ({"method": "GET"}, "", "Required fields were not provided: path"),
        (PING | {"method": None}, ".method", describe_wrong_type("string", "NULL")),
        (PING | {"method": 1}, ".method", describe_wrong_type("string", "integer")),
        (PING | {"method": "HEAD"}, ".method", METHODS),
        (PING | {"method": ""}, ".method", METHODS),
        (PING | {"path": ""}, ".path", BLANK),
        (PING | {"path": "?count=1"}, ".path", BLANK),
        (PING | {"path": 5}, ".path", describe_wrong_type("string", "integer")),
        (PING | {"path": "/" + "a" * 5_000}, ".path", "2048 characters or less"),
        (PING | {"params": "count=1"}, ".params", describe_wrong_type("object", "string")),
        (PING | {"params": 1}, ".params", describe_wrong_type("object", "integer")),
        (PING | {"params": ["count"]}, ".params", describe_wrong_type("object", "array")),
        (PING | {"body": 5}, ".body", describe_wrong_type("string", "integer")),
        (PING | {"body": True}, ".body", describe_wrong_type("string", "boolean")),
        (PING | {"operation_id": {}}, ".operation_id", describe_wrong_type("string", "object")),
        (PING | {"operation_id": 1.5}, ".operation_id", describe_wrong_type("string", "number")),
        (PING | {"operation_id": True}, ".operation_id", describe_wrong_type("string", "boolean")),
        (PING | {"operation_id": "x" * 2_000}, ".operation_id", "1000 characters or less"),
    ],
)
def test_operation_that_refuses_its_batch(
    api: Api, position: int, operation: Body, field: str, message: str
) -> None:
    """An invalid operation is named by its position, and nothing of the batch is stored."""
    list_id = api.new_list()
    operations: list[Body] = [
        add_member(list_id, f"m{number}@example.com") for number in range(330)
    ]
    operations[position] = operation
    before = api.call_ok("GET", "/batches")["total_items"]

    reply = api.call("POST", "/batches", {"operations": operations})

    [(name, found)] = get_field_errors(check_problem(reply, 400, "Invalid Resource"))
    assert f"operations.item:{position}{field}" == name
    assert message in found
    assert before == api.call_ok("GET", "/batches")["total_items"]


# --- Accepted batches -----------------------------------------------------------------------------


def test_fresh_batch(api: Api) -> None:
    """The reply to a POST has the contract's keys in order, and no results."""
    batch = api.call_ok("POST", "/batches", {"operations": [PING, PING]})

    assert KEYS == list(batch)
    assert len(batch["id"]) == 10
    assert int(batch["id"], 16) >= 0
    assert batch["id"] == batch["id"].lower()
    assert ("pending", 2, 0, 0) == _get_state(batch)
    assert ("", "") == (batch["completed_at"], batch["response_body_url"])


def test_links_of_a_batch(api: Api) -> None:
    """A batch has three links, in the contract's order."""
    batch = api.call_ok("POST", "/batches", {"operations": []})
    base, itself = api.server.url, f"{api.server.url}/3.0/batches/{batch['id']}"
    schema = f"{base}/schema/3.0"

    assert [
        {
            "rel": "parent",
            "href": f"{base}/3.0/batches",
            "method": "GET",
            "targetSchema": f"{schema}/Definitions/Batches/CollectionResponse.json",
            "schema": f"{schema}/CollectionLinks/Batches.json",
        },
        {
            "rel": "self",
            "href": itself,
            "method": "GET",
            "targetSchema": f"{schema}/Definitions/Batches/Response.json",
        },
        {"rel": "delete", "href": itself, "method": "DELETE"},
    ] == batch["_links"]


def test_finished_batch(api: Api) -> None:
    """Counters match the results; only results that are not 2xx are errored."""
    list_id = api.new_list()
    member = f"/lists/{list_id}/members/ann@example.com"
    batch = api.wait_until_finished(
        api.submit(
            add_member(list_id, "ann@example.com"),
            {"method": "POST", "path": f"{member}/tags", "body": '{"tags":[]}'},
            {"method": "GET", "path": member},
            {"method": "GET", "path": "/nowhere"},
            add_member(list_id, "ann@example.com"),
            {"method": "DELETE", "path": member},
        )
    )

    assert KEYS == list(batch)
    assert ("finished", 6, 6, 2) == _get_state(batch)
    assert batch["submitted_at"] <= batch["completed_at"]
    assert [200, 204, 200, 404, 400, 204] == [
        result.status_code for result in api.server.get_results(batch["id"])
    ]


def test_batch_of_nothing(api: Api) -> None:
    """A batch without operations is accepted, and finishes without results."""
    batch = api.wait_until_finished(api.submit())

    assert ("finished", 0, 0, 0) == _get_state(batch)
    assert batch["completed_at"]
    assert "" == batch["response_body_url"]


# Changes of a ping, and the id with which its result comes back.
FORMS: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"method": "get"}, None),
    ({"method": "Get"}, None),
    ({"path": "ping"}, None),
    ({"path": "/ping/"}, None),
    ({"path": "//ping"}, None),
    ({"path": "/ping?fields=health_status"}, None),
    ({"path": "/ping?"}, None),
    ({"params": None}, None),
    ({"params": {}}, None),
    ({"params": []}, None),
    ({"params": {"fields": None, "count": 5, "x": True, "y": ["a"], "z": {}}}, None),
    ({"body": None}, None),
    ({"body": ""}, None),
    ({"body": "{}"}, None),
    ({"body": "no JSON"}, None),
    ({"operation_id": "crm-17"}, "crm-17"),
    ({"operation_id": ""}, ""),
    ({"operation_id": 17}, "17"),
    ({"operation_id": -1}, "-1"),
    ({"operation_id": None}, None),
    ({"operation_id": '\u00fc\u4e2d\U0001f600\n"\\/'}, '\u00fc\u4e2d\U0001f600\n"\\/'),
    ({"operation_id": "\0"}, "\0"),
    ({"path_params": {"a": 1}, "headers": {"Accept-Language": "en"}, "unknown": [1, {}]}, None),
]


def test_forms_of_an_operation(api: Api) -> None:
    """Unusual forms of an operation are accepted, and its id comes back unchanged."""
    results = api.run_batch(*(PING | changes for changes, _ in FORMS))

    for (changes, operation_id), result in zip(FORMS, results, strict=True):
        assert (200, operation_id) == (result.status_code, result.operation_id), changes
        assert {"health_status": "Everything's Chimpy!"} == result.response


def test_root_in_a_batch(api: Api) -> None:
    """The root resource can be read in a batch."""
    [result] = api.run_batch({"method": "GET", "path": "/", "params": {"fields": "account_name"}})

    assert (200, ["account_name"]) == (result.status_code, list(result.response))


@pytest.mark.parametrize(
    ("body", "found"), [({"email_address": "a@b.co"}, "object"), ([], "array")]
)
def test_body_that_is_no_string(api: Api, body: Body, found: str) -> None:
    """A body that is not a string is an error of its operation only."""
    path = f"/lists/{api.new_list()}/members"
    operation = {"method": "POST", "path": path, "body": body}

    wrong, right = api.run_batch(operation, PING)

    assert (400, 200) == (wrong.status_code, right.status_code)
    assert "Invalid Resource" == wrong.response["title"]
    assert [("body", describe_wrong_type("string", found))] == get_field_errors(wrong.response)
    assert 0 == api.call_ok("GET", path)["total_items"]


def test_body_text_is_judged_when_it_runs(api: Api) -> None:
    """The batch is accepted whatever the text of a body is."""
    add = {"method": "POST", "path": f"/lists/{api.new_list()}/members"}
    texts = ("", "null", "{}", "no JSON", "[1]", "\0", '"\u00fc"')

    for result in api.run_batch(*(add | {"body": body_text} for body_text in texts)):
        assert 400 == result.status_code
        assert result.response["title"] in {"Invalid Resource", "JSON Parse Exception"}


REFUSED_PATHS = [
    ("/batches", 400),
    ("batches", 400),
    ("/batches/0123456789", 400),
    ("//batches", 400),
    ("/batch-webhooks", 400),
    ("/batch-webhooks/x", 400),
    ("http://example.com/3.0/ping", 400),
    ("https://us1.api.mailchimp.com/3.0/ping", 400),
    ("/../healthz", 400),
    ("../3.0/ping", 400),
    ("/lists/../ping", 400),
    ("/./ping", 400),
    ("/%2e%2e/healthz", 404),
    ("/3.0/ping", 404),
    ("/nowhere", 404),
    ("/lists/%00/members", 404),
    ("/lists/%00/members/x", 404),
    ("/lists/\0/members/x", 404),
    ("/lists/0123456789/members?email_type=%00", 400),
    ("/" + "a/" * 40, 414),
]


def test_paths_that_are_refused_alone(api: Api) -> None:
    """An operation with a forbidden path is refused, and the others run."""
    list_id = api.new_list()
    operations = []
    for number, (path, _) in enumerate(REFUSED_PATHS):
        operations.append({"method": "GET", "path": path})
        operations.append(add_member(list_id, f"m{number}@example.com"))

    results = api.run_batch(*operations)

    for (path, status), refused in zip(REFUSED_PATHS, results[::2], strict=True):
        assert (status, "") == (refused.status_code, refused.response["instance"]), path
    assert {200} == {result.status_code for result in results[1::2]}
    stats = api.call_ok("GET", f"/lists/{list_id}")["stats"]
    assert len(REFUSED_PATHS) == stats["member_count"]


def test_nested_batch_is_not_run(own_api: Api) -> None:
    """A batch cannot start another batch."""
    nested = {"method": "POST", "path": "/batches", "body": json.dumps({"operations": [PING]})}

    [result] = own_api.run_batch(nested)

    assert (400, "Bad Request") == (result.status_code, result.response["title"])
    assert 1 == own_api.call_ok("GET", "/batches")["total_items"]


def test_get_in_a_batch_gives_its_page(api: Api) -> None:
    """`count` and `offset` are taken from `params` or from the path."""
    list_id = api.new_list()
    members = [{"email_address": f"m{n}@example.com", "status": "pending"} for n in range(12)]
    api.call_ok("POST", f"/lists/{list_id}", {"members": members})
    path = f"/lists/{list_id}/members"

    in_params, in_path, both = api.run_batch(
        {"method": "GET", "path": path, "params": {"count": 3, "offset": "10"}},
        {"method": "GET", "path": f"{path}?count=3&offset=10"},
        {"method": "GET", "path": f"{path}?count=99&offset=10", "params": {"count": "1"}},
    )

    assert [2, 2, 1] == [len(result.response["members"]) for result in (in_params, in_path, both)]
    assert in_params.response == in_path.response
    assert 12 == in_params.response["total_items"]


def test_params_of_writes(api: Api) -> None:
    """`params` apply to every method."""
    list_id = api.new_list()
    required = {"name": "Must", "type": "text", "tag": "MUST", "required": True}
    api.call_ok("POST", f"/lists/{list_id}/merge-fields", required)
    operation = add_member(list_id, "ann@example.com")

    refused, added = api.run_batch(
        operation, operation | {"params": {"skip_merge_validation": "true", "fields": "status"}}
    )

    assert "Your merge fields were invalid." == refused.response["detail"]
    assert (200, {"status": "subscribed"}) == (added.status_code, added.response)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/ping", None),
        ("GET", "/", None),
        ("GET", "/lists/{list_id}", None),
        ("GET", "/lists/{list_id}/merge-fields?count=10", None),
        ("GET", "/lists/{list_id}/members/ann@example.com", None),
        ("PATCH", "/lists/{list_id}/members/ann@example.com", {"vip": True}),
        ("PATCH", "/lists/{list_id}", {"name": "Other"}),
        ("GET", "/lists/{list_id}/members/nobody@example.com", None),
        ("POST", "/lists/{list_id}/members", {"email_address": "ann@example.com", "status": "x"}),
        ("POST", "/lists/{list_id}/members", {}),
        ("POST", "/lists", {}),
        ("DELETE", "/ping", None),
    ],
)
def test_same_bytes_alone_and_in_a_batch(api: Api, method: str, path: str, body: Body) -> None:
    """A call and an operation have the same response, except the instance of an error."""
    list_id = api.new_list()
    path = path.format(list_id=list_id)
    api.call_ok("POST", f"/lists/{list_id}/members", make_member("ann@example.com"))
    operation = {"method": method, "path": path}
    if body is not None:
        operation["body"] = json.dumps(body)

    alone = api.call(method, path, body)
    [entry] = read_raw_results(api.server.download_archive(api.submit(operation)))

    instance = f'"instance":"{alone.headers["x-request-id"]}"'
    wanted = alone.text.replace(instance, '"instance":""')
    # Between the two the clock may have gone on.
    assert LAST_CHANGED.sub("", wanted) == LAST_CHANGED.sub("", entry["response"])
    assert alone.status_code == entry["status_code"]


# --- List, delete, expire -------------------------------------------------------------------------


def test_batches_are_listed_newest_first(own_api: Api) -> None:
    """All batches of the account are listed, newest first, in pages."""
    made = [own_api.submit(PING) for _ in range(5)]
    for batch_id in made:
        own_api.wait_until_finished(batch_id)

    whole = own_api.call_ok("GET", "/batches")
    page = own_api.call_ok("GET", "/batches", count="2", offset="1")

    assert ["batches", "total_items", "_links"] == list(whole)
    assert made[::-1] == [batch["id"] for batch in whole["batches"]]
    assert made[::-1][1:3] == [batch["id"] for batch in page["batches"]]
    assert (5, 5) == (whole["total_items"], page["total_items"])
    assert all(batch["response_body_url"] for batch in whole["batches"])
    assert ["self", "parent", "create"] == [link["rel"] for link in whole["_links"]]


def test_delete_in_every_status(own_api: Api) -> None:
    """A batch can be deleted in every status; then it is gone, and later its rows, too."""
    found = {status: insert_batches(own_api, status) for status in STATUSES}
    for status, batch_id in found.items():
        batch = own_api.call_ok("GET", f"/batches/{batch_id}")
        assert (status, "") == (batch["status"], batch["completed_at"])

        deleted = own_api.call("DELETE", f"/batches/{batch_id}")

        assert (204, b"") == (deleted.status_code, deleted.content)
        check_problem(own_api.call("GET", f"/batches/{batch_id}"), 404, "Resource Not Found")
        check_problem(own_api.call("DELETE", f"/batches/{batch_id}"), 404, "Resource Not Found")
        assert batch_id not in [
            batch["id"] for batch in own_api.call_ok("GET", "/batches")["batches"]
        ]
    ids = list(found.values())
    wait_until(
        lambda: not any(_exists(own_api, public_id) for public_id in ids),
        "the sweep removes the batches",
    )


def test_batches_end_after_seven_days(own_api: Api) -> None:
    """Seven days after its POST a finished batch is gone, and so is its link."""
    batch_id = own_api.submit(PING)
    url = own_api.wait_until_finished(batch_id)["response_body_url"]
    week = 7 * 24 * 60 * 60 * 1_000_000

    def age(by: int) -> None:
        statement = "UPDATE batches SET submitted_at = submitted_at - :by WHERE public_id = :id"
        execute_sql(own_api.server, statement, by=by, id=batch_id)

    age(week - 60_000_000)
    assert 200 == own_api.call("GET", f"/batches/{batch_id}").status_code
    assert 200 == own_api.http.get(url).status_code

    age(60_000_000)
    assert 404 == own_api.call("GET", f"/batches/{batch_id}").status_code
    assert 404 == own_api.http.get(url).status_code
    assert 0 == own_api.call_ok("GET", "/batches")["total_items"]


def test_unfinished_batches_do_not_end(own_api: Api) -> None:
    """A batch that is not finished does not expire."""
    batch_id = insert_batches(own_api, "pending")
    execute_sql(
        own_api.server, "UPDATE batches SET submitted_at = 1 WHERE public_id = :id", id=batch_id
    )

    batch = own_api.call_ok("GET", f"/batches/{batch_id}")

    assert ("pending", "1970-01-01T00:00:00+00:00") == (batch["status"], batch["submitted_at"])


def test_five_hundred_pending_batches(own_api: Api) -> None:
    """A batch above the limit of pending batches is refused until one begins."""
    first = insert_batches(own_api, "pending", count=500)

    refused = own_api.call("POST", "/batches", {"operations": [PING]})

    document = check_problem(refused, 429, "Too Many Requests")
    assert document["detail"].startswith("You have more than 500 pending batches.")
    assert int(refused.headers["retry-after"]) > 0
    assert 500 == own_api.call_ok("GET", "/batches")["total_items"]
    execute_sql(
        own_api.server, "UPDATE batches SET status = 'started' WHERE public_id = :id", id=first
    )
    assert own_api.submit(PING)
    # Or else they would all begin, one after the other, while other tests run.
    execute_sql(own_api.server, "DELETE FROM batches WHERE touched_at = :then", then=FAR_FUTURE)


def test_ten_batches_run_at_once(own_api: Api, api: Api) -> None:
    """While ten batches run, another one is `pending`, and begins when one of them ends."""
    first = insert_batches(own_api, "started", count=10)
    waiting = own_api.submit(PING)
    [other] = api.run_batch(PING)
    assert 200 == other.status_code  # accounts do not wait for each other

    assert "pending" == own_api.call_ok("GET", f"/batches/{waiting}")["status"]
    own_api.call_ok("DELETE", f"/batches/{first}")

    assert ("finished", 1, 1, 0) == _get_state(own_api.wait_until_finished(waiting))


def _get_state(batch: dict[str, Any]) -> tuple[str, int, int, int]:
    counters = ("total_operations", "finished_operations", "errored_operations")
    total, finished, errored = (batch[counter] for counter in counters)
    return batch["status"], total, finished, errored


def _exists(api: Api, batch_id: str) -> bool:
    with open_tables(api.server) as connection:
        found = connection.execute(
            text("SELECT 1 FROM batches WHERE public_id = :id"), {"id": batch_id}
        )
        return found.first() is not None
