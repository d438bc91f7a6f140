"""Builds the batch object of status calls and webhooks."""

from batchway.contract.links import Link, Links
from batchway.contract.result_links import ResultLinks
from batchway.kit.clock import format_iso
from batchway.model.batch import Batch
from batchway.surfaces.mailchimp.bodies.batches import BatchBody


def build_batch_body(batch: Batch, links: Links, result_links: ResultLinks) -> BatchBody:
    """Return the batch object, with a new link to its results if it has any."""
    return BatchBody(
        id=batch.public_id,
        status=batch.status,
        total_operations=batch.total_operations,
        finished_operations=batch.finished_operations,
        errored_operations=batch.errored_operations,
        submitted_at=format_iso(batch.submitted_at),
        completed_at=format_iso(batch.completed_at),
        response_body_url=result_links.build_url(batch, links.base),
        links=build_batch_links(links, batch.public_id),
    )


def build_batch_links(links: Links, public_id: str) -> list[Link]:
    """Return the three links of a batch in the order of the contract."""
    itself = f"/batches/{public_id}"
    return [
        links.build_link(
            "parent",
            "GET",
            "/batches",
            "Definitions/Batches/CollectionResponse.json",
            "CollectionLinks/Batches.json",
        ),
        links.build_link("self", "GET", itself, "Definitions/Batches/Response.json"),
        links.build_link("delete", "DELETE", itself),
    ]
