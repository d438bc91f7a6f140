"""Merge fields of members: values of each type, required fields, deleted fields."""

from typing import Any

import pytest

from tests.contract.shared_servers import Api, CallSender, make_member
from tests.scenario import Operation

ANN = "ann@example.com"


def add_field(api: Api, members_path: str, tag: str, kind: str, **more: Any) -> None:
    """Add a merge field to the list."""
    body = {"tag": tag, "name": tag, "type": kind, **more}
    api.call_ok("POST", members_path.removesuffix("members") + "merge-fields", body)


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        ("text", "x", "x"),
        ("text", 5, "5"),
        ("number", 12.5, 12.5),
        ("number", "12", 12),
        ("number", "", ""),
        ("date", "2020-02-29", "2020-02-29"),
        ("date", "02/29/2020", "2020-02-29"),
        ("birthday", "2/29", "02/29"),
        ("phone", "+380 44 123", "+380 44 123"),
        ("url", "https://example.com/x", "https://example.com/x"),
        ("zip", "12345", "12345"),
        (
            "address",
            {"addr1": "1 Main", "city": "Kyiv", "state": "Kyiv", "zip": "01001", "country": "UA"},
            {
                "addr1": "1 Main",
                "addr2": "",
                "city": "Kyiv",
                "state": "Kyiv",
                "zip": "01001",
                "country": "UA",
            },
        ),
    ],
)
def test_values_of_each_type(  # noqa: PLR0913 - one argument for each thing that varies
    api: Api, send: CallSender, members_path: str, kind: str, given: Any, shown: Any
) -> None:
    """A field accepts these values of its type, and shows them like this."""
    add_field(api, members_path, "EXTRA", kind)

    code, made = send("POST", members_path, make_member(ANN, merge_fields={"EXTRA": given}))

    assert (200, shown) == (code, made["merge_fields"]["EXTRA"])
    assert "EXTRA" == list(made["merge_fields"])[-1]


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("number", "many", "Please enter a number"),
        ("date", "2020-02-30", "Please enter the date"),
        ("birthday", "13/13", "Please enter a month (01-12) and a day (01-31)"),
        ("zip", "x", "Please enter a zip code (5 digits)"),
        ("url", "x", "That is not a valid URL"),
        ("text", "x" * 256, "Please enter at most 255 characters"),
        (
            "address",
            {"addr1": "1 Main"},
            "Please enter a complete address",
        ),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_wrong_values(  # noqa: PLR0913 - as above
    api: Api, send: CallSender, members_path: str, method: str, kind: str, given: Any, message: str
) -> None:
    """An invalid value is refused by the tag of its field, also without merge validation."""
    add_field(api, members_path, "EXTRA", kind)
    target = members_path if method == "POST" else f"{members_path}/{ANN}"

    code, problem = send(method, target, make_member(ANN, merge_fields={"EXTRA": given}))

    assert (400, "Your merge fields were invalid.") == (code, problem["detail"])
    assert [{"field": "EXTRA", "message": message}] == problem["errors"]
    assert 0 == api.call_ok("GET", members_path)["total_items"]


def test_wrong_shape_of_a_value(send: CallSender, members_path: str) -> None:
    """A value that no type of field accepts is refused."""
    code, problem = send("POST", members_path, make_member(ANN, merge_fields={"FNAME": ["x"]}))

    message = "Data did not match any of the schemas described in anyOf."
    assert (400, [{"field": "merge_fields.FNAME", "message": message}]) == (code, problem["errors"])


def test_unknown_merge_fields(send: CallSender, members_path: str) -> None:
    """Unknown merge fields are ignored."""
    code, made = send(
        "POST", members_path, make_member(ANN, merge_fields={"NOPE": "x", "FNAME": "Ann"})
    )

    assert (200, "Ann") == (code, made["full_name"])
    assert "NOPE" not in made["merge_fields"]


