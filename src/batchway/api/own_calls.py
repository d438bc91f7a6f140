"""The calls under /3.0 that are answered whatever the target is."""

from batchway.api.batch_actions import BatchActionCalls
from batchway.api.batch_events import BatchEventCalls
from batchway.api.batch_results import BatchResultCalls
from batchway.api.batch_webhooks import BatchWebhookCalls
from batchway.api.batches import BatchCalls, OwnAnswer
from batchway.api.deliveries import DeliveryCalls
from batchway.api.intake import CREATE_BATCH, Intake
from batchway.api.url_checks import UrlChecks
from batchway.api.usage import LimitCalls
from batchway.contract.result_links import ResultLinks
from batchway.contract.routing import RouteTable
from batchway.kit.egress import Egress
from batchway.kit.sealing import Sealer
from batchway.lifecycle.parts import Parts

OwnCalls = RouteTable[OwnAnswer | Intake]


def own_calls(parts: Parts, result_links: ResultLinks, egress: Egress, sealer: Sealer) -> OwnCalls:
    """Their route table. `Intake` reads its request's body by itself, the others get it read."""
    table: OwnCalls = RouteTable()
    table.add("POST", "/batches", Intake(parts, result_links), CREATE_BATCH)
    for calls in (
        BatchCalls(parts, result_links),
        BatchResultCalls(parts),
        BatchActionCalls(parts, result_links),
        BatchEventCalls(parts),
        BatchWebhookCalls(parts, UrlChecks(egress), sealer),
        DeliveryCalls(parts),
        LimitCalls(parts),
    ):
        for method, template, answer, described in calls.routes():
            table.add(method, template, answer, described)
    return table
