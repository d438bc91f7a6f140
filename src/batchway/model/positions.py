"""Positions of operations in a batch: an ascending set of numbers, kept as ranges."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Self


@dataclass(frozen=True, slots=True)
class Positions:
    """A set of positions, in ascending order.

    `ranges` are not empty, ascend, and neither overlap nor touch, so that equal sets are equal
    values. As text, the ranges name their first and last position: `0-99,105`.
    """

    ranges: tuple[range, ...] = ()

    @classmethod
    def span(cls, first: int, count: int) -> Self:
        """Return `count` consecutive positions from `first` on."""
        return cls((range(first, first + count),) if count else ())

    @classmethod
    def collect(cls, numbers: Iterable[int]) -> Self:
        """Return the set of these numbers, given in any order."""
        ordered = sorted(set(numbers))
        if ordered and ordered[-1] - ordered[0] + 1 == len(ordered):
            return cls.span(ordered[0], len(ordered))
        ranges: list[range] = []
        for number in ordered:
            if ranges and ranges[-1].stop == number:
                ranges[-1] = range(ranges[-1].start, number + 1)
            else:
                ranges.append(range(number, number + 1))
        return cls(tuple(ranges))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the set whose text `str` returns; raises ValueError for any other text."""
        parsed = cls(tuple(map(_parse_range, text.split(",")))) if text else cls()
        gaps = zip(parsed.ranges, parsed.ranges[1:], strict=False)
        if any(before.stop >= after.start for before, after in gaps):
            message = f"Positions must ascend, with a gap between ranges: {text[:100]!r}"
            raise ValueError(message)
        return parsed

    def __str__(self) -> str:
        return ",".join(map(_format_range, self.ranges))

    def __len__(self) -> int:
        return sum(map(len, self.ranges))

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.ranges)

    def __contains__(self, position: int) -> bool:
        return any(position in part for part in self.ranges)

    @property
    def first(self) -> int:
        """The lowest position; 0 if the set is empty."""
        return self.ranges[0].start if self.ranges else 0

    @property
    def end(self) -> int:
        """The number after the highest position; 0 if the set is empty."""
        return self.ranges[-1].stop if self.ranges else 0

    @property
    def is_consecutive(self) -> bool:
        """Whether the set has no gap."""
        return len(self.ranges) <= 1

    def split_at(self, count: int) -> tuple[Self, Self]:
        """Return the first `count` positions, and all others."""
        head: list[range] = []
        tail: list[range] = []
        for part in self.ranges:
            head.append(part[:count])
            tail.append(part[count:])
            count = max(count - len(part), 0)
        return self._join(head), self._join(tail)

    def clip(self, first: int, end: int) -> Self:
        """Return the positions that are at least `first` and less than `end`."""
        return self._join(
            range(max(part.start, first), min(part.stop, end)) for part in self.ranges
        )

    def remove(self, others: "Positions") -> Self:
        """Return the positions that are not in `others`."""
        return self.collect(set(self).difference(others))

    @classmethod
    def _join(cls, ranges: Iterable[range]) -> Self:
        return cls(tuple(part for part in ranges if part))


def _parse_range(text: str) -> range:
    first, _, last = text.partition("-")
    parsed = range(int(first), int(last or first) + 1)
    if not parsed or _format_range(parsed) != text:
        message = f"This is no range of positions: {text[:100]!r}"
        raise ValueError(message)
    return parsed


def _format_range(part: range) -> str:
    return str(part.start) if len(part) == 1 else f"{part.start}-{part.stop - 1}"
