"""The body of a batch, read in pieces: accepted bodies, and the positions of errors."""

import json
import re
from typing import Any

import pytest

from batchway import limits
from batchway.limits import Limits
from batchway.model.operation import Operation
from tests.batch_bodies import (
    PING,
    PING_TEXT,
    PINGED,
    SMALL,
    TWO_KEYS,
    make_json_body,
    make_ndjson_body,
    read_error,
    read_groups,
    read_operations,
    read_refusal,
)

# --- What is taken -------------------------------------------------------------------------------

FULL = {
    "method": "put",
    "path": "lists/a/members?count=1&x=",
    "params": {"a": "b", "n": 1, "t": True, "z": None, "l": ["x", 2], "d": {"k": "v"}},
    "body": '{"tags":[{"name":"},{"},{"name":"\\""}]}',
    "operation_id": 17,
    "headers": {"X-A": "b"},
    "path_params": {"path": "x"},
}
READ_FULL = Operation(
    "PUT",
    "/lists/a/members",
    {"count": "1", "x": "", "a": "b", "n": "1", "t": "true", "z": "", "l": "x,2", "d": '{"k":"v"}'},
    '{"tags":[{"name":"},{"},{"name":"\\""}]}',
    "17",
    headers={"x-a": "b"},
)


@pytest.mark.parametrize("window_bytes", [*range(1, 60), 200, 5_000, limits.batch_window_bytes])
def test_window_changes_nothing(window_bytes: int) -> None:
    """The operations of a body do not depend on where it is cut."""
    elements = [PING, FULL] * 5

    for indent in (None, 1):
        body = json.dumps({"operations": elements, "more": [PING]}, indent=indent).encode()
        assert [PINGED, READ_FULL] * 5 == read_operations(body, window_bytes=window_bytes)
    body = make_ndjson_body(*(json.dumps(element).encode() for element in elements))
    assert [PINGED, READ_FULL] * 5 == read_operations(
        body, is_lines=True, window_bytes=window_bytes
    )


@pytest.mark.parametrize(
    "body",
    [
        make_json_body(),
        b' { "operations" : [ ] } ',
        make_json_body() + b"\n" * 500,
        b'{"operations":[' + b" " * 500 + b"]}",
        b'{"x":[{"operations":[1]}],"operations":[]}',
        b'{"operations":[],"x":"' + b"y" * 500 + b'"}',
        b'{"op\\u0065rations":[]}',
    ],
)
def test_batch_of_nothing(body: bytes) -> None:
    """A batch without operations is accepted."""
    assert [] == read_operations(body)


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n", b"\n" * 500])
def test_no_lines(body: bytes) -> None:
    """A body without lines is a batch without operations."""
    assert [] == read_operations(body, is_lines=True)


@pytest.mark.parametrize("value", [None, {}, [], "", "x", ["path", "path"], {"path": {"path": 1}}])
def test_ignored_keys(value: Any) -> None:
    """Ignored keys may have any value, also one that contains the names of known keys."""
    operation = PING | {"path_params": value, "unknown": value}

    assert [PINGED] * 9 == read_operations(json.dumps({"operations": [operation] * 9}).encode())


@pytest.mark.parametrize("value", [None, {}, []])
def test_no_params(value: Any) -> None:
    """Empty `params` may be an array, because PHP encodes an empty object in this way."""
    body = json.dumps({"operations": [PING | {"params": value}] * 9}).encode()

    assert [PINGED] * 9 == read_operations(body)


@pytest.mark.parametrize(("body", "found"), [({"path": "x"}, "object"), (["path"], "array")])
def test_body_that_is_not_a_string(body: Any, found: str) -> None:
    """A body that is not a string gives its own operation a 400, and not the batch."""
    text = json.dumps({"operations": [PING | {"body": body}, PING] * 9}).encode()
    mistake = f"Schema describes string, {found} found instead"

    assert [Operation("GET", "/ping", {}, None, None, mistake), PINGED] * 9 == read_operations(text)


