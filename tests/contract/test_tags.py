"""Tags of members: created on first use, and kept with the contact."""

from typing import Any

import pytest

from tests.contract.shared_servers import Api, CallSender

ANN = "ann@example.com"


@pytest.fixture
def member_path(api: Api) -> str:
    """The path of the only member of a new list."""
    path = f"/lists/{api.new_list()}/members"
    made = api.call_ok("POST", path, {"email_address": ANN, "status": "subscribed"})
    return f"{path}/{made['id']}"


def make_changes(active: tuple[str, ...] = (), inactive: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the body that changes tags."""
    given = [(name, "active") for name in active] + [(name, "inactive") for name in inactive]
    return {"tags": [{"name": name, "status": status} for name, status in given]}


def get_tag_names(api: Api, member_path: str) -> list[str]:
    """Return the tags of a member, from both calls that show them."""
    shown = [tag["name"] for tag in api.call_ok("GET", member_path)["tags"]]
    page = api.call_ok("GET", f"{member_path}/tags", count="1000")
    assert shown == [tag["name"] for tag in page["tags"]][:50]
    return [tag["name"] for tag in page["tags"]]


def test_add_and_remove(api: Api, send: CallSender, member_path: str) -> None:
    """One call can add active tags and remove inactive ones."""
    assert (204, {}) == send("POST", f"{member_path}/tags", make_changes(("a", "b", "c")))
    assert ["a", "b", "c"] == get_tag_names(api, member_path)

    assert (204, {}) == send("POST", f"{member_path}/tags", make_changes(("d", "a"), ("b",)))
    assert ["a", "c", "d"] == get_tag_names(api, member_path)


@pytest.mark.parametrize(
    "body",
    [
        make_changes(),
        make_changes(inactive=("unknown",)),
        make_changes(("a",)),
        make_changes(("A",)),
        make_changes((" a ",)),
        {**make_changes(), "is_syncing": True},
        {**make_changes(), "is_syncing": False},
    ],
)
def test_nothing_to_change(api: Api, send: CallSender, member_path: str, body: Any) -> None:
    """A call that changes nothing is a 204, and does not touch the member."""
    api.call_ok("POST", f"{member_path}/tags", make_changes(("a",)))
    before = api.call_ok("GET", member_path)

    assert (204, {}) == send("POST", f"{member_path}/tags", body)

    assert before == api.call_ok("GET", member_path)


def test_last_word_counts(api: Api, send: CallSender, member_path: str) -> None:
    """If a tag is given twice, its last status counts."""
    body = {
        "tags": [
            {"name": "a", "status": "active"},
            {"name": "b", "status": "inactive"},
            {"name": "a", "status": "inactive"},
            {"name": "b", "status": "active"},
        ]
    }

    assert 204 == send("POST", f"{member_path}/tags", body)[0]
    assert ["b"] == get_tag_names(api, member_path)


def test_collection(api: Api, send: CallSender, member_path: str) -> None:
    """Tags have ids and dates, and pages."""
    api.call_ok("POST", f"{member_path}/tags", make_changes(("a", "b", "c")))

    code, page = send("GET", f"{member_path}/tags", count="2", offset="1")

    assert (200, ["b", "c"], 3) == (code, [t["name"] for t in page["tags"]], page["total_items"])
    assert ["id", "name", "date_added"] == list(page["tags"][0])
    assert isinstance(page["tags"][0]["id"], int)
    assert ["tags", "total_items", "_links"] == list(page)
    assert [] == send("GET", f"{member_path}/tags", offset="3")[1]["tags"]


def test_a_tag_is_one_for_its_list(api: Api, send: CallSender, member_path: str) -> None:
    """Members of a list share tags; another list has different ones."""
    parent = member_path.rpartition("/")[0]
    other = f"/lists/{api.new_list()}/members"
    _, first = send("POST", parent, _make_member("bob@example.com", "shared"))
    _, second = send("POST", parent, _make_member("eve@example.com", "SHARED"))
    _, elsewhere = send("POST", other, _make_member("bob@example.com", "shared"))

    assert first["tags"] == second["tags"]
    assert first["tags"][0]["id"] != elsewhere["tags"][0]["id"]


def test_fifty_are_shown(api: Api, send: CallSender, member_path: str) -> None:
    """A member shows fifty tags, and counts all."""
    many = tuple(f"tag {number:02}" for number in range(60))

    assert 204 == send("POST", f"{member_path}/tags", make_changes(many))[0]

    member = api.call_ok("GET", member_path)
    assert (50, 60) == (len(member["tags"]), member["tags_count"])
    assert list(many) == get_tag_names(api, member_path)


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
def test_wrong_tags(api: Api, send: CallSender, member_path: str, body: Any, field: str) -> None:
    """An invalid call changes no tag."""
    code, problem = send("POST", f"{member_path}/tags", body)

    assert (400, "Invalid Resource") == (code, problem["title"])
    assert [field] == [error["field"] for error in problem["errors"]]
    assert [] == get_tag_names(api, member_path)


def test_tags_of_the_archived(api: Api, send: CallSender, member_path: str) -> None:
    """The tags of an archived member can be changed, and are kept when it is restored."""
    api.call_ok("DELETE", member_path)

    assert (204, {}) == send("POST", f"{member_path}/tags", make_changes(("a",)))

    _, back = send("POST", member_path.rpartition("/")[0], _make_member(ANN, "b"))
    assert ["a", "b"] == [tag["name"] for tag in back["tags"]]


def _make_member(address: str, *tags: str) -> dict[str, Any]:
    return {"email_address": address, "status": "subscribed", "tags": list(tags)}
