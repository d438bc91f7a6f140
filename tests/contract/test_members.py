"""How a member is shown, and the collection of members with its filters."""

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.contract.shared_servers import Api, CallSender, check_problem, execute_sql, make_member

KEYS = [
    "id",
    "email_address",
    "unique_email_id",
    "contact_id",
    "full_name",
    "web_id",
    "email_type",
    "status",
    "consents_to_one_to_one_messaging",
    "merge_fields",
    "stats",
    "ip_signup",
    "timestamp_signup",
    "ip_opt",
    "timestamp_opt",
    "member_rating",
    "last_changed",
    "language",
    "vip",
    "email_client",
    "location",
    "source",
    "tags_count",
    "tags",
    "list_id",
    "_links",
]
RELS = [
    ("self", "GET"),
    ("parent", "GET"),
    ("update", "PATCH"),
    ("upsert", "PUT"),
    ("delete", "DELETE"),
    ("activity", "GET"),
    ("goals", "GET"),
    ("notes", "GET"),
    ("events", "POST"),
    ("delete_permanent", "POST"),
]
ANN = "ann@example.com"


# --- The object ----------------------------------------------------------------------------------


def test_fresh_member(api: Api, send: CallSender, members_path: str) -> None:
    """A new member has every key of the contract, in its order, with its default."""
    code, made = send("POST", members_path, make_member(ANN))

    assert (200, KEYS) == (code, list(made))
    assert ["FNAME", "LNAME", "ADDRESS", "PHONE", "BIRTHDAY"] == list(made["merge_fields"])
    assert {""} == set(made["merge_fields"].values())
    assert RELS == [(link["rel"], link["method"]) for link in made["_links"]]
    assert f"{api.server.url}/3.0{members_path}/{made['id']}" == made["_links"][0]["href"]
    assert (32, 10, 32) == tuple(
        len(made[name]) for name in ("id", "unique_email_id", "contact_id")
    )
    assert isinstance(made["web_id"], int)
    assert made["timestamp_opt"] == made["last_changed"]
    assert {
        "email_address": ANN,
        "full_name": "",
        "email_type": "html",
        "consents_to_one_to_one_messaging": True,
        "stats": {"avg_open_rate": 0, "avg_click_rate": 0},
        "ip_signup": "",
        "timestamp_signup": "",
        "ip_opt": "127.0.0.1",
        "member_rating": 2,
        "language": "",
        "vip": False,
        "email_client": "",
        "location": {
            "latitude": 0,
            "longitude": 0,
            "gmtoff": 0,
            "dstoff": 0,
            "country_code": "",
            "timezone": "",
            "region": "",
        },
        "source": "API - Generic",
        "tags_count": 0,
        "tags": [],
        "list_id": members_path.split("/")[2],
    }.items() <= made.items()


def test_everything_that_can_be_given(api: Api, send: CallSender, members_path: str) -> None:
    """All fields of a member can be set, and every call that shows it has them."""
    given: dict[str, Any] = {
        "email_type": "text",
        "merge_fields": {"FNAME": "Ann", "LNAME": "Lee", "BIRTHDAY": "02/29"},
        "language": "uk",
        "vip": True,
        "location": {"latitude": 50.45, "longitude": 30.52},
        "ip_signup": "203.0.113.9",
        "timestamp_signup": "2020-02-07T12:13:13+00:00",
        "ip_opt": "2001:db8::1",
        "timestamp_opt": "2020-02-08T12:13:13+00:00",
    }

    code, made = send("POST", members_path, make_member(ANN, tags=["new", "vip"], **given))

    assert (200, "Ann Lee") == (code, made["full_name"])
    for name in given.keys() - {"merge_fields", "location"}:
        assert given[name] == made[name]
    assert {"latitude": 50.45, "longitude": 30.52}.items() <= made["location"].items()
    assert given["merge_fields"] == {k: v for k, v in made["merge_fields"].items() if v}
    assert (2, ["new", "vip"]) == (made["tags_count"], [tag["name"] for tag in made["tags"]])
    assert [{"id", "name"}] * 2 == [set(tag) for tag in made["tags"]]
    assert made == send("GET", f"{members_path}/{made['id']}")[1]
    [listed] = api.call_ok("GET", members_path)["members"]
    assert (made, KEYS) == (listed, list(listed))


def test_unsubscribed_member_has_a_reason(send: CallSender, members_path: str) -> None:
    """Only an unsubscribed member has the key `unsubscribe_reason`."""
    _, made = send("POST", members_path, make_member(ANN, status="unsubscribed"))

    assert "N/A (Unsubscribed by an admin)" == made["unsubscribe_reason"]
    assert KEYS == [name for name in made if name != "unsubscribe_reason"]


