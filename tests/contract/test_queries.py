"""Queries and paths on both databases: pages, fields, dates, unusual characters."""

import re
from typing import Any

import pytest

from tests.audience import NEW_LIST
from tests.contract.shared_servers import (
    Api,
    check_problem,
    get_field_errors,
    make_member,
    send_raw_request,
)

DATE = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
_LINK = ("rel", "href", "method", "targetSchema", "schema")


# --- Dates ---------------------------------------------------------------------------------------


def test_dates_have_one_form(own_api: Api) -> None:
    """Dates have whole seconds and a numeric zone; a missing date is an empty string."""
    list_id = own_api.new_list()
    own_api.call_ok("POST", f"/lists/{list_id}/members", make_member("ann@example.com"))
    batch = own_api.wait_until_finished(own_api.submit({"method": "GET", "path": "/ping"}))
    audience = own_api.call_ok("GET", f"/lists/{list_id}")
    [member] = own_api.call_ok("GET", f"/lists/{list_id}/members")["members"]

    for date in (
        batch["submitted_at"],
        batch["completed_at"],
        audience["date_created"],
        audience["stats"]["last_sub_date"],
        member["timestamp_opt"],
        member["last_changed"],
    ):
        assert DATE.fullmatch(date), date
    assert "" == member["timestamp_signup"] == audience["stats"]["last_unsub_date"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2020-02-07T12:13:13Z", "2020-02-07T12:13:13+00:00"),
        ("2020-02-07T12:13:13.999Z", "2020-02-07T12:13:13+00:00"),
        ("2020-02-07T12:13:13+02:00", "2020-02-07T10:13:13+00:00"),
        ("2020-02-07 12:13:13", "2020-02-07T12:13:13+00:00"),
        ("2020-02-07", "2020-02-07T00:00:00+00:00"),
        ("0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_dates_that_are_read(api: Api, given: str, shown: str) -> None:
    """ISO 8601 dates with `Z`, fractions and other zones are accepted."""
    path = f"/lists/{api.new_list()}/members"

    made = api.call_ok("POST", path, make_member("ann@example.com", timestamp_opt=given))

    assert shown == made["timestamp_opt"]


@pytest.mark.parametrize(
    "given",
    [
        "yesterday",
        "2020-13-01",
        "2020-02-30",
        # In UTC these are in no year that a date can show.
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
@pytest.mark.parametrize("field", ["timestamp_opt", "timestamp_signup"])
def test_dates_that_are_refused(api: Api, given: str, field: str) -> None:
    """An invalid date is a 400, and the list can still be read."""
    path = f"/lists/{api.new_list()}/members"

    reply = api.call("POST", path, make_member("ann@example.com", **{field: given}))

    [(name, _)] = get_field_errors(check_problem(reply, 400, "Invalid Resource"))
    assert field == name
    assert 0 == api.call_ok("GET", path)["total_items"]


# --- Pages and fields ----------------------------------------------------------------------------


@pytest.fixture
def members(api: Api) -> str:
    """The path of a list with twelve members."""
    list_id = api.new_list()
    given = [make_member(f"m{number:02}@example.com") for number in range(12)]
    api.call_ok("POST", f"/lists/{list_id}", {"members": given})
    return f"/lists/{list_id}/members"


@pytest.mark.parametrize(
    ("params", "first", "count"),
    [
        ({}, 0, 10),
        ({"count": "3"}, 0, 3),
        ({"count": "3", "offset": "10"}, 10, 2),
        ({"count": "0"}, None, 0),
        ({"count": "1000"}, 0, 12),
        ({"count": "3000"}, 0, 12),
        ({"count": "9" * 30}, 0, 12),
        ({"offset": "12"}, None, 0),
        ({"offset": "9" * 30}, None, 0),
        ({"offset": ""}, 0, 10),
    ],
)
def test_pages(
    api: Api, members: str, params: dict[str, str], first: int | None, count: int
) -> None:
    """A page has the total number of items; a page after the end is empty."""
    page = api.call_ok("GET", members, **params)

    assert (count, 12) == (len(page["members"]), page["total_items"])
    if first is not None:
        assert f"m{first:02}@example.com" == page["members"][0]["email_address"]


@pytest.mark.parametrize("collection", ["/lists", "/batches", "/lists/{list_id}/merge-fields"])
def test_every_collection_pages(own_api: Api, collection: str) -> None:
    """`count`, `offset` and `total_items` work in every collection."""
    list_id = own_api.new_list()
    own_api.new_list()
    for _ in range(2):
        own_api.submit()
    path = collection.format(list_id=list_id)
    name = path.rpartition("/")[2].replace("-", "_")

    whole = own_api.call_ok("GET", path)
    pages = [own_api.call_ok("GET", path, count="1", offset=str(at)) for at in range(3)]

    ids = [_get_id(item) for item in whole[name]][:3]
    assert ids == [_get_id(item) for page in pages for item in page[name]]
    assert {whole["total_items"]} == {page["total_items"] for page in pages}
    assert len(whole[name]) == whole["total_items"]
    assert [] == own_api.call_ok("GET", path, offset="100")[name]


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "0x10", "\u0663"])
@pytest.mark.parametrize("name", ["count", "offset"])
@pytest.mark.parametrize("path", ["/lists", "/batches"])
def test_wrong_pages(api: Api, path: str, name: str, value: str) -> None:
    """A `count` or `offset` that is not a number is refused."""
    reply = api.call("GET", path, **{name: value})

    [(field, _)] = get_field_errors(check_problem(reply, 400, "Invalid Resource"))
    assert name == field


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("fields=total_items", {"total_items": 12}),
        ("fields=members.email_address", {"members": [{"email_address": "m00@example.com"}]}),
        (
            "fields=members.email_address%2Ctotal_items",
            {"members": [{"email_address": "m00@example.com"}], "total_items": 12},
        ),
        (
            "fields=total_items,members.merge_fields.FNAME,members.tags.name",
            {"members": [{"merge_fields": {"FNAME": ""}, "tags": []}], "total_items": 12},
        ),
        ("fields=nothing", {}),
        ("fields=total_items.deeper,total_items", {"total_items": 12}),
    ],
)
def test_fields(api: Api, members: str, query: str, expected: Any) -> None:
    """`fields` selects dotted paths, also within arrays; unknown paths select nothing."""
    assert expected == api.call_ok("GET", f"{members}?count=1&{query}")


