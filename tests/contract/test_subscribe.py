"""Batch subscribe: up to 500 members in one call, each with its own outcome."""

from typing import Any

import pytest

from tests.contract.shared_servers import Api, CallSender

ANN, BOB, EVE = "ann@example.com", "bob@example.com", "eve@example.com"
EXISTS = f"{ANN} is already a list member. Use PUT to insert or update list members."


@pytest.fixture
def path(api: Api) -> str:
    """A new list."""
    return f"/lists/{api.new_list()}"


def member(address: str, **more: Any) -> dict[str, Any]:
    """A member of a request."""
    return {"email_address": address, "status": "subscribed", **more}


def addresses(members: list[Any]) -> list[str]:
    """Who they are."""
    return [member["email_address"] for member in members]


def tags(member: dict[str, Any]) -> list[str]:
    """The names of a member's tags, in the order of the alphabet: the server has its own."""
    return sorted(tag["name"] for tag in member["tags"])


def counts(answer: dict[str, Any]) -> tuple[int, int, int]:
    """Created, updated, wrong; they must be those of the lists beside them."""
    lists = ("new_members", "updated_members", "errors")
    named = ("total_created", "total_updated", "error_count")
    assert [len(answer[listed]) for listed in lists] == [answer[counter] for counter in named]
    return answer["total_created"], answer["total_updated"], answer["error_count"]


def test_new_members(api: Api, send: CallSender, path: str) -> None:
    """Each is added, and shown as a member is."""
    code, answer = send(
        "POST",
        path,
        {"members": [member(ANN, tags=["a"], merge_fields={"FNAME": "Ann"}), member(BOB)]},
    )

    assert (200, (2, 0, 0)) == (code, counts(answer))
    assert [
        "new_members",
        "updated_members",
        "errors",
        "total_created",
        "total_updated",
        "error_count",
        "_links",
    ] == list(answer)
    assert [ANN, BOB] == addresses(answer["new_members"])
    assert answer["new_members"][0] == api.call_ok("GET", f"{path}/members/{ANN}")
    assert 2 == api.call_ok("GET", path)["stats"]["member_count"]


@pytest.mark.parametrize("status", ["unsubscribed", "cleaned", "pending", "transactional"])
def test_statuses(send: CallSender, path: str, status: str) -> None:
    """Those of a new member."""
    _, answer = send("POST", path, {"members": [member(ANN, status=status)]})

    assert status == answer["new_members"][0]["status"]


def test_existing_members_are_errors(api: Api, send: CallSender, path: str) -> None:
    """Unless they may be updated."""
    before = api.call_ok("POST", f"{path}/members", member(ANN))

    code, answer = send("POST", path, {"members": [member(ANN, vip=True), member(BOB)]})

    assert (200, (1, 0, 1)) == (code, counts(answer))
    assert [
        {
            "email_address": ANN,
            "error": EXISTS,
            "error_code": "ERROR_CONTACT_EXISTS",
            "field": "",
            "field_message": "",
        }
    ] == answer["errors"]
    assert before == api.call_ok("GET", f"{path}/members/{ANN}")


def test_update_existing(api: Api, send: CallSender, path: str) -> None:
    """What is given changes, what is not stays; tags are added."""
    api.call_ok("POST", f"{path}/members", member(ANN, tags=["a"], language="uk"))

    body = {"members": [member(ANN, vip=True, tags=["b"]), member(BOB)], "update_existing": True}
    code, answer = send("POST", path, body)

    assert (200, (1, 1, 0)) == (code, counts(answer))
    [updated] = answer["updated_members"]
    assert (True, "uk") == (updated["vip"], updated["language"])
    assert ["a", "b"] == tags(updated)
    assert updated == api.call_ok("GET", f"{path}/members/{ANN}")


def test_sync_tags(api: Api, send: CallSender, path: str) -> None:
    """With it the tags given are all the tags."""
    api.call_ok("POST", f"{path}/members", member(ANN, tags=["a", "b"]))

    members = [member(ANN, tags=["b", "c"])]
    _, answer = send("POST", path, {"members": members, "update_existing": True, "sync_tags": True})

    assert ["b", "c"] == tags(answer["updated_members"][0])
    assert ["b", "c"] == tags(api.call_ok("GET", f"{path}/members/{ANN}"))


def test_archived_members_come_back(api: Api, send: CallSender, path: str) -> None:
    """They are new members again, with their contact id."""
    before = api.call_ok("POST", f"{path}/members", member(ANN))
    api.call_ok("DELETE", f"{path}/members/{ANN}")

    _, answer = send("POST", path, {"members": [member(ANN)]})

    assert (1, 0, 0) == counts(answer)
    assert before["contact_id"] == answer["new_members"][0]["contact_id"]


