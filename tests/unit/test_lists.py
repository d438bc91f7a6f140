"""`/lists`, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from batchway.audience.lists.rows import ListSettings, find_list, insert_list, touch_list
from batchway.contract.problems import Refused
from batchway.kit.clock import SECOND
from batchway.store.database import sql_for_update
from tests.audience import (
    BASE,
    CONTACT,
    NEW_LIST,
    NOON,
    Audience,
    add_member,
    open_audience,
    wait_until_blocked,
)

LIST_KEYS = (
    "id web_id name contact permission_reminder use_archive_bar campaign_defaults "
    "notify_on_subscribe notify_on_unsubscribe date_created list_rating email_type_option "
    "subscribe_url_short subscribe_url_long beamer_address visibility double_optin "
    "has_welcome marketing_permissions modules stats _links"
)
STATS_KEYS = (
    "member_count unsubscribe_count cleaned_count member_count_since_send "
    "unsubscribe_count_since_send cleaned_count_since_send campaign_count campaign_last_sent "
    "merge_field_count avg_sub_rate avg_unsub_rate target_sub_rate open_rate click_rate "
    "last_sub_date last_unsub_date"
)


def names(reply: dict[str, Any]) -> list[str]:
    """Return the names of the lists in a collection."""
    return [listed["name"] for listed in reply["lists"]]


# --- One list ------------------------------------------------------------------------------------


def test_a_new_list_is_complete_and_in_the_contracts_order(api: Audience) -> None:
    """Given fields are kept, and others have the contract's defaults."""
    made = api.call_ok("POST", "/lists", NEW_LIST)

    assert LIST_KEYS == " ".join(made)
    assert STATS_KEYS == " ".join(made["stats"])
    assert {**CONTACT, "address2": "", "state": "", "zip": "", "phone": ""} == made["contact"]
    assert NEW_LIST["campaign_defaults"] == made["campaign_defaults"]
    assert "2026-11-23T12:00:00+00:00" == made["date_created"]
    assert ("pub", False, True) == (
        made["visibility"],
        made["double_optin"],
        made["email_type_option"],
    )
    assert isinstance(made["web_id"], int)


def test_a_new_list_can_be_read_again(api: Audience) -> None:
    """POST and GET show the same list."""
    made = api.call_ok("POST", "/lists", NEW_LIST)

    assert made == api.call_ok("GET", f"/lists/{made['id']}")


def test_a_new_list_has_the_first_merge_fields(api: Audience) -> None:
    """The first merge fields are counted in the statistics, except the address."""
    made = api.call_ok("POST", "/lists", NEW_LIST)

    fields = api.call_ok("GET", f"/lists/{made['id']}/merge-fields")["merge_fields"]
    assert [(3, "ADDRESS"), (5, "BIRTHDAY"), (1, "FNAME"), (2, "LNAME"), (4, "PHONE")] == [
        (field["merge_id"], field["tag"]) for field in fields
    ]
    assert 5 == made["stats"]["merge_field_count"]


def test_links_lead_to_the_list_and_what_it_holds(api: Audience) -> None:
    """Every link is absolute, with the address that the caller used."""
    made = api.call_ok("POST", "/lists", NEW_LIST)

    here = f"{BASE}/3.0/lists/{made['id']}"
    assert {
        "self": ("GET", here),
        "parent": ("GET", f"{BASE}/3.0/lists"),
        "update": ("PATCH", here),
        "delete": ("DELETE", here),
        "batch-sub-members": ("POST", here),
        "members": ("GET", f"{here}/members"),
        "merge-fields": ("GET", f"{here}/merge-fields"),
    } == {link["rel"]: (link["method"], link["href"]) for link in made["_links"]}


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"name": "  "}, "name", "This value should not be blank."),
        ({"name": 7}, "name", "Schema describes string, integer found instead"),
        ({"name": None}, "name", "Schema describes string, NULL found instead"),
        ({"name": "a\0b"}, "name", "This value should not contain NUL characters."),
        (
            {"contact": CONTACT | {"city": "x" * 1001}},
            "contact.city",
            "This value is too long. It should have 1000 characters or less.",
        ),
        (
            {"contact": {"company": "Bees", "address1": "1 Hive", "city": "Kyiv"}},
            "contact",
            "Required fields were not provided: country",
        ),
        ({"contact": []}, "contact", "Schema describes object, array found instead"),
        (
            {"email_type_option": "true"},
            "email_type_option",
            "Schema describes boolean, string found instead",
        ),
        (
            {"visibility": "secret"},
            "visibility",
            "Value 'secret' is not one of the values that this field can have.",
        ),
    ],
)
def test_what_a_list_cannot_be(
    sqlite_url: str, change: dict[str, Any], field: str, message: str
) -> None:
    """A wrong field is named on creation and on change, and changes nothing."""
    with open_audience(sqlite_url) as api:
        made = api.call_ok("POST", "/lists", NEW_LIST)

        assert {field: message} == api.call_refused("POST", "/lists", NEW_LIST | change)
        if "Required" not in message:
            assert {field: message} == api.call_refused("PATCH", f"/lists/{made['id']}", change)
        assert [made] == api.call_ok("GET", "/lists")["lists"]


