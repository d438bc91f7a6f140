"""The operations of a body do not depend on how it is written and cut into pieces."""

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchway.contract.problems import Refused
from batchway.limits import Limits
from batchway.model.operation import METHODS, Operation
from batchway.surfaces.mailchimp.batch_reader import BatchReader
from tests.batch_bodies import read_batch

# Texts with all that may be taken for the end of an operation, or for one of its keys.
texts = st.one_of(
    st.text(max_size=8),
    st.text('{}[]",:\\ \n/pathé\u2028\U0001f41d', max_size=20),
    st.sampled_from(["},{", '"},{"', '\\"},{\\"', "]}", '"]}', "path", '"path', '{"path":"', "\\"]),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=3,
)
others = st.dictionaries(texts, values, max_size=2)
operations = st.fixed_dictionaries(
    {"method": st.sampled_from(METHODS), "path": texts.map(lambda text: "/" + text)},
    optional={
        "params": st.none() | st.dictionaries(texts, values, max_size=2),
        "body": st.none() | texts | st.lists(values, max_size=2) | others,
        "operation_id": st.none() | texts | st.integers(),
        "unknown": values,
        "path_params": st.dictionaries(st.sampled_from(["path", "x"]), texts, max_size=2),
    },
)
spaces = st.text(" \t\r\n", max_size=3)
styles = st.tuples(spaces, st.booleans())  # white space, and whether all is ASCII
sizes = st.lists(st.integers(1, 60), max_size=20)
windows = st.integers(1, 300)


def write_json(found: Any, style: tuple[str, bool]) -> str:
    """Return JSON with white space in every place."""
    space, is_ascii = style
    separators = (f"{space},{space}", f"{space}:{space}")
    return space + json.dumps(found, separators=separators, ensure_ascii=is_ascii) + space


def cut(body: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cut the body into pieces of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(body[:size])
        body = body[size:]
    return [*pieces, body]


def read(pieces: Iterable[bytes], *, is_lines: bool, window_bytes: int) -> list[Operation]:
    """Return the operations of a body that arrives in pieces."""
    reader = BatchReader(Limits(), is_lines=is_lines, window_bytes=window_bytes)
    found = [operation for piece in pieces for group in reader.feed(piece) for operation in group]
    return found + [operation for group in reader.finish() for operation in group]


@given(st.lists(operations, max_size=8), styles, others, sizes, windows)
def test_any_object(
    found: list[Any],
    style: tuple[str, bool],
    others: dict[str, Any],
    sizes: list[int],
    window_bytes: int,
) -> None:
    """A JSON body is read with other keys before or after the operations."""
    plain = read_batch(json.dumps({"operations": found}).encode())
    others.pop("operations", None)
    for document in ({"operations": found} | others, others | {"operations": found}):
        body = write_json(document, style).encode()

        assert plain == read(cut(body, sizes), is_lines=False, window_bytes=window_bytes)


@given(
    st.lists(operations, max_size=8),
    st.tuples(st.text(" \t\r", max_size=2), st.booleans()),
    sizes,
    windows,
)
def test_any_lines(
    found: list[Any], style: tuple[str, bool], sizes: list[int], window_bytes: int
) -> None:
    """NDJSON is read with blank lines, and with or without a final line break."""
    plain = read_batch(json.dumps({"operations": found}).encode())
    lines = [write_json(operation, style) for operation in found]
    for between, end in (("\n", ""), ("\n", "\n"), (f"\n{style[0]}\n\n", f"\n{style[0]}")):
        body = (between.join(lines) + end).encode()

        assert plain == read(cut(body, sizes), is_lines=True, window_bytes=window_bytes)


pieces_of_json = st.one_of(
    st.sampled_from(
        ['{"operations":[', '{"method":"GET","path":"/"}', ",", "]", "}", "{", "[", '"', "\\", "\n"]
    ),
    st.sampled_from(['{"method":"GET"}', '"path"', ":", "null", "1", "NaN", "\ufeff", " ", "},{"]),
    texts,
)
garbage = st.one_of(
    st.binary(max_size=60),
    st.lists(pieces_of_json, max_size=30).map(lambda parts: "".join(parts).encode()),
    st.lists(pieces_of_json, max_size=20).map(lambda p: ('{"operations":[' + "".join(p)).encode()),
    st.lists(operations | values, max_size=6).map(
        lambda found: json.dumps({"operations": found}).encode()
    ),
)


def outcome(pieces: Iterable[bytes], *, is_lines: bool, window_bytes: int) -> Any:
    """Return the operations, or the problem."""
    try:
        return read(pieces, is_lines=is_lines, window_bytes=window_bytes)
    except Refused as refused:
        assert refused.problem.status in {400, 413}  # noqa: PT017 - one of two right answers
        return refused.problem


@given(garbage, st.booleans(), sizes, windows)
def test_any_bytes(body: bytes, is_lines: bool, sizes: list[int], window_bytes: int) -> None:
    """Any bytes are read or refused, in the same way however they are cut."""
    at_once = outcome([body], is_lines=is_lines, window_bytes=window_bytes)

    assert at_once == outcome(cut(body, sizes), is_lines=is_lines, window_bytes=window_bytes)


@given(garbage, windows)
def test_window_decides_nothing(body: bytes, window_bytes: int) -> None:
    """A body is refused with small windows exactly if it is refused as a whole."""
    whole = outcome([body], is_lines=False, window_bytes=10_000)
    found = outcome([body], is_lines=False, window_bytes=window_bytes)

    assert whole == found or (not isinstance(whole, list) and not isinstance(found, list))
