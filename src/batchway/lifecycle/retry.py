"""Retry: submit operations of a finished batch as a new batch, chosen by their results."""

from batchway.errors import Refusal, RefusalKind
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.submit import IncomingBatch, check_room, submit_batch
from batchway.model.account import Identity
from batchway.model.batch import Batch, Status
from batchway.results import Filter


def retry_batch(
    parts: Parts, identity: Identity, base_url: str, batch: Batch, wanted: Filter
) -> Batch:
    """Submit the operations whose results match `wanted`, in their order.

    Raises Refusal if there are none, if the batch is not finished, and as `submit_batch` does.
    """
    if batch.status is not Status.FINISHED:
        detail = "The batch is not finished yet. Retry its operations when it is."
        raise Refusal(RefusalKind.CONFLICT, detail)
    check_room(parts, identity.account.id)
    with IncomingBatch(parts.targets, parts.limits) as incoming:
        last = -1  # an operation is submitted once, even if several of its pages match
        for result in parts.read_results(batch, wanted).iterate():
            if result.position != last:
                incoming.add([result.operation])
                last = result.position
        if not incoming.count:
            detail = "No operation of the batch has such a result, so there is nothing to retry."
            raise Refusal(RefusalKind.WRONG, detail)
        return submit_batch(parts, identity, base_url, incoming, retry_of=batch)
