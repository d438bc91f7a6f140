"""The operations of a batch as they were submitted, compressed in pieces."""

from collections.abc import Sequence

from sqlalchemy import Connection

from batchway.model.batch import Batch, Piece
from batchway.store.database import insert_many, run

_COLUMNS = (
    "batch_id",
    "number",
    "account_id",
    "first_position",
    "operation_count",
    "byte_count",
    "data",
)


def insert(connection: Connection, batch: Batch, pieces: Sequence[tuple[Piece, bytes]]) -> None:
    """Store the pieces of a new batch."""
    rows = [
        (
            batch.id,
            piece.number,
            batch.account_id,
            piece.first_position,
            piece.operation_count,
            piece.byte_count,
            data,
        )
        for piece, data in pieces
    ]
    insert_many(connection, "batch_inputs", _COLUMNS, rows)


def find_pieces(connection: Connection, batch: Batch) -> list[Piece]:
    """Return the pieces of a batch without their data, in order."""
    rows = run(
        connection,
        """
        SELECT number, first_position, operation_count, byte_count FROM batch_inputs
        WHERE batch_id = :batch_id AND account_id = :account_id
        ORDER BY number
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
    )
    return [Piece(*row) for row in rows]


def load_pieces(
    connection: Connection, batch: Batch, first_position: int, end_position: int
) -> list[tuple[int, bytes]]:
    """Return the first position and the data of each piece that has operations in a range.

    The pieces are in order.
    """
    rows = run(
        connection,
        """
        SELECT first_position, data FROM batch_inputs
        WHERE batch_id = :batch_id AND account_id = :account_id
          AND first_position < :end_position
          AND first_position + operation_count > :first_position
        ORDER BY number
        """,
        batch_id=batch.id,
        account_id=batch.account_id,
        first_position=first_position,
        end_position=end_position,
    )
    return [(row.first_position, bytes(row.data)) for row in rows]
