"""Read single results of a batch from its segments, without reading the whole archive.

The segments are in the store while the batch runs, and in the archive when it is finished. A
segment that holds no wanted result, as its key shows, is not read.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import chain

from batchway.archives.base import Archive
from batchway.errors import ArchiveMissing
from batchway.formats.base import Format
from batchway.model.batch import Batch
from batchway.model.operation import Operation, select_operations
from batchway.model.positions import Positions
from batchway.model.result import is_error
from batchway.model.segment import SegmentKey
from batchway.store import inputs, segments
from batchway.store.database import Database


@dataclass(frozen=True, slots=True)
class Filter:
    """Which results are wanted: those that meet every condition that is not None."""

    status_code: int | None = None
    errored: bool | None = None
    operation_id: str | None = None
    path: str | None = None

    @property
    def is_on_operations(self) -> bool:
        """Whether the filter has conditions on the operations, which must be read then."""
        return self.operation_id is not None or self.path is not None

    def wants_operation(self, operation: Operation) -> bool:
        """Return whether this operation meets the conditions on operations."""
        return (self.operation_id is None or operation.operation_id == self.operation_id) and (
            self.path is None or operation.path == self.path
        )

    def wants_status(self, status_code: int) -> bool:
        """Return whether this status code meets the conditions on results."""
        return (self.status_code is None or self.status_code == status_code) and (
            self.errored is None or self.errored == is_error(status_code)
        )

    def count_in(self, key: SegmentKey) -> int | None:
        """Return how many wanted results a segment holds; None if it must be read to count them."""
        if key.status_counts is None or self.is_on_operations:
            return None
        return sum(
            count
            for status_code, count in key.status_counts.items()
            if self.wants_status(status_code)
        )

    def may_be_in(self, key: SegmentKey) -> bool:
        """Return whether a segment may hold wanted results, as its key shows."""
        statuses = key.status_counts
        return statuses is None or any(map(self.wants_status, statuses))


Place = tuple[int, int]  # position and page; results are in the order of their places


@dataclass(frozen=True, slots=True)
class RecordedResult:
    """A result with its operation; `response` is JSON text, `page` is the page number of a GET."""

    position: int
    page: int
    operation: Operation
    status_code: int
    response: bytes

    @property
    def place(self) -> Place:
        """The position and the page of the result."""
        return self.position, self.page


@dataclass(frozen=True)
class Results:
    """Reads the results of one batch that are recorded so far, in the order of operations."""

    database: Database
    archive: Archive
    format: Format
    batch: Batch
    wanted: Filter = field(default_factory=Filter)

    def read_page(
        self, count: int, offset: int, bytes_max: int
    ) -> tuple[list[RecordedResult], int]:
        """Return one page of the wanted results, and how many wanted results there are.

        The page ends early after the result with which its responses reach `bytes_max` bytes.
        """
        page, total = _Page(count, bytes_max), 0
        for group in _group_overlapping(self._find_keys()):
            group_count, read_count = self._count_in(group), 0
            if group_count is None or (total + group_count > offset and not page.is_full):
                for read_count, result in enumerate(self._read_group(group), 1):
                    if total + read_count > offset:
                        page.add(result)
                    if group_count is not None and page.is_full:
                        break
            total += read_count if group_count is None else group_count
        return page.results, total

    def iterate(self, offset: int = 0) -> Iterator[RecordedResult]:
        """Yield all wanted results from an offset on, with few segments in memory at a time."""
        for group in _group_overlapping(self._find_keys()):
            group_count = self._count_in(group)
            if group_count is not None and group_count <= offset:
                offset -= group_count
                continue
            for result in self._read_group(group):
                if offset:
                    offset -= 1
                else:
                    yield result

    def find(self, position: int, page: int) -> tuple[Operation, RecordedResult | None] | None:
        """Return the operation at a position and one page of its result; None if missing."""
        operation = next(iter(self._load_operations(Positions.span(position, 1))), None)
        if operation is None:
            return None
        for key in self._find_keys():
            if _may_hold(key, position, page):
                for result in self._read_segment(key):
                    if result.place == (position, page):
                        return operation, result
        return operation, None

    def _find_keys(self) -> Sequence[SegmentKey]:
        with self.database.read() as connection:
            keys = segments.find_keys(connection, self.batch)
        return [key for key in keys if self.wanted.may_be_in(key)]

    def _count_in(self, group: Iterable[SegmentKey]) -> int | None:
        """Return how many wanted results a group holds; None if it must be read to count them."""
        total = 0
        for key in group:
            count = self.wanted.count_in(key)
            if count is None:
                return None
            total += count
        return total

    def _read_group(self, group: Sequence[SegmentKey]) -> Iterator[RecordedResult]:
        """Yield the wanted results of a group in order; a segment is read when it is needed."""
        first_pages = [self._read_segment(key) for key in group if not key.first_page]
        further_pages = map(self._read_segment, (key for key in group if key.first_page))
        return merge(
            *first_pages, chain.from_iterable(further_pages), key=lambda result: result.place
        )

    def _read_segment(self, key: SegmentKey) -> Iterator[RecordedResult]:
        """Yield the wanted results of one segment."""
        operations = dict(zip(key.positions, self._load_operations(key.positions), strict=True))
        wanted = {
            position: operation
            for position, operation in operations.items()
            if self.wanted.wants_operation(operation)
        }
        if not wanted:
            return
        data = self._load_data(key)
        for position, page, result in self.format.read_segment(
            self.batch, key.kind, data, operations
        ):
            if position in wanted and self.wanted.wants_status(result.status_code):
                response = result.response.encode("utf-8", "surrogatepass")
                yield RecordedResult(position, page, wanted[position], result.status_code, response)

    def _load_operations(self, positions: Positions) -> list[Operation]:
        with self.database.read() as connection:
            pieces = inputs.load_pieces(connection, self.batch, positions.first, positions.end)
        return select_operations(pieces, positions)

    def _load_data(self, key: SegmentKey) -> bytes:
        if key.archive_offset is None:
            with self.database.read() as connection:
                data = segments.load_data(connection, self.batch, key)
                if data is not None:
                    return data
                # The batch has finished since the keys were read: its data are in the archive.
                current = segments.find_key(connection, self.batch, key)
            if current is None:
                raise ArchiveMissing(self.batch.public_id)
            key = current
        return self.archive.read_range(
            self.batch.public_id, key.archive_offset or 0, key.byte_count
        )


@dataclass
class _Page:
    """Results, up to a count, or until the responses have `bytes_max` bytes."""

    count: int
    bytes_max: int
    results: list[RecordedResult] = field(default_factory=list)
    byte_count: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.results) >= self.count or self.byte_count >= self.bytes_max

    def add(self, result: RecordedResult) -> None:
        """Add a result, if there is room."""
        if not self.is_full:
            self.results.append(result)
            self.byte_count += len(result.response)


def _group_overlapping(keys: Iterable[SegmentKey]) -> Iterator[list[SegmentKey]]:
    """Group segments so that all results of a group come before those of the next group."""
    group: list[SegmentKey] = []
    end: Place = (0, 0)
    for key in keys:
        if group and _get_first_place(key) >= end:
            yield group
            group = []
        group.append(key)
        end = max(end, _get_end_place(key))
    if group:
        yield group


def _get_first_place(key: SegmentKey) -> Place:
    """Return the place of a segment's first result."""
    return key.first_position, key.first_page


def _get_end_place(key: SegmentKey) -> Place:
    """Return the place after a segment's last result."""
    # Only segments of a GET's further pages hold more than one page of an operation.
    page_count = key.result_count if key.first_page else 1
    return key.positions.end - 1, key.first_page + page_count


def _may_hold(key: SegmentKey, position: int, page: int) -> bool:
    """Return whether a segment may hold the result at a place."""
    is_between = _get_first_place(key) <= (position, page) < _get_end_place(key)
    return is_between and position in key.positions
