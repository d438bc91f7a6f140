"""Bodies of batches as text, and the operations that the batch reader finds in them."""

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


def read_groups(
    body: bytes, *, is_lines: bool = False, window_bytes: int = SMALL, step: int = 65_536
) -> Iterator[list[Operation]]:
    """Yield the groups of operations in a body that arrives `step` bytes at a time."""
    reader = BatchReader(Limits(), is_lines=is_lines, window_bytes=window_bytes)
    for start in range(0, len(body), step):
        yield from reader.feed(body[start : start + step])
    yield from reader.finish()


def read_operations(
    body: bytes, *, is_lines: bool = False, window_bytes: int = SMALL
) -> list[Operation]:
    """Return all operations of a body."""
    found = read_groups(body, is_lines=is_lines, window_bytes=window_bytes)
    return [operation for group in found for operation in group]


def read_batch(body: bytes) -> list[Operation]:
    """Return all operations of a JSON body, read with the window size of a server."""
    return read_operations(body, window_bytes=limits.batch_window_bytes)


def read_refusal(body: bytes, *, is_lines: bool = False, window_bytes: int = SMALL) -> Problem:
    """Return the problem that a body is refused with."""
    with pytest.raises(Refused) as refused:
        read_operations(body, is_lines=is_lines, window_bytes=window_bytes)
    return refused.value.problem


def read_error(
    body: bytes, *, is_lines: bool = False, window_bytes: int = SMALL
) -> tuple[str, str]:
    """Return field and message of the only error in a body."""
    problem = read_refusal(body, is_lines=is_lines, window_bytes=window_bytes)
    assert (400, "Invalid Resource") == (problem.status, problem.title)
    assert problem.errors
    [found] = problem.errors
    return found.field, found.message


def make_json_body(*elements: bytes) -> bytes:
    """Return a JSON body with these operations."""
    return b'{"operations":[' + b",".join(elements) + b"]}"


def make_ndjson_body(*elements: bytes) -> bytes:
    """Return an NDJSON body with these operations."""
    return b"".join(element + b"\n" for element in elements)