def test_required_fields_are_named_all_at_once(sqlite_url: str) -> None:
    """The error names all missing fields."""
    with open_audience(sqlite_url) as api:
        message = api.call_refused("POST", "/lists", {})[""]

    listed = message.removeprefix("Required fields were not provided: ").split(", ")
    assert set(NEW_LIST) == set(listed)


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"[{}]"])
def test_a_body_that_is_no_object(sqlite_url: str, body: bytes) -> None:
    """A body that is not an object gets the contract's message."""
    with open_audience(sqlite_url) as api:
        list_id = api.new_list()

        found = "string" if body == b'"x"' else "array"
        expected = {"": f"Schema describes object, {found} found instead"}
        assert expected == api.call_refused("POST", "/lists", body)
        assert expected == api.call_refused("PATCH", f"/lists/{list_id}", body)


def test_a_change_leaves_the_rest_as_it_was(api: Audience) -> None:
    """Objects are merged, other values replaced, unknown and read-only fields ignored."""
    before = api.call_ok("POST", "/lists", NEW_LIST | {"double_optin": True})
    change = {
        "name": "Writers",
        "contact": {"zip": "01001"},
        "campaign_defaults": {"language": "uk", "colour": "blue"},
        "id": "0000000000",
        "merge_id_last": 0,
        "stats": {"member_count": 7},
    }

    after = api.call_ok("PATCH", f"/lists/{before['id']}", change)

    assert (
        before
        | {
            "name": "Writers",
            "contact": before["contact"] | {"zip": "01001"},
            "campaign_defaults": before["campaign_defaults"] | {"language": "uk"},
        }
        == after
    )
    assert after == api.call_ok("GET", f"/lists/{before['id']}")


@pytest.mark.parametrize("body", [b"{", b'{"contact":{"\xff":""}}', b'{"contact":{}} {}'])
def test_a_body_that_is_no_json(sqlite_url: str, body: bytes) -> None:
    """A body that is not JSON has another error than one with wrong fields."""
    with open_audience(sqlite_url) as api:
        list_id = api.new_list()

        status, reply = api.call("PATCH", f"/lists/{list_id}", body)

    assert (400, "JSON Parse Exception") == (status, reply["title"])


@pytest.mark.parametrize("body", [b"", b"null", b"{}"])
def test_a_change_of_nothing(sqlite_url: str, body: bytes) -> None:
    """An absent body, null and an empty object change nothing."""
    with open_audience(sqlite_url) as api:
        made = api.call_ok("POST", "/lists", NEW_LIST)

        assert made == api.call_ok("PATCH", f"/lists/{made['id']}", body)


@pytest.mark.parametrize("list_id", ["0123456789", "", "a" * 300, "é"])
def test_an_unknown_list(api: Audience, list_id: str) -> None:
    """An unknown id of any form is a 404."""
    with api.database.read() as connection, pytest.raises(Refused) as refused:
        find_list(connection, api.account_id, list_id)

    assert 404 == refused.value.problem.status


def test_another_accounts_list(api: Audience) -> None:
    """A list of another account cannot be seen, changed, deleted or counted."""
    made = api.call_ok("POST", "/lists", NEW_LIST)
    stranger = Audience(api.database, account_id=2)
    path = f"/lists/{made['id']}"

    assert [404, 404, 404, 404, 404] == [
        stranger.call(method, target, body)[0]
        for method, target, body in (
            ("GET", path, None),
            ("PATCH", path, {"name": "Mine"}),
            ("DELETE", path, None),
            ("GET", f"{path}/merge-fields", None),
            ("POST", f"{path}/merge-fields", {"name": "Age", "type": "number"}),
        )
    ]
    assert 0 == stranger.call_ok("GET", "/lists")["total_items"]
    assert made == api.call_ok("GET", path)


