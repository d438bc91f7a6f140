"""`/lists/{list_id}/merge-fields`, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from batchway import limits
from batchway.audience.lists.rows import find_list
from batchway.audience.merge_fields.rows import find_merge_fields
from batchway.store.database import sql_for_update
from tests.audience import BASE, Audience, open_audience, wait_until_blocked

KEYS = (
    "merge_id tag name type required default_value public display_order options help_text "
    "list_id _links"
)


@pytest.fixture
def fields(api: Audience) -> str:
    """The path of the merge fields of a new list."""
    return f"/lists/{api.new_list()}/merge-fields"


def tags(reply: dict[str, Any]) -> list[str]:
    """Return the tags of a collection."""
    return [field["tag"] for field in reply["merge_fields"]]


def take_counts(made: dict[str, Any]) -> tuple[int, int]:
    """Take `total_items` and `merge_field_limit` out of the reply to a POST; no other has them."""
    return made.pop("total_items"), made.pop("merge_field_limit")


def path_in(api: Audience) -> str:
    """Create a list, and return the path of its merge fields."""
    return f"/lists/{api.new_list()}/merge-fields"


# --- One merge field -----------------------------------------------------------------------------


def test_a_new_merge_field_is_complete_and_in_the_contracts_order(
    api: Audience, fields: str
) -> None:
    """A field needs a name and a type; tag and order have defaults."""
    made = api.call_ok("POST", fields, {"name": "Age", "type": "number"})

    assert f"{KEYS} total_items merge_field_limit" == " ".join(made)
    assert (6, limits.merge_fields_per_list_max) == take_counts(made)
    links = made.pop("_links")
    assert {
        "merge_id": 6,
        "tag": "MMERGE6",
        "name": "Age",
        "type": "number",
        "required": False,
        "default_value": "",
        "public": False,
        "display_order": 7,
        "options": {},
        "help_text": "",
        "list_id": fields.split("/")[2],
    } == made
    assert [
        ("self", f"{BASE}/3.0{fields}/6"),
        ("parent", f"{BASE}/3.0{fields}"),
        ("update", f"{BASE}/3.0{fields}/6"),
        ("delete", f"{BASE}/3.0{fields}/6"),
    ] == [(link["rel"], link["href"]) for link in links]


def test_a_merge_field_keeps_what_it_was_given(api: Audience, fields: str) -> None:
    """POST, GET and the collection show the same field, with its tag in upper case."""
    given = {
        "tag": "colour_1",
        "name": "Favourite colour",
        "type": "dropdown",
        "required": True,
        "default_value": "blue",
        "public": True,
        "display_order": 1,
        "options": {"choices": ["red", "blue"]},
        "help_text": "Ψ",
    }

    made = api.call_ok("POST", fields, given)
    take_counts(made)

    assert given | {"tag": "COLOUR_1"} == {name: made[name] for name in given}
    assert made == api.call_ok("GET", f"{fields}/6")
    assert made == api.call_ok("GET", fields)["merge_fields"][2]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("text", {}, {"size": 25}),
        ("text", {"size": 80, "choices": ["a"], "date_format": "DD/MM"}, {"size": 80}),
        ("number", {"size": 80}, {}),
        ("address", {}, {"default_country": 164}),
        ("address", {"default_country": 0}, {"default_country": 0}),
        ("phone", {}, {"phone_format": "none"}),
        ("phone", {"phone_format": "US"}, {"phone_format": "US"}),
        ("phone", {"phone_format": "International"}, {"phone_format": "none"}),
        ("date", {}, {"date_format": "MM/DD/YYYY"}),
        ("date", {"date_format": "DD/MM/YYYY"}, {"date_format": "DD/MM/YYYY"}),
        ("birthday", {}, {"date_format": "MM/DD"}),
        ("birthday", {"date_format": "DD/MM"}, {"date_format": "DD/MM"}),
        ("radio", {"choices": ["a", " b "]}, {"choices": ["a", "b"]}),
        ("dropdown", {"choices": ["1"]}, {"choices": ["1"]}),
        ("url", {}, {}),
        ("imageurl", {}, {}),
        ("zip", {}, {}),
    ],
)
def test_options_of_each_type(
    quick: Audience, kind: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Each type has its own options with defaults; other options are ignored."""
    body = {"name": "Field", "type": kind, "options": given}

    assert expected == quick.call_ok("POST", path_in(quick), body)["options"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": None}, "name"),
        ({"name": "a\0"}, "name"),
        ({"type": "colour"}, "type"),
        ({"tag": "TOO_LONG_TAG"}, "tag"),
        ({"tag": "A-B"}, "tag"),
        ({"tag": "TA\nG"}, "tag"),
        ({"tag": "ÄÖ"}, "tag"),
        ({"tag": "ß"}, "tag"),
        ({"tag": "FNAME"}, "tag"),
        ({"tag": "fname"}, "tag"),
        ({"tag": "Email"}, "tag"),
        ({"display_order": -1}, "display_order"),
        ({"display_order": 10**12}, "display_order"),
        ({"required": 1}, "required"),
        ({"help_text": "x" * 1001}, "help_text"),
        ({"default_value": 7}, "default_value"),
        ({"type": "number", "default_value": "many"}, "default_value"),
        ({"type": "text", "default_value": "x" * 256}, "default_value"),
        ({"type": "radio"}, "options.choices"),
        ({"type": "radio", "options": {"choices": []}}, "options.choices"),
        ({"type": "radio", "options": {"choices": ["a", " "]}}, "options.choices"),
        ({"type": "radio", "options": {"choices": ["a", "a"]}}, "options.choices"),
        ({"type": "radio", "options": {"choices": ["\0"]}}, "options.choices.item:0"),
        (
            {"type": "radio", "options": {"choices": [str(n) for n in range(501)]}},
            "options.choices",
        ),
        ({"type": "radio", "options": {"choices": "ab"}}, "options.choices"),
        (
            {"type": "radio", "options": {"choices": ["a"]}, "default_value": "b"},
            "default_value",
        ),
        ({"options": {"size": 256}}, "options.size"),
        ({"options": {"size": -1}}, "options.size"),
        ({"type": "date", "options": {"date_format": "YYYY"}}, "options.date_format"),
        ({"type": "birthday", "options": {"date_format": "MM/DD/YYYY"}}, "options.date_format"),
        ({"type": "phone", "options": {"phone_format": "Mars"}}, "options.phone_format"),
        ({"type": "address", "options": {"default_country": -1}}, "options.default_country"),
        ({"type": "address", "options": {"default_country": 10**30}}, "options.default_country"),
        ({"options": []}, "options"),
    ],
)
def test_what_a_merge_field_cannot_be(quick: Audience, change: dict[str, Any], field: str) -> None:
    """A wrong field is named, and nothing is created."""
    path = path_in(quick)

    assert [field] == list(quick.call_refused("POST", path, {"name": "F", "type": "text"} | change))
    assert 5 == quick.call_ok("GET", path)["total_items"]


