"""The results of a batch, read from its segments: while it runs from the store, then the archive.

Whole segments are passed over by what their index says, without being read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from batchway.archive import read_bare, read_segment, result_place
from batchway.archives.base import Archive
from batchway.model.batch import Batch
from batchway.model.operation import Operation, operations_between
from batchway.model.result import Result
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
        is_errored = Result(status_code, b"").is_errored
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

    def page(self, count: int, offset: int) -> tuple[list[Recorded], int]:
        """One page of the wanted results, and how many there are in all."""
        found: list[Recorded] = []
        total = 0
        for key in self._keys():
            held = self.wanted.count_in(key)
            if held is None or (len(found) < count and total + held > offset):
                results = list(self._of(key))
                first = max(offset - total, 0)
                found += results[first : first + count - len(found)]
                held = len(results)
            total += held
        return found, total

    def all(self) -> Iterator[Recorded]:
        """All wanted results, one segment in memory at a time."""
        for key in self._keys():
            yield from self._of(key)

    def at(self, position: int, page: int) -> tuple[Operation, Recorded | None] | None:
        """The operation at a position and one page of its result, if there is one yet."""
        operation = next(iter(self._operations(position, position + 1)), None)
        if operation is None:
            return None
        for key in self._keys():
            if key.first_position <= position < key.end_position:
                for each in self._of(key):
                    if (each.position, each.page) == (position, page):
                        return operation, each
        return operation, None

    def _keys(self) -> Sequence[SegmentKey]:
        with self.database.read() as connection:
            keys = segments.keys(connection, self.batch)
        return [key for key in keys if self.wanted.may_be_in(key)]

    def _of(self, key: SegmentKey) -> Iterator[Recorded]:
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
        for position, page, entry in _read(self.batch, key, self._data(key), operations):
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
                key = segments.again(connection, self.batch, key)  # the batch has just finished
        return self.archive.read_range(
            self.batch.public_id, key.archive_offset or 0, key.byte_count
        )


def _read(
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
