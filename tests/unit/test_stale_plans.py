"""A plan is stale if another writer has changed what its responses are based on."""

from itertools import count

import msgspec
import pytest

from batchway.audience.planning import Plan, plan_requests
from batchway.audience.settings import AudienceSettings
from batchway.contract.links import Links
from batchway.contract.request import Caller, Request
from batchway.errors import Stale
from batchway.kit.ids import compute_subscriber_hash
from tests.audience import BASE, NOON, Audience

ADDRESS = "ann@example.com"
CALLER = Caller(1, "Bees", NOON, Links(BASE))
_keys = count(1)


def add(list_id: str) -> Request:
    """Return a request that adds the member."""
    body = msgspec.json.encode({"email_address": ADDRESS, "status": "subscribed"})
    return Request("POST", f"/lists/{list_id}/members", {}, body)


def forget(list_id: str) -> Request:
    """Return a request that deletes the member for good."""
    member = f"/lists/{list_id}/members/{compute_subscriber_hash(ADDRESS)}"
    return Request("POST", f"{member}/actions/delete-permanent", {})


def plan(api: Audience, *requests: Request) -> Plan:
    """Plan requests; all of them succeed."""
    planned = plan_requests(
        api.database, AudienceSettings(), CALLER, requests, lambda _table: next(_keys)
    )
    assert {200, 204} >= {response.status for response in planned.responses}
    return planned


def write(api: Audience, planned: Plan) -> None:
    """Write the changes of a plan."""
    with api.database.write() as connection:
        planned.write(connection)


def test_both_add_and_forget_a_member(api: Audience) -> None:
    """Of two plans that add a member and delete it for good, only one can be written."""
    list_id = api.new_list()
    first, second = (plan(api, add(list_id), forget(list_id)) for _ in range(2))

    write(api, first)
    with pytest.raises(Stale):
        write(api, second)


def test_one_forgets_a_member_and_one_adds_it(api: Audience) -> None:
    """An addition that was planned before the address was forgotten is not written."""
    list_id = api.new_list()
    first, second = plan(api, add(list_id), forget(list_id)), plan(api, add(list_id))

    write(api, first)
    with pytest.raises(Stale):
        write(api, second)


def test_one_adds_a_member_and_one_adds_and_forgets_it(api: Audience) -> None:
    """An address is not forgotten if its member was added after the plan."""
    list_id = api.new_list()
    first, second = plan(api, add(list_id)), plan(api, add(list_id), forget(list_id))

    write(api, first)
    with pytest.raises(Stale):
        write(api, second)