def test_a_tag_is_unique_in_its_list(api: Audience, fields: str) -> None:
    """A tag that the list has is refused; another list may have the same tag."""
    body = {"name": "Name", "type": "text", "tag": "FNAME"}
    status, reply = api.call("POST", fields, body)

    assert 400 == status
    assert 'A Merge Field with the tag "FNAME" already exists for this list.' == reply["detail"]
    body["tag"] = "AGE"
    api.call_ok("POST", fields, body)
    assert "AGE" == api.call_ok("POST", path_in(api), body)["tag"]


def test_a_tag_that_is_made_avoids_the_given_ones(quick: Audience) -> None:
    """A generated tag differs from all given tags."""
    path = path_in(quick)
    for tag in ("MMERGE7", "MMERGE8"):
        quick.call_ok("POST", path, {"name": tag, "type": "text", "tag": tag})
    quick.call_ok("DELETE", f"{path}/7")
    quick.call_ok("POST", path, {"name": "8", "type": "text"})

    assert "MMERGE9" == quick.call_ok("POST", path, {"name": "9", "type": "text"})["tag"]
    quick.call_ok("PATCH", f"{path}/9", {"tag": "MMERGE10"})
    assert "MMERGE11" == quick.call_ok("POST", path, {"name": "10", "type": "text"})["tag"]


def test_merge_ids_are_never_used_again(api: Audience, fields: str) -> None:
    """A new field has a new id, because members keep values of deleted fields."""
    for expected in (6, 7, 8):
        made = api.call_ok("POST", fields, {"name": "Age", "type": "number", "tag": "AGE"})
        assert expected == made["merge_id"]
        assert (204, {}) == api.call("DELETE", f"{fields}/{expected}")
        api.call_ok("PATCH", fields.removesuffix("/merge-fields"), {"name": f"List {expected}"})

    assert 404 == api.call("GET", f"{fields}/8")[0]
    assert 5 == api.call_ok("GET", fields)["total_items"]


def test_a_list_has_a_limit_of_merge_fields(quick: Audience) -> None:
    """The refusal has the limit."""
    path = path_in(quick)
    for number in range(limits.merge_fields_per_list_max - 5):
        quick.call_ok("POST", path, {"name": str(number), "type": "text"})

    status, reply = quick.call("POST", path, {"name": "One more", "type": "text"})

    assert 400 == status
    assert f"A list has at most {limits.merge_fields_per_list_max} merge fields." in reply["detail"]


# --- Changes -------------------------------------------------------------------------------------


def test_a_change_leaves_the_rest_as_it_was(api: Audience, fields: str) -> None:
    """Options are merged; type and id stay."""
    before = api.call_ok(
        "POST",
        fields,
        {"name": "Size", "type": "radio", "options": {"choices": ["S", "L"]}, "required": True},
    )
    take_counts(before)
    change = {
        "tag": "size",
        "help_text": "Of your hat",
        "options": {"choices": ["S", "M", "L"]},
        "type": "text",
        "merge_id": 1,
    }

    after = api.call_ok("PATCH", f"{fields}/6", change)

    assert (
        before
        | {
            "tag": "SIZE",
            "help_text": "Of your hat",
            "options": {"choices": ["S", "M", "L"]},
        }
        == after
    )
    assert after == api.call_ok("GET", f"{fields}/6")


