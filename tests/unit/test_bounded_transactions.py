"""The number of operations that one transaction of a chunk answers, independent of time."""

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from batchway import limits
from batchway.audience.planning import plan_requests
from batchway.audience.settings import AudienceSettings
from batchway.audience.transaction import answer_within
from batchway.contract.links import Links
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, encode_body
from batchway.errors import Stale
from tests.audience import BASE, NEW_LIST, NOON, Audience

SETTINGS = AudienceSettings()
CALLER = Caller(1, "Bees", NOON, Links(BASE))
_keys = count(1)


def answer_chunk(
    api: Audience, requests: Sequence[Request]
) -> tuple[list[tuple[str, int]], list[Response]]:
    """Answer requests as a chunk does, and return its transactions and responses.

    A transaction is "planned" if it only wrote what was computed before it, or "locked".
    """
    transactions: list[tuple[str, int]] = []
    responses: list[Response] = []
    while len(responses) < len(requests):
        left = requests[len(responses) :]
        try:
            planned = plan_requests(
                api.database, SETTINGS, CALLER, left, lambda _table: next(_keys)
            )
        except Stale:
            with api.database.write() as connection:
                answered: Sequence[Response] = answer_within(
                    connection, SETTINGS, CALLER, left, lambda _table: next(_keys)
                )
            transactions.append(("locked", len(answered)))
        else:
            with api.database.write() as connection:
                planned.write(connection)
            answered = planned.responses
            transactions.append(("planned", len(answered)))
        responses += answered
    return transactions, responses


def make_request(method: str, path: str, body: object = None, **params: str) -> Request:
    """Return a request of a batch."""
    raw = None if body is None else json.dumps(body).encode()
    return Request(method, path, params, raw, is_paged=method == "GET")


def add(list_id: str, number: int, **more: Any) -> Request:
    """Return a request that adds a member."""
    body = {"email_address": f"{number}@example.com", "status": "subscribed"} | more
    return make_request("POST", f"/lists/{list_id}/members", body)


def rename(list_id: str, name: str) -> Request:
    """Return a request that changes a list."""
    return make_request("PATCH", f"/lists/{list_id}", {"name": name})


def test_changes_behind_large_pages_run_once(
    api: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan that ends behind a large page has no effect of the calls that it leaves out."""
    monkeypatch.setattr(limits, "answer_bytes_max", 1)
    list_id = api.new_list()
    tags = make_request("GET", f"/lists/{list_id}/members/0@example.com/tags")
    requests = [add(list_id, 0, tags=["a"]), tags, add(list_id, 1), tags, add(list_id, 2)]

    transactions, responses = answer_chunk(api, requests)

    assert [("planned", 2), ("planned", 2), ("planned", 1)] == transactions
    assert [200] * 5 == [response.status for response in responses]


def test_plain_writes_are_few_in_each_transaction(api: Audience) -> None:
    """A transaction has a limited number of plain writes."""
    most = limits.locked_cost_max // limits.plain_write_cost
    requests = [make_request("POST", "/lists", NEW_LIST) for _ in range(2 * most + 1)]

    transactions, responses = answer_chunk(api, requests)

    assert [("locked", most), ("locked", most), ("locked", 1)] == transactions
    assert {200} == {response.status for response in responses}


def test_many_calls_around_a_plain_write_are_planned(api: Audience) -> None:
    """One change of a list does not bring the additions around it under the lock."""
    list_id = api.new_list()
    some = limits.planned_calls_min
    requests = [add(list_id, number) for number in range(2 * some)]
    requests.insert(some, rename(list_id, "Writers"))

    transactions, responses = answer_chunk(api, requests)

    assert [("planned", some), ("locked", 1), ("planned", some)] == transactions
    assert {200} == {response.status for response in responses}


def test_few_calls_between_plain_writes_share_a_transaction(api: Audience) -> None:
    """Alternating calls share transactions, whose cost is limited."""
    list_id = api.new_list()
    requests = [
        request
        for number in range(60)
        for request in (rename(list_id, str(number)), add(list_id, number))
    ]

    transactions, responses = answer_chunk(api, requests)

    pair = limits.plain_write_cost + limits.locked_set_cost + 2
    most = 2 * (limits.locked_cost_max // pair) + 1
    assert {"locked"} == {kind for kind, _ in transactions}
    assert max(size for _, size in transactions) <= most
    assert len(transactions) <= len(requests) // most + 2
    assert {200} == {response.status for response in responses}


def test_collections_are_read_without_the_lock(api: Audience) -> None:
    """A page shows exactly the changes before it, and is read without a lock."""
    list_id = api.new_list()
    page = make_request("GET", f"/lists/{list_id}/members", fields="total_items")
    requests = [add(list_id, 1), page, add(list_id, 2), page]

    transactions, responses = answer_chunk(api, requests)

    assert [("planned", 1)] * 4 == transactions
    shown = [json.loads(encode_body(responses[index])) for index in (1, 3)]
    assert [1, 2] == [page["total_items"] for page in shown]


def test_a_plan_has_a_maximum_of_rows(api: Audience, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction has fewer calls if they write many rows."""
    list_id = api.new_list()
    monkeypatch.setattr(limits, "planned_rows_max", 10)
    tagged = [add(list_id, number, tags=["a", "b", "c"]) for number in range(5)]
    members = [{"email_address": f"{n}@example.org", "status": "subscribed"} for n in range(12)]
    subscribe = make_request("POST", f"/lists/{list_id}", {"members": members})

    transactions, responses = answer_chunk(api, [*tagged, subscribe])

    assert [("planned", 2), ("planned", 2), ("planned", 1), ("planned", 1)] == transactions
    assert {200} == {response.status for response in responses}