@pytest.mark.parametrize("skips", [True, False])
def test_duplicates_in_the_request(send: CallSender, path: str, skips: bool) -> None:
    """The first counts; the others are errors, or are left out."""
    members = [member(ANN, vip=True), member(ANN.upper()), member(BOB), member(ANN)]
    params = {"skip_duplicate_check": "true"} if skips else {}

    code, answer = send("POST", path, {"members": members}, **params)

    assert (200, (2, 0, 0 if skips else 2)) == (code, counts(answer))
    assert [True, False] == [member["vip"] for member in answer["new_members"]]
    assert {"ERROR_GENERIC"} >= {error["error_code"] for error in answer["errors"]}


def test_errors_are_each_members_own(api: Api, send: CallSender, path: str) -> None:
    """The call is a 200, even if all have failed."""
    api.call_ok("POST", f"{path}/members", member(EVE))
    api.call_ok("POST", f"{path}/members/{EVE}/actions/delete-permanent")
    api.call_ok("POST", f"{path}/merge-fields", {"tag": "AGE", "name": "Age", "type": "number"})
    members = [
        member("malformed"),
        {"status": "subscribed"},
        {"email_address": ANN},
        member(ANN, status="x"),
        member(BOB, merge_fields={"AGE": "old"}),
        member(EVE),
    ]

    code, answer = send("POST", path, {"members": members})

    assert (200, (0, 0, 6)) == (code, counts(answer))
    assert {"ERROR_GENERIC"} == {error["error_code"] for error in answer["errors"]}
    assert ["malformed", "", ANN, ANN, BOB, EVE] == addresses(answer["errors"])
    assert ("AGE", "Please enter a number") == tuple(
        answer["errors"][4][name] for name in ("field", "field_message")
    )
    assert "was permanently deleted" in answer["errors"][5]["error"]
    assert 0 == api.call_ok("GET", f"{path}/members")["total_items"]


@pytest.mark.parametrize("skips", ["true", "false"])
def test_required_merge_fields(api: Api, send: CallSender, path: str, skips: str) -> None:
    """`skip_merge_validation` is for this call, too."""
    must = {"tag": "MUST", "name": "Must", "type": "text", "required": True}
    api.call_ok("POST", f"{path}/merge-fields", must)

    _, answer = send("POST", path, {"members": [member(ANN)]}, skip_merge_validation=skips)

    assert ((1, 0, 0) if skips == "true" else (0, 0, 1)) == counts(answer)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ({"members": None}, "members"),
        ({"members": {}}, "members"),
        ({"members": [[]]}, "members.item:0"),
        ({"members": [member(ANN), member(5)]}, "members.item:1.email_address"),  # type: ignore[arg-type]
        ({"members": [member(f"m{n}@example.com") for n in range(501)]}, "members"),
        ({"members": [], "update_existing": "yes"}, "update_existing"),
    ],
)
def test_wrong_requests(api: Api, send: CallSender, path: str, body: Any, field: str) -> None:
    """A wrong form refuses the whole call."""
    code, problem = send("POST", path, body)

    assert (400, "Invalid Resource") == (code, problem["title"])
    assert [field] == [error["field"] for error in problem["errors"]]
    assert 0 == api.call_ok("GET", f"{path}/members")["total_items"]


def test_five_hundred_members(api: Api, send: CallSender, path: str) -> None:
    """As many as a call may have."""
    _, answer = send("POST", path, {"members": [member(f"m{n}@example.com") for n in range(500)]})

    assert (500, 0, 0) == counts(answer)
    assert 500 == api.call_ok("GET", path)["stats"]["member_count"]


def test_subscribe_beside_single_writes(api: Api, path: str) -> None:
    """In one batch it sees what stands before it, and is seen by what stands behind it."""
    add = '{"email_address":"%s","status":"subscribed"}'
    results = api.run_batch(
        {"method": "POST", "path": f"{path}/members", "body": add.replace("%s", ANN)},
        {
            "method": "POST",
            "path": path,
            "body": f'{{"members":[{add.replace("%s", ANN)},{add.replace("%s", BOB)}]}}',
        },
        {"method": "POST", "path": f"{path}/members", "body": add.replace("%s", BOB)},
    )

    assert [200, 200, 400] == [result.status_code for result in results]
    assert (1, 0, 1) == counts(results[1].response)