def test_groups_are_full() -> None:
    """Only the last group is smaller than the others, whatever the size of the windows."""
    most = Limits.piece_operations_max
    body = make_json_body(*[PING_TEXT] * (3 * most + 5))

    for window_bytes in (SMALL, 50_000, 10**9):
        sizes = [len(group) for group in read_groups(body, window_bytes=window_bytes)]
        assert [most, most, most, 5] == sizes


def test_large_operations_are_not_held_back() -> None:
    """A group of large operations ends early, so that it needs no more memory than a piece may."""
    large = json.dumps(PING | {"body": "x" * (limits.piece_bytes_max // 4)}).encode()

    sizes = [
        len(group)
        for group in read_groups(
            make_json_body(*[large] * 40), window_bytes=limits.batch_window_bytes
        )
    ]

    assert 40 == sum(sizes)
    assert max(sizes) <= 8


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 1, 2, 3, 50, 325])
@pytest.mark.parametrize(
    ("element", "field", "message"),
    [
        (b"[]", "", "Schema describes object, array found instead"),
        (b"null", "", "Schema describes object, NULL found instead"),
        (b'"},{"', "", "Schema describes object, string found instead"),
        (b'{"method":"GET"}', "", "Required fields were not provided: path"),
        (b'{"method":"HEAD","path":"/"}', ".method", "Value should be one of GET, POST, PUT, "),
        (b'{"method":"GET","path":5}', ".path", "Schema describes string, integer found instead"),
        (b'{"method":"GET","path":" "}', ".path", "This value should not be blank."),
        (b'{"method":"GET","path":"/","params":["a"]}', ".params", "Schema describes object, arra"),
        (b'{"method":"GET","path":"/","params":"a=b"}', ".params", "Schema describes object, stri"),
        (b'{"method":"GET","path":"/","body":5}', ".body", "Schema describes string, integer "),
        (b'{"method":"GET","path":"/","operation_id":{}}', ".operation_id", "Schema describes str"),
        (TWO_KEYS, "", "This key was given twice: path"),
        (TWO_KEYS.replace(b'"path"', b'"p\\u0061th"', 1), "", "This key was given twice: path"),
        (PING_TEXT[:-1] + b',"method":"GET"}', "", "This key was given twice: method"),
        (PING_TEXT[:-1] + b',"body":null,"body":""}', "", "This key was given twice: body"),
        (PING_TEXT[:-1] + b',"params":[],"params":[]}', "", "This key was given twice: params"),
        (
            PING_TEXT[:-1] + b',"operation_id":1,"operation\\u005fid":1}',
            "",
            "This key was given twice: operation_id",
        ),
    ],
)
def test_wrong_operation(position: int, element: bytes, field: str, message: str) -> None:
    """A wrong operation is named by its position in the whole body."""
    elements = [PING_TEXT] * 330
    elements[position] = element

    for window_bytes in (SMALL, 777, 10**9):
        found, found_message = read_error(make_json_body(*elements), window_bytes=window_bytes)
        assert f"operations.item:{position}{field}" == found
        assert found_message.startswith(message)
        assert (found, found_message) == read_error(
            make_ndjson_body(b"", *elements), is_lines=True, window_bytes=window_bytes
        )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (b'{"a":1,"a":1}', "This key was given twice: a"),
        (b'{"a":1,"\\u0061":{"b":1}}', "This key was given twice: a"),
        (b'{"b":":", "a" : 1,"a"\t:1}', "This key was given twice: a"),
        (b'{"a":"' + b"x" * limits.operation_params_bytes_max + b'"}', "This value should "),
        (b"true", "Schema describes object, boolean found instead"),
    ],
)
def test_wrong_params(params: bytes, message: str) -> None:
    """The problem names the wrong `params` and their mistake."""
    found, found_message = read_error(
        make_json_body(PING_TEXT, PING_TEXT[:-1] + b',"params":' + params + b"}")
    )

    assert "operations.item:1.params" == found
    assert found_message.startswith(message)


