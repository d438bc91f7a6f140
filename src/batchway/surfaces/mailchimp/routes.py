"""The routes of the surface's own calls: batches, batch webhooks, limits."""

from batchway.contract.result_links import ResultLinks
from batchway.contract.routing import RouteTable
from batchway.kit.egress import Egress
from batchway.kit.sealing import Sealer
from batchway.lifecycle.parts import Parts
from batchway.surfaces.mailchimp.batch_action_calls import BatchActionCalls
from batchway.surfaces.mailchimp.batch_calls import BatchCalls
from batchway.surfaces.mailchimp.batch_progress_calls import BatchProgressCalls
from batchway.surfaces.mailchimp.batch_result_calls import BatchResultCalls
from batchway.surfaces.mailchimp.batch_submission_calls import BatchSubmissionCalls
from batchway.surfaces.mailchimp.batch_webhook_calls import BatchWebhookCalls
from batchway.surfaces.mailchimp.delivery_calls import DeliveryCalls
from batchway.surfaces.mailchimp.limit_calls import LimitCalls
from batchway.surfaces.mailchimp.route import Route
from batchway.surfaces.mailchimp.webhook_url_checks import WebhookUrlChecks


def make_routes(
    parts: Parts, result_links: ResultLinks, egress: Egress, sealer: Sealer
) -> RouteTable[Route]:
    """Return the table of the calls that no target answers."""
    table: RouteTable[Route] = RouteTable()
    for calls in (
        BatchSubmissionCalls(parts, result_links),
        BatchCalls(parts, result_links),
        BatchResultCalls(parts),
        BatchActionCalls(parts, result_links),
        BatchProgressCalls(parts),
        BatchWebhookCalls(parts, WebhookUrlChecks(parts, egress), sealer),
        DeliveryCalls(parts),
        LimitCalls(parts),
    ):
        for route in calls.routes():
            table.add(route.method, route.template, route, route.described)
    return table
