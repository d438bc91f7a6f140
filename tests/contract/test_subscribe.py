"""Batch subscribe: up to 500 members in one call, each with its own outcome."""

from typing import Any

import pytest

from tests.contract.shared_servers import Api, CallSender, make_member

ANN, BOB, EVE = "ann@example.com", "bob@example.com", "eve@example.com"
EXISTS = (
    f"{ANN} is already a list member, do you want to update? please provide "
    "update_existing:true in the request body"
)


@pytest.fixture
def path(api: Api) -> str:
    """The path of a new list."""
    return f"/lists/{api.new_list()}"


def get_addresses(members: list[Any]) -> list[str]:
    """Return the addresses of members."""
    return [member["email_address"] for member in members]


def get_tag_names(member: dict[str, Any]) -> list[str]:
    """Return the names of a member's tags in alphabetical order."""
    return sorted(tag["name"] for tag in member["tags"])


def check_counts(answer: dict[str, Any]) -> tuple[int, int, int]:
    """Check that the counts match their lists; return those of created, updated and errors."""
    lists = ("new_members", "updated_members", "errors")
    named = ("total_created", "total_updated", "error_count")
    assert [len(answer[listed]) for listed in lists] == [answer[counter] for counter in named]
    return answer["total_created"], answer["total_updated"], answer["error_count"]


def test_new_members(api: Api, send: CallSender, path: str) -> None:
    """Each member is added, and shown as by other calls."""
    code, answer = send(
        "POST",
        path,
        {
            "members": [
                make_member(ANN, tags=["a"], merge_fields={"FNAME": "Ann"}),
                make_member(BOB),
            ]
        },
    )

    assert (200, (2, 0, 0)) == (code, check_counts(answer))
    assert [
        "new_members",
        "updated_members",
        "errors",
        "total_created",
        "total_updated",
        "error_count",
        "_links",
    ] == list(answer)
    assert [ANN, BOB] == get_addresses(answer["new_members"])
    assert answer["new_members"][0] == api.call_ok("GET", f"{path}/members/{ANN}")
    assert 2 == api.call_ok("GET", path)["stats"]["member_count"]


@pytest.mark.parametrize("status", ["unsubscribed", "cleaned", "pending", "transactional"])
def test_statuses(send: CallSender, path: str, status: str) -> None:
    """A new member can have these statuses."""
    _, answer = send("POST", path, {"members": [make_member(ANN, status=status)]})

    assert status == answer["new_members"][0]["status"]


def test_existing_members_are_errors(api: Api, send: CallSender, path: str) -> None:
    """Existing members are errors unless `update_existing` is set."""
    before = api.call_ok("POST", f"{path}/members", make_member(ANN))

    code, answer = send("POST", path, {"members": [make_member(ANN, vip=True), make_member(BOB)]})

    assert (200, (1, 0, 1)) == (code, check_counts(answer))
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
    """Given fields change, others stay, and tags are added."""
    api.call_ok("POST", f"{path}/members", make_member(ANN, tags=["a"], language="uk"))

    body = {
        "members": [make_member(ANN, vip=True, tags=["b"]), make_member(BOB)],
        "update_existing": True,
    }
    code, answer = send("POST", path, body)

    assert (200, (1, 1, 0)) == (code, check_counts(answer))
    [updated] = answer["updated_members"]
    assert (True, "uk") == (updated["vip"], updated["language"])
    assert ["a", "b"] == get_tag_names(updated)
    assert updated == api.call_ok("GET", f"{path}/members/{ANN}")


def test_sync_tags(api: Api, send: CallSender, path: str) -> None:
    """With `sync_tags` the given tags replace all tags."""
    api.call_ok("POST", f"{path}/members", make_member(ANN, tags=["a", "b"]))

    members = [make_member(ANN, tags=["b", "c"])]
    _, answer = send("POST", path, {"members": members, "update_existing": True, "sync_tags": True})

    assert ["b", "c"] == get_tag_names(answer["updated_members"][0])
    assert ["b", "c"] == get_tag_names(api.call_ok("GET", f"{path}/members/{ANN}"))


