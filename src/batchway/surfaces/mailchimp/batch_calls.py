"""`/batches`: shows, lists and deletes batches. `batch_submission_calls.py` accepts new ones."""

from dataclasses import dataclass

from batchway.contract.description import ON_ONE, ON_PAGE, CallDescription
from batchway.contract.links import Links
from batchway.contract.paging import parse_page
from batchway.contract.problems import not_found
from batchway.contract.request import Request
from batchway.contract.response import NO_CONTENT, Response
from batchway.contract.result_links import ResultLinks
from batchway.lifecycle.delete import delete_batch
from batchway.lifecycle.parts import Parts
from batchway.model.account import Identity
from batchway.model.batch import Batch
from batchway.store import batches
from batchway.surfaces.mailchimp.batch_body import build_batch_body
from batchway.surfaces.mailchimp.bodies.batches import BatchBody, BatchList
from batchway.surfaces.mailchimp.route import CountedAs, Route

TAG = "Batches"


@dataclass(frozen=True)
class BatchCalls:
    """Answers the contract's calls on existing batches."""

    parts: Parts
    result_links: ResultLinks

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of these calls."""
        return (
            Route(
                "GET",
                "/batches",
                self.list,
                CallDescription(
                    "The batches of the last seven days, newest first.",
                    query=ON_PAGE,
                    reply=BatchList,
                    tag=TAG,
                ),
                counted_as=CountedAs.NOTHING,
            ),
            Route(
                "GET",
                "/batches/{batch_id}",
                self.get,
                CallDescription(
                    "The status of a batch, with a new link to its results if it is finished.",
                    query=ON_ONE,
                    reply=BatchBody,
                    tag=TAG,
                ),
                counted_as=CountedAs.NOTHING,
            ),
            Route(
                "DELETE",
                "/batches/{batch_id}",
                self.delete,
                CallDescription("Delete a batch and its results; if it runs, it stops.", tag=TAG),
                counted_as=CountedAs.NOTHING,
            ),
        )

    def get(self, request: Request, identity: Identity, links: Links) -> Response:
        """Answer with the status of a batch, and a new link to its results if it is finished."""
        batch = find_batch(self.parts, request, identity)
        return Response(200, build_batch_body(batch, links, self.result_links))

    def list(self, request: Request, identity: Identity, links: Links) -> Response:
        """Answer with the batches of the last seven days, the newest first."""
        wanted = parse_page(request.params)
        with self.parts.database.read() as connection:
            found, total = batches.find_page(
                connection,
                identity.account.id,
                wanted.count,
                wanted.offset,
                self.parts.get_results_since(),
            )
        return Response(
            200,
            BatchList(
                [build_batch_body(batch, links, self.result_links) for batch in found],
                total,
                links.build_collection_links("Batches", "/", "/batches", create=True),
            ),
        )

    def delete(self, request: Request, identity: Identity, _links: Links) -> Response:
        """Stop a batch if it runs, and delete its results."""
        if not delete_batch(self.parts, identity.account.id, request.path_params["batch_id"]):
            raise not_found()
        return NO_CONTENT


def find_batch(parts: Parts, request: Request, identity: Identity) -> Batch:
    """Return the batch that the path names. Raises a 404."""
    with parts.database.read() as connection:
        batch = batches.find(
            connection,
            identity.account.id,
            request.path_params["batch_id"],
            parts.get_results_since(),
        )
    if batch is None:
        raise not_found()
    return batch