def test_every_wrong_value_is_named(api: Api, send: CallSender, members_path: str) -> None:
    """The reply names all invalid values."""
    add_field(api, members_path, "ONE", "number")
    add_field(api, members_path, "TWO", "number")
    add_field(api, members_path, "THREE", "text", required=True)

    _, problem = send("POST", members_path, make_member(ANN, merge_fields={"ONE": "x", "TWO": "y"}))

    assert {"ONE", "TWO", "THREE"} == {error["field"] for error in problem["errors"]}


@pytest.mark.parametrize("value", ["true", "1", "false", "0", None])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_required_merge_fields(
    api: Api, send: CallSender, members_path: str, method: str, value: str | None
) -> None:
    """A new contact needs all required fields unless `skip_merge_validation` is true."""
    add_field(api, members_path, "MUST", "text", required=True)
    target = members_path if method == "POST" else f"{members_path}/{ANN}"
    params = {} if value is None else {"skip_merge_validation": value}

    code, answer = send(method, target, make_member(ANN), **params)

    if value in {"true", "1"}:
        assert (200, "") == (code, answer["merge_fields"]["MUST"])
    else:
        assert [{"field": "MUST", "message": "Please enter a value"}] == answer["errors"]
        assert 400 == code


def test_required_merge_fields_of_who_is_there(
    api: Api, send: CallSender, members_path: str
) -> None:
    """An existing contact may lack a required field, but cannot clear it."""
    api.call_ok("POST", members_path, make_member(ANN))
    add_field(api, members_path, "MUST", "text", required=True)
    one = f"{members_path}/{ANN}"

    assert 200 == send("PATCH", one, {"vip": True})[0]
    assert 200 == send("PATCH", one, {"merge_fields": {"MUST": "x"}})[0]
    assert 400 == send("PATCH", one, {"merge_fields": {"MUST": ""}})[0]
    skipping = {"skip_merge_validation": "true"}
    code, after = send("PATCH", one, {"merge_fields": {"MUST": ""}}, **skipping)
    assert (200, "") == (code, after["merge_fields"]["MUST"])


def test_merge_fields_that_come_and_go(api: Api, members_path: str) -> None:
    """Members show the fields that the list has now."""
    made = api.call_ok("POST", members_path, make_member(ANN, merge_fields={"FNAME": "Ann"}))
    fields = members_path.removesuffix("members") + "merge-fields"
    new = api.call_ok("POST", fields, {"tag": "NEW", "name": "New", "type": "text"})
    api.call_ok("DELETE", f"{fields}/1")

    shown = api.call_ok("GET", f"{members_path}/{made['id']}")

    assert ["LNAME", "ADDRESS", "PHONE", "BIRTHDAY", "NEW"] == list(shown["merge_fields"])
    assert "" == shown["full_name"]
    api.call_ok("PATCH", f"{fields}/{new['merge_id']}", {"tag": "NEWER"})
    assert "NEWER" in api.call_ok("GET", f"{members_path}/{made['id']}")["merge_fields"]


def test_fields_of_a_list_in_one_batch(api: Api, members_path: str) -> None:
    """Writes to a list, its fields and its members keep their order in a batch."""
    fields = members_path.removesuffix("members") + "merge-fields"
    one = f"{members_path}/{ANN}"
    add = '{"email_address":"ann@example.com","status":"subscribed","merge_fields":{"NEW":"x"}}'
    operations: list[Operation] = [
        {"method": "POST", "path": members_path, "body": add},
        {
            "method": "POST",
            "path": fields,
            "body": '{"tag":"NEW","name":"New","type":"number"}',
        },
        {"method": "PATCH", "path": one, "body": '{"merge_fields":{"NEW":"x"}}'},
        {"method": "PATCH", "path": one, "body": '{"merge_fields":{"NEW":7}}'},
        {"method": "DELETE", "path": f"{fields}/6"},
        {"method": "GET", "path": one},
    ]

    results = api.run_batch(*operations)

    assert [200, 200, 400, 200, 204, 200] == [result.status_code for result in results]
    assert 7 == results[3].response["merge_fields"]["NEW"]
    assert "NEW" not in results[5].response["merge_fields"]
