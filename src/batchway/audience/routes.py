"""The route table of the built-in API. A new resource is one module and one line here."""

from batchway.audience import lists, members, merge_fields, root, subscribe, tags
from batchway.audience.base import Plain
from batchway.audience.member_calls import OnMembers
from batchway.contract.routing import RouteTable

_RESOURCES = (
    root,
    lists,
    subscribe,
    members,
    tags,
    merge_fields,
)


def table() -> RouteTable[Plain | OnMembers]:
    """Every route of the built-in API."""
    routes: RouteTable[Plain | OnMembers] = RouteTable()
    for resource in _RESOURCES:
        for method, template, handler, described in resource.ROUTES:
            routes.add(method, template, handler, described)
    return routes
