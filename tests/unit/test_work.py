"""A chunk that is loaded again uses the operations that were loaded before."""

from typing import Any

import pytest

from batchway.lifecycle.work import Work
from batchway.model.batch import Chunk
from batchway.model.operation import Operation
from batchway.model.positions import Positions

OPERATIONS = [Operation("GET", f"/{position}", {}, None, None) for position in (0, 1, 2, 7, 8)]
NOTHING: Any = None  # of no concern here
WORK = Work(NOTHING, Chunk(0, Positions.parse("0-2,7-8")), 1, NOTHING, False, OPERATIONS)


@pytest.mark.parametrize(
    ("positions", "paths"),
    [
        ("0-2,7-8", ["/0", "/1", "/2", "/7", "/8"]),
        ("2,7-8", ["/2", "/7", "/8"]),
        ("8", ["/8"]),
    ],
)
def test_last_operations(positions: str, paths: list[str]) -> None:
    """The operations that are left after the first ones are done are found in memory."""
    found = WORK.find_last_operations(Positions.parse(positions))

    assert found is not None
    assert paths == [operation.path for operation in found]


@pytest.mark.parametrize("positions", ["0-2", "1,8", "9", "0-99"])
def test_other_operations(positions: str) -> None:
    """Any other operations have to be read: those of a half, of a slice, or of another chunk."""
    assert WORK.find_last_operations(Positions.parse(positions)) is None