def test_a_public_id_that_is_taken_is_made_again(api: Audience) -> None:
    """A public id that another account uses is generated again."""
    settings = msgspec.convert(NEW_LIST | {"merge_id_last": 0}, ListSettings)
    made = iter(["aaaaaaaaaa", "aaaaaaaaaa", "aaaaaaaaaa", "bbbbbbbbbb"])
    make_id: Callable[[], str] = made.__next__

    with api.database.write() as connection:
        insert_list(connection, 1, "Readers", settings, NOON, make_id)
        insert_list(connection, 2, "Readers", settings, NOON, make_id)

    assert ["aaaaaaaaaa"] == [listed["id"] for listed in api.call_ok("GET", "/lists")["lists"]]
    stranger = Audience(api.database, account_id=2)
    assert ["bbbbbbbbbb"] == [listed["id"] for listed in stranger.call_ok("GET", "/lists")["lists"]]


def test_an_account_has_a_limit_of_lists(api: Audience) -> None:
    """The constraints show the limit; another account is not affected."""
    api.new_list()
    most = api.call_ok("GET", "/lists")["constraints"]["max_instances"]
    api.run(
        """
        INSERT INTO lists (account_id, public_id, name, settings, created_at)
        WITH RECURSIVE numbers (number) AS (
            SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :missing
        )
        SELECT 1, 'list ' || number, '', '{}', 0 FROM numbers
        """,
        missing=most - 1,
    )

    assert {
        "may_create": False,
        "max_instances": most,
        "current_total_instances": most,
    } == api.call_ok("GET", "/lists")["constraints"]
    assert 403 == api.call("POST", "/lists", NEW_LIST)[0]
    assert 200 == Audience(api.database, account_id=2).call("POST", "/lists", NEW_LIST)[0]


# --- Statistics ----------------------------------------------------------------------------------


def test_statistics_count(api: Audience) -> None:
    """`total_contacts` counts subscribed, unsubscribed and transactional members, on request."""
    list_id = api.new_list()
    api.run(
        """
        UPDATE list_stats SET subscribed_count = 1, unsubscribed_count = 20, cleaned_count = 300,
            pending_count = 4000, transactional_count = 50000, archived_count = 600000,
            last_subscribed_at = :moment, last_unsubscribed_at = :moment + 1000000
        """,
        moment=NOON,
    )

    stats = api.call_ok("GET", f"/lists/{list_id}")["stats"]
    assert (1, 20, 300) == (
        stats["member_count"],
        stats["unsubscribe_count"],
        stats["cleaned_count"],
    )
    assert "2026-11-23T12:00:00+00:00" == stats["last_sub_date"]
    assert "2026-11-23T12:00:01+00:00" == stats["last_unsub_date"]
    asked = api.call_ok("GET", f"/lists/{list_id}", include_total_contacts="true")["stats"]
    assert stats | {"total_contacts": 50_021} == asked
    assert ["member_count", "total_contacts", "unsubscribe_count"] == list(asked)[:3]
    [listed] = api.call_ok("GET", "/lists", include_total_contacts="1")["lists"]
    assert asked == listed["stats"]


# --- The collection ------------------------------------------------------------------------------


@pytest.fixture
def three(api: Audience) -> Audience:
    """Three lists created a day apart: Old, Middle, New."""
    for number, name in enumerate(("Old", "Middle", "New")):
        api.now = NOON + number * 86_400 * SECOND
        api.new_list(name=name)
    return api


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["Old", "Middle", "New"]),
        ({"sort_field": "date_created", "sort_dir": "DESC"}, ["New", "Middle", "Old"]),
        ({"sort_dir": "asc"}, ["Old", "Middle", "New"]),
        ({"since_date_created": "2026-11-24T12:00:00+00:00"}, ["Middle", "New"]),
        ({"since_date_created": "2026-11-24T12:00:00.5Z"}, ["New"]),
        ({"before_date_created": "2026-11-24T12:00:00Z"}, ["Old"]),
        (
            {"since_date_created": "2026-11-24", "before_date_created": "2026-11-25"},
            ["Middle"],
        ),
        ({"since_campaign_last_sent": "2026-11-24"}, []),
        ({"before_campaign_last_sent": "2036-11-24"}, []),
        ({"has_ecommerce_store": "true"}, []),
        ({"has_ecommerce_store": "false"}, ["Old", "Middle", "New"]),
        ({"email": "ann@example.com"}, []),
    ],
)
def test_filters(three: Audience, params: dict[str, str], expected: list[str]) -> None:
    """Filters select lists, and `total_items` counts the matches."""
    reply = three.call_ok("GET", "/lists", **params)

    assert expected == names(reply)
    assert len(expected) == reply["total_items"]
    assert 3 == reply["constraints"]["current_total_instances"]


