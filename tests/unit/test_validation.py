"""Bodies that are decoded into typed values, and the contract's messages for errors in them."""

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.contract.problems import Problem, Refused
from batchway.contract.validation import decode


class Inner(msgspec.Struct):
    """A part of a body."""

    path: str
    params: dict[str, str] = {}
    count: int = 0


class Body(msgspec.Struct):
    """A body with a field of every kind."""

    name: str
    inner: Inner
    colour: Literal["red", "blue"] = "red"
    ratio: float = 0
    flag: bool = False
    hint: str | None = None
    either: str | int = ""
    operations: list[Inner] = []
    fields: dict[str, int] = {}


decoder = msgspec.json.Decoder(Body)
GOOD: dict[str, Any] = {"name": "n", "inner": {"path": "/"}}


def refusal(body: bytes | None) -> Problem:
    """Return the problem that a body is rejected with."""
    with pytest.raises(Refused) as refused:
        decode(decoder, body)
    assert 400 == refused.value.problem.status
    return refused.value.problem


def error(body: bytes | None) -> tuple[str, str]:
    """Return the field and the message of the only mistake."""
    problem = refusal(body)
    assert "Invalid Resource" == problem.title
    assert problem.errors
    [found] = problem.errors
    return found.field, found.message


def changed(**values: object) -> bytes:
    """Return a valid body in which these values are replaced."""
    return msgspec.json.encode(GOOD | values)


def test_a_good_body() -> None:
    """Unknown keys and white space are ignored."""
    raw = b" \r\n" + changed(unknown=[1, {"a": None}], fields={"a": 1}) + b"\n"

    assert Body("n", Inner("/"), fields={"a": 1}) == decode(decoder, raw)


@pytest.mark.parametrize("body", [None, b"", b"  \n", b"null", b" null ", b"{}"])
def test_no_body_is_an_empty_object(body: bytes | None) -> None:
    """An absent body, an empty body and `null` count as an empty object."""

    class Optional(msgspec.Struct):
        name: str = "default"

    assert Optional() == decode(msgspec.json.Decoder(Optional), body)
    assert ("", "Required fields were not provided: name, inner") == error(body)


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"name": 1}, "name", "Schema describes string, integer found instead"),
        ({"name": 1.5}, "name", "Schema describes string, number found instead"),
        ({"name": None}, "name", "Schema describes string, NULL found instead"),
        ({"name": True}, "name", "Schema describes string, boolean found instead"),
        ({"name": {}}, "name", "Schema describes string, object found instead"),
        ({"name": []}, "name", "Schema describes string, array found instead"),
        ({"inner": []}, "inner", "Schema describes object, array found instead"),
        ({"inner": {}}, "inner", "Required fields were not provided: path"),
        ({"flag": "true"}, "flag", "Schema describes boolean, string found instead"),
        ({"ratio": "1"}, "ratio", "Schema describes number, string found instead"),
        ({"hint": 1}, "hint", "Schema describes string, integer found instead"),
        ({"either": []}, "either", "Schema describes string, array found instead"),
        (
            {"colour": "green"},
            "colour",
            "Value 'green' is not one of the values that this field can have.",
        ),
        (
            {"inner": {"path": "/", "count": 1.5}},
            "inner.count",
            "Schema describes integer, number found instead",
        ),
        ({"fields": {"a": "x"}}, "fields.a", "Schema describes integer, string found instead"),
        ({"operations": {}}, "operations", "Schema describes array, object found instead"),
        (
            {"operations": [{"path": "/"}] * 325 + [[]]},
            "operations.item:325",
            "Schema describes object, array found instead",
        ),
        (
            {"operations": [{"path": "/", "params": "a=b"}]},
            "operations.item:0.params",
            "Schema describes object, string found instead",
        ),
        (
            {"operations": [{"path": "/"}, {"count": 1}]},
            "operations.item:1",
            "Required fields were not provided: path",
        ),
    ],
)
def test_a_wrong_field_is_named(values: dict[str, Any], field: str, message: str) -> None:
    """The problem names a wrong field by its dotted path, in which an index is `item:N`."""
    assert (field, message) == error(changed(**values))


@pytest.mark.parametrize(
    ("body", "found"),
    [(b"[]", "array"), (b'"x"', "string"), (b"1", "integer"), (b"true", "boolean")],
)
def test_a_body_that_is_not_an_object(body: bytes, found: str) -> None:
    """A body that is not an object is reported with an empty path."""
    assert ("", f"Schema describes object, {found} found instead") == error(body)


@pytest.mark.parametrize(("missing", "kept"), [("name", "inner"), ("inner", "name")])
def test_only_missing_fields_are_named(missing: str, kept: str) -> None:
    """The problem names the missing fields, and not those that are present."""
    raw = msgspec.json.encode({kept: GOOD[kept]})

    assert ("", f"Required fields were not provided: {missing}") == error(raw)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nul",
        b"{'name': 1}",
        b'{"name": "n",}',
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": "a\nb"}',
        b"name=n",
        b"\xef\xbb\xbf{}",
        changed() + b" {}",
        b'{"unknown": ' + b"[" * 100_000,
    ],
)
def test_a_body_that_is_not_json(body: bytes) -> None:
    """The detail explains why the body is not JSON, and names no field."""
    problem = refusal(body)

    assert "JSON Parse Exception" == problem.title
    assert not problem.errors
    assert len(problem.detail) > 20


@pytest.mark.parametrize(
    "body",
    [
        b"{} {}",
        b'{"unknown": 1e400}',
        b'{"unknown": ' + b"1" * 5_000 + b"}",
        b'{"unknown": "\xff"}',
        b'{"\xff": 1}',
    ],
)
def test_a_body_that_lacks_fields_and_is_not_json(body: bytes) -> None:
    """A body with both mistakes is answered with a 400 for one of them."""
    assert refusal(body).title in {"Invalid Resource", "JSON Parse Exception"}


class Loose(msgspec.Struct):
    """A body without required fields."""

    a: int = 0
    u: list[str] = []


@given(st.binary(max_size=40) | st.text('{}[]",:01e null\\ua', max_size=40).map(str.encode))
def test_any_bytes(body: bytes) -> None:
    """Any bytes are either decoded or rejected with a problem."""
    try:
        assert isinstance(decode(msgspec.json.Decoder(Loose), body), Loose)
    except Refused as refused:
        assert 400 == refused.problem.status  # noqa: PT017 - one of two right answers


def test_a_value_that_looks_like_a_path() -> None:
    """The path of a mistake is msgspec's own, also if the wrong value contains such a text."""
    field, message = error(changed(colour=" - at `$.other`"))

    assert "colour" == field
    assert " - at `$.other`" in message