def test_patch_changes_what_is_given(send: CallSender, members_path: str) -> None:
    """A PATCH changes only the fields and merge fields that it names."""
    _, before = send(
        "POST",
        members_path,
        make_member(ANN, merge_fields={"FNAME": "Ann", "LNAME": "Lee"}, vip=True),
    )

    code, after = send("PATCH", f"{members_path}/{before['id']}", {"merge_fields": {"LNAME": ""}})

    assert (200, "Ann", True) == (code, after["full_name"], after["vip"])
    assert before["timestamp_opt"] == after["timestamp_opt"]


WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"email_type": "rtf"}, "email_type"),
    ({"email_type": 1}, "email_type"),
    ({"merge_fields": "x"}, "merge_fields"),
    ({"merge_fields": ["x"]}, "merge_fields"),
    ({"interests": ["x"]}, "interests"),
    ({"vip": "yes"}, "vip"),
    ({"language": 1}, "language"),
    ({"language": "\0"}, "language"),
    ({"location": {"latitude": 91, "longitude": 0}}, "location"),
    ({"location": {"latitude": "x"}}, "location.latitude"),
    ({"ip_signup": "999.1.1.1"}, "ip_signup"),
    ({"ip_signup": "fe80::1%a\x00"}, "ip_signup"),
    ({"ip_opt": "fe80::1%a\x1b"}, "ip_opt"),
    ({"ip_opt": "fe80::1%" + "a" * 16}, "ip_opt"),
    ({"ip_opt": "here"}, "ip_opt"),
    ({"tags": "x"}, "tags"),
    ({"tags": [{"name": "x", "status": "active"}]}, "tags.item:0"),
    ({"tags": [" "]}, "tags"),
    ({"tags": ["x" * 101]}, "tags"),
    ({"marketing_permissions": [{}]}, "marketing_permissions"),
]


def test_wrong_fields(api: Api, send: CallSender, members_path: str) -> None:
    """An invalid field is refused by its name, and no member is added."""
    answers = send.many(
        [("POST", members_path, make_member(ANN, **given)) for given, _ in WRONG_FIELDS]
    )

    for (given, field), (code, problem) in zip(WRONG_FIELDS, answers, strict=True):
        assert (400, "Invalid Resource") == (code, problem["title"]), given
        assert [field] == [error["field"] for error in problem["errors"]]
    assert 0 == api.call_ok("GET", members_path)["total_items"]


@pytest.mark.parametrize("empty", [[], {}, None])
@pytest.mark.parametrize("name", ["merge_fields", "interests"])
def test_empty_objects(send: CallSender, members_path: str, name: str, empty: Any) -> None:
    """An empty array is accepted for an empty object, because PHP sends it so."""
    assert 200 == send("POST", members_path, make_member(ANN, **{name: empty}))[0]


# --- The collection ------------------------------------------------------------------------------


DAY = 86_400_000_000
TWENTY = 1_577_836_800_000_000  # 2020-01-01T00:00:00+00:00


@pytest.fixture
def six_members(api: Api, members_path: str) -> str:
    """The path of a list with a member of each status, with times one day apart."""
    statuses = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
    for status in statuses:
        more = {"vip": True, "email_type": "text"} if status == "pending" else {}
        api.call_ok(
            "POST", members_path, make_member(f"{status}@example.com", status=status, **more)
        )
    archived = api.call_ok("POST", members_path, make_member("archived@example.com"))
    api.call_ok("DELETE", f"{members_path}/{archived['id']}")
    for day, status in enumerate((*statuses, "archived")):
        # The days of each time begin elsewhere, so that no two filters give the same.
        execute_sql(
            api.server,
            """
            UPDATE members SET timestamp_opt = :opt, last_changed = :changed,
                               timestamp_signup = :signup
            WHERE email_address = :address
              AND list_id = (SELECT id FROM lists WHERE public_id = :list_id)
            """,
            opt=TWENTY + day * DAY,
            changed=TWENTY + (10 + day) * DAY,
            signup=TWENTY - day * DAY,
            address=f"{status}@example.com",
            list_id=members_path.split("/")[2],
        )
    return members_path


ALL = ["subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived"]


