"""How a batch's progress is put into words."""

import pytest

from batchway.cli.watching import Batch, Pace, line


def batch(finished_operations: int) -> Batch:
    """A batch of a hundred operations."""
    return Batch("b1", "started", 100, finished_operations, 3)


@pytest.mark.parametrize(
    ("finished_before", "seconds", "expected"),
    [(0, 2.0, 25), (40, 2.0, 5), (0, 0.0, 0), (50, 4.0, 0)],
)
def test_the_pace_counts_from_where_the_watching_began(
    finished_before: int, seconds: float, expected: int
) -> None:
    """Who looks at a batch in the middle is not told of operations that ran before."""
    times = iter([10.0, 10.0 + seconds])
    pace = Pace.of(batch(finished_before), lambda: next(times))

    assert expected == pace.per_second(batch(50))


def test_a_line_of_progress_has_all_numbers() -> None:
    """Status, finished, total, errored and operations per second."""
    times = iter([10.0, 12.0])
    pace = Pace.since_now(lambda: next(times))

    assert "started: 50 of 100 operations, 3 errored, 25 per second" == line(batch(50), pace)
