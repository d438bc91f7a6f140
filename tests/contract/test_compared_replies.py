"""Replies that programs compare word by word, or whose values they rely on.

Each was seen in programs, or in recorded traffic, of other people.
"""

from typing import Any

import pytest

from tests.contract.shared_servers import (
    Api,
    CallSender,
    check_problem,
    execute_sql,
    get_field_errors,
    make_member,
)

ANN, BOB = "ann@example.com", "bob@example.com"
NULL = "Schema describes string, NULL found instead"
NO_SCHEMA = "Data did not match any of the schemas described in anyOf."
LONG_AGO = "2000-01-01T00:00:00+00:00"
ADDRESS = {"addr1": "1 Main", "city": "Springfield", "state": "IL", "zip": "62701"}


def sort_errors(problem: dict[str, Any]) -> list[tuple[str, str]]:
    """Return field and message of each error, sorted."""
    assert (400, "Invalid Resource") == (problem["status"], problem["title"])
    return sorted(get_field_errors(problem))


def set_last_changed(api: Api, members_path: str) -> None:
    """Let the members of a list have been changed long ago."""
    execute_sql(
        api.server,
        """
        UPDATE members SET last_changed = 946684800000000
        WHERE list_id = (SELECT id FROM lists WHERE public_id = :list_id)
        """,
        list_id=members_path.split("/")[2],
    )


# --- Tags of a new member -------------------------------------------------------------------------


def test_upsert_tags_a_new_member_only(send: CallSender, members_path: str) -> None:
    """A PUT sets the tags of the member that it adds; those of a member that exists stay."""
    path, body = f"{members_path}/{ANN}", make_member(ANN, tags=["a", "b", "a"])

    answers = send.many([("PUT", path, body), ("PUT", path, body | {"tags": ["c"]})])

    for code, member in answers:
        assert (200, ["a", "b"]) == (code, [tag["name"] for tag in member["tags"]])


@pytest.mark.parametrize("tags", [[" "], ["x" * 101]])
def test_upsert_with_wrong_tags(send: CallSender, members_path: str, tags: list[str]) -> None:
    """Tags are checked as in a POST."""
    _, problem = send("PUT", f"{members_path}/{ANN}", make_member(ANN, tags=tags))

    assert ["tags"] == [field for field, _ in sort_errors(problem)]


# --- When a member was last changed ---------------------------------------------------------------


def test_last_changed_stays_if_nothing_changes(
    api: Api, send: CallSender, members_path: str
) -> None:
    """A write that changes nothing leaves the member as it was; any other sets the time."""
    values = {"FNAME": "Ann", "ADDRESS": ADDRESS}
    same = make_member(ANN, merge_fields=values, language="en", vip=True, ip_opt="198.51.100.1")
    api.call_ok("POST", members_path, same | {"tags": ["a"]})
    set_last_changed(api, members_path)
    one, whole = f"{members_path}/{ANN}", members_path.removesuffix("/members")
    subscribe = {"members": [same | {"tags": ["a"]}], "update_existing": True}
    unchanged: list[tuple[str, str, Any]] = [
        ("PUT", one, same | {"status_if_new": "pending"}),
        ("PATCH", one, same),
        ("PATCH", one, {"status": "subscribed"}),
        ("PATCH", one, {}),
        ("POST", whole, subscribe),
        ("POST", f"{one}/tags", {"tags": [{"name": "a", "status": "active"}]}),
    ]

    for code, reply in send.many(unchanged):
        assert 200 <= code < 300
        [member] = reply.get("updated_members", [reply] if reply else [{"last_changed": LONG_AGO}])
        assert LONG_AGO == member["last_changed"]
    for change in ({"vip": False}, {"merge_fields": {"LNAME": "Lee"}}, {"email_address": BOB}):
        set_last_changed(api, members_path)
        key = api.call_ok("GET", members_path)["members"][0]["id"]
        _, member = send("PATCH", f"{members_path}/{key}", change)
        assert LONG_AGO < member["last_changed"]


# --- All faults at once ---------------------------------------------------------------------------