@pytest.mark.parametrize("body", [None, {}, {"tag": ""}, {"options": {"size": 99}}])
def test_a_change_of_nothing(quick: Audience, body: object) -> None:
    """An empty change, a blank tag and a size change nothing."""
    path = path_in(quick)
    before = quick.call_ok("GET", f"{path}/1")

    assert before == quick.call_ok("PATCH", f"{path}/1", body)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tag": "LNAME"}, "tag"),
        ({"tag": "EMAIL"}, "tag"),
        ({"name": ""}, "name"),
        ({"options": {"choices": ["b"]}}, "default_value"),
        ({"options": {"choices": []}}, "options.choices"),
        ({"default_value": "c"}, "default_value"),
    ],
)
def test_what_a_change_cannot_do(quick: Audience, change: dict[str, Any], field: str) -> None:
    """The rules for a new field apply to a changed one."""
    path = path_in(quick)
    body = {"name": "F", "type": "radio", "options": {"choices": ["a"]}, "default_value": "a"}
    before = quick.call_ok("POST", path, body)
    take_counts(before)

    assert [field] == list(quick.call_refused("PATCH", f"{path}/6", change))
    assert before == quick.call_ok("GET", f"{path}/6")


def test_a_merge_field_may_keep_its_own_tag(quick: Audience) -> None:
    """A field can be sent back with its own tag."""
    path = path_in(quick)
    before = quick.call_ok("GET", f"{path}/1")

    assert before == quick.call_ok("PATCH", f"{path}/1", before)


@pytest.mark.parametrize("merge_id", ["0", "7", "-1", "01", "one", "²", "99999999999999999999"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_merge_field(quick: Audience, method: str, merge_id: str) -> None:
    """An unknown id is a 404; so is 0, the address."""
    path = path_in(quick)

    assert 404 == quick.call(method, f"{path}/{merge_id}", {"name": "x"})[0]
    assert 404 == quick.call(method, f"/lists/0123456789/merge-fields/{merge_id}")[0]


def test_two_new_fields_at_once(postgres_url: str) -> None:
    """Two fields that are created at once have different ids and tags."""
    with open_audience(postgres_url) as api:
        path = path_in(api)
        with ThreadPoolExecutor(max_workers=2) as pool:
            with api.database.write() as connection:
                find_list(connection, 1, path.split("/")[2], sql_for_update(connection))
                body = {"name": "Age", "type": "number"}
                calls = [pool.submit(api.call_ok, "POST", path, body) for _ in range(2)]
                wait_until_blocked(api, len(calls))
            made = [call.result()["merge_id"] for call in calls]

    assert [6, 7] == sorted(made)


# --- The collection ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "expected", "total"),
    [
        ({}, ["ADDRESS", "BIRTHDAY", "FNAME", "LNAME", "PHONE"], 5),
        ({"type": "text"}, ["FNAME", "LNAME"], 2),
        ({"type": "zip"}, [], 0),
        ({"required": "true"}, ["LNAME"], 1),
        ({"required": "false", "type": "text"}, ["FNAME"], 1),
        ({"count": "2", "offset": "1"}, ["BIRTHDAY", "FNAME"], 5),
        ({"count": "2", "offset": "9"}, [], 5),
    ],
)
def test_the_collection(
    quick: Audience, params: dict[str, str], expected: list[str], total: int
) -> None:
    """Filters and pages work, and `total_items` counts the matches."""
    path = path_in(quick)
    quick.call_ok("PATCH", f"{path}/2", {"required": True})

    reply = quick.call_ok("GET", path, **params)

    assert ["merge_fields", "list_id", "total_items", "merge_field_limit", "_links"] == list(reply)
    assert expected == tags(reply)
    assert total == reply["total_items"]


def test_an_unknown_type_is_refused(quick: Audience) -> None:
    """A filter by an unknown type is refused."""
    assert ["type"] == list(quick.call_refused("GET", path_in(quick), type="string"))


def test_fields_are_listed_by_tag(api: Audience, fields: str) -> None:
    """The order in which values of members are shown is not that of the collection."""
    api.call_ok("PATCH", f"{fields}/5", {"display_order": 1})
    api.call_ok("PATCH", f"{fields}/4", {"display_order": 2})

    assert ["ADDRESS", "BIRTHDAY", "FNAME", "LNAME", "PHONE"] == tags(api.call_ok("GET", fields))


def test_fields_of_a_list(api: Audience, fields: str) -> None:
    """A list has only its own fields; a list of another account has none."""
    other = path_in(api)
    api.call_ok("DELETE", f"{other}/5")
    with api.database.read() as connection:
        keys = [find_list(connection, 1, path.split("/")[2]).id for path in (fields, other)]
        found = [find_merge_fields(connection, 1, key) for key in keys]

        assert [5, 4] == list(map(len, found))
        assert [1, 2, 3, 4] == [field.merge_id for field in found[1]]
        assert found[0][0].required is False
        assert () == find_merge_fields(connection, 2, keys[0])
