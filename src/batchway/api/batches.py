"""`/batches`: submit, look, list, delete."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import msgspec

from batchway.api.links import ResultLinks
from batchway.contract.batch_request import read_batch
from batchway.contract.links import Link, Links
from batchway.contract.paging import page
from batchway.contract.problems import not_found
from batchway.contract.request import Request
from batchway.contract.response import NO_CONTENT, Response
from batchway.contract.routing import RouteTable
from batchway.kit.clock import iso
from batchway.lifecycle.cancel import cancel
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.submit import submit
from batchway.model.account import Identity
from batchway.model.batch import Batch
from batchway.store import batches


class _Batch(msgspec.Struct, rename={"links": "_links"}):
    id: str
    status: str
    total_operations: int
    finished_operations: int
    errored_operations: int
    submitted_at: str
    completed_at: str
    response_body_url: str
    links: list[Link]


class _Batches(msgspec.Struct, rename={"links": "_links"}):
    batches: list[_Batch]
    total_items: int
    links: list[Link]


BatchAnswer = Callable[[Request, Identity, Links], Response]


@dataclass(frozen=True)
class BatchCalls:
    """Answers the calls on batches of one server."""

    parts: Parts
    result_links: ResultLinks

    @cached_property
    def routes(self) -> RouteTable[BatchAnswer]:
        """The route table."""
        table: RouteTable[BatchAnswer] = RouteTable()
        table.add("POST", "/batches", self.create)
        table.add("GET", "/batches", self.list)
        table.add("GET", "/batches/{batch_id}", self.get)
        table.add("DELETE", "/batches/{batch_id}", self.delete)
        return table

    def create(self, request: Request, identity: Identity, links: Links) -> Response:
        """Accept a batch whole, or refuse it whole."""
        operations = read_batch(request.body)
        batch = submit(self.parts, identity, links.base, operations)
        return Response(200, self._body(batch, links))

    def get(self, request: Request, identity: Identity, links: Links) -> Response:
        """The status of one batch, with a fresh link when it is finished."""
        with self.parts.database.read() as connection:
            batch = batches.find(
                connection,
                identity.account.id,
                request.path_params["batch_id"],
                self.parts.clock(),
            )
        if batch is None:
            raise not_found()
        return Response(200, self._body(batch, links))

    def list(self, request: Request, identity: Identity, links: Links) -> Response:
        """The batches of the last seven days, newest first."""
        wanted = page(request.params)
        with self.parts.database.read() as connection:
            found, total = batches.page_of(
                connection,
                identity.account.id,
                wanted.count,
                wanted.offset,
                self.parts.clock(),
            )
        return Response(
            200,
            _Batches(
                [self._body(batch, links) for batch in found],
                total,
                links.collection("Batches", "/", "/batches", create=True),
            ),
        )

    def delete(self, request: Request, identity: Identity, _links: Links) -> Response:
        """Stop a batch if it runs, and drop its results."""
        if not cancel(self.parts, identity.account.id, request.path_params["batch_id"]):
            raise not_found()
        return NO_CONTENT

    def _body(self, batch: Batch, links: Links) -> _Batch:
        return _Batch(
            id=batch.public_id,
            status=batch.status,
            total_operations=batch.total_operations,
            finished_operations=batch.finished_operations,
            errored_operations=batch.errored_operations,
            submitted_at=iso(batch.submitted_at),
            completed_at=iso(batch.completed_at),
            response_body_url=self.result_links.url(batch, links.base),
            links=batch_links(links, batch.public_id),
        )


def batch_links(links: Links, public_id: str) -> list[Link]:
    """The three links of a batch, in the contract's order."""
    itself = f"/batches/{public_id}"
    return [
        links.link(
            "parent",
            "GET",
            "/batches",
            "Definitions/Batches/CollectionResponse.json",
            "CollectionLinks/Batches.json",
        ),
        links.link("self", "GET", itself, "Definitions/Batches/Response.json"),
        links.link("delete", "DELETE", itself),
    ]
