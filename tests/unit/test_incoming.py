"""How the operations of a request become pieces."""

import pytest

from batchway import limits
from batchway.lifecycle.submit import IncomingBatch
from batchway.limits import Limits
from batchway.model.operation import Operation, unpack_operations
from batchway.targets.table import ROOT, Mount, TargetTable

NO_TARGETS = TargetTable([Mount(ROOT, "none", None)])  # type: ignore[arg-type]
LARGE = "x" * (limits.piece_bytes_max // 4)


def ping(
    params: dict[str, str] | None = None, body: str | None = None, operation_id: str | None = None
) -> Operation:
    """Return an operation of this size."""
    return Operation("GET", "/ping", params or {}, body, operation_id)


@pytest.mark.parametrize(
    "operation",
    [
        ping(body=LARGE),
        ping({"x": LARGE}),
        ping({LARGE: "x"}),
        ping({str(number): LARGE[:1_000] for number in range(len(LARGE) // 1_000)}),
        ping(operation_id=LARGE),
    ],
    ids=["body", "value", "name", "values", "operation_id"],
)
def test_pieces_are_bounded(operation: Operation) -> None:
    """No piece is larger than its limit, and no operation is lost."""
    with IncomingBatch.collect(NO_TARGETS, Limits(), [operation] * 10) as incoming:
        incoming.finish()
        pieces = list(incoming.read_pieces())

    assert [operation] * 10 == [
        unpacked for _, data in pieces for unpacked in unpack_operations(data)
    ]
    assert len(pieces) >= 3
    assert max(piece.byte_count for piece, _ in pieces) < 1.1 * limits.piece_bytes_max


def test_large_operations_make_more_pieces() -> None:
    """Large operations make more pieces, also if they arrive together."""
    large = [ping(body=LARGE[: 3 * limits.piece_bytes_max // Limits.piece_operations_max])]
    operations = large * Limits.piece_operations_max

    with IncomingBatch.collect(NO_TARGETS, Limits(), operations) as incoming:
        incoming.finish()
        pieces = list(incoming.read_pieces())

    assert operations == [unpacked for _, data in pieces for unpacked in unpack_operations(data)]
    assert [0, 250, 500, 750] == [piece.first_position for piece, _ in pieces]
    assert max(piece.byte_count for piece, _ in pieces) < limits.piece_bytes_max


def test_small_operations_fill_a_piece() -> None:
    """A piece of small operations ends at their maximum number."""
    most = Limits.piece_operations_max

    operations = [ping({"a": "b"}, "{}", "mine")] * (2 * most + 1)
    with IncomingBatch.collect(NO_TARGETS, Limits(), operations) as incoming:
        incoming.finish()
        counts = [piece.operation_count for piece, _ in incoming.read_pieces()]

    assert [most, most, 1] == counts