def test_every_fault_of_a_member_is_named(send: CallSender, members_path: str) -> None:
    """One problem names every field that is wrong: by type, by value, and by merge field."""
    given: list[tuple[str, str, Any, list[tuple[str, str]]]] = [
        (
            "PUT",
            f"{members_path}/{ANN}",
            {
                "email_address": ANN,
                "status_if_new": None,
                "merge_fields": {"FNAME": None, "LNAME": None, "OTHER": None},
            },
            [(f"merge_fields.{tag}", NO_SCHEMA) for tag in ("FNAME", "LNAME", "OTHER")]
            + [("status_if_new", NULL)],
        ),
        (
            "POST",
            members_path,
            {"email_address": None, "status": 5, "vip": "yes"},
            [
                ("email_address", NULL),
                ("status", "Schema describes string, integer found instead"),
                ("vip", "Schema describes boolean, string found instead"),
            ],
        ),
        (
            "POST",
            members_path,
            {"vip": 1, "email_address": "x", "ip_opt": "here"},
            [
                ("", "Required fields were not provided: status"),
                ("email_address", "Please provide a valid email address."),
                ("ip_opt", "This value should be an IPv4 or IPv6 address."),
                ("vip", "Schema describes boolean, integer found instead"),
            ],
        ),
        (
            "PATCH",
            f"{members_path}/{BOB}",
            {"status": "transactional", "interests": {"57d5ad703b": True}},
            [
                ("interests", "Invalid interest ID: '57d5ad703b'."),
                (
                    "status",
                    "Value should be one of subscribed, unsubscribed, cleaned, pending.",
                ),
            ],
        ),
    ]

    answers = send.many([(method, path, body) for method, path, body, _ in given])

    for (*_, expected), (_, problem) in zip(given, answers, strict=True):
        assert expected == sort_errors(problem)


@pytest.mark.parametrize("name", ["email_address", "status", "status_if_new"])
def test_null_is_refused_where_a_text_is_not_needed(
    send: CallSender, members_path: str, name: str
) -> None:
    """A PUT of a member that exists refuses null as that of a new one does."""
    path = f"{members_path}/{ANN}"

    _, (_, problem) = send.many([("PUT", path, make_member(ANN)), ("PUT", path, {name: None})])

    assert [(name, NULL)] == sort_errors(problem)


def test_every_wrong_member_of_a_subscribe_is_named(api: Api, members_path: str) -> None:
    """The path names the member and the field."""
    body = {"members": [{"status": 1}, make_member(ANN), {"vip": 1, "email_address": None}]}

    problem = check_problem(
        api.call("POST", members_path.removesuffix("/members"), body), 400, "Invalid Resource"
    )

    assert ["members.item:0.status", "members.item:2.email_address", "members.item:2.vip"] == [
        field for field, _ in sort_errors(problem)
    ]


def test_every_wrong_operation_of_a_batch_is_named(api: Api) -> None:
    """Types, methods, paths and missing keys are named for each operation."""
    ping = {"method": "GET", "path": "/ping"}
    operations = [
        {"method": "GET", "path": 1, "body": 2},
        ping,
        {"method": "LOOK", "path": "/ping"},
        {"path": "/ping"},
        ping | {"headers": {"Accept-Language": 1}},
    ]

    problem = check_problem(
        api.call("POST", "/batches", {"operations": operations}), 400, "Invalid Resource"
    )

    assert [
        "operations.item:0.body",
        "operations.item:0.path",
        "operations.item:2.method",
        "operations.item:3",
        "operations.item:4.headers",
    ] == [field.removesuffix("[...]") for field, _ in sort_errors(problem)]


# --- Types and values that are accepted -----------------------------------------------------------


def test_places_may_be_texts(send: CallSender, members_path: str) -> None:
    """A latitude and a longitude may be texts that are numbers."""
    place = {"latitude": "50.45", "longitude": "-30.52"}

    code, member = send("POST", members_path, make_member(ANN, location=place))

    assert (200, 50.45, -30.52) == (
        code,
        member["location"]["latitude"],
        member["location"]["longitude"],
    )


@pytest.mark.parametrize("latitude", ["north", "nan", "inf", True])
def test_places_that_are_no_numbers(
    send: CallSender, members_path: str, latitude: str | bool
) -> None:
    """Other texts and types are refused."""
    place = {"latitude": latitude, "longitude": 0}

    _, problem = send("POST", members_path, make_member(ANN, location=place))

    assert "location" == sort_errors(problem)[0][0].partition(".")[0]


def test_update_existing_may_be_null(send: CallSender, members_path: str) -> None:
    """`update_existing: null` is false."""
    body = {"members": [make_member(ANN)], "update_existing": None, "sync_tags": None}

    code, reply = send("POST", members_path.removesuffix("/members"), body)

    assert (200, 1) == (code, reply["total_created"])


@pytest.mark.parametrize("country", [None, "", "UA"])
def test_country_of_an_address(
    api: Api, send: CallSender, members_path: str, country: str | None
) -> None:
    """An address without a country has that of its field: the US, unless the field has another."""
    fields = f"{members_path.removesuffix('/members')}/merge-fields"
    for tag, options in (("HOME", {}), ("WORK", {"default_country": 262})):
        body = {"tag": tag, "name": tag, "type": "address", "options": options}
        api.call_ok("POST", fields, body)
    address = ADDRESS if country is None else ADDRESS | {"country": country}

    _, member = send(
        "POST", members_path, make_member(ANN, merge_fields={"HOME": address, "WORK": address})
    )

    shown = [member["merge_fields"][tag]["country"] for tag in ("HOME", "WORK")]
    assert [country or "US", country or "GB"] == shown


