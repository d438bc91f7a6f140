"""Segments: the compressed results of chunks, and the index that finds them in the archive."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection

from batchway.model.batch import Batch
from batchway.model.positions import Positions
from batchway.model.segment import Segment
from batchway.store.database import execute_many, run

# Segments of an older version do not say where they end. They end where their chunk ends.
_KEYS = """
    SELECT s.chunk_number, s.number, s.kind, s.first_position,
           COALESCE(s.end_position, c.first_position + c.operation_count) AS end_position,
           s.positions, s.first_page,
           s.operation_count AS result_count, s.errored_count, s.status_counts, s.file_count,
           s.raw_bytes, s.byte_count, s.crc32, s.archive_offset
    FROM segments AS s JOIN chunks AS c
      ON c.batch_id = s.batch_id AND c.number = s.chunk_number
    WHERE s.batch_id = :batch_id AND s.account_id = :account_id"""

_status_counts = msgspec.json.Decoder(dict[int, int])


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment to be kept: where its results stand in the batch, and what they come to.

    `kind` is the results format's own word for how the segment is written. The results are those
    of operations at `positions`, in their order, or of consecutive pages of one operation from
    `first_page` on. A format may put the results of one part into several segments: then
    `first_position` is that of its first result, and `positions` are those of the whole part.
    """

    chunk_number: int
    kind: str
    first_position: int
    positions: Positions
    first_page: int
    status_counts: Mapping[int, int]
    errored_count: int
    segment: Segment

    @property
    def result_count(self) -> int:
        """How many results it holds."""
        return sum(self.status_counts.values())


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """A segment without its data.

    It holds results of operations at `positions`; `number` tells the segments of a chunk apart.
    `status_counts` is None for segments of an older version; `archive_offset` is where the data
    stands in the finished archive, None before that.
    """

    chunk_number: int
    number: int
    kind: str
    first_position: int
    positions: Positions
    first_page: int
    result_count: int
    errored_count: int
    status_counts: Mapping[int, int] | None
    file_count: int
    raw_bytes: int
    byte_count: int
    crc32: int
    archive_offset: int | None


def insert(connection: Connection, batch: Batch, new: NewSegment) -> None:
    """Keep results of a chunk, in the transaction that records them."""
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


def keys(connection: Connection, batch: Batch) -> list[SegmentKey]:
    """The segments of a batch in the order of their operations."""
    rows = run(
        connection,
        f"{_KEYS} ORDER BY s.first_position, s.first_page, s.number",
        batch_id=batch.id,
        account_id=batch.account_id,
    )
    return [_key(row) for row in rows]


def again(connection: Connection, batch: Batch, key: SegmentKey) -> SegmentKey | None:
    """The same segment, as it is now; None if the batch is gone."""
    row = run(
        connection,
        f"{_KEYS} AND s.chunk_number = :chunk_number AND s.number = :number",
        batch_id=batch.id,
        account_id=batch.account_id,
        chunk_number=key.chunk_number,
        number=key.number,
    ).one_or_none()
    return None if row is None else _key(row)


def data(connection: Connection, batch: Batch, key: SegmentKey) -> bytes | None:
    """The compressed results of a segment; None once they are in the archive."""
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


def locate(connection: Connection, batch: Batch, offsets: Iterable[tuple[SegmentKey, int]]) -> None:
    """Note where each segment begins in the archive."""
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


def drop_data(connection: Connection, batch: Batch) -> None:
    """Delete the compressed results; the archive holds them now."""
    run(
        connection,
        "DELETE FROM segment_data WHERE batch_id = :batch_id AND account_id = :account_id",
        batch_id=batch.id,
        account_id=batch.account_id,
    )


def _key(row: Any) -> SegmentKey:  # noqa: ANN401 - a database row
    values = row._asdict()
    first, end = row.first_position, values.pop("end_position")
    counts = row.status_counts
    return SegmentKey(
        **values
        | {
            "positions": _positions(row.positions, first, end),
            "status_counts": None if counts is None else _status_counts.decode(counts),
        }
    )


def _positions(explicit: str | None, first: int, end: int) -> Positions:
    return Positions.span(first, end - first) if explicit is None else Positions.parse(explicit)
