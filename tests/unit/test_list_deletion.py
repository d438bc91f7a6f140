"""A deleted list is gone at once for its owner, and its rows are purged later."""

import pytest

from batchway import limits
from batchway.audience.lists.deletion import purge_deleted_lists
from tests.audience import Audience, add_member

TABLES = [
    "lists",
    "list_stats",
    "merge_fields",
    "members",
    "forgotten_members",
    "list_segments",
    "list_segment_members",
    "deleted_lists",
]


def test_a_deleted_list_leaves_nothing(api: Audience) -> None:
    """All rows of the list are deleted; those of other lists stay."""
    kept, gone = api.new_list(), api.new_list()
    for number, public_id in enumerate((kept, gone), start=1):
        key = api.call_ok("GET", f"/lists/{public_id}")["web_id"]
        add_member(api, key, number)
        api.run("INSERT INTO forgotten_members VALUES (:list_id, 'h', 1, 0)", list_id=key)
        api.run(
            "INSERT INTO list_segments VALUES (:id, 1, :list_id, 'vip', 'vip', 'static', 0, 0)",
            id=number,
            list_id=key,
        )
        api.run("INSERT INTO list_segment_members VALUES (:id, :id, 1, 0)", id=number)
    rows = {table: len(api.run(f"SELECT 1 FROM {table}")) for table in TABLES}

    status, reply = api.call("DELETE", f"/lists/{gone}")

    assert (204, {}) == (status, reply)
    assert 404 == api.call("GET", f"/lists/{gone}")[0]
    assert 404 == api.call("DELETE", f"/lists/{gone}")[0]
    purge_deleted_lists(api.database)
    assert {table: count // 2 for table, count in rows.items()} == {
        table: len(api.run(f"SELECT 1 FROM {table}")) for table in TABLES
    }
    assert kept == api.call_ok("GET", "/lists")["lists"][0]["id"]


def test_a_deleted_list_is_purged_in_bounded_transactions(
    api: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction deletes more rows than the limit, and each round has a limited number."""
    monkeypatch.setattr(limits, "purge_rows_max", 2)
    monkeypatch.setattr(limits, "purge_transactions_max", 2)
    key = api.call_ok("GET", f"/lists/{(public_id := api.new_list())}")["web_id"]
    for number in range(7):
        api.run("INSERT INTO forgotten_members VALUES (:key, :n, 1, 0)", key=key, n=str(number))
    api.call_ok("DELETE", f"/lists/{public_id}")

    left = []
    for _ in range(3):
        purge_deleted_lists(api.database)
        left.append(
            (
                len(api.run("SELECT 1 FROM forgotten_members")),
                len(api.run("SELECT 1 FROM deleted_lists")),
            )
        )

    assert [(3, 1), (0, 1), (0, 0)] == left


def test_the_rest_of_a_deleted_list_is_not_seen(api: Audience) -> None:
    """Rows that are not purged yet are in no collection and no filter."""
    kept, gone = api.new_list(), api.new_list()
    add_member(api, api.call_ok("GET", f"/lists/{gone}")["web_id"], 1)
    api.call_ok("DELETE", f"/lists/{gone}")

    assert [kept] == [listed["id"] for listed in api.call_ok("GET", "/lists")["lists"]]
    assert 0 == api.call_ok("GET", "/lists", email="ann@example.com")["total_items"]
