"""`POST /batches/{batch_id}/actions/…`: cancels a batch, or retries its operations. Extensions."""

from dataclasses import dataclass

from batchway.contract.description import CallDescription
from batchway.contract.links import Links
from batchway.contract.problems import not_found
from batchway.contract.request import Request
from batchway.contract.response import Response
from batchway.contract.result_links import ResultLinks
from batchway.lifecycle.cancel import cancel_batch
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.retry import retry_batch
from batchway.model.account import Identity
from batchway.surfaces.mailchimp.batch_body import build_batch_body
from batchway.surfaces.mailchimp.batch_calls import TAG, find_batch
from batchway.surfaces.mailchimp.batch_result_calls import FILTERS, parse_filter
from batchway.surfaces.mailchimp.bodies.batches import BatchBody
from batchway.surfaces.mailchimp.route import Route


@dataclass(frozen=True)
class BatchActionCalls:
    """Answers the calls that act on a batch."""

    parts: Parts
    result_links: ResultLinks

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of these calls."""
        return (
            Route(
                "POST",
                "/batches/{batch_id}/actions/cancel",
                self.cancel,
                CallDescription(
                    "Cancel a batch: no more operations run; the results so far are compiled.",
                    reply=BatchBody,
                    notes="An extension. Operations that did not run get a 499 as their result.",
                    tag=TAG,
                ),
            ),
            Route(
                "POST",
                "/batches/{batch_id}/actions/retry",
                self.retry,
                CallDescription(
                    "Run the operations of a finished batch that failed again, in a new batch.",
                    query=FILTERS,
                    reply=BatchBody,
                    errors=(409,),
                    notes="An extension. The filters choose other operations; `errored` is true "
                    "unless it or `status_code` is given.",
                    tag=TAG,
                ),
            ),
        )

    def cancel(self, request: Request, identity: Identity, links: Links) -> Response:
        """Cancel a batch: run no more operations, but keep the results so far."""
        batch = cancel_batch(self.parts, identity.account.id, request.path_params["batch_id"])
        if batch is None:
            raise not_found()
        return Response(200, build_batch_body(batch, links, self.result_links))

    def retry(self, request: Request, identity: Identity, links: Links) -> Response:
        """Submit the selected operations again, in a new batch. By default they are the failed."""
        batch = find_batch(self.parts, request, identity)
        wanted = parse_filter(request.params, errored=True)
        new_batch = retry_batch(self.parts, identity, links.base, batch, wanted)
        return Response(200, build_batch_body(new_batch, links, self.result_links))