FILTERS: list[tuple[dict[str, str], list[str]]] = [
    ({}, ALL),
    *(({"status": status}, [status]) for status in ALL),
    ({"email_type": "text"}, ["pending"]),
    ({"email_type": "html"}, [status for status in ALL if status != "pending"]),
    ({"vip_only": "true"}, ["pending"]),
    ({"vip_only": "false"}, ALL),
    ({"since_timestamp_opt": "2020-01-03T12:00:00+00:00"}, ALL[3:]),
    ({"before_timestamp_opt": "2020-01-03T12:00:00Z"}, ALL[:3]),
    ({"since_last_changed": "2020-01-12T12:13:13.999Z"}, ALL[2:]),
    ({"before_last_changed": "2020-01-12T12:00:00+00:00"}, ALL[:2]),
    (
        {
            "since_last_changed": "2020-01-12T12:00:00+00:00",
            "before_timestamp_opt": "2020-01-04T12:00:00+00:00",
        },
        ALL[2:4],
    ),
    ({"status": "pending", "vip_only": "1", "email_type": "text"}, ["pending"]),
    ({"status": "cleaned", "vip_only": "1"}, []),
    ({"status": "unsubscribed", "unsubscribed_since": "2020-01-10"}, ["unsubscribed"]),
    ({"status": "unsubscribed", "unsubscribed_since": "2020-01-13"}, []),
    ({"sort_field": "timestamp_opt", "sort_dir": "ASC"}, ALL),
    ({"sort_field": "timestamp_opt", "sort_dir": "DESC"}, ALL[::-1]),
    ({"sort_field": "last_changed", "sort_dir": "DESC"}, ALL[::-1]),
    ({"sort_field": "timestamp_signup", "sort_dir": "ASC"}, ALL[::-1]),
    ({"sort_field": "timestamp_signup", "sort_dir": "asc"}, ALL[::-1]),
    ({"unique_email_id": "0000000000"}, []),
]


def test_filters(send: CallSender, six_members: str) -> None:
    """Filters are combined by AND, and `total_items` counts their matches."""
    answers = send.many(
        [("GET", f"{six_members}?{urlencode(params)}", None) for params, _ in FILTERS]
    )

    for (params, found), (code, page) in zip(FILTERS, answers, strict=True):
        assert (200, found) == (code, [member["status"] for member in page["members"]]), params
        assert len(found) == page["total_items"]
        assert ["members", "list_id", "total_items", "_links"] == list(page)[:4]
        assert (["returned_item_count"] if send.is_batched else []) == list(page)[4:]
        assert ["self", "parent", "create"] == [link["rel"] for link in page["_links"]]


def test_total_items_is_before_paging(api: Api, six_members: str) -> None:
    """`total_items` counts all matches, not only those on the page."""
    page = api.call_ok("GET", six_members, email_type="html", count="2", offset="1")

    assert ["unsubscribed", "cleaned"] == [member["status"] for member in page["members"]]
    assert 5 == page["total_items"]


def test_unique_email_id(api: Api, six_members: str) -> None:
    """An address has one id in all lists of an account."""
    [first] = api.call_ok("GET", six_members, status="pending")["members"]
    other = f"/lists/{api.new_list()}/members"

    second = api.call_ok("POST", other, make_member(first["email_address"].upper()))
    found = api.call_ok("GET", six_members, unique_email_id=second["unique_email_id"])["members"]

    assert [first["id"]] == [member["id"] for member in found]
    assert first["contact_id"] != second["contact_id"]


@pytest.mark.parametrize(
    ("params", "title"),
    [
        ({"status": "x"}, "Invalid Resource"),
        ({"since_last_changed": "yesterday"}, "Invalid Resource"),
        ({"before_timestamp_opt": "x"}, "Invalid Resource"),
        ({"sort_field": "email_address"}, "Invalid Resource"),
        ({"sort_dir": "up"}, "Invalid Resource"),
        ({"unsubscribed_since": "2020-01-01"}, "Bad Request"),
        ({"unsubscribed_since": "2020-01-01", "status": "cleaned"}, "Bad Request"),
    ],
)
def test_wrong_filters(api: Api, members_path: str, params: dict[str, str], title: str) -> None:
    """Invalid filters are refused."""
    check_problem(api.call("GET", members_path, **params), 400, title)


def test_statistics_count_by_status(api: Api, six_members: str) -> None:
    """`total_contacts` counts subscribed, unsubscribed and transactional members."""
    list_id = six_members.split("/")[2]

    stats = api.call_ok("GET", f"/lists/{list_id}", include_total_contacts="true")["stats"]

    assert (1, 1, 1, 3) == (
        stats["member_count"],
        stats["unsubscribe_count"],
        stats["cleaned_count"],
        stats["total_contacts"],
    )
