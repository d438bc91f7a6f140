"""Finalize: join the segments into the archive, and when it is durable, finish the batch.

The key of the archive is the public id of the batch, so that a second run writes the same archive.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from batchway.errors import Stale
from batchway.kit.clock import compute_seconds
from batchway.lifecycle.admit import admit_next
from batchway.lifecycle.announce import announce_batch
from batchway.lifecycle.chain import Chain
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Status
from batchway.model.segment import Segment, SegmentKey
from batchway.model.step import Step, StepName
from batchway.observers.base import Event
from batchway.store import accounts, batches, segments

Offsets = list[tuple[SegmentKey, int]]


def begin_finalize(chain: Chain) -> StepName | None:
    """Claim a batch whose chunks are all done; return the step, or None."""
    with chain.parts.database.write() as connection:
        return chain.claim_batch(connection, Step.FINALIZE, Status.FINALIZING)


def finalize_batch(chain: Chain, name: StepName) -> None:
    """Write the archive of a batch that is claimed, and finish the batch."""
    parts = chain.parts
    with parts.database.read() as connection:
        batch = batches.find_claimed(connection, name.key, Status.FINALIZING, parts.worker)
        if batch is None:
            return
        keys = segments.find_keys(connection, batch)
    parts.observe(Event.FINALIZE_AFTER_STATUS)
    archive_bytes, offsets = _write(parts, batch, keys)
    if _finish(parts, batch, offsets, archive_bytes):
        _report_finished(parts, batch, archive_bytes)
    else:
        _delete_orphaned_archive(parts, batch)
    parts.observe(Event.FINALIZE_AFTER_COMMIT)


def _write(parts: Parts, batch: Batch, keys: Sequence[SegmentKey]) -> tuple[int, Offsets]:
    """Write the archive, if there are results; return its size and the offsets of its segments."""
    offsets: Offsets = []
    if not keys:
        return 0, offsets
    joined = parts.get_format(batch).join_segments(batch, keys, partial(_load, parts, batch))
    size = parts.archive.write(batch.public_id, _note_offsets(joined, offsets))
    parts.observe(Event.FINALIZE_AFTER_WRITE)
    return size, offsets


def _note_offsets(
    joined: Iterator[tuple[SegmentKey | None, bytes]], offsets: Offsets
) -> Iterator[bytes]:
    """Yield the bytes of the archive, and note the offset of each segment."""
    offset = 0
    for key, data in joined:
        if key is not None:
            offsets.append((key, offset))
        yield data
        offset += len(data)


def _load(parts: Parts, batch: Batch, key: SegmentKey) -> Segment:
    with parts.database.read() as connection:
        data = segments.load_data(connection, batch, key)
    if data is None:
        raise Stale  # another run has finished the batch meanwhile
    return Segment(data, key.crc32, key.raw_bytes, key.file_count)


def _finish(parts: Parts, batch: Batch, offsets: Offsets, archive_bytes: int) -> bool:
    archive_key = batch.public_id if offsets else None
    with parts.database.write() as connection:
        accounts.lock(connection, batch.account_id)
        now = parts.clock()
        if not batches.finish(connection, batch, archive_key, archive_bytes, parts.worker, now):
            return False
        segments.save_offsets(connection, batch, offsets)
        segments.delete_data(connection, batch)
        announce_batch(parts, connection, batch, now)
        admit_next(parts, connection, batch.account_id)
        parts.observe(Event.FINALIZE_BEFORE_COMMIT)
    return True


def _report_finished(parts: Parts, batch: Batch, archive_bytes: int) -> None:
    parts.observe(
        Event.BATCH_FINISHED,
        batch=batch.public_id,
        operations=batch.total_operations,
        errored=batch.errored_operations,
        archive_bytes=archive_bytes,
        seconds=compute_seconds(batch.submitted_at, parts.clock()),
    )


def _delete_orphaned_archive(parts: Parts, batch: Batch) -> None:
    """Delete the archive if its batch was deleted meanwhile, perhaps after the sweep removed it."""
    with parts.database.read() as connection:
        current = batches.get(connection, batch.id)
    if current is None or current.status is Status.DELETED:
        parts.archive.delete(batch.public_id)