def test_params_that_are_not_json() -> None:
    """The problem names `params` that are not valid JSON."""
    text = make_json_body(PING_TEXT, PING_TEXT[:-1] + b',"params":{"a":"\xff"}}')

    found_message = read_refusal(text).detail
    assert found_message.startswith("The value of operations.item:1.params is not valid JSON: ")


def test_params_with_colons() -> None:
    """Colons and keys within the values of `params` are not mistaken for keys."""
    params = {"since": "2020-01-01T00:00:00Z", "a": '":":', "b": {"a": {"a": 1}}, "c": [{"a": 1}]}
    expected = {
        "since": "2020-01-01T00:00:00Z",
        "a": '":":',
        "b": '{"a":{"a":1}}',
        "c": '{"a":1}',
    }

    [found] = read_operations(json.dumps({"operations": [PING | {"params": params}]}).encode())
    assert expected == found.params


def test_largest_params() -> None:
    """The largest `params` are accepted unchanged."""
    value = "x" * (limits.operation_params_bytes_max - len(b'{"a": ""}'))

    [found] = read_operations(
        json.dumps({"operations": [PING | {"params": {"a": value}}]}).encode()
    )
    assert {"a": value} == found.params


def test_duplicate_key_beside_a_missing_key() -> None:
    """A duplicate key is found even if another operation lacks this key."""
    escaped = PING_TEXT.replace(b"path", b"p\\u0061th")
    body = PING_TEXT[:-1] + b',"body":"a","body":"b"}'

    assert "operations.item:1" == read_error(make_json_body(escaped, TWO_KEYS))[0]
    assert "operations.item:1" == read_error(make_json_body(PING_TEXT, body))[0]


@pytest.mark.parametrize(
    "text", ['"path"', 'a "path', "path", '\\"path\\"', '{"path":1,"path":2}', "\\u0070", "\\"]
)
def test_name_of_a_key_in_a_text(text: str) -> None:
    """A text that equals the name of a key is not mistaken for a key."""
    operation = PING | {"operation_id": text, "body": text}

    found = read_operations(json.dumps({"operations": [operation] * 9}).encode())

    assert [Operation("GET", "/ping", {}, text, text)] * 9 == found


@pytest.mark.parametrize("between", [b"", b',"x":1', b',"x":"' + b"y" * 500 + b'"'])
@pytest.mark.parametrize("key", [b'"operations"', b'"op\\u0065rations"'])
def test_duplicate_operations(between: bytes, key: bytes) -> None:
    """A body with two `operations` is rejected, because it is not clear which ones to run."""
    for first in (b"[]", b"[" + b",".join([PING_TEXT] * 20) + b"]"):
        body = b'{"operations":' + first + between + b"," + key + b":[]}"
        assert ("", "This key was given twice: operations") == read_error(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Required fields were not provided: operations"),
        (b"null" + b" " * 500, "Required fields were not provided: operations"),
        (b'{"x":"' + b"y" * 500 + b'"}', "Required fields were not provided: operations"),
        (b"[" + b",".join([PING_TEXT] * 20) + b"]", "Schema describes object, array found instead"),
    ],
)
def test_body_without_operations(body: bytes, message: str) -> None:
    """A body without `operations` gets the same problem, whether it is small or large."""
    assert ("", message) == read_error(body)


TEN = b",".join([PING_TEXT] * 10)


