"""What a row measures, and how its contestants take turns."""

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
    """What a line should reach."""

    text: str
    of: Literal["ratio", "median", "largest", "difference"]
    bound: float
    is_lower_bound: bool = False


def ratio_at_least(bound: float) -> Aim:
    """The median is at least so many times that of what it is compared with."""
    return Aim(f"≥ {bound:g} times", "ratio", bound, is_lower_bound=True)


def ratio_at_most(bound: float) -> Aim:
    """The median is at most so many times that of what it is compared with."""
    return Aim(f"≤ {bound:g} times", "ratio", bound)


def median_at_most(bound: float, unit: str) -> Aim:
    """The median is at most this."""
    return Aim(f"≤ {bound:g} {unit}", "median", bound)


def largest_at_most(bound: float, unit: str) -> Aim:
    """No measurement is over this."""
    return Aim(f"≤ {bound:g} {unit}", "largest", bound)


def difference_at_most(bound: float, unit: str) -> Aim:
    """The median is at most this over that of what it is compared with."""
    return Aim(f"≤ {bound:g} {unit} more", "difference", bound)


class Line(msgspec.Struct, frozen=True):
    """One line of the table: one contestant, what it is compared with, and the aim."""

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
        """Of the medians."""
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
    """What a row needs is not there; the text says what."""


@dataclass(frozen=True)
class Run:
    """How much a row measures, and whom it tells of its progress."""

    operations: int
    many: int  # operations of a batch that others meet, or wait behind
    rounds: int
    is_full: bool
    told: Callable[[str], None]

    def alternate(self, contestants: Contestants) -> Values:
        """What each measured, in turns; who begins changes with the round."""
        names = list(contestants)
        values: Values = {}
        for number in range(self.rounds):
            first = number % len(names)
            for name in [*names[first:], *names[:first]]:
                self.told(f"round {number + 1}: {name}")
                found = contestants[name]()
                measured = found if isinstance(found, Mapping) else {name: found}
                for what, value in measured.items():
                    values.setdefault(what, []).append(value)
        return values

    def gather(self, measure: Callable[[], Mapping[str, float]]) -> Values:
        """As `alternate`, where one function measures everything of a round."""
        return self.alternate({"all": measure})


@dataclass(frozen=True)
class Alone:
    """A row that measures all it compares."""

    title: str
    measure: Callable[[Run], list[Line]]


@dataclass(frozen=True)
class Together:
    """A row whose contestants take turns with those of others; who has the same name is one.

    `contestants` raises Skipped where one is not there.
    """

    title: str
    contestants: Callable[[Run], Contestants]
    lines: Callable[[Run, Values], list[Line]]


Row = Alone | Together


def percentile(values: list[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


@contextmanager
def busy_cores() -> Iterator[list[float]]:
    """Fills the list at the end of the block: percent that each core was busy, busiest first."""
    busy: list[float] = []
    psutil.cpu_percent(percpu=True)
    yield busy
    busy.extend(sorted(psutil.cpu_percent(percpu=True), reverse=True))