def test_archived_members_come_back(api: Api, send: CallSender, path: str) -> None:
    """Archived members are new members, with their former contact id."""
    before = api.call_ok("POST", f"{path}/members", make_member(ANN))
    api.call_ok("DELETE", f"{path}/members/{ANN}")

    _, answer = send("POST", path, {"members": [make_member(ANN)]})

    assert (1, 0, 0) == check_counts(answer)
    assert before["contact_id"] == answer["new_members"][0]["contact_id"]


@pytest.mark.parametrize("skips", [True, False])
def test_duplicates_in_the_request(send: CallSender, path: str, skips: bool) -> None:
    """The first duplicate is added; the others are errors, or are skipped."""
    members = [
        make_member(ANN, vip=True),
        make_member(ANN.upper()),
        make_member(BOB),
        make_member(ANN),
    ]
    params = {"skip_duplicate_check": "true"} if skips else {}

    code, answer = send("POST", path, {"members": members}, **params)

    assert (200, (2, 0, 0 if skips else 2)) == (code, check_counts(answer))
    assert [True, False] == [member["vip"] for member in answer["new_members"]]
    assert {"ERROR_GENERIC"} >= {error["error_code"] for error in answer["errors"]}


def test_errors_are_each_members_own(api: Api, send: CallSender, path: str) -> None:
    """The call is a 200 even if all members fail."""
    api.call_ok("POST", f"{path}/members", make_member(EVE))
    api.call_ok("POST", f"{path}/members/{EVE}/actions/delete-permanent")
    api.call_ok("POST", f"{path}/merge-fields", {"tag": "AGE", "name": "Age", "type": "number"})
    members = [
        make_member("malformed"),
        {"status": "subscribed"},
        {"email_address": ANN},
        make_member(ANN, status="x"),
        make_member(BOB, merge_fields={"AGE": "old"}),
        make_member(EVE),
    ]

    code, answer = send("POST", path, {"members": members})

    assert (200, (0, 0, 6)) == (code, check_counts(answer))
    assert {"ERROR_GENERIC"} == {error["error_code"] for error in answer["errors"]}
    assert ["malformed", "", ANN, ANN, BOB, EVE] == get_addresses(answer["errors"])
    assert ("AGE", "Please enter a number") == tuple(
        answer["errors"][4][name] for name in ("field", "field_message")
    )
    assert "was permanently deleted" in answer["errors"][5]["error"]
    assert 0 == api.call_ok("GET", f"{path}/members")["total_items"]


@pytest.mark.parametrize("skips", ["true", "false"])
def test_required_merge_fields(api: Api, send: CallSender, path: str, skips: str) -> None:
    """`skip_merge_validation` works for this call, too."""
    must = {"tag": "MUST", "name": "Must", "type": "text", "required": True}
    api.call_ok("POST", f"{path}/merge-fields", must)

    _, answer = send("POST", path, {"members": [make_member(ANN)]}, skip_merge_validation=skips)

    assert ((1, 0, 0) if skips == "true" else (0, 0, 1)) == check_counts(answer)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ({"members": None}, "members"),
        ({"members": {}}, "members"),
        ({"members": [[]]}, "members.item:0"),
        ({"members": [make_member(ANN), make_member(5)]}, "members.item:1.email_address"),  # type: ignore[arg-type]
        ({"members": [make_member(f"m{n}@example.com") for n in range(501)]}, "members"),
        ({"members": [], "update_existing": "yes"}, "update_existing"),
    ],
)
def test_wrong_requests(api: Api, send: CallSender, path: str, body: Any, field: str) -> None:
    """A request of a wrong form is refused as a whole."""
    code, problem = send("POST", path, body)

    assert (400, "Invalid Resource") == (code, problem["title"])
    assert [field] == [error["field"] for error in problem["errors"]]
    assert 0 == api.call_ok("GET", f"{path}/members")["total_items"]


def test_five_hundred_members(api: Api, send: CallSender, path: str) -> None:
    """A call may have 500 members."""
    _, answer = send(
        "POST", path, {"members": [make_member(f"m{n}@example.com") for n in range(500)]}
    )

    assert (500, 0, 0) == check_counts(answer)
    assert 500 == api.call_ok("GET", path)["stats"]["member_count"]


def test_subscribe_beside_single_writes(api: Api, path: str) -> None:
    """In a batch, the call sees operations before it, and later ones see it."""
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
    assert (1, 0, 1) == check_counts(results[1].response)
