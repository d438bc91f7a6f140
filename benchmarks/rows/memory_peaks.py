"""Row 12: the memory that a batch needs, by its size."""

from dataclasses import asdict

from measuring import MEGABYTES, Line, Run, largest_at_most, ratio_at_most
from memory import measure_batch
from running import warm_server

_LARGEST = 1_000_000
_MOST = 200
_NAMES = {"api": "API", "worker": "worker"}


def memory_peaks(run: Run) -> list[Line]:
    """Measure row 12."""
    sizes = [run.operations, _LARGEST] if run.is_full else [run.operations]
    values = run.gather(lambda: _round(sizes))
    lines = []
    for kind, name in _NAMES.items():
        for size in sizes:
            what = f"{name}, peak over idle, {size:,} operations"
            aim = largest_at_most(_MOST, MEGABYTES)
            lines.append(Line(what, MEGABYTES, values[f"{kind} {size}"], aim=aim))
        if run.is_full:
            lines.append(_flat(name, sizes, [values[f"{kind} {size}"] for size in sizes]))
    return lines


def _flat(name: str, sizes: list[int], values: list[list[float]]) -> Line:
    what, against = (f"{size:,} operations" for size in reversed(sizes))
    aim = ratio_at_most(1.2)
    return Line(f"{name}, {what}", MEGABYTES, values[1], against, values[0], aim)


def _round(sizes: list[int]) -> dict[str, float]:
    found = {}
    for size in sizes:
        with warm_server() as server:
            used = asdict(measure_batch(server, size))
        found |= {f"{kind} {size}": used[kind] for kind in _NAMES}
    return found
