"""The bodies of batches, which are made once and used for many lists."""

import random
from collections.abc import Callable
from functools import lru_cache

import operations
from operations import Operation, make_body_pieces

LIST_ID = "L" * 10  # stands for the list in a body that is kept
_SEED = 4

_KINDS: dict[str, Callable[[str, int, str], Operation]] = {
    "add": operations.add,
    "upsert": operations.upsert,
    "update": operations.update,
    "tag": operations.tag,
    "archive": operations.archive,
    "mixed": operations.mixed,
}


def make_body(kind: str, count: int, list_id: str, prefix: str = "contact") -> bytes:
    """Return the body of a batch with operations of a kind, on the contacts 0 to count."""
    return _make_body(kind, count, prefix).replace(LIST_ID.encode(), list_id.encode())


def make_preparation(count: int, list_id: str) -> tuple[bytes, int]:
    """Return the body of a batch with the contacts that `mixed` requires, and their number.

    See `operations.mixed`.
    """
    numbers = [index for index in range(count) if index % 10 >= 5]
    made = (operations.add(list_id, index) for index in numbers)
    return b"".join(make_body_pieces(made)), len(numbers)


def count_mixed_errors(count: int) -> int:
    """Return how many of `count` mixed operations fail."""
    return len(range(0, count, 20))


@lru_cache(maxsize=8)
def _make_body(kind: str, count: int, prefix: str) -> bytes:
    made = (_KINDS[kind](LIST_ID, index, prefix) for index in range(count))
    if kind == "mixed":
        made = iter(shuffle(list(made)))
    return b"".join(make_body_pieces(made))


def shuffle(made: list[Operation]) -> list[Operation]:
    """Return the operations in a random order, which is the same in every run."""
    random.Random(_SEED).shuffle(made)
    return made
