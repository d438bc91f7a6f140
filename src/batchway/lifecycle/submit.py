"""Submit: store a whole batch and hand it over, in one transaction.

Everything that takes time (checking, compressing) is done before the transaction begins. When it
has committed, the batch is accepted.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from batchway import limits
from batchway.errors import Refusal, RefusalKind
from batchway.kit.clock import SECOND
from batchway.lifecycle.admit import choose_first_step
from batchway.lifecycle.parts import Parts
from batchway.limits import Limits
from batchway.model.account import Identity
from batchway.model.batch import Batch, Piece, Status
from batchway.model.operation import Operation, count_characters, pack_operations
from batchway.observers.base import Event
from batchway.store import accounts, admission, batches, deliveries, idempotency_keys, inputs
from batchway.store.idempotency_keys import KeyUse
from batchway.targets.table import TargetTable

_PIECES_AT_ONCE = 16


class IncomingBatch(AbstractContextManager["IncomingBatch"]):
    """The operations of a batch that is being received; they are compressed, on disk if large."""

    def __init__(self, targets: TargetTable, in_force: Limits) -> None:
        """`targets` finds the targets of the operations."""
        self.count = 0
        self._piece_operations_max = in_force.piece_operations_max
        self._targets = targets
        self._target_names: set[str] = set()
        self._waiting: list[Operation] = []
        self._waiting_characters = 0
        self._kept_count = 0
        self._pieces: list[tuple[Piece, int]] = []
        self._spool = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by `__exit__`
            limits.incoming_memory_bytes_max
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._spool.close()

    @classmethod
    def collect(
        cls, targets: TargetTable, in_force: Limits, operations: Sequence[Operation]
    ) -> Self:
        """Return a batch with these operations."""
        incoming = cls(targets, in_force)
        incoming.add(operations)
        return incoming

    def add(self, operations: Sequence[Operation]) -> None:
        """Add the next operations; fastest with `piece_operations_max` of them at a time."""
        self.count += len(operations)
        self._target_names |= self._targets.find_names(operations)
        if len(operations) == self._piece_operations_max and not self._waiting:
            self._keep(operations)
            return
        for operation in operations:
            size = count_characters(operation)
            is_full = len(self._waiting) == self._piece_operations_max
            if is_full or self._waiting_characters + size > limits.piece_bytes_max:
                self._keep_waiting()
            self._waiting.append(operation)
            self._waiting_characters += size

    @property
    def target(self) -> str | None:
        """The name of the target that answers all operations; None if there are several."""
        return next(iter(self._target_names)) if len(self._target_names) == 1 else None

    def finish(self) -> None:
        """Compress the last operations. Call it before the transaction that stores them."""
        self._keep_waiting()

    def read_pieces(self) -> Iterator[tuple[Piece, bytes]]:
        """Yield all pieces after `finish`, with one in memory at a time."""
        self._spool.seek(0)
        for piece, size in self._pieces:
            yield piece, self._spool.read(size)

    def _keep_waiting(self) -> None:
        if self._waiting:
            self._keep(self._waiting)
            self._waiting, self._waiting_characters = [], 0

    def _keep(self, operations: Sequence[Operation]) -> None:
        """Store operations as one piece, or as several if they are large."""
        data, byte_count = pack_operations(operations)
        middle = len(operations) // 2
        if byte_count > limits.piece_bytes_max and middle:
            self._keep(operations[:middle])
            self._keep(operations[middle:])
            return
        piece = Piece(len(self._pieces), self._kept_count, len(operations), byte_count)
        self._pieces.append((piece, len(data)))
        self._spool.write(data)
        self._kept_count += len(operations)


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request with an idempotency key: if it is repeated, no other batch is created."""

    key_hash: bytes
    body_hash: bytes


