"""The state of a set of calls: copies are independent, and totals come from counters."""

import json
from dataclasses import dataclass, field

import pytest

from batchway.audience.list_collection import ListCollection
from batchway.audience.planning import plan_requests
from batchway.audience.settings import AudienceSettings
from batchway.contract.links import Links
from batchway.contract.request import Caller, Request
from batchway.contract.response import encode_body
from tests.audience import BASE, NOON, open_audience


@dataclass
class Everything(ListCollection):
    """A collection with every kind of state."""

    names: list[str] = field(default_factory=lambda: ["a"])
    hashes: set[str] = field(default_factory=lambda: {"a"})
    by_id: dict[int, str] = field(default_factory=lambda: {1: "a"})
    moment: int = NOON


def test_a_copy_shares_no_state() -> None:
    """A copy shares no state with the collection, whatever is added later."""
    original = Everything()
    copied = original.make_copy()

    copied.names.append("b")
    copied.hashes.add("b")
    copied.by_id[2] = "b"

    assert Everything() == original
    assert Everything(["a", "b"], {"a", "b"}, {1: "a", 2: "b"}) == copied


@pytest.mark.parametrize(
    ("params", "total"),
    [({}, 654_321), ({"status": "cleaned"}, 300), ({"email_type": "html"}, 0)],
)
def test_members_are_counted_by_the_counters(
    database_url: str, params: dict[str, str], total: int
) -> None:
    """Without filters, or with a status only, no member row is counted."""
    with open_audience(database_url) as api:
        list_id = api.new_list()
        api.run(
            """
            UPDATE list_stats SET subscribed_count = 1, unsubscribed_count = 20,
                cleaned_count = 300, pending_count = 4000, transactional_count = 50000,
                archived_count = 600000
            """
        )
        request = Request("GET", f"/lists/{list_id}/members", params)
        caller = Caller(1, "Bees", NOON, Links(BASE))
        planned = plan_requests(
            api.database, AudienceSettings(), caller, [request], lambda _table: 1
        )

    assert total == json.loads(encode_body(planned.responses[0]))["total_items"]
