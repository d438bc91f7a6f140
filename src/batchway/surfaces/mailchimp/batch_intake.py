"""`POST /batches`: reads the operations as they arrive, then submits them, or only checks them."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import msgspec

from batchway import limits
from batchway.contract.description import Described, Parameter
from batchway.contract.inflate import Inflater
from batchway.contract.links import Links
from batchway.contract.problems import bad_request
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
from batchway.surfaces.mailchimp.batch_body import batch_body
from batchway.surfaces.mailchimp.batch_reader import BatchReader
from batchway.surfaces.mailchimp.batches import TAG
from batchway.surfaces.mailchimp.bodies.batches import BatchBody, Validation
from batchway.surfaces.mailchimp.error_groups import ErrorGroups
from batchway.surfaces.mailchimp.route import CountedAs, Route
from batchway.surfaces.threads import Turns, in_thread


class OperationBody(msgspec.Struct):
    """An operation as a client should send it; more is understood."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    params: dict[str, str] = {}
    body: str = ""
    operation_id: str = ""


class BatchRequest(msgspec.Struct):
    """What a client sends."""

    operations: list[OperationBody]


CREATE_BATCH = Described(
    "Accept a batch of operations whole, or refuse it whole.",
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
class BatchIntake:
    """Accepts new batches."""

    parts: Parts
    result_links: ResultLinks
    _checks: Turns = field(default_factory=lambda: Turns(1))  # they may hold the database's lock
    _turns: Turns = field(default_factory=lambda: Turns(limits.bodies_at_once_max))

    def routes(self) -> tuple[Route, ...]:
        """The call that accepts a batch; it reads its own body."""
        return (
            Route(
                "POST",
                "/batches",
                None,
                CREATE_BATCH,
                counted_as=CountedAs.NOTHING,
                counted_with="validate_only",
                answer_from_body=self.create,
            ),
        )

    async def create(
        self, request: Request, identity: Identity, links: Links, body: AsyncIterator[bytes]
    ) -> Response:
        """Accept a batch whole, or refuse it whole."""
        key = _idempotency_key(request)
        is_check = request.flag("validate_only")
        if not is_check:
            is_known = key is not None  # then the batch may be there already
            account_id = identity.account.id
            await in_thread(partial(check_room, self.parts, account_id, is_known=is_known))
        with IncomingBatch(self.parts.targets, self.parts.limits) as incoming:
            digest = None if key is None else hashlib.sha256()
            await _read(_Reading(request, incoming, digest, self.parts.limits), body, self._turns)
            if is_check:
                return await in_thread(
                    partial(self._check, identity, links, incoming), self._checks
                )
            idempotency = None
            if key is not None and digest is not None:
                idempotency = IdempotentRequest(_hash(key.encode()), digest.digest())
            batch = await in_thread(
                partial(
                    submit_batch,
                    self.parts,
                    identity,
                    links.base,
                    incoming,
                    idempotency=idempotency,
                )
            )
        return Response(200, batch_body(batch, links, self.result_links))

    def _check(self, identity: Identity, links: Links, incoming: IncomingBatch) -> Response:
        """Try all operations without effect. They see what is there, not what others would do."""
        account = identity.account
        caller = Caller(account.id, account.name, self.parts.clock(), links)
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
                    groups.add(position, operation, result.status_code, result.body.plain())
            checked += piece.operation_count
        return Response(
            200,
            Validation(
                valid=groups.count == 0 and checked == incoming.count,
                total_operations=incoming.count,
                checked_operations=checked,
                errored_operations=groups.count,
                groups=groups.groups(),
                links=links.collection("Batches", "/", "/batches", create=True),
            ),
        )


async def _read(reading: "_Reading", body: AsyncIterator[bytes], turns: Turns) -> None:
    """Take the operations of a body."""
    waiting, size = [], 0
    async for data in body:
        waiting.append(data)
        size += len(data)
        if size >= limits.body_read_bytes:
            await in_thread(partial(reading.take, b"".join(waiting)), turns)
            waiting, size = [], 0
    await in_thread(partial(reading.end, b"".join(waiting)), turns)


@dataclass
class _Reading:
    """A body on its way into a batch; its digest is for who may send it again."""

    request: Request
    incoming: IncomingBatch
    digest: "hashlib._Hash | None"
    in_force: Limits

    def __post_init__(self) -> None:
        headers = self.request.headers
        encoding = headers.get("content-encoding")
        self._inflater = Inflater(encoding, self.in_force.request_body_bytes_max)
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._reader = BatchReader(self.in_force, is_lines=media_type == NDJSON)

    def take(self, data: bytes) -> None:
        """The next bytes, as they were sent."""
        for piece in self._inflater.feed(data):
            if self.digest is not None:
                self.digest.update(piece)
            for operations in self._reader.feed(piece):
                self.incoming.add(operations)

    def end(self, data: bytes) -> None:
        """The last bytes."""
        self.take(data)
        self._inflater.finish()
        for operations in self._reader.finish():
            self.incoming.add(operations)


def _idempotency_key(request: Request) -> str | None:
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
