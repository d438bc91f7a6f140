"""The bodies of batches, made once and used for many lists."""

import random
from collections.abc import Callable
from functools import lru_cache

import operations
from operations import Operation, body_of

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


def of(kind: str, count: int, list_id: str, prefix: str = "contact") -> bytes:
    """The body of a batch of so many operations of a kind, on the contacts 0 to count."""
    return _made(kind, count, prefix).replace(LIST_ID.encode(), list_id.encode())


def there_before(count: int, list_id: str) -> tuple[bytes, int]:
    """The body of the batch that adds the contacts which `mixed` takes to be there; their number.

    See `operations.mixed`.
    """
    numbers = [index for index in range(count) if index % 10 >= 5]
    made = (operations.add(list_id, index) for index in numbers)
    return b"".join(body_of(made)), len(numbers)


def mixed_errored(count: int) -> int:
    """How many of so many mixed operations fail."""
    return len(range(0, count, 20))


@lru_cache(maxsize=8)
def _made(kind: str, count: int, prefix: str) -> bytes:
    made = (_KINDS[kind](LIST_ID, index, prefix) for index in range(count))
    if kind == "mixed":
        made = iter(shuffled(list(made)))
    return b"".join(body_of(made))


def shuffled(made: list[Operation]) -> list[Operation]:
    """The operations in an order by chance, the same in every run."""
    random.Random(_SEED).shuffle(made)
    return made
