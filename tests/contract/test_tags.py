"""Tags of members: made by being used, and kept with the contact."""

from typing import Any

import pytest

from tests.contract.shared_servers import Api, CallSender

ANN = "ann@example.com"


@pytest.fixture
def one(api: Api) -> str:
    """The path of the one member of a new list."""
    path = f"/lists/{api.new_list()}/members"
    made = api.call_ok("POST", path, {"email_address": ANN, "status": "subscribed"})
    return f"{path}/{made['id']}"


def changes(active: tuple[str, ...] = (), inactive: tuple[str, ...] = ()) -> dict[str, Any]:
    """The body that changes tags."""
    given = [(name, "active") for name in active] + [(name, "inactive") for name in inactive]
    return {"tags": [{"name": name, "status": status} for name, status in given]}


def names(api: Api, one: str) -> list[str]:
    """The tags that a member has, by both calls that show them."""
    shown = [tag["name"] for tag in api.call_ok("GET", one)["tags"]]
    page = api.call_ok("GET", f"{one}/tags", count="1000")
    assert shown == [tag["name"] for tag in page["tags"]][:50]
    return [tag["name"] for tag in page["tags"]]


def test_add_and_remove(api: Api, send: CallSender, one: str) -> None:
    """Active ones are added, inactive ones taken away, both in one call."""
    assert (204, {}) == send("POST", f"{one}/tags", changes(("a", "b", "c")))
    assert ["a", "b", "c"] == names(api, one)

    assert (204, {}) == send("POST", f"{one}/tags", changes(("d", "a"), ("b",)))
    assert ["a", "c", "d"] == names(api, one)


@pytest.mark.parametrize(
    "body",
    [
        changes(),
        changes(inactive=("unknown",)),
        changes(("a",)),
        changes(("A",)),
        changes((" a ",)),
        {**changes(), "is_syncing": True},
        {**changes(), "is_syncing": False},
    ],
)
def test_nothing_to_change(api: Api, send: CallSender, one: str, body: Any) -> None:
    """It is a 204 all the same, and the member is not touched."""
    api.call_ok("POST", f"{one}/tags", changes(("a",)))
    before = api.call_ok("GET", one)

    assert (204, {}) == send("POST", f"{one}/tags", body)

    assert before == api.call_ok("GET", one)


def test_last_word_counts(api: Api, send: CallSender, one: str) -> None:
    """A tag that is named twice gets what is said last."""
    body = {
        "tags": [
            {"name": "a", "status": "active"},
            {"name": "b", "status": "inactive"},
            {"name": "a", "status": "inactive"},
            {"name": "b", "status": "active"},
        ]
    }

    assert 204 == send("POST", f"{one}/tags", body)[0]
    assert ["b"] == names(api, one)


def test_collection(api: Api, send: CallSender, one: str) -> None:
    """Tags have ids and dates, and pages."""
    api.call_ok("POST", f"{one}/tags", changes(("a", "b", "c")))

    code, page = send("GET", f"{one}/tags", count="2", offset="1")

    assert (200, ["b", "c"], 3) == (code, [t["name"] for t in page["tags"]], page["total_items"])
    assert ["id", "name", "date_added"] == list(page["tags"][0])
    assert isinstance(page["tags"][0]["id"], int)
    assert ["tags", "total_items", "_links"] == list(page)
    assert [] == send("GET", f"{one}/tags", offset="3")[1]["tags"]


def test_a_tag_is_one_for_its_list(api: Api, send: CallSender, one: str) -> None:
    """Members share tags; another list has its own."""
    parent = one.rpartition("/")[0]
    other = f"/lists/{api.new_list()}/members"
    _, first = send("POST", parent, _member("bob@example.com", "shared"))
    _, second = send("POST", parent, _member("eve@example.com", "SHARED"))
    _, elsewhere = send("POST", other, _member("bob@example.com", "shared"))

    assert first["tags"] == second["tags"]
    assert first["tags"][0]["id"] != elsewhere["tags"][0]["id"]


def test_fifty_are_shown(api: Api, send: CallSender, one: str) -> None:
    """A member shows fifty and counts all."""
    many = tuple(f"tag {number:02}" for number in range(60))

    assert 204 == send("POST", f"{one}/tags", changes(many))[0]

    member = api.call_ok("GET", one)
    assert (50, 60) == (len(member["tags"]), member["tags_count"])
    assert list(many) == names(api, one)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ({"tags": None}, "tags"),
        ({"tags": "a"}, "tags"),
        ({"tags": ["a"]}, "tags.item:0"),
        ({"tags": [{"name": "a"}]}, "tags.item:0"),
        ({"tags": [{"status": "active"}]}, "tags.item:0"),
        ({"tags": [{"name": "a", "status": "on"}]}, "tags.item:0.status"),
        ({"tags": [{"name": 1, "status": "active"}]}, "tags.item:0.name"),
        ({"tags": [{"name": "", "status": "active"}]}, "tags"),
        ({"tags": [{"name": "a\0", "status": "active"}]}, "tags"),
        ({"tags": [{"name": "x" * 101, "status": "active"}]}, "tags"),
    ],
)
def test_wrong_tags(api: Api, send: CallSender, one: str, body: Any, field: str) -> None:
    """Nothing of such a call is done."""
    code, problem = send("POST", f"{one}/tags", body)

    assert (400, "Invalid Resource") == (code, problem["title"])
    assert [field] == [error["field"] for error in problem["errors"]]
    assert [] == names(api, one)


def test_tags_of_the_archived(api: Api, send: CallSender, one: str) -> None:
    """They can be changed, and come back with the contact."""
    api.call_ok("DELETE", one)

    assert (204, {}) == send("POST", f"{one}/tags", changes(("a",)))

    _, back = send("POST", one.rpartition("/")[0], _member(ANN, "b"))
    assert ["a", "b"] == [tag["name"] for tag in back["tags"]]


def _member(address: str, *tags: str) -> dict[str, Any]:
    return {"email_address": address, "status": "subscribed", "tags": list(tags)}
