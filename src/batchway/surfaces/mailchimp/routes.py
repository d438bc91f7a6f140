"""The calls under /3.0 that are answered whatever the target is."""

from batchway.contract.result_links import ResultLinks
from batchway.contract.routing import RouteTable
from batchway.kit.egress import Egress
from batchway.kit.sealing import Sealer
from batchway.lifecycle.parts import Parts
from batchway.surfaces.mailchimp.batch_actions import BatchActionCalls
from batchway.surfaces.mailchimp.batch_events import BatchEventCalls
from batchway.surfaces.mailchimp.batch_intake import CREATE_BATCH, Intake
from batchway.surfaces.mailchimp.batch_results import BatchResultCalls
from batchway.surfaces.mailchimp.batch_webhooks import BatchWebhookCalls
from batchway.surfaces.mailchimp.batches import BatchCalls, OwnAnswer
from batchway.surfaces.mailchimp.deliveries import DeliveryCalls
from batchway.surfaces.mailchimp.limits import LimitCalls
from batchway.surfaces.mailchimp.url_checks import UrlChecks

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
        BatchWebhookCalls(parts, UrlChecks(parts, egress), sealer),
        DeliveryCalls(parts),
        LimitCalls(parts),
    ):
        for method, template, answer, described in calls.routes():
            table.add(method, template, answer, described)
    return table
