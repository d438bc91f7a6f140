"""The body of a batch, read in pieces: limits of its size and of the memory it needs."""

import tracemalloc
from contextlib import suppress

import pytest

from batchway import limits
from batchway.contract.problems import Refused
from batchway.limits import Limits
from batchway.surfaces.mailchimp.batch_reader import BatchReader
from tests.batch_bodies import (
    PING_TEXT,
    PINGED,
    TWO_KEYS,
    make_json_body,
    make_ndjson_body,
    read_batch,
    read_error,
    read_operations,
    read_refusal,
)


@pytest.mark.parametrize("is_lines", [False, True])
def test_too_many_operations(is_lines: bool) -> None:
    """Too many operations are rejected at once, before the body has ended."""
    most = Limits.operations_per_batch_max
    many = (b'{"method":"GET","path":"/"}' + (b"\n" if is_lines else b",")) * 10_000
    reader = BatchReader(Limits(), is_lines=is_lines)
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
    """Return an operation of that size, which contains many apparent ends of operations."""
    text = b'"},{\\"' * (byte_count // 6)
    return PING_TEXT[:-1] + b',"body":"' + text.replace(b'"},{', b'\\"},{') + b'"}'


def test_large_operation() -> None:
    """An operation of exactly the limit is read at any position."""
    element = large(limits.operation_bytes_max // 8 * 6)
    for body, is_lines in (
        (make_json_body(PING_TEXT, element, PING_TEXT), False),
        (make_ndjson_body(PING_TEXT, element, PING_TEXT), True),
    ):
        found = read_operations(body, is_lines=is_lines, window_bytes=limits.batch_window_bytes)
        assert [PINGED, PINGED] == [found[0], found[2]]
        assert len(found[1].body or "") > limits.operation_bytes_max // 2


@pytest.mark.parametrize("is_lines", [False, True])
@pytest.mark.parametrize("end", [b"", b'"}'])
def test_too_large_operation(is_lines: bool, end: bytes) -> None:
    """A larger operation is rejected with its position, whether it ends or not."""
    element = PING_TEXT[:-1] + b',"body":"' + b"x" * (limits.operation_bytes_max + 5) + end
    body = (
        make_ndjson_body(*[PING_TEXT] * 9, element)
        if is_lines
        else make_json_body(*[PING_TEXT] * 9, element)
    )

    problem = read_refusal(body, is_lines=is_lines, window_bytes=limits.batch_window_bytes)

    assert 413 == problem.status
    assert "operations.item:9 " in problem.detail


def test_too_large_operation_after_other_keys() -> None:
    """If other keys come first, the smaller limit of such bodies applies to the operation."""
    element = PING_TEXT[:-1] + b',"body":"' + b"x" * (limits.operation_bytes_max + 5) + b'"}'
    problem = read_refusal(b'{"x":1,' + make_json_body(PING_TEXT, element)[1:])

    assert 400 == problem.status
    assert f"more than {limits.unstreamed_body_bytes_max} bytes" in problem.detail
    assert "Put it first" in problem.detail


def test_other_keys_first() -> None:
    """A body with other keys first is read as a whole, up to a limit that the problem explains."""
    filling = b'{"x":"' + b"y" * (limits.unstreamed_body_bytes_max - 200)
    rest = b'","operations":[' + PING_TEXT + b"]}"

    assert [PINGED] == read_operations(filling + rest)
    problem = read_refusal(filling + b"y" * 200 + rest)
    assert 400 == problem.status
    assert "Put it first" in problem.detail


def test_other_keys_last() -> None:
    """Keys after `operations` are ignored, up to the same limit."""
    begin = (
        b'{"operations":['
        + PING_TEXT
        + b'],"x":"'
        + b"y" * (limits.unstreamed_body_bytes_max - 200)
    )

    assert [PINGED] == read_operations(begin + b'"}')
    problem = read_refusal(begin + b"y" * 200 + b'"}')
    assert 400 == problem.status
    assert "remove the other keys" in problem.detail


def test_large_array_instead_of_an_object() -> None:
    """The problem of a large array names its wrong type, and not its size."""
    body = (
        b"[" + b",".join([PING_TEXT] * (limits.unstreamed_body_bytes_max // len(PING_TEXT))) + b"]"
    )

    assert ("", "Schema describes object, array found instead") == read_error(body)


def test_memory_is_bounded() -> None:
    """A body of 100 MB needs the memory of a few windows."""
    element = PING_TEXT[:-1] + b',"body":"' + b"x" * 10_000 + b'"},'
    reader = BatchReader(Limits(), is_lines=False)
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


MANY = 2_500_000  # values of three bytes each: about as many as an operation may have
BOMB = b"[" + b"[]," * MANY + b"[]]"
NAMES = b",".join(b'"%x":1' % number for number in range(500_000))


@pytest.mark.parametrize(
    "body",
    [
        make_json_body(PING_TEXT[:-1] + b',"body":' + BOMB + b"}"),
        make_json_body(PING_TEXT[:-1] + b',"body":{"a":' + BOMB + b"}}"),
        make_json_body(PING_TEXT[:-1] + b',"params":' + BOMB + b"}"),
        make_json_body(PING_TEXT[:-1] + b',"params":{"a":' + BOMB + b"}}"),
        make_json_body(PING_TEXT[:-1] + b',"params":{' + NAMES + b"}}"),
        make_json_body(PING_TEXT[:-1] + b',"x":' + BOMB + b',"\\u0061":1}'),
        make_json_body(PING_TEXT[:-1] + b"," + NAMES + b',"\\u0061":1}'),
        b'{"x":' + BOMB + b',"operations":[' + PING_TEXT + b"]}",
        b'{"operations":[' + PING_TEXT + b'],"x":' + BOMB + b"}",
        b"{" + NAMES + b',"operations":[' + PING_TEXT + b"," + TWO_KEYS + b"]}",
        b'{"operations":[' + PING_TEXT + b"]," + NAMES + b"}",
        b"{" + NAMES + b"}",
    ],
    ids=[
        "body that is an array",
        "body that is an object",
        "params that are an array",
        "value in params",
        "names in params",
        "ignored value, names in doubt",
        "ignored names, in doubt",
        "beside, first",
        "beside, last",
        "names beside, first",
        "names beside, last",
        "names alone",
    ],
)
def test_memory_for_text_that_is_many_values(body: bytes) -> None:
    """A text that inflates to a few MB with millions of values needs little memory."""
    tracemalloc.start()
    try:
        with suppress(Refused):
            read_operations(body, window_bytes=limits.batch_window_bytes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 48 * 1024 * 1024


def test_read_batch() -> None:
    """A body can be read at once, and an empty body lacks its operations."""
    assert [PINGED] * 20_000 == read_batch(make_json_body(*[PING_TEXT] * 20_000))
    with pytest.raises(Refused):
        read_batch(b"")
