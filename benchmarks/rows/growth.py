"""Row 8: the time per operation, by the size of the batch."""

import statistics
from itertools import pairwise

from measuring import PER_OPERATION, Aim, Line, Run, ratio_at_most
from running import Running, warm_server

_SIZES = (1, 10, 1_000, 100_000)
_LARGEST = 1_000_000
_OPERATIONS_MIN = 5_000  # of small batches several are sent, and their median counts
_BATCHES_MAX = 10
_MICROSECONDS = 1_000_000


def growth(run: Run) -> list[Line]:
    """Measure row 8."""
    sizes = [size for size in _SIZES if size <= run.operations]
    if run.is_full:
        sizes.append(_LARGEST)

    def measure() -> dict[str, float]:
        with warm_server() as server:
            return {str(size): _per_operation(server, size) for size in sizes}

    times = run.gather(measure)
    lines = [Line(_name(sizes[0]), PER_OPERATION, times[str(sizes[0])], size=sizes[0])]
    for before, size in pairwise(sizes):
        against = times[str(before)]
        aim = ratio_at_most(1.2) if size == _LARGEST else Aim("falls", "ratio", 1)
        line = Line(
            _name(size), PER_OPERATION, times[str(size)], _name(before), against, aim, size=size
        )
        lines.append(line)
    return lines


def _per_operation(server: Running, size: int) -> float:
    batches = min(_BATCHES_MAX, -(-_OPERATIONS_MIN // size))
    taken = [server.add_all(size).finished for _ in range(batches)]
    return statistics.median(taken) / size * _MICROSECONDS


def _name(size: int) -> str:
    return f"batch of {size:,}"
