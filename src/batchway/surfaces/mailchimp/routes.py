"""The routes of the surface's own calls: batches, batch webhooks, limits."""

from batchway.contract.result_links import ResultLinks
from batchway.contract.routing import RouteTable
from batchway.kit.egress import Egress
from batchway.kit.sealing import Sealer
from batchway.lifecycle.parts import Parts
from batchway.surfaces.mailchimp.batch_actions import BatchActionCalls
from batchway.surfaces.mailchimp.batch_events import BatchEventCalls
from batchway.surfaces.mailchimp.batch_intake import BatchIntake
from batchway.surfaces.mailchimp.batch_results import BatchResultCalls
from batchway.surfaces.mailchimp.batch_webhooks import BatchWebhookCalls
from batchway.surfaces.mailchimp.batches import BatchCalls
from batchway.surfaces.mailchimp.deliveries import DeliveryCalls
from batchway.surfaces.mailchimp.limits import LimitCalls
from batchway.surfaces.mailchimp.route import Route
from batchway.surfaces.mailchimp.url_checks import UrlChecks


def make_routes(
    parts: Parts, result_links: ResultLinks, egress: Egress, sealer: Sealer
) -> RouteTable[Route]:
    """Return the table of the calls that no target answers."""
    table: RouteTable[Route] = RouteTable()
    for calls in (
        BatchIntake(parts, result_links),
        BatchCalls(parts, result_links),
        BatchResultCalls(parts),
        BatchActionCalls(parts, result_links),
        BatchEventCalls(parts),
        BatchWebhookCalls(parts, UrlChecks(parts, egress), sealer),
        DeliveryCalls(parts),
        LimitCalls(parts),
    ):
        for route in calls.routes():
            table.add(route.method, route.template, route, route.described)
    return table
