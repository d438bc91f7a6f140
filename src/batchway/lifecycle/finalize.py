"""Finalize: join the segments into the archive, make it durable, then tell that it is there.

The archive is written under the batch's own key, so that a second run writes the same again.
"""

from batchway.archive import FIRST_SEGMENT_OFFSET, archive_parts
from batchway.faults import FaultPoint, fault
from batchway.lifecycle.admit import admit_next
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch, Status
from batchway.store import accounts, batches, segments


def finalize(parts: Parts, batch_id: int) -> None:
    """Compile the results of a batch. May run twice and die anywhere."""
    with parts.database.read() as connection:
        batch = batches.get(connection, batch_id)
        if batch is None or batch.status is not Status.FINALIZING:
            return
        keys = segments.keys(connection, batch)
    fault(FaultPoint.FINALIZE_AFTER_STATUS)
    archive_bytes = _write(parts, batch, keys)
    if not _finish(parts, batch, keys, archive_bytes):
        _drop_if_gone(parts, batch)
    fault(FaultPoint.FINALIZE_AFTER_COMMIT)


def _write(parts: Parts, batch: Batch, keys: list[segments.SegmentKey]) -> int:
    """The archive's size; a batch without operations has none."""
    if not keys:
        return 0
    loaded = segments.load(parts.database, batch, keys)
    size = parts.archive.write(batch.public_id, archive_parts(loaded))
    fault(FaultPoint.FINALIZE_AFTER_WRITE)
    return size


def _finish(
    parts: Parts, batch: Batch, keys: list[segments.SegmentKey], archive_bytes: int
) -> bool:
    archive_key = batch.public_id if keys else None
    with parts.database.write() as connection:
        accounts.lock(connection, batch.account_id)
        if not batches.finish(connection, batch, archive_key, archive_bytes, parts.clock()):
            return False
        segments.locate(connection, batch, keys, FIRST_SEGMENT_OFFSET)
        segments.drop_data(connection, batch)
        admit_next(parts, connection, batch.account_id)
        fault(FaultPoint.FINALIZE_BEFORE_COMMIT)
    return True


def _drop_if_gone(parts: Parts, batch: Batch) -> None:
    """The batch was deleted while its archive was written, perhaps after the sweep's visit."""
    with parts.database.read() as connection:
        now = batches.get(connection, batch.id)
    if now is None or now.status is Status.CANCELLED:
        parts.archive.delete(batch.public_id)