def test_incomplete_address(api: Api, send: CallSender, members_path: str) -> None:
    """An incomplete address is stored with `skip_merge_validation`, and refused without."""
    body = make_member(ANN, merge_fields={"ADDRESS": {"addr1": "1 Main"}})

    refused, problem = send("POST", members_path, body)
    code, member = send("POST", members_path, body, skip_merge_validation="true")

    assert (400, [("ADDRESS", "Please enter a complete address")]) == (
        refused,
        get_field_errors(problem),
    )
    assert (200, "1 Main", "") == (
        code,
        member["merge_fields"]["ADDRESS"]["addr1"],
        member["merge_fields"]["ADDRESS"]["city"],
    )
    assert member == api.call_ok("GET", f"{members_path}/{ANN}")


# --- Values of members and lists ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "subscribe"])
@pytest.mark.parametrize(("status", "shown"), [("subscribed", "127.0.0.1"), ("pending", "")])
def test_opt_in_address(
    send: CallSender, members_path: str, method: str, status: str, shown: str
) -> None:
    """`ip_opt` is the address of the caller if a member is added as subscribed, also by a batch."""
    body = make_member(ANN) | {"status": status}
    if method == "subscribe":
        path = members_path.removesuffix("/members")
        _, reply = send("POST", path, {"members": [body]})
        [member] = reply["new_members"]
    else:
        path = members_path if method == "POST" else f"{members_path}/{ANN}"
        _, member = send(method, path, body)

    assert (shown, "") == (member["ip_opt"], member["ip_signup"])


def test_opt_in_address_that_is_given(send: CallSender, members_path: str) -> None:
    """An `ip_opt` of the body is kept."""
    _, member = send("POST", members_path, make_member(ANN, ip_opt="198.51.100.7"))

    assert "198.51.100.7" == member["ip_opt"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_unknown_interest(send: CallSender, members_path: str, method: str) -> None:
    """The detail names the interest, and there are no `errors`."""
    path = members_path if method == "POST" else f"{members_path}/{ANN}"

    code, problem = send(method, path, make_member(ANN, interests={"57d5ad703b": False}))

    assert (400, "Invalid Resource") == (code, problem["title"])
    assert "Invalid interest ID: '57d5ad703b'." == problem["detail"]
    assert "errors" not in problem


@pytest.mark.parametrize(("given", "shown"), [("ua", "UA"), ("Ukraine", "US"), ("QQ", "US")])
def test_country_of_a_list(api: Api, given: str, shown: str) -> None:
    """The country of the contact has two letters; it is US if the given one is not valid."""
    path = f"/lists/{api.new_list()}"

    made = api.call_ok("PATCH", path, {"contact": {"country": given}})

    assert shown == made["contact"]["country"] == api.call_ok("GET", path)["contact"]["country"]


# --- Filters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["true", "false"])
def test_since_last_campaign_needs_a_status(api: Api, members_path: str, value: str) -> None:
    """The filter is refused without a `status`; with one, all members came after no campaign."""
    api.call_ok("POST", members_path, make_member(ANN))
    reply = api.call("GET", members_path, since_last_campaign=value, count="5")

    problem = check_problem(reply, 400, "Bad Request")
    assert "Status is required when using since_last_campaign filter." == problem["detail"]
    for status, count in (("subscribed", 1), ("unsubscribed", 0)):
        found = api.call_ok("GET", members_path, since_last_campaign=value, status=status)
        assert count == found["total_items"]


@pytest.mark.parametrize("name", ["interest_category_id", "interest_ids", "interest_match"])
def test_filters_by_interests(api: Api, members_path: str, name: str) -> None:
    """A filter that is not supported is refused: an ignored one would find everyone."""
    problem = check_problem(api.call("GET", members_path, **{name: "x"}), 400, "Invalid Resource")

    assert [name] == [field for field, _ in get_field_errors(problem)]


# --- Headers of operations ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "code", "reason"),
    [
        ({"Accept-Language": "en-GB, de;q=0.5"}, 200, ""),
        ({"accept-language": "de, *;q=0.1"}, 200, ""),
        ({"Accept": "application/json", "Content-Type": "text/plain"}, 200, ""),
        ([], 200, ""),
        (None, 200, ""),
        ({"Accept-Language": "de, en;q=0"}, 400, "English"),
        ({"Accept": "text/html"}, 400, "JSON"),
        ({"Idempotency-Key": "x"}, 400, "idempotency-key"),
        ({"X-Trace": "x"}, 400, "x-trace"),
        ({"Authorization": "x"}, 400, "authorization"),
    ],
)
def test_headers_of_operations(api: Api, headers: Any, code: int, reason: str) -> None:
    """A header is honoured, or its operation is refused with a reason."""
    ping = {"method": "GET", "path": "/ping", "headers": headers}

    [result] = api.run_batch(ping)

    assert code == result.status_code
    assert reason in result.response.get("detail", "")