def check_room(parts: Parts, account_id: int, *, is_known: bool = False) -> None:
    """Raise Refusal if the account has reached a limit, or if the disk is nearly full.

    Call it before a large body is read. With `is_known`, for a request that may be a repetition,
    only the disk is checked.
    """
    _check_disk(parts)
    if not is_known:
        with parts.database.read() as connection:
            _check_account(parts, connection, account_id)


def submit_batch(  # noqa: PLR0913 - the parts, the client, and the batch
    parts: Parts,
    identity: Identity,
    base_url: str,
    incoming: IncomingBatch,
    *,
    idempotency: IdempotentRequest | None = None,
    retry_of: Batch | None = None,
) -> Batch:
    """Accept a batch and return it; raises Refusal if the account has reached a limit.

    If the request in `idempotency` is a repetition, return the batch of the first one. Raises
    Refusal if the body differs, or if that batch was deleted.
    """
    account_id = identity.account.id
    incoming.finish()
    with parts.database.write() as connection:
        accounts.lock(connection, account_id)
        known = idempotency and _find_known(parts, connection, account_id, idempotency)
        if known:
            return known
        _check_account(parts, connection, account_id)
        batch = batches.insert(
            connection,
            account_id=account_id,
            api_key_id=identity.api_key_id,
            base_url=base_url,
            client_address=identity.client_address,
            operation_count=incoming.count,
            format_name=parts.format_name,
            retry_of=None if retry_of is None else retry_of.id,
            target=incoming.target,
            now=parts.clock(),
        )
        pieces = incoming.read_pieces()
        while group := list(islice(pieces, _PIECES_AT_ONCE)):
            inputs.insert(connection, batch, group)
        if idempotency:
            use = KeyUse(idempotency.body_hash, batch.id)
            idempotency_keys.save(connection, account_id, idempotency.key_hash, use, parts.clock())
        parts.hand_over(connection, choose_first_step(parts, batch.operation_count), batch.id)
        parts.observe(Event.SUBMIT_BEFORE_COMMIT)
    parts.observe(Event.SUBMIT_AFTER_COMMIT)
    parts.observe(Event.BATCH_ACCEPTED, batch=batch.public_id, operations=incoming.count)
    return batch


def _find_known(
    parts: Parts, connection: Connection, account_id: int, idempotency: IdempotentRequest
) -> Batch | None:
    """Return the batch of the same request before, or None; raises Refusal."""
    since = parts.clock() - parts.limits.idempotency_key_seconds * SECOND
    use = idempotency_keys.find(connection, account_id, idempotency.key_hash, since)
    if use is None:
        return None
    if use.body_hash != idempotency.body_hash:
        detail = (
            "This Idempotency-Key was used for a request with another body. Send each new batch "
            "under a new key."
        )
        raise Refusal(RefusalKind.CONFLICT, detail)
    batch = batches.get(connection, use.batch_id)
    if batch is None or batch.status is Status.DELETED:
        detail = (
            "The batch that this Idempotency-Key has made was deleted. To run it again, send it "
            "under a new key."
        )
        raise Refusal(RefusalKind.CONFLICT, detail)
    return batch


def _check_disk(parts: Parts) -> None:
    free_bytes = parts.archive.get_free_bytes()
    if free_bytes is not None and free_bytes < parts.limits.free_bytes_min:
        raise Refusal(RefusalKind.NO_ROOM)


def _check_account(parts: Parts, connection: Connection, account_id: int) -> None:
    batches_max = parts.limits.pending_batches_per_account_max
    if admission.count_pending(connection, account_id) >= batches_max:
        detail = (
            f"You have more than {batches_max} pending batches. Please wait for some to complete "
            "before adding any more batches."
        )
        raise Refusal(RefusalKind.TOO_MANY, detail)
    events_max = parts.limits.undelivered_events_per_account_max
    if deliveries.count_undelivered(connection, account_id) >= events_max:
        detail = (
            f"You have more than {events_max} pending batch webhook requests. Please wait for some "
            "to be delivered before adding any more batches."
        )
        raise Refusal(RefusalKind.TOO_MANY, detail)