@pytest.mark.parametrize(
    "body",
    [
        b'{"operations":[' + TEN,
        b'{"operations":[' + TEN + b",",
        b'{"operations":[' + TEN + b"]",
        b'{"operations":[' + TEN + b",]}",
        b'{"operations":[,' + TEN + b"]}",
        b'{"operations":[' + TEN + b",," + TEN + b"]}",
        b'{"operations":[' + TEN + PING_TEXT + b"]}",
        b'{"operations":[' + TEN + b"}," + TEN + b"]}",
        b'{"operations":[' + TEN + b"]]}",
        b'{"operations":[' + TEN + b"]} x",
        b'{"operations":[' + TEN + b'],"x"}',
        b'{"operations":[' + TEN + b'],"x":NaN}',
        b'{"operations":[' + TEN + b'],"x":' + b"[" * 100_000,
        b'{"operations":[' + b"," * 500 + b"]}",
        b'{"operations":[' + b"[" * 100_000,
        b'{"operations":[' + b'{"a":' * 100_000,
        b"\xef\xbb\xbf" + make_json_body(TEN),
        b"garbage" * 100,
        *(
            make_json_body(TEN, PING_TEXT[:-1] + b"," + wrong + b"}", TEN)
            for wrong in (
                b'"x":NaN',
                b'"x":Infinity',
                b'"body":"\xff"',
                b'"body":"\\ud800"',
                b'"body":"a\nb"',
                b'"params":' + b"[" * 100_000 + b"]" * 100_000,
                b'"params":{"a":' + b"[" * 700 + b"]" * 700 + b"}",
                b"",
            )
        ),
    ],
)
def test_malformed_body(body: bytes) -> None:
    """A malformed body is a 400, whatever is wrong with it, and wherever."""
    for window_bytes in (SMALL, 700, 10**9):
        problem = read_refusal(body, window_bytes=window_bytes)
        assert 400 == problem.status, problem
        assert problem.title in {"JSON Parse Exception", "Invalid Resource"}


@pytest.mark.parametrize("window_bytes", [SMALL, 700, 10**9])
def test_place_in_a_malformed_body(window_bytes: int) -> None:
    """The position of a mistake is counted from the beginning of the whole body."""
    before = b'{"operations":[' + TEN + b',{"method":"GET","path":'
    problem = read_refusal(before + b"x}," + TEN + b"]}", window_bytes=window_bytes)

    assert problem.detail.endswith(f"invalid character (byte {len(before)})")


@pytest.mark.parametrize("after", ["", "x", '\\n"', "😀"])
@pytest.mark.parametrize("window_bytes", [SMALL, 10**9])
def test_half_of_a_surrogate_pair(window_bytes: int, after: str) -> None:
    """The problem names half of a surrogate pair and its position, also at the end of the body."""
    text = PING_TEXT[:-1] + b',"operation_id":"\\ud800'
    element = text + json.dumps(after)[1:].encode() + b"}"

    in_array = read_refusal(make_json_body(PING_TEXT, element), window_bytes=window_bytes).detail
    in_line = read_refusal(
        make_ndjson_body(PING_TEXT, element)[:-1], is_lines=True, window_bytes=window_bytes
    )
    behind = read_refusal(
        make_json_body(PING_TEXT)[:-1] + b',"x":"\\ud800"}', window_bytes=window_bytes
    ).detail

    for found_message in (in_array, in_line.detail, behind):
        assert re.search(r"surrogate pair \(byte \d+\)$|hex escape \(byte \d+\)$", found_message), (
            found_message
        )
    assert in_line.detail.startswith("The line of operations.item:1 is not valid JSON: ")


@pytest.mark.parametrize(
    "line",
    [
        PING_TEXT + PING_TEXT,
        PING_TEXT + b"," + PING_TEXT,
        PING_TEXT + b",",
        b'{"method":\n"GET","path":"/"}',
        b'{"method":"GET"',
        b"\xef\xbb\xbf" + PING_TEXT,
        b"x",
    ],
)
def test_line_that_is_malformed(line: bytes) -> None:
    """A line must be one complete operation, and the problem names its position."""
    for window_bytes in (SMALL, 10**9):
        body = make_ndjson_body(*[PING_TEXT, b""] * 20, line, PING_TEXT)
        problem = read_refusal(body, is_lines=True, window_bytes=window_bytes)
        assert (400, "JSON Parse Exception") == (problem.status, problem.title)
        assert problem.detail.startswith("The line of operations.item:20 is not valid JSON: ")
