"""Segments: the compressed results of chunks, and the index that finds them in the archive."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from batchway.model.batch import Batch, Chunk
from batchway.model.segment import Segment
from batchway.store.database import Database, execute_many, run


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """Where a segment stands in its batch, and how long it is."""

    chunk_number: int
    number: int
    byte_count: int


def insert(
    connection: Connection, batch: Batch, chunk: Chunk, segment: Segment, errored_count: int
) -> None:
    """Keep the results of a chunk that is done in this transaction."""
    key = {
        "batch_id": batch.id,
        "account_id": batch.account_id,
        "chunk_number": chunk.number,
    }
    run(
        connection,
        """
        INSERT INTO segments (batch_id, account_id, chunk_number, number, first_position,
                              operation_count, errored_count, file_count, raw_bytes,
                              byte_count, crc32)
        VALUES (:batch_id, :account_id, :chunk_number, 0, :first_position,
                :operation_count, :errored_count, :file_count, :raw_bytes,
                :byte_count, :crc32)
        """,
        first_position=chunk.first_position,
        operation_count=chunk.operation_count,
        errored_count=errored_count,
        file_count=segment.file_count,
        raw_bytes=segment.raw_bytes,
        byte_count=len(segment.data),
        crc32=segment.crc32,
        **key,
    )
    run(
        connection,
        """
        INSERT INTO segment_data (batch_id, account_id, chunk_number, number, data)
        VALUES (:batch_id, :account_id, :chunk_number, 0, :data)
        """,
        data=segment.data,
        **key,
    )


def keys(connection: Connection, batch: Batch) -> list[SegmentKey]:
    """The segments of a batch in the order of their operations."""
    rows = run(
        connection,
        """
        SELECT chunk_number, number, byte_count FROM segments
        WHERE batch_id = :batch_id AND account_id = :account_id
        ORDER BY first_position, number
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    )
    return [SegmentKey(*row) for row in rows]


def load(database: Database, batch: Batch, wanted: list[SegmentKey]) -> Iterator[Segment]:
    """The segments themselves, one in memory at a time."""
    for key in wanted:
        with database.read() as connection:
            row = run(
                connection,
                """
                SELECT d.data, s.crc32, s.raw_bytes, s.file_count
                FROM segments AS s JOIN segment_data AS d
                  ON d.batch_id = s.batch_id AND d.chunk_number = s.chunk_number
                 AND d.number = s.number
                WHERE s.batch_id = :batch_id AND s.account_id = :account_id
                  AND s.chunk_number = :chunk_number AND s.number = :number
                """,
                batch_id=batch.id,
                account_id=batch.account_id,
                chunk_number=key.chunk_number,
                number=key.number,
            ).one()
        yield Segment(
            data=bytes(row.data),
            crc32=row.crc32,
            raw_bytes=row.raw_bytes,
            file_count=row.file_count,
        )


def locate(
    connection: Connection, batch: Batch, wanted: list[SegmentKey], first_offset: int
) -> None:
    """Note where each segment begins in the archive."""
    rows = []
    offset = first_offset
    for key in wanted:
        rows.append((offset, batch.id, batch.account_id, key.chunk_number, key.number))
        offset += key.byte_count
    execute_many(
        connection,
        """
        UPDATE segments SET archive_offset = ?
        WHERE batch_id = ? AND account_id = ? AND chunk_number = ? AND number = ?
        """,
        rows,
    )


def drop_data(connection: Connection, batch: Batch) -> None:
    """Delete the compressed results; the archive holds them now."""
    run(
        connection,
        "DELETE FROM segment_data WHERE batch_id = :batch_id AND account_id = :account_id",
        batch_id=batch.id,
        account_id=batch.account_id,
    )
