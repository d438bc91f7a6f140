"""The batch object: what a status call shows, and what a webhook is told."""

import msgspec

from batchway.contract.links import Link, Links
from batchway.contract.result_links import ResultLinks
from batchway.kit.clock import format_iso
from batchway.model.batch import Batch


class BatchBody(msgspec.Struct, rename={"links": "_links"}):
    """A batch as the contract shows it."""

    id: str
    status: str
    total_operations: int
    finished_operations: int
    errored_operations: int
    submitted_at: str
    completed_at: str
    response_body_url: str
    links: list[Link]


def batch_body(batch: Batch, links: Links, result_links: ResultLinks) -> BatchBody:
    """The batch with a fresh link to its results, if it has any."""
    return BatchBody(
        id=batch.public_id,
        status=batch.status,
        total_operations=batch.total_operations,
        finished_operations=batch.finished_operations,
        errored_operations=batch.errored_operations,
        submitted_at=format_iso(batch.submitted_at),
        completed_at=format_iso(batch.completed_at),
        response_body_url=result_links.url(batch, links.base),
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
