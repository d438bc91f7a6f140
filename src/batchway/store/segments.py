"""Segments: the compressed results of chunks, and the index that finds them in the archive."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection

from batchway.model.batch import Batch
from batchway.model.positions import Positions
from batchway.model.result import is_error
from batchway.model.segment import Segment, SegmentKey
from batchway.store.database import execute_many, run

# Segments of an older version have no `end_position`: they end where their chunk ends.
_KEYS = """
    SELECT s.chunk_number, s.number, s.kind, s.first_position,
           COALESCE(s.end_position, c.first_position + c.operation_count) AS end_position,
           s.positions, s.first_page,
           s.operation_count AS result_count, s.status_counts, s.file_count,
           s.raw_bytes, s.byte_count, s.crc32, s.archive_offset
    FROM segments AS s JOIN chunks AS c
      ON c.batch_id = s.batch_id AND c.number = s.chunk_number
    WHERE s.batch_id = :batch_id AND s.account_id = :account_id"""

_status_counts = msgspec.json.Decoder(dict[int, int])


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment to be stored: the places of its results in the batch, and their status codes.

    `kind` is how the results format has written the segment. The results are those of the
    operations at `positions`, in their order, or of consecutive pages of one operation from
    `first_page` on. A format may put the results of one part into several segments: then
    `first_position` is that of the segment's first result, and `positions` are those of the whole
    part.
    """

    chunk_number: int
    kind: str
    first_position: int
    positions: Positions
    first_page: int
    status_counts: Mapping[int, int]
    segment: Segment

    @property
    def result_count(self) -> int:
        """How many results the segment holds."""
        return sum(self.status_counts.values())

    @property
    def errored_count(self) -> int:
        """How many of its results are errored."""
        return sum(count for code, count in self.status_counts.items() if is_error(code))


def insert(connection: Connection, batch: Batch, new: NewSegment) -> None:
    """Store a segment of a chunk, in the transaction that records its results."""
    key = {
        "batch_id": batch.id,
        "account_id": batch.account_id,
        "chunk_number": new.chunk_number,
    }
    positions = new.positions
    number = run(
        connection,
        """
        INSERT INTO segments (batch_id, account_id, chunk_number, number, kind, first_position,
                              end_position, positions, first_page, operation_count, errored_count,
                              status_counts, file_count, raw_bytes, byte_count, crc32)
        SELECT :batch_id, :account_id, :chunk_number, COALESCE(max(number) + 1, 0), :kind,
               :first_position, :end_position, :positions, :first_page, :result_count,
               :errored_count, :status_counts, :file_count, :raw_bytes, :byte_count, :crc32
        FROM segments
        WHERE batch_id = :batch_id AND account_id = :account_id AND chunk_number = :chunk_number
        RETURNING number
        """,
        kind=new.kind,
        first_position=new.first_position,
        end_position=positions.end,
        positions=None if positions.is_consecutive else str(positions),
        first_page=new.first_page,
        result_count=new.result_count,
        errored_count=new.errored_count,
        status_counts=msgspec.json.encode(new.status_counts).decode(),
        file_count=new.segment.file_count,
        raw_bytes=new.segment.raw_bytes,
        byte_count=len(new.segment.data),
        crc32=new.segment.crc32,
        **key,
    ).scalar_one()
    run(
        connection,
        """
        INSERT INTO segment_data (batch_id, account_id, chunk_number, number, data)
        VALUES (:batch_id, :account_id, :chunk_number, :number, :data)
        """,
        number=number,
        data=new.segment.data,
        **key,
    )


def find_keys(connection: Connection, batch: Batch) -> list[SegmentKey]:
    """Return the keys of a batch's segments, in the order of their operations."""
    rows = run(
        connection,
        f"{_KEYS} ORDER BY s.first_position, s.first_page, s.number",
        batch_id=batch.id,
        account_id=batch.account_id,
    )
    return [_parse_key(row) for row in rows]


def find_key(connection: Connection, batch: Batch, key: SegmentKey) -> SegmentKey | None:
    """Return the present key of the same segment; None if the batch was removed."""
    row = run(
        connection,
        f"{_KEYS} AND s.chunk_number = :chunk_number AND s.number = :number",
        batch_id=batch.id,
        account_id=batch.account_id,
        chunk_number=key.chunk_number,
        number=key.number,
    ).one_or_none()
    return None if row is None else _parse_key(row)


def load_data(connection: Connection, batch: Batch, key: SegmentKey) -> bytes | None:
    """Return the compressed results of a segment; None if they were moved to the archive."""
    found = run(
        connection,
        """
        SELECT data FROM segment_data
        WHERE batch_id = :batch_id AND account_id = :account_id
          AND chunk_number = :chunk_number AND number = :number
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        chunk_number=key.chunk_number,
        number=key.number,
    ).scalar_one_or_none()
    return None if found is None else bytes(found)


def save_offsets(
    connection: Connection, batch: Batch, offsets: Iterable[tuple[SegmentKey, int]]
) -> None:
    """Store where each segment begins in the archive."""
    execute_many(
        connection,
        """
        UPDATE segments SET archive_offset = ?
        WHERE batch_id = ? AND account_id = ? AND chunk_number = ? AND number = ?
        """,
        [
            (offset, batch.id, batch.account_id, key.chunk_number, key.number)
            for key, offset in offsets
        ],
    )


def delete_data(connection: Connection, batch: Batch) -> None:
    """Delete the compressed results of a batch, which its archive holds."""
    run(
        connection,
        "DELETE FROM segment_data WHERE batch_id = :batch_id AND account_id = :account_id",
        batch_id=batch.id,
        account_id=batch.account_id,
    )


def _parse_key(row: Any) -> SegmentKey:  # noqa: ANN401 - a database row
    values = row._asdict()
    first, end = row.first_position, values.pop("end_position")
    counts = row.status_counts
    return SegmentKey(
        **values
        | {
            "positions": _parse_positions(row.positions, first, end),
            "status_counts": None if counts is None else _status_counts.decode(counts),
        }
    )


def _parse_positions(explicit: str | None, first: int, end: int) -> Positions:
    return Positions.span(first, end - first) if explicit is None else Positions.parse(explicit)
