"""The route table of the built-in API. A new resource is one folder and one line here."""

from batchway.audience import root
from batchway.audience.base import PlainHandler
from batchway.audience.lists import routes as lists
from batchway.audience.members import routes as members
from batchway.audience.members import subscribe
from batchway.audience.members.base import MemberHandler
from batchway.audience.merge_fields import routes as merge_fields
from batchway.audience.tags import routes as tags
from batchway.contract.routing import RouteTable

_RESOURCES = (
    root,
    lists,
    subscribe,
    members,
    tags,
    merge_fields,
)


def make_route_table() -> RouteTable[PlainHandler | MemberHandler]:
    """Return the table of every route of the built-in API."""
    routes: RouteTable[PlainHandler | MemberHandler] = RouteTable()
    for resource in _RESOURCES:
        for method, template, handler, described in resource.ROUTES:
            routes.add(method, template, handler, described)
    return routes