def test_the_filter_by_address(three: Audience) -> None:
    """The filter finds lists with the address, in any case, unless it is archived."""
    old, middle, new = (listed["web_id"] for listed in three.call_ok("GET", "/lists")["lists"])
    add_member(three, old, 1, "unsubscribed")
    add_member(three, middle, 2, "archived")
    add_member(Audience(three.database, account_id=2), new, 3)

    assert ["Old"] == names(three.call_ok("GET", "/lists", email="Ann@Example.com"))
    assert [] == names(
        three.call_ok("GET", "/lists", email="ann@example.com", before_date_created="2026-11-01")
    )


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"count": "2"}, ["Old", "Middle"]),
        ({"count": "2", "offset": "2"}, ["New"]),
        ({"offset": "3"}, []),
        ({"count": "0"}, []),
        ({"count": "5000"}, ["Old", "Middle", "New"]),
        ({"offset": "99999999999999999999999"}, []),
    ],
)
def test_pages(three: Audience, params: dict[str, str], expected: list[str]) -> None:
    """A page is a part of the collection; `total_items` counts all lists."""
    reply = three.call_ok("GET", "/lists", **params)

    assert expected == names(reply)
    assert 3 == reply["total_items"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("since_date_created", "yesterday"),
        ("before_date_created", "2026-13-01"),
        ("since_campaign_last_sent", "never"),
        ("sort_field", "name"),
        ("sort_dir", "UP"),
        ("count", "ten"),
        ("offset", "-1"),
    ],
)
def test_wrong_parameters(sqlite_url: str, name: str, value: str) -> None:
    """Invalid parameters are refused by name."""
    with open_audience(sqlite_url) as api:
        assert [name] == list(api.call_refused("GET", "/lists", **{name: value}))


def test_a_collection_has_its_links(sqlite_url: str) -> None:
    """The collection links to itself, its parent and the call that creates a list."""
    with open_audience(sqlite_url) as api:
        links = api.call_ok("GET", "/lists")["_links"]

    assert ["self", "parent", "create"] == [link["rel"] for link in links]


# --- What others build on ------------------------------------------------------------------------


def test_a_touched_list_has_a_new_revision(api: Audience) -> None:
    """Each change of settings or merge fields makes older plans stale."""
    list_id = api.new_list()
    fields = f"/lists/{list_id}/merge-fields"
    revisions = [_revision(api, list_id)]
    for method, path, body in (
        ("PATCH", f"/lists/{list_id}", {"name": "Writers"}),
        ("POST", fields, {"name": "Age", "type": "number"}),
        ("PATCH", f"{fields}/6", {"required": True}),
        ("DELETE", f"{fields}/6", None),
    ):
        api.call_ok(method, path, body)
        revisions.append(_revision(api, list_id))
    with api.database.write() as connection:
        touch_list(connection, 2, find_list(connection, 1, list_id).id)
    revisions.append(_revision(api, list_id))
    with api.database.write() as connection:
        touch_list(connection, 1, find_list(connection, 1, list_id).id)
    revisions.append(_revision(api, list_id))

    assert [0, 1, 2, 3, 4, 4, 5] == revisions


def _revision(api: Audience, list_id: str) -> int:
    with api.database.read() as connection:
        return find_list(connection, 1, list_id).revision


def test_changes_of_one_list_wait_for_each_other(postgres_url: str) -> None:
    """Of two simultaneous changes neither is lost."""
    with open_audience(postgres_url) as api:
        list_id = api.new_list()
        path = f"/lists/{list_id}"
        with ThreadPoolExecutor(max_workers=2) as pool:
            with api.database.write() as connection:
                find_list(connection, 1, list_id, sql_for_update(connection))
                changes = [{"name": "Writers"}, {"contact": {"zip": "01001"}}]
                calls = [pool.submit(api.call_ok, "PATCH", path, change) for change in changes]
                wait_until_blocked(api, len(calls))
            for call in calls:
                call.result()

        after = api.call_ok("GET", path)
    assert ("Writers", "01001") == (after["name"], after["contact"]["zip"])
