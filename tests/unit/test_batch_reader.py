"""The body of a batch, read in pieces: what is taken, what is refused and where, within bounds."""

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from batchway import limits
from batchway.contract.batch_reader import BatchReader, read_batch
from batchway.contract.problems import Problem, Refused
from batchway.model.operation import Operation

PING = {"method": "GET", "path": "/ping"}
PING_TEXT = b'{"method":"GET","path":"/ping"}'
PINGED = Operation("GET", "/ping", {}, None, None)
TWO_KEYS = b'{"method":"GET","path":"/a","path":"/b"}'
# A window that holds the head and two or three operations.
SMALL = 100


def groups(
    body: bytes, *, is_lines: bool = False, window_bytes: int = SMALL, step: int = 65_536
) -> Iterator[list[Operation]]:
    """What a reader gives for a body that comes `step` bytes at a time."""
    reader = BatchReader(is_lines=is_lines, window_bytes=window_bytes)
    for start in range(0, len(body), step):
        yield from reader.feed(body[start : start + step])
    yield from reader.finish()


def read(body: bytes, *, is_lines: bool = False, window_bytes: int = SMALL) -> list[Operation]:
    """All operations of a body."""
    found = groups(body, is_lines=is_lines, window_bytes=window_bytes)
    return [each for group in found for each in group]


def refusal(body: bytes, *, is_lines: bool = False, window_bytes: int = SMALL) -> Problem:
    """The problem that a body is refused with."""
    with pytest.raises(Refused) as refused:
        read(body, is_lines=is_lines, window_bytes=window_bytes)
    return refused.value.problem


def error(body: bytes, *, is_lines: bool = False, window_bytes: int = SMALL) -> tuple[str, str]:
    """Field and message of the one thing that is wrong with a body."""
    problem = refusal(body, is_lines=is_lines, window_bytes=window_bytes)
    assert (400, "Invalid Resource") == (problem.status, problem.title)
    assert problem.errors
    [found] = problem.errors
    return found.field, found.message


def array(*elements: bytes) -> bytes:
    """A body with these operations."""
    return b'{"operations":[' + b",".join(elements) + b"]}"


def lines(*elements: bytes) -> bytes:
    """The same as NDJSON."""
    return b"".join(each + b"\n" for each in elements)


# --- What is taken -------------------------------------------------------------------------------

FULL = {
    "method": "put",
    "path": "lists/a/members?count=1&x=",
    "params": {"a": "b", "n": 1, "t": True, "z": None, "l": ["x", 2], "d": {"k": "v"}},
    "body": '{"tags":[{"name":"},{"},{"name":"\\""}]}',
    "operation_id": 17,
    "headers": ["X-A"],
    "path_params": {"path": "x"},
}
READ_FULL = Operation(
    "PUT",
    "/lists/a/members",
    {"count": "1", "x": "", "a": "b", "n": "1", "t": "true", "z": "", "l": "x,2", "d": '{"k":"v"}'},
    '{"tags":[{"name":"},{"},{"name":"\\""}]}',
    "17",
)


@pytest.mark.parametrize("window_bytes", [*range(1, 60), 200, 5_000, limits.batch_window_bytes])
def test_window_changes_nothing(window_bytes: int) -> None:
    """Wherever a body is cut, its operations are the same."""
    elements = [PING, FULL] * 5

    for indent in (None, 1):
        body = json.dumps({"operations": elements, "more": [PING]}, indent=indent).encode()
        assert [PINGED, READ_FULL] * 5 == read(body, window_bytes=window_bytes)
    body = lines(*(json.dumps(each).encode() for each in elements))
    assert [PINGED, READ_FULL] * 5 == read(body, is_lines=True, window_bytes=window_bytes)


@pytest.mark.parametrize(
    "body",
    [
        array(),
        b' { "operations" : [ ] } ',
        array() + b"\n" * 500,
        b'{"operations":[' + b" " * 500 + b"]}",
        b'{"x":[{"operations":[1]}],"operations":[]}',
        b'{"operations":[],"x":"' + b"y" * 500 + b'"}',
        b'{"op\\u0065rations":[]}',
    ],
)
def test_batch_of_nothing(body: bytes) -> None:
    """It is accepted."""
    assert [] == read(body)


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n", b"\n" * 500])
def test_no_lines(body: bytes) -> None:
    """They are a batch of nothing."""
    assert [] == read(body, is_lines=True)


@pytest.mark.parametrize("value", [None, {}, [], "", "x", ["path", "path"], {"path": {"path": 1}}])
def test_ignored_keys(value: Any) -> None:
    """They may hold anything, the names of known keys as well."""
    operation = PING | {"headers": value, "path_params": value, "unknown": value}

    assert [PINGED] * 9 == read(json.dumps({"operations": [operation] * 9}).encode())


