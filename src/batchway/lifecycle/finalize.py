"""Finalize: join the segments into the archive, make it durable, then tell that it is there.

The archive is written under the batch's own key, so that a second run writes the same again.
"""

from collections.abc import Iterator, Sequence

from batchway import limits
from batchway.archive import (
    FIRST_SEGMENT_OFFSET,
    PAGES_MAX,
    POSITIONS_MAX,
    Brackets,
    archive_parts,
    result_file_name,
)
from batchway.errors import Stale
from batchway.faults import FaultPoint, fault
from batchway.kit.clock import SECOND
from batchway.lifecycle.admit import admit_next
from batchway.lifecycle.announce import announce
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Status
from batchway.model.segment import Kind, Segment
from batchway.store import accounts, batches, segments
from batchway.store.segments import SegmentKey

Offsets = list[tuple[SegmentKey, int]]


def finalize(parts: Parts, batch_id: int) -> None:
    """Compile the results of a batch. May run twice and die anywhere."""
    with parts.database.read() as connection:
        batch = batches.get(connection, batch_id)
        if batch is None or batch.status is not Status.FINALIZING:
            return
        keys = segments.keys(connection, batch)
    fault(FaultPoint.FINALIZE_AFTER_STATUS)
    offsets: Offsets = []
    archive_bytes = _write(parts, batch, keys, offsets)
    if not _finish(parts, batch, offsets, archive_bytes):
        _drop_if_gone(parts, batch)
    fault(FaultPoint.FINALIZE_AFTER_COMMIT)


def _write(parts: Parts, batch: Batch, keys: Sequence[SegmentKey], offsets: Offsets) -> int:
    """The archive's size; a batch without operations has none. Fills in `offsets`."""
    if not keys:
        return 0
    joined = _joined(parts, batch, keys, offsets)
    size = parts.archive.write(batch.public_id, archive_parts(joined))
    fault(FaultPoint.FINALIZE_AFTER_WRITE)
    return size


def _joined(
    parts: Parts, batch: Batch, keys: Sequence[SegmentKey], offsets: Offsets
) -> Iterator[Segment]:
    """What the archive is made of, one segment in memory at a time; notes where each stands."""
    offsets.clear()
    offset = FIRST_SEGMENT_OFFSET
    for key, segment in _arranged(parts, batch, keys):
        if key is not None:
            offsets.append((key, offset))
        yield segment
        offset += len(segment.data)


def _arranged(
    parts: Parts, batch: Batch, keys: Sequence[SegmentKey]
) -> Iterator[tuple[SegmentKey | None, Segment]]:
    """Bare results in files together, then the segments that hold files; brackets have no key."""
    for number, group in enumerate(_groups([key for key in keys if key.kind is Kind.RESULTS])):
        name = result_file_name(batch.id, POSITIONS_MAX - 1 - number, PAGES_MAX - 1)
        brackets = Brackets(name, [key.raw_bytes for key in group], batch.submitted_at // SECOND)
        for key in group:
            yield None, brackets.before()
            yield key, _load(parts, batch, key)
        yield None, brackets.end()
    for key in keys:
        if key.kind is Kind.FILES:
            yield key, _load(parts, batch, key)


def _groups(keys: Sequence[SegmentKey]) -> Iterator[list[SegmentKey]]:
    """One group, unless it is larger than a file in an archive may be."""
    group: list[SegmentKey] = []
    size = 0
    for key in keys:
        if group and size + key.raw_bytes > limits.results_file_bytes_max:
            yield group
            group, size = [], 0
        group.append(key)
        size += key.raw_bytes + 1
    if group:
        yield group


def _load(parts: Parts, batch: Batch, key: SegmentKey) -> Segment:
    with parts.database.read() as connection:
        data = segments.data(connection, batch, key)
    if data is None:
        raise Stale  # another run has finished meanwhile
    return Segment(data, key.crc32, key.raw_bytes, key.file_count)


def _finish(parts: Parts, batch: Batch, offsets: Offsets, archive_bytes: int) -> bool:
    archive_key = batch.public_id if offsets else None
    with parts.database.write() as connection:
        accounts.lock(connection, batch.account_id)
        now = parts.clock()
        if not batches.finish(connection, batch, archive_key, archive_bytes, now):
            return False
        segments.locate(connection, batch, offsets)
        segments.drop_data(connection, batch)
        announce(parts, connection, batch, now)
        admit_next(parts, connection, batch.account_id)
        fault(FaultPoint.FINALIZE_BEFORE_COMMIT)
    return True


def _drop_if_gone(parts: Parts, batch: Batch) -> None:
    """The batch was deleted while its archive was written, perhaps after the sweep's visit."""
    with parts.database.read() as connection:
        now = batches.get(connection, batch.id)
    if now is None or now.status is Status.DELETED:
        parts.archive.delete(batch.public_id)
