"""Retry: a new batch of those operations of a finished one whose results are asked for."""

from batchway.errors import Refusal, RefusalKind
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.submit import Incoming, check_room, submit
from batchway.model.account import Identity
from batchway.model.batch import Batch, Status
from batchway.results import Filter


def retry(parts: Parts, identity: Identity, base_url: str, batch: Batch, wanted: Filter) -> Batch:
    """Submit the operations again, in their order.

    Raises Refusal if there are none, while the batch is not finished, and as `submit` does.
    """
    if batch.status is not Status.FINISHED:
        detail = "The batch is not finished yet. Retry its operations when it is."
        raise Refusal(RefusalKind.CONFLICT, detail)
    check_room(parts, identity.account.id)
    with Incoming(parts.targets, parts.limits) as incoming:
        last = -1  # an operation comes once, however many of its pages are wanted
        for each in parts.read_results(batch, wanted).iterate():
            if each.position != last:
                incoming.add([each.operation])
                last = each.position
        if not incoming.count:
            detail = "No operation of the batch has such a result, so there is nothing to retry."
            raise Refusal(RefusalKind.WRONG, detail)
        return submit(parts, identity, base_url, incoming, retry_of=batch)
