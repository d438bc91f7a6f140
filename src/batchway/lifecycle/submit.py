"""Submit: keep a batch whole, and hand it over, in one transaction.

Everything that takes time (checking, compressing) is done before the transaction begins. When it
has committed, the batch is accepted and will finish.
"""

from collections.abc import Iterator, Sequence

from batchway import limits
from batchway.contract.problems import too_many_requests
from batchway.faults import FaultPoint, fault
from batchway.lifecycle.admit import first_step
from batchway.lifecycle.parts import Parts
from batchway.model.account import Identity
from batchway.model.batch import Batch, Piece
from batchway.model.operation import Operation, pack
from batchway.store import accounts, batches, inputs


def submit(
    parts: Parts, identity: Identity, base_url: str, operations: Sequence[Operation]
) -> Batch:
    """Accept a batch; raises 429 if too many of the account's batches are pending."""
    pieces = list(_pieces(operations))
    account_id = identity.account.id
    with parts.database.write() as connection:
        accounts.lock(connection, account_id)
        if batches.count_pending(connection, account_id) >= limits.pending_batches_per_account_max:
            raise too_many_requests(_TOO_MANY)
        batch = batches.insert(
            connection,
            account_id=account_id,
            api_key_id=identity.api_key_id,
            base_url=base_url,
            total_operations=len(operations),
            now=parts.clock(),
        )
        inputs.insert(connection, batch, pieces)
        parts.hand_over(connection, first_step(batch), batch.id)
        fault(FaultPoint.SUBMIT_BEFORE_COMMIT)
    fault(FaultPoint.SUBMIT_AFTER_COMMIT)
    return batch


def _pieces(operations: Sequence[Operation]) -> Iterator[tuple[Piece, bytes]]:
    number = position = 0
    while position < len(operations):
        held = operations[position : position + limits.piece_operations_max]
        data, byte_count = pack(held)
        while byte_count > limits.piece_bytes_max and len(held) > 1:
            held = held[: len(held) // 2]
            data, byte_count = pack(held)
        yield Piece(number, position, len(held), byte_count), data
        number += 1
        position += len(held)


_TOO_MANY = (
    f"You have more than {limits.pending_batches_per_account_max} pending batches. Please wait "
    "for some to complete before adding any more batches."
)