@pytest.mark.parametrize("value", [None, {}, []])
def test_no_params(value: Any) -> None:
    """PHP writes an empty object as an empty list."""
    body = json.dumps({"operations": [PING | {"params": value}] * 9}).encode()

    assert [PINGED] * 9 == read(body)


@pytest.mark.parametrize(("body", "found"), [({"path": "x"}, "object"), (["path"], "array")])
def test_body_that_is_no_string(body: Any, found: str) -> None:
    """It is that operation's own mistake."""
    text = json.dumps({"operations": [PING | {"body": body}, PING] * 9}).encode()
    mistake = f"Schema describes string, {found} found instead"

    assert [Operation("GET", "/ping", {}, None, None, mistake), PINGED] * 9 == read(text)


def test_groups_are_full() -> None:
    """However the windows fall, only the last group is smaller."""
    most = limits.piece_operations_max
    body = array(*[PING_TEXT] * (3 * most + 5))

    for window_bytes in (SMALL, 50_000, 10**9):
        sizes = [len(each) for each in groups(body, window_bytes=window_bytes)]
        assert [most, most, most, 5] == sizes


def test_large_operations_are_not_held_back() -> None:
    """A group ends before its operations take up more memory than a piece may."""
    large = json.dumps(PING | {"body": "x" * (limits.piece_bytes_max // 4)}).encode()

    sizes = [
        len(each) for each in groups(array(*[large] * 40), window_bytes=limits.batch_window_bytes)
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
    """It is named by its position in the whole body."""
    elements = [PING_TEXT] * 330
    elements[position] = element

    for window_bytes in (SMALL, 777, 10**9):
        found, told = error(array(*elements), window_bytes=window_bytes)
        assert f"operations.item:{position}{field}" == found
        assert told.startswith(message)
        assert (found, told) == error(
            lines(b"", *elements), is_lines=True, window_bytes=window_bytes
        )


def test_key_given_twice_beside_one_without() -> None:
    """One operation's second key does not stand for another's missing one."""
    escaped = PING_TEXT.replace(b"path", b"p\\u0061th")
    body = PING_TEXT[:-1] + b',"body":"a","body":"b"}'

    assert "operations.item:1" == error(array(escaped, TWO_KEYS))[0]
    assert "operations.item:1" == error(array(PING_TEXT, body))[0]


@pytest.mark.parametrize(
    "text", ['"path"', 'a "path', "path", '\\"path\\"', '{"path":1,"path":2}', "\\u0070", "\\"]
)
def test_name_of_a_key_in_a_text(text: str) -> None:
    """It is no key."""
    operation = PING | {"operation_id": text, "body": text}

    found = read(json.dumps({"operations": [operation] * 9}).encode())

    assert [Operation("GET", "/ping", {}, text, text)] * 9 == found


@pytest.mark.parametrize("between", [b"", b',"x":1', b',"x":"' + b"y" * 500 + b'"'])
@pytest.mark.parametrize("key", [b'"operations"', b'"op\\u0065rations"'])
def test_operations_given_twice(between: bytes, key: bytes) -> None:
    """It is not clear which are meant."""
    for first in (b"[]", b"[" + b",".join([PING_TEXT] * 20) + b"]"):
        body = b'{"operations":' + first + between + b"," + key + b":[]}"
        assert ("", "This key was given twice: operations") == error(body)


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
    """The same is told of a large body."""
    assert ("", message) == error(body)


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
        b"\xef\xbb\xbf" + array(TEN),
        b"garbage" * 100,
        *(
            array(TEN, PING_TEXT[:-1] + b"," + wrong + b"}", TEN)
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
    """Whatever is wrong, and wherever, is the client's fault."""
    for window_bytes in (SMALL, 700, 10**9):
        problem = refusal(body, window_bytes=window_bytes)
        assert 400 == problem.status, problem
        assert problem.title in {"JSON Parse Exception", "Invalid Resource"}


@pytest.mark.parametrize("window_bytes", [SMALL, 700, 10**9])
def test_place_in_a_malformed_body(window_bytes: int) -> None:
    """It is counted from the beginning of the whole body."""
    before = b'{"operations":[' + TEN + b',{"method":"GET","path":'
    problem = refusal(before + b"x}," + TEN + b"]}", window_bytes=window_bytes)

    assert problem.detail.endswith(f"invalid character (byte {len(before)})")


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
    """A line is one operation, as a whole; the problem names its position."""
    for window_bytes in (SMALL, 10**9):
        body = lines(*[PING_TEXT, b""] * 20, line, PING_TEXT)
        problem = refusal(body, is_lines=True, window_bytes=window_bytes)
        assert (400, "JSON Parse Exception") == (problem.status, problem.title)
        assert problem.detail.startswith("The line of operations.item:20 is not valid JSON: ")


# --- Bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_lines", [False, True])
def test_too_many_operations(is_lines: bool) -> None:
    """They are refused as soon as they are too many; the body need not come to its end."""
    most = limits.operations_per_batch_max
    many = (b'{"method":"GET","path":"/"}' + (b"\n" if is_lines else b",")) * 10_000
    reader = BatchReader(is_lines=is_lines)
    count = 0

    def feed_more_and_more() -> None:
        nonlocal count
        count += sum(map(len, reader.feed(b"" if is_lines else b'{"operations":[')))
        for _ in range(most // 10_000 + 5):
            count += sum(map(len, reader.feed(many)))

    with pytest.raises(Refused) as refused:
        feed_more_and_more()
    assert 413 == refused.value.problem.status
    assert most - 30_000 < count <= most


def large(byte_count: int) -> bytes:
    """An operation of that size, full of what looks like the ends of others."""
    text = b'"},{\\"' * (byte_count // 6)
    return PING_TEXT[:-1] + b',"body":"' + text.replace(b'"},{', b'\\"},{') + b'"}'


def test_large_operation() -> None:
    """Up to the bound it is read, wherever it stands."""
    element = large(limits.operation_bytes_max // 8 * 6)
    for body, is_lines in (
        (array(PING_TEXT, element, PING_TEXT), False),
        (lines(PING_TEXT, element, PING_TEXT), True),
    ):
        found = read(body, is_lines=is_lines, window_bytes=limits.batch_window_bytes)
        assert [PINGED, PINGED] == [found[0], found[2]]
        assert len(found[1].body or "") > limits.operation_bytes_max // 2


@pytest.mark.parametrize("is_lines", [False, True])
@pytest.mark.parametrize("end", [b"", b'"}'])
def test_too_large_operation(is_lines: bool, end: bytes) -> None:
    """It is refused with its position, whether it ends or not."""
    element = PING_TEXT[:-1] + b',"body":"' + b"x" * (limits.operation_bytes_max + 5) + end
    body = lines(*[PING_TEXT] * 9, element) if is_lines else array(*[PING_TEXT] * 9, element)

    problem = refusal(body, is_lines=is_lines, window_bytes=limits.batch_window_bytes)

    assert 413 == problem.status
    assert "operations.item:9 " in problem.detail


def test_too_large_operation_behind_other_keys() -> None:
    """Such a body is refused for its own size, which is less than that of one operation."""
    element = PING_TEXT[:-1] + b',"body":"' + b"x" * (limits.operation_bytes_max + 5) + b'"}'
    problem = refusal(b'{"x":1,' + array(PING_TEXT, element)[1:])

    assert 400 == problem.status
    assert f"more than {limits.unstreamed_body_bytes_max} bytes" in problem.detail
    assert "Put it first" in problem.detail


def test_other_keys_first() -> None:
    """Then the body is read as a whole, up to a bound, and the problem says what to do."""
    filling = b'{"x":"' + b"y" * (limits.unstreamed_body_bytes_max - 200)
    rest = b'","operations":[' + PING_TEXT + b"]}"

    assert [PINGED] == read(filling + rest)
    problem = refusal(filling + b"y" * 200 + rest)
    assert 400 == problem.status
    assert "Put it first" in problem.detail


def test_other_keys_behind() -> None:
    """They are ignored, up to the same bound."""
    begin = (
        b'{"operations":['
        + PING_TEXT
        + b'],"x":"'
        + b"y" * (limits.unstreamed_body_bytes_max - 200)
    )

    assert [PINGED] == read(begin + b'"}')
    problem = refusal(begin + b"y" * 200 + b'"}')
    assert 400 == problem.status
    assert "leave out" in problem.detail


def test_large_array_instead_of_an_object() -> None:
    """It is the wrong form that is told, not the size."""
    body = (
        b"[" + b",".join([PING_TEXT] * (limits.unstreamed_body_bytes_max // len(PING_TEXT))) + b"]"
    )

    assert ("", "Schema describes object, array found instead") == error(body)


def test_memory_is_bounded() -> None:
    """A body of 100 MB needs the memory of a few windows."""
    element = PING_TEXT[:-1] + b',"body":"' + b"x" * 10_000 + b'"},'
    reader = BatchReader(is_lines=False)
    count = sum(map(len, reader.feed(b'{"operations":[')))
    tracemalloc.start()
    try:
        for _ in range(100):
            count += sum(map(len, reader.feed(element * 100)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 9_000 < count < 10_000
    assert peak < 16 * 1024 * 1024


def test_read_batch() -> None:
    """A whole body at once; none at all lacks its operations."""
    assert [PINGED] * 20_000 == read_batch(array(*[PING_TEXT] * 20_000))
    with pytest.raises(Refused):
        read_batch(None)
