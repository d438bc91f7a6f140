"""Every reply is compared with the published shape of its call, by machine.

`shapes.json` has, for each call of the contract that there is here, the names of its query
parameters, and each path of its reply with its type. Every difference is explained by one row of
the table in `docs/reference/replies.md`, and every row explains a difference.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchway.audience.routes import make_route_table
from tests.contract.shared_servers import Api, make_member
from tests.receiver import Receiver

ROOT = Path(__file__).parents[2]
SHAPES: dict[str, Any] = json.loads(Path(__file__).with_name("shapes.json").read_text())
PAGE = (ROOT / "docs/reference/replies.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| (missing|more|type) \| `([^`]+)` \| .+ \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE)
TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}
KEYED = ("merge_fields", "interests")  # objects whose keys are data
Difference = tuple[str, str, str]


@pytest.fixture
def replies(api: Api, receiver: Receiver) -> dict[str, Any]:
    """The reply to each call, with an item in each collection that can have one."""
    made: dict[str, Any] = {"POST /lists": api.call_ok("POST", "/lists", NEW_LIST)}
    list_id = made["POST /lists"]["id"]
    paths = {"list_id": list_id, "subscriber_hash": "ann@example.com", "merge_id": "1"}
    body = make_member("ann@example.com", status="unsubscribed", tags=["a"])
    choices = {"name": "X", "type": "radio", "options": {"choices": ["a"]}}
    members = {"members": [make_member(f"{name}@example.com", tags=["a"]) for name in ("b", "c")]}
    again = members | {"members": [*members["members"], make_member("no")]}
    bodies: dict[str, Any] = {
        "POST /lists/{list_id}/members": body,
        "PUT /lists/{list_id}/members/{subscriber_hash}": body,
        "PATCH /lists/{list_id}/members/{subscriber_hash}": {},
        "POST /lists/{list_id}": again | {"update_existing": True},
        "PATCH /lists/{list_id}": {},
        "POST /lists/{list_id}/merge-fields": choices,
        "PATCH /lists/{list_id}/merge-fields/{merge_id}": {},
        "POST /batches": {"operations": [{"method": "GET", "path": "/ping"}]},
        "POST /batch-webhooks": {"url": receiver.url},
        "PATCH /batch-webhooks/{batch_webhook_id}": {"enabled": False},
    }
    api.call_ok("POST", f"/lists/{list_id}", {"members": members["members"][:1]})
    calls = sorted(SHAPES, key=lambda call: (call.startswith("GET"), list(SHAPES).index(call)))
    for call in calls:
        method, template = call.split(" ")
        if call == "POST /lists" or method == "DELETE" or "/actions/" in call or "/tags" in call:
            continue
        path = template.format_map(paths)
        made[call] = api.call_ok(method, path, bodies.get(call), **FLAGS.get(call, {}))
        if call == "POST /batches":
            paths["batch_id"] = made[call]["id"]
            api.wait_until_finished(paths["batch_id"])
        if call == "POST /batch-webhooks":
            paths["batch_webhook_id"] = made[call]["id"]
    tags = "GET /lists/{list_id}/members/{subscriber_hash}/tags"
    made[tags] = api.call_ok("GET", tags.split(" ")[1].format_map(paths))
    return made


FLAGS = {
    call: {"include_total_contacts": "true"} for call in ("GET /lists", "GET /lists/{list_id}")
}
NEW_LIST = {
    "name": "Readers",
    "contact": {"company": "Bees", "address1": "1 Hive", "city": "Kyiv", "country": "UA"},
    "permission_reminder": "You asked for it.",
    "campaign_defaults": {
        "from_name": "Ann",
        "from_email": "ann@example.com",
        "subject": "News",
        "language": "en",
    },
    "email_type_option": True,
}


def test_every_difference_is_explained(replies: dict[str, Any]) -> None:
    """Keys that are missing, keys that are more, and other types are those of the table."""
    with_reply = {call for call, shape in SHAPES.items() if shape["reply"]}
    assert with_reply == set(replies)

    found = {each for call in replies for each in find_differences(call, replies[call])}

    explained = set(expand_rows(found))
    assert ([], []) == (sorted(found - explained), sorted(explained - found))


def find_differences(call: str, reply: Any) -> Iterator[Difference]:
    """Yield the call, the kind and the path of each difference."""
    expected: dict[str, str] = SHAPES[call]["reply"]
    found: dict[str, str] = {}
    flatten(reply, "", found)
    missing = expected.keys() - found.keys()
    for path in missing:
        # The parts of what is missing are not named, and an array may be empty.
        if find_parent(path) not in missing and not path.endswith("[]"):
            yield call, "missing", path
    for path in found.keys() - expected.keys():
        yield call, "more", path
    for path in expected.keys() & found.keys():
        if not is_type(found[path], expected[path]):
            yield call, "type", path


def find_parent(path: str) -> str:
    """Return the path of the object or the array that a path is part of."""
    return path.removesuffix("[]") if path.endswith("[]") else re.sub(r"(\[\])?\.[^.]+$", "", path)


def flatten(value: Any, path: str, found: dict[str, str]) -> None:
    """Note the type of each path of a value. Links, and objects with data as keys, are opaque."""
    if path:
        found[path] = "object" if isinstance(value, dict) else TYPES[type(value)]
    name = path.rpartition(".")[2]
    if isinstance(value, dict) and name not in KEYED:
        for key, each in value.items():
            flatten(each, f"{path}.{key}" if path else key, found)
    elif isinstance(value, list) and name != "_links":
        for each in value:
            inner = each.items() if isinstance(each, dict) else [("", each)]
            for key, part in inner:
                flatten(part, f"{path}[].{key}" if key else f"{path}[]", found)


def is_type(found: str, expected: str) -> bool:
    """Whether a value has the expected type; an integer is a number."""
    return found == expected or (found, expected) == ("integer", "number")


def expand_rows(found: set[Difference]) -> Iterator[Difference]:
    """Yield the differences that the rows of the table explain.

    `every call` is each call whose reply has the difference: the path of a row is then the end of
    its path, so that an item is explained alone and in a collection.
    """
    for call, kind, path in ROWS:
        if call == "every call":
            same_kind = [each for each in found if each[1] == kind]
            ends = [each for each in same_kind if f".{each[2]}".endswith(f".{path}")]
            yield from ends or [(call, kind, path)]
        else:
            yield call, kind, path


def test_every_query_parameter_is_known() -> None:
    """A query parameter of the contract is never ignored: the call describes it."""
    table = make_route_table()
    for method, template, _ in table.routes:
        call = table.find_description(method, template)
        assert call is not None
        known = {parameter.name for parameter in call.query}
        wanted = set(SHAPES[f"{method} {template}"]["query"])
        assert set() == wanted - known, f"{method} {template}"
