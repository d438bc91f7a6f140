"""`GET /limits`: the limits that apply to clients, and the account's use of them. An extension."""

from dataclasses import dataclass

from batchway.contract.description import ON_ONE, CallDescription
from batchway.contract.links import Links
from batchway.contract.request import Request
from batchway.contract.response import Response
from batchway.lifecycle.parts import Parts
from batchway.model.account import Identity
from batchway.settable_limits import list_client_limits
from batchway.store import admission, batch_webhooks, deliveries
from batchway.surfaces.mailchimp.bodies.limits import LimitsBody, Usage
from batchway.surfaces.mailchimp.route import Route


@dataclass(frozen=True)
class LimitCalls:
    """Answers the call on limits."""

    parts: Parts

    def routes(self) -> tuple[Route, ...]:
        """Return the route of this call."""
        return (
            Route(
                "GET",
                "/limits",
                self.get,
                CallDescription(
                    "The limits of this server, and the account's use of them.",
                    query=ON_ONE,
                    reply=LimitsBody,
                    notes="An extension.",
                    tag="Limits",
                ),
            ),
        )

    def get(self, _request: Request, identity: Identity, links: Links) -> Response:
        """Answer with the limits of this server, and the account's use of them."""
        account_id = identity.account.id
        with self.parts.database.read() as connection:
            usage = Usage(
                admission.count_pending(connection, account_id),
                admission.count_running(connection, account_id),
                deliveries.count_undelivered(connection, account_id),
                batch_webhooks.count(connection, account_id),
            )
        return Response(
            200,
            LimitsBody(
                list_client_limits(self.parts.limits),
                usage,
                links.build_collection_links("Limits", "/", "/limits", create=False),
            ),
        )
