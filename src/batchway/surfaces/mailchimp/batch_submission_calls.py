"""`POST /batches`: reads the operations as they arrive, and then submits or only checks them."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import msgspec

from batchway import limits
from batchway.contract.description import CallDescription, Parameter
from batchway.contract.inflate import Inflater
from batchway.contract.links import Links
from batchway.contract.problems import Refused, bad_request
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.contract.result_links import ResultLinks
from batchway.contract.stream import NDJSON
from batchway.kit.clock import SECOND
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.submit import IdempotentRequest, IncomingBatch, check_room, submit_batch
from batchway.lifecycle.validate import validate_operations
from batchway.limits import Limits
from batchway.model.account import Identity
from batchway.model.operation import unpack_operations
from batchway.surfaces.mailchimp.batch_body import build_batch_body
from batchway.surfaces.mailchimp.batch_calls import TAG
from batchway.surfaces.mailchimp.batch_reader import BatchReader, name_all_faults
from batchway.surfaces.mailchimp.bodies.batches import BatchBody, Validation
from batchway.surfaces.mailchimp.error_groups import ErrorGroups
from batchway.surfaces.mailchimp.route import CountedAs, Route
from batchway.surfaces.threads import ThreadLimit, run_in_thread


class OperationBody(msgspec.Struct):
    """An operation as a client should send it; more is understood."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    params: dict[str, str] = {}
    body: str = ""
    operation_id: str = ""
    headers: dict[str, str] = {}


class BatchRequest(msgspec.Struct):
    """What a client sends."""

    operations: list[OperationBody]


CREATE_BATCH = CallDescription(
    "Submit a batch of operations. It is accepted completely, or refused.",
    query=(
        Parameter(
            name="validate_only",
            description="Only check the operations: nothing is kept, and the reply is a "
            "`Validation`. An extension.",
            kind="boolean",
        ),
    ),
    headers=(
        Parameter(
            name="Idempotency-Key",
            description="For a day, the same key and body give the same batch. An extension.",
        ),
    ),
    body=BatchRequest,
    body_types=(NDJSON,),
    reply=BatchBody,
    other_replies=(Validation,),
    errors=(409,),
    notes="The body may be gzipped.",
    body_example={"operations": [{"method": "GET", "path": "/lists", "operation_id": "mine"}]},
    tag=TAG,
)


@dataclass(frozen=True)
class BatchSubmissionCalls:
    """Answers the call that submits a batch."""

    parts: Parts
    result_links: ResultLinks
    # One check at a time, because a check may hold the lock of the database.
    _check_limit: ThreadLimit = field(default_factory=lambda: ThreadLimit(1))
    _read_limit: ThreadLimit = field(default_factory=lambda: ThreadLimit(limits.bodies_at_once_max))

    def routes(self) -> tuple[Route, ...]:
        """Return the route of this call, which reads the body as it arrives."""
        return (
            Route(
                "POST",
                "/batches",
                None,
                CREATE_BATCH,
                counted_as=CountedAs.NOTHING,
                counted_with="validate_only",
                answer_from_stream=self.create,
            ),
        )

    async def create(
        self, request: Request, identity: Identity, links: Links, body: AsyncIterator[bytes]
    ) -> Response:
        """Accept a complete batch, or refuse it."""
        key = _read_idempotency_key(request)
        is_check = request.read_flag("validate_only")
        if not is_check:
            is_known = key is not None  # because the batch may exist already
            account_id = identity.account.id
            await run_in_thread(partial(check_room, self.parts, account_id, is_known=is_known))
        with IncomingBatch(self.parts.targets, self.parts.limits) as incoming:
            digest = None if key is None else hashlib.sha256()
            reader = _BodyReader(request, incoming, digest, self.parts.limits)
            await _read_body(reader, body, self._read_limit)
            if is_check:
                return await run_in_thread(
                    partial(self._check, identity, links, incoming), self._check_limit
                )
            idempotency = None
            if key is not None and digest is not None:
                idempotency = IdempotentRequest(_hash(key.encode()), digest.digest())
            batch = await run_in_thread(
                partial(
                    submit_batch,
                    self.parts,
                    identity,
                    links.base,
                    incoming,
                    idempotency=idempotency,
                )
            )
        return Response(200, build_batch_body(batch, links, self.result_links))

    def _check(self, identity: Identity, links: Links, incoming: IncomingBatch) -> Response:
        """Try each operation alone, and undo its effects."""
        account = identity.account
        now, address = self.parts.clock(), identity.client_address
        caller = Caller(account.id, account.name, now, links, address)
        groups = ErrorGroups(self.parts.limits.error_groups_max)
        ends_at = self.parts.clock() + int(self.parts.limits.check_seconds_max * SECOND)
        checked = 0
        incoming.finish()
        for piece, data in incoming.read_pieces():
            if self.parts.clock() > ends_at:
                break
            operations = unpack_operations(data)
            results = validate_operations(self.parts, caller, operations)
            for position, (operation, result) in enumerate(
                zip(operations, results, strict=True), piece.first_position
            ):
                if result.is_errored:
                    groups.add(position, operation, result.status_code, result.body.render())
            checked += piece.operation_count
        return Response(
            200,
            Validation(
                valid=groups.count == 0 and checked == incoming.count,
                total_operations=incoming.count,
                checked_operations=checked,
                errored_operations=groups.count,
                groups=groups.list_groups(),
                links=links.build_collection_links("Batches", "/", "/batches", create=True),
            ),
        )


async def _read_body(reader: "_BodyReader", body: AsyncIterator[bytes], limit: ThreadLimit) -> None:
    """Read the whole body in threads, in pieces that are worth a thread."""
    waiting, size = [], 0
    async for data in body:
        waiting.append(data)
        size += len(data)
        if size >= limits.body_read_bytes:
            await run_in_thread(partial(reader.feed, b"".join(waiting)), limit)
            waiting, size = [], 0
    await run_in_thread(partial(reader.finish, b"".join(waiting)), limit)


@dataclass
class _BodyReader:
    """Reads a body into a batch, and updates the digest that belongs to an idempotency key."""

    request: Request
    incoming: IncomingBatch
    digest: "hashlib._Hash | None"
    in_force: Limits

    def __post_init__(self) -> None:
        headers = self.request.headers
        encoding = headers.get("content-encoding")
        self._inflater = Inflater(encoding, self.in_force.request_body_bytes_max)
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._is_lines = media_type == NDJSON
        self._reader = BatchReader(self.in_force, is_lines=self._is_lines)
        self._piece_count = 0
        self._last_piece = b""

    def feed(self, data: bytes) -> None:
        """Read the next bytes, as they were sent."""
        for piece in self._inflater.feed(data):
            self._piece_count, self._last_piece = self._piece_count + 1, piece
            if self.digest is not None:
                self.digest.update(piece)
            for operations in self._reader.feed(piece):
                self.incoming.add(operations)

    def finish(self, data: bytes) -> None:
        """Read the last bytes. If the body is one piece, its problem names every fault."""
        try:
            self._finish(data)
        except Refused as first:
            if self._piece_count > 1:
                raise
            raise name_all_faults(first, self._last_piece, is_lines=self._is_lines) from None

    def _finish(self, data: bytes) -> None:
        self.feed(data)
        self._inflater.finish()
        for operations in self._reader.finish():
            self.incoming.add(operations)


def _read_idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    most = limits.idempotency_key_characters_max
    if not (0 < len(key) <= most and key.isascii() and key.isprintable()):
        detail = f"An Idempotency-Key has 1 to {most} printable ASCII characters."
        raise bad_request(detail)
    return key


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
