"""The results of a batch, read from its segments: while it runs from the store, then the archive.

Whole segments are passed over by what their index says, without being read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import chain

import msgspec

from batchway.archive import read_bare, read_segment, result_place
from batchway.archives.base import Archive
from batchway.errors import ArchiveMissing
from batchway.model.batch import Batch
from batchway.model.operation import Operation, operations_between
from batchway.model.result import is_error
from batchway.model.segment import Kind
from batchway.store import inputs, segments
from batchway.store.database import Database
from batchway.store.segments import SegmentKey


@dataclass(frozen=True, slots=True)
class Filter:
    """Which results are wanted; conditions are ANDed, None is none."""

    status_code: int | None = None
    errored: bool | None = None
    operation_id: str | None = None
    path: str | None = None

    @property
    def is_on_operations(self) -> bool:
        """Whether the operations must be looked at."""
        return self.operation_id is not None or self.path is not None

    def wants_operation(self, operation: Operation) -> bool:
        """Whether an operation can be one of those."""
        return (self.operation_id is None or operation.operation_id == self.operation_id) and (
            self.path is None or operation.path == self.path
        )

    def wants_status(self, status_code: int) -> bool:
        """Whether a status can be that of one of those."""
        is_errored = is_error(status_code)
        return (self.status_code is None or self.status_code == status_code) and (
            self.errored is None or self.errored == is_errored
        )

    def count_in(self, key: SegmentKey) -> int | None:
        """How many results of a segment are wanted, or None if it must be read to tell."""
        if key.status_counts is None or self.is_on_operations:
            return None
        return sum(
            count
            for status_code, count in key.status_counts.items()
            if self.wants_status(status_code)
        )

    def may_be_in(self, key: SegmentKey) -> bool:
        """Whether the index of a segment leaves room for wanted results."""
        statuses = key.status_counts
        return statuses is None or any(map(self.wants_status, statuses))


@dataclass(frozen=True, slots=True)
class Recorded:
    """One result with its operation; `response` is JSON text, `page` that of a paged GET."""

    position: int
    page: int
    operation: Operation
    status_code: int
    response: bytes

    @property
    def place(self) -> "Place":
        """Where it stands among all results."""
        return self.position, self.page


Place = tuple[int, int]  # position and page, in the order of results


class _Entry(msgspec.Struct):
    status_code: int
    response: str


_entries = msgspec.json.Decoder(list[_Entry])


@dataclass(frozen=True)
class Results:
    """Reads the results of one batch, as far as they are recorded, in the order of operations."""

    database: Database
    archive: Archive
    batch: Batch
    wanted: Filter = field(default_factory=Filter)

    def page(self, count: int, offset: int, bytes_max: int) -> tuple[list[Recorded], int]:
        """One page of the wanted results, and how many there are in all.

        The page ends early behind the result with which its responses have `bytes_max` bytes.
        """
        taken, total = _Taken(count, bytes_max), 0
        for group in _groups(self._keys()):
            held, read = self._count_in(group), 0
            if held is None or (total + held > offset and not taken.is_full):
                for read, each in enumerate(self._of(group), 1):
                    if total + read > offset:
                        taken.add(each)
                    if held is not None and taken.is_full:
                        break
            total += read if held is None else held
        return taken.results, total

    def all(self, offset: int = 0) -> Iterator[Recorded]:
        """All wanted results behind the first ones, few segments in memory at a time."""
        for group in _groups(self._keys()):
            held = self._count_in(group)
            if held is not None and held <= offset:
                offset -= held
                continue
            for each in self._of(group):
                if offset:
                    offset -= 1
                else:
                    yield each

    def at(self, position: int, page: int) -> tuple[Operation, Recorded | None] | None:
        """The operation at a position and one page of its result, if there is one yet."""
        operation = next(iter(self._operations(position, position + 1)), None)
        if operation is None:
            return None
        for key in self._keys():
            if _place(key) <= (position, page) < _end(key):
                for each in self._of([key]):
                    if each.place == (position, page):
                        return operation, each
        return operation, None

    def _keys(self) -> Sequence[SegmentKey]:
        with self.database.read() as connection:
            keys = segments.keys(connection, self.batch)
        return [key for key in keys if self.wanted.may_be_in(key)]

    def _count_in(self, group: Iterable[SegmentKey]) -> int | None:
        """How many results of some segments are wanted, or None if one must be read to tell."""
        total = 0
        for key in group:
            held = self.wanted.count_in(key)
            if held is None:
                return None
            total += held
        return total

    def _of(self, group: Sequence[SegmentKey]) -> Iterator[Recorded]:
        """The wanted results of some segments, in their order; reads no segment before its turn."""
        of_operations = [self._read(key) for key in group if not key.first_page]
        of_pages = map(self._read, (key for key in group if key.first_page))
        return merge(
            *of_operations, chain.from_iterable(of_pages), key=lambda recorded: recorded.place
        )

    def _read(self, key: SegmentKey) -> Iterator[Recorded]:
        """The wanted results of one segment."""
        operations = dict(
            enumerate(self._operations(key.first_position, key.end_position), key.first_position)
        )
        wanted = {
            position: operation
            for position, operation in operations.items()
            if self.wanted.wants_operation(operation)
        }
        if not wanted:
            return
        for position, page, entry in _entries_of(self.batch, key, self._data(key), operations):
            if position in wanted and self.wanted.wants_status(entry.status_code):
                response = entry.response.encode("utf-8", "surrogatepass")
                yield Recorded(position, page, wanted[position], entry.status_code, response)

    def _operations(self, first_position: int, end_position: int) -> list[Operation]:
        with self.database.read() as connection:
            pieces = inputs.between(connection, self.batch, first_position, end_position)
        return operations_between(pieces, first_position, end_position)

    def _data(self, key: SegmentKey) -> bytes:
        if key.archive_offset is None:
            with self.database.read() as connection:
                data = segments.data(connection, self.batch, key)
                if data is not None:
                    return data
                found = segments.again(connection, self.batch, key)  # the batch has just finished
            if found is None:
                raise ArchiveMissing(self.batch.public_id)
            key = found
        return self.archive.read_range(
            self.batch.public_id, key.archive_offset or 0, key.byte_count
        )


@dataclass
class _Taken:
    """The results of one page, until there are as many as were asked for, or they are large."""

    count: int
    bytes_max: int
    results: list[Recorded] = field(default_factory=list)
    byte_count: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.results) >= self.count or self.byte_count >= self.bytes_max

    def add(self, recorded: Recorded) -> None:
        """Take a result, if there is room."""
        if not self.is_full:
            self.results.append(recorded)
            self.byte_count += len(recorded.response)


def _groups(keys: Iterable[SegmentKey]) -> Iterator[list[SegmentKey]]:
    """Segments in their order; together those whose results stand among one another's."""
    group: list[SegmentKey] = []
    end: Place = (0, 0)
    for key in keys:
        if group and _place(key) >= end:
            yield group
            group = []
        group.append(key)
        end = max(end, _end(key))
    if group:
        yield group


def _place(key: SegmentKey) -> Place:
    """That of its first result."""
    return key.first_position, key.first_page


def _end(key: SegmentKey) -> Place:
    """The one behind its last result. Further pages of one GET have segments of their own."""
    page_count = key.result_count if key.first_page else 1
    return key.end_position - 1, key.first_page + page_count


def _entries_of(
    batch: Batch, key: SegmentKey, data: bytes, operations: Mapping[int, Operation]
) -> Iterator[tuple[int, int, _Entry]]:
    """Each result of a segment with its position and page."""
    if key.kind is Kind.FILES:
        for name, content in read_segment(data):
            [entry] = _entries.decode(content)
            yield *result_place(batch.id, name), entry
    else:
        positions = (at for at, operation in operations.items() if operation.method != "GET")
        for position, entry in zip(positions, _entries.decode(read_bare(data)), strict=False):
            yield position, 0, entry