def test_exclude_fields(api: Api, members: str) -> None:
    """`exclude_fields` removes dotted paths; unknown paths change nothing."""
    whole = api.call_ok("GET", members, count="1")
    without = api.call_ok("GET", members, count="1", exclude_fields="_links,members._links")
    unchanged = api.call_ok("GET", members, count="1", exclude_fields="email_address,x.y")

    assert {"members", "list_id", "total_items"} == set(without)
    [member] = without["members"]
    assert set(whole["members"][0]) - {"_links"} == set(member)
    assert whole == unchanged


def test_fields_of_batches(own_api: Api) -> None:
    """`fields` works for batches, and for replies to writes."""
    batch_id = own_api.submit()

    assert {"id": batch_id} == own_api.call_ok("GET", f"/batches/{batch_id}", fields="id")
    assert {"batches": [{"id": batch_id}]} == own_api.call_ok(
        "GET", "/batches", fields="batches.id"
    )
    made = own_api.call_ok("POST", "/lists?fields=name", NEW_LIST)
    assert {"name": NEW_LIST["name"]} == made


@pytest.mark.parametrize("path", ["/lists", "/batches", "/ping", "/batches/0123456789"])
def test_fields_and_exclude_fields(api: Api, path: str) -> None:
    """`fields` and `exclude_fields` together are refused."""
    reply = api.call("GET", path, fields="id", exclude_fields="id")

    check_problem(reply, 400, "Bad Request")


@pytest.mark.parametrize(
    ("value", "is_true"),
    [("true", True), ("1", True), ("TRUE", True), ("True", True)]
    + [(value, False) for value in ("false", "0", "FALSE", "yes", "", "2", "on")],
)
def test_boolean_parameters(api: Api, members: str, value: str, is_true: bool) -> None:
    """`true` and `1` are true, in any case; anything else is false."""
    page = api.call_ok("GET", members, vip_only=value)

    assert (0 if is_true else 12) == page["total_items"]


def test_links(own_api: Api) -> None:
    """Each resource and each collection links to itself."""
    server, list_id = own_api.server, own_api.new_list()
    batch_id = own_api.submit()
    for path in (
        "/",
        "/lists",
        f"/lists/{list_id}",
        f"/lists/{list_id}/members",
        f"/lists/{list_id}/merge-fields",
        f"/lists/{list_id}/merge-fields/1",
        "/batches",
        f"/batches/{batch_id}",
    ):
        links = {link["rel"]: link for link in own_api.call_ok("GET", path)["_links"]}
        assert (f"{server.url}/3.0{path}", "GET") == (
            links["self"]["href"],
            links["self"]["method"],
        )
        for link in links.values():
            names = [name for name in _LINK if name in link]
            assert names == list(link)


# --- Unusual requests -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [
        "%2F", "%00", "a%00b@example.com", "%", "%zz", "%ff", "%F0%9F%98%80", "%ED%A0%80", "..",
        ".", "%2e%2e", "~", "*", "'", '"', "a" * 20_000, "-1", "9" * 40, "f" * 16 + "-" * 16,
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "path",
    [
        "/{part}",
        "/lists/{part}",
        "/lists/{part}/members",
        "/lists/{part}/members/x",
        "/lists/{list_id}/members/{part}",
        "/lists/{list_id}/members/{part}/tags",
        "/lists/{list_id}/merge-fields/{part}",
        "/batches/{part}",
    ],
)
def test_odd_paths(api: Api, path: str, part: str) -> None:
    """Paths with unusual parts name no resource."""
    target = "/3.0" + path.format(part=part, list_id=api.new_list())

    status, body = send_raw_request(api.server, "GET", target, {})

    # Of some of these the path is what stands before them.
    assert status in {404, 414, 405} or part in {"..", ".", "%2e%2e"}, body
    assert status < 500


@pytest.mark.parametrize(
    "query",
    [
        "email_type=%00", "unique_email_id=%00", "unique_email_id=%ff", "status=%00", "fields=%00",
        "since_last_changed=%00", "since_last_changed=0001-01-01T00:00:00%2B14:00",
        "before_timestamp_opt=9999-12-31T23:59:59-14:00", "sort_field=%00", "sort_dir=x",
        "count=%00", "offset=-9", "fields=..", "fields=,", "fields=" + "a." * 5_000 + "a", "&&=&",
        "status=" + "x" * 20_000, "%00=1", "unsubscribed_since=2020-01-01", "email_type=" + "%F0",
    ],
)  # fmt: skip
def test_odd_queries(api: Api, query: str) -> None:
    """Unusual queries are answered or refused."""
    status, body = send_raw_request(
        api.server, "GET", f"/3.0/lists/{api.new_list()}/members?{query}", {}
    )

    assert status in {200, 400}, body


def _get_id(item: dict[str, Any]) -> Any:
    return item.get("id", item.get("merge_id"))
