"""Bodies of batches as text, and what the reader makes of them."""

from collections.abc import Iterator

import pytest

from batchway import limits
from batchway.contract.problems import Problem, Refused
from batchway.limits import Limits
from batchway.model.operation import Operation
from batchway.surfaces.mailchimp.batch_reader import BatchReader

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
    reader = BatchReader(Limits(), is_lines=is_lines, window_bytes=window_bytes)
    for start in range(0, len(body), step):
        yield from reader.feed(body[start : start + step])
    yield from reader.finish()


def read(body: bytes, *, is_lines: bool = False, window_bytes: int = SMALL) -> list[Operation]:
    """All operations of a body."""
    found = groups(body, is_lines=is_lines, window_bytes=window_bytes)
    return [each for group in found for each in group]


def read_batch(body: bytes) -> list[Operation]:
    """All operations of a JSON body, read with the window that a server uses."""
    return read(body, window_bytes=limits.batch_window_bytes)


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
