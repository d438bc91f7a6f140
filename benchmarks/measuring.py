"""The types of a row, and how its contestants alternate."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import msgspec
import psutil

RATE = "operations/s"
PER_OPERATION = "µs per operation"
SECONDS = "s"
MILLISECONDS = "ms"
MEGABYTES = "MB"


class Aim(msgspec.Struct, frozen=True):
    """The value that a line should reach."""

    text: str
    of: Literal["ratio", "median", "largest", "difference"]
    bound: float
    is_lower_bound: bool = False


def ratio_at_least(bound: float) -> Aim:
    """The median is at least `bound` times that of the comparison."""
    return Aim(f"≥ {bound:g} times", "ratio", bound, is_lower_bound=True)


def ratio_at_most(bound: float) -> Aim:
    """The median is at most `bound` times that of the comparison."""
    return Aim(f"≤ {bound:g} times", "ratio", bound)


def median_at_most(bound: float, unit: str) -> Aim:
    """The median is at most `bound`."""
    return Aim(f"≤ {bound:g} {unit}", "median", bound)


def largest_at_most(bound: float, unit: str) -> Aim:
    """No measurement exceeds `bound`."""
    return Aim(f"≤ {bound:g} {unit}", "largest", bound)


def difference_at_most(bound: float, unit: str) -> Aim:
    """The median exceeds that of the comparison by at most `bound`."""
    return Aim(f"≤ {bound:g} {unit} more", "difference", bound)


class Line(msgspec.Struct, frozen=True):
    """One line of the table: a contestant, its comparison, and the aim."""

    what: str
    unit: str
    values: list[float]
    against: str = ""
    against_values: list[float] = []
    aim: Aim | None = None
    note: str = ""
    size: int = 0  # operations of the batch, where sizes are compared

    @property
    def ratio(self) -> float | None:
        """The ratio of the medians, or None without a comparison."""
        if not self.against_values:
            return None
        return statistics.median(self.values) / statistics.median(self.against_values)

    @property
    def is_reached(self) -> bool | None:
        """Whether the aim is reached; None without an aim."""
        if self.aim is None:
            return None
        value = self._judged(self.aim.of)
        return value >= self.aim.bound if self.aim.is_lower_bound else value <= self.aim.bound

    def _judged(self, of: str) -> float:
        if of == "ratio":
            assert self.ratio is not None
            return self.ratio
        if of == "difference":
            return statistics.median(self.values) - statistics.median(self.against_values)
        return max(self.values) if of == "largest" else statistics.median(self.values)


Values = dict[str, list[float]]  # of all rounds, by what was measured
# By name, who measures one thing, or several and names them.
Contestants = Mapping[str, Callable[[], float | Mapping[str, float]]]


class Skipped(Exception):
    """A requirement of a row is missing; the text says which."""


@dataclass(frozen=True)
class Run:
    """How much a row measures, and the function that shows its progress."""

    operations: int
    many: int  # operations of a batch that others meet, or wait behind
    rounds: int
    is_full: bool
    show_progress: Callable[[str], None]

    def alternate(self, contestants: Contestants) -> Values:
        """Return the values of all contestants, which alternate within a round."""
        names = list(contestants)
        values: Values = {}
        for number in range(self.rounds):
            first = number % len(names)
            for name in [*names[first:], *names[:first]]:
                self.show_progress(f"round {number + 1}: {name}")
                found = contestants[name]()
                measured = found if isinstance(found, Mapping) else {name: found}
                for what, value in measured.items():
                    values.setdefault(what, []).append(value)
        return values

    def gather(self, measure: Callable[[], Mapping[str, float]]) -> Values:
        """Return the values of a function that measures everything of a round."""
        return self.alternate({"all": measure})


@dataclass(frozen=True)
class Alone:
    """A row that measures all its contestants itself."""

    title: str
    measure: Callable[[Run], list[Line]]


@dataclass(frozen=True)
class Together:
    """A row whose contestants alternate with those of other rows. Equal names are measured once.

    `contestants` raises Skipped if one is missing.
    """

    title: str
    contestants: Callable[[Run], Contestants]
    lines: Callable[[Run, Values], list[Line]]


Row = Alone | Together


def percentile(values: list[float], percent: int) -> float:
    """Return the value that `percent` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


@contextmanager
def busy_cores() -> Iterator[list[float]]:
    """Measure how busy each core is: the list has percents, busiest first, after the block."""
    busy: list[float] = []
    psutil.cpu_percent(percpu=True)
    yield busy
    busy.extend(sorted(psutil.cpu_percent(percpu=True), reverse=True))
