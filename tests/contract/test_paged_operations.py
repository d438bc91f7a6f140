"""Operations with several results: a GET without a `count` pages through its whole collection.

A GET continues in turns, and each turn is one transaction. The tests run the steps themselves, so
that they can make changes between two turns.
"""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from batchway import limits
from batchway.contract.request import Caller
from batchway.lifecycle.cancel import cancel_batch
from batchway.lifecycle.delete import delete_batch
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch
from batchway.model.operation import Operation as StoredOperation
from batchway.model.result import Result as TargetResult
from batchway.store import accounts
from tests.audience import NEW_LIST
from tests.contract.shared_servers import Api, make_member, read_raw_results
from tests.scenario import PING, Operation, Result, add_member
from tests.step_runner import InterruptedTarget, StepRunner, get_audience, replace_audience
from tests.steps import execute, finalize, run, split

PAGE = 10  # items, in tests that run the steps themselves
COUNTED = "returned_item_count"


@pytest.fixture
def in_turns(runner: StepRunner, monkeypatch: pytest.MonkeyPatch) -> StepRunner:
    """A step runner with small pages, each of them in a separate turn."""
    monkeypatch.setattr(limits, "page_count_max", PAGE)
    monkeypatch.setattr(limits, "answer_bytes_max", 1)
    runner.set_limits(step_seconds_max=0)
    return runner


def get(path: str, operation_id: str | None = None, **params: Any) -> Operation:
    """Return an operation that reads."""
    operation: Operation = {"method": "GET", "path": path, "params": params}
    return operation if operation_id is None else operation | {"operation_id": operation_id}


# --- Pages ---------------------------------------------------------------------------------------

# Parameters of a GET of 2,500 members, 1,200 of them pending, and how many items its pages have.
PAGED: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [1000, 1000, 500]),
    ({"count": ""}, [1000, 1000, 500]),
    ({"count": " "}, [1000, 1000, 500]),
    ({"count": None}, [1000, 1000, 500]),
    ({"fields": "members.email_address"}, [1000, 1000, 500]),
    ({"exclude_fields": "members._links,_links,total_items"}, [1000, 1000, 500]),
    ({"status": "pending"}, [1000, 200]),
    ({"status": "pending", "email_type": "html"}, [1000, 200]),
    ({"status": "cleaned"}, [0]),
    ({"sort_field": "last_changed"}, [1000, 1000, 500]),
    ({"sort_field": "last_changed", "sort_dir": "ASC"}, [1000, 1000, 500]),
    ({"sort_field": "timestamp_opt", "sort_dir": "DESC", "status": "pending"}, [1000, 200]),
    ({"offset": 400}, [1000, 1000, 100]),
    ({"offset": "1700"}, [800]),
    ({"offset": 2500}, [0]),
    ({"offset": 9999}, [0]),
]
# The same for what asks for one page.
UNPAGED: list[tuple[str, dict[str, Any], int]] = [
    ("", {"count": 7}, 7),
    ("", {"count": "0"}, 0),
    ("", {"count": 3000}, 1000),
    ("", {"count": 1000, "offset": 1990}, 510),
    ("?count=5", {}, 5),
    ("?count=5&offset=2498", {}, 2),
    ("?offset=2498", {"count": 5}, 2),
]


def test_pages_of_members(api: Api) -> None:
    """All matching members are returned once, on pages under one id; `count` limits the result."""
    list_id = _make_large_list(api)
    path = f"/lists/{list_id}/members"
    paged = [get(path, f"paged {number}", **params) for number, (params, _) in enumerate(PAGED)]
    unpaged = [
        get(path + query, f"unpaged {number}", **params)
        for number, (query, params, _) in enumerate(UNPAGED)
    ]
    in_path = get(f"{path}?offset=400&fields=members.id", "in the path")

    batch_id = api.submit(*paged, *unpaged, in_path)
    results = api.server.get_results(batch_id)

    assert {200} == {result.status_code for result in results}
    for operation, (params, counts) in zip(paged, PAGED, strict=True):
        pages = _get_responses(results, operation["operation_id"])
        assert counts == [page[COUNTED] for page in pages], params
        _check_pages(params, pages)
    for operation, (_, params, count) in zip(unpaged, UNPAGED, strict=True):
        [page] = _get_responses(results, operation["operation_id"])
        assert (count, 2500) == (len(page["members"]), page["total_items"]), params
        assert COUNTED not in page
    found = [page["members"] for page in _get_responses(results, "in the path")]
    assert [1000, 1000, 100] == [len(members) for members in found]
    batch = api.call_ok("GET", f"/batches/{batch_id}")
    assert len(results) == batch["total_operations"] == batch["finished_operations"]
    assert 0 == batch["errored_operations"]


def test_files_of_pages(api: Api) -> None:
    """Each page is a file, and `returned_item_count` is its last key."""
    path = f"/lists/{_make_large_list(api)}/members"
    batch_id = api.submit(get(path, "all"))

    archive = api.server.download_archive(batch_id)

    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        names = tar.getnames()
    assert 3 == len(set(names)) == len(names)
    pages = [json.loads(result["response"]) for result in read_raw_results(archive)]
    keys = list(api.call_ok("GET", path))
    assert [[*keys, COUNTED]] * 3 == [list(page) for page in pages]
    assert [2500] * 3 == [page["total_items"] for page in pages]
    assert 2500 == sum(page[COUNTED] for page in pages)
    shown = [member["id"] for page in pages for member in page["members"]]
    assert [member["id"] for member in api.server.get_members(path.split("/")[2])] == shown


def test_pages_of_other_collections(own_api: Api) -> None:
    """Lists, merge fields and tags have pages like members."""
    new_list = {"method": "POST", "path": "/lists", "body": json.dumps(NEW_LIST)}
    made = own_api.run_batch(*[new_list] * 1005)
    assert {200} == {result.status_code for result in made}
    list_id = made[0].response["id"]
    member = f"/lists/{list_id}/members/ann@example.com"
    own_api.call_ok("POST", f"/lists/{list_id}/members", make_member("ann@example.com"))
    tags = [{"name": f"tag {number}", "status": "active"} for number in range(1003)]
    own_api.call_ok("POST", f"{member}/tags", {"tags": tags})

    results = own_api.run_batch(
        get("/lists", "lists"),
        get("/lists", "some", fields="lists.id"),
        get(f"/lists/{list_id}/merge-fields", "merge_fields"),
        get(f"{member}/tags", "tags"),
    )

    assert [1000, 5] == [page[COUNTED] for page in _get_responses(results, "lists")]
    lists = [one["id"] for page in _get_responses(results, "lists") for one in page["lists"]]
    assert 1005 == len(set(lists)) == len(lists)
    assert ["lists", COUNTED] == list(_get_responses(results, "some")[0])
    [fields] = _get_responses(results, "merge_fields")
    assert len(fields["merge_fields"]) == fields[COUNTED] == fields["total_items"] > 0
    pages = _get_responses(results, "tags")
    assert [1000, 3] == [page[COUNTED] for page in pages]
    assert 1003 == len({tag["id"] for page in pages for tag in page["tags"]})


def test_collections_without_items(api: Api) -> None:
    """An empty collection has one page; a missing collection has one error."""
    list_id = api.new_list()

    empty, missing = api.run_batch(
        get(f"/lists/{list_id}/members"), get("/lists/0123456789/members", fields="members")
    )

    assert (200, [], 0) == (empty.status_code, empty.response["members"], empty.response[COUNTED])
    assert (404, "Resource Not Found") == (missing.status_code, missing.response["title"])


def test_instances_are_not_paged(api: Api) -> None:
    """The result of a GET of one resource is not a page."""
    list_id = api.new_list()
    api.call_ok("POST", f"/lists/{list_id}/members", make_member("ann@example.com"))
    paths = ["/", "/ping", f"/lists/{list_id}", f"/lists/{list_id}/members/ann@example.com"]

    results = api.run_batch(*map(get, paths))

    assert [200] * len(paths) == [result.status_code for result in results]
    assert not any(COUNTED in result.response for result in results)


# --- In turns ------------------------------------------------------------------------------------


def test_counters_grow_with_the_pages(in_turns: StepRunner) -> None:
    """Each page counts as an operation, and the last turn finalizes the batch."""
    _add_members(in_turns, 25)
    batch = _start_batch(in_turns, _get_all_members(in_turns), PING | {"operation_id": "ping"})
    seen = []

    for _ in _run_turns(in_turns, batch):
        now = _now(in_turns, batch)
        seen.append((now.status.value, now.total_operations, now.finished_operations))

    assert [("started", 2, 1), ("started", 2, 2), ("started", 3, 3), ("finalizing", 4, 4)] == seen
    assert 25 == sum(_get_counts(_finish(in_turns, batch)))


def test_turns_that_two_workers_take(in_turns: StepRunner) -> None:
    """If two workers take the same turn, each page is stored once."""
    _add_members(in_turns, 35)
    batch = _start_batch(in_turns, _get_all_members(in_turns))
    parts = in_turns.parts

    in_turns.run_twice(lambda: execute(parts, batch.id, 0))
    [number] = in_turns.get_waiting_chunks(batch)
    twice = replace_audience(parts, _OtherWorkerFirst(parts, batch.id, number))
    execute(twice, batch.id, number)
    in_turns.check_no_effect(lambda: execute(parts, batch.id, 0))
    for _ in _run_turns(in_turns, batch):
        pass
    in_turns.check_no_effect(lambda: execute(parts, batch.id, number))
    in_turns.run_twice(lambda: finalize(parts, batch.id))

    results = in_turns.read_results(batch)
    assert [10, 10, 10, 5] == [result.response[COUNTED] for result in results]
    assert 35 == len(_get_addresses(results)) == len(set(_get_addresses(results)))
    now = _now(in_turns, batch)
    assert (4, 4, 0) == (now.total_operations, now.finished_operations, now.errored_operations)


@pytest.mark.parametrize("added", [0, 3, 30])
@pytest.mark.parametrize("removed", [[], [3], [33], [0, 1, 2, 3, 4, 20, 21, 34], range(10, 35)])
def test_others_change_the_list_between_two_turns(
    in_turns: StepRunner, added: int, removed: list[int]
) -> None:
    """Members that are there all the time are shown, and no member twice."""
    _add_members(in_turns, 35)
    batch = _start_batch(in_turns, _get_all_members(in_turns))
    execute(in_turns.parts, batch.id, 0)
    path = f"/lists/{in_turns.list_id}/members"

    _run_batch(
        in_turns, in_turns.submit([_make_delete(in_turns.list_id, number) for number in removed])
    )
    for number in range(added):
        in_turns.call("POST", path, json.dumps(make_member(f"new{number}@example.com")))
    results = _finish(in_turns, batch)

    shown = _get_addresses(results)
    stayed = {f"{number}@example.com" for number in range(35) if number not in removed}
    assert stayed <= set(shown)
    assert len(set(shown)) == len(shown)
    assert {200} == {result.status_code for result in results}
    assert [35] * len(results) == [result.response["total_items"] for result in results]
    now = _now(in_turns, batch)
    assert len(results) == now.total_operations == now.finished_operations


@pytest.mark.parametrize("event", ["list deleted", "cancelled", "key revoked"])
def test_what_ends_the_paging(in_turns: StepRunner, event: str) -> None:
    """If paging ends early, one more page has the reason; the pages before it stay."""
    _add_members(in_turns, 35)
    batch = _start_batch(in_turns, _get_all_members(in_turns))
    execute(in_turns.parts, batch.id, 0)
    execute(in_turns.parts, batch.id, *in_turns.get_waiting_chunks(batch))

    status, title = _end_paging(in_turns, batch, event)
    results = _finish(in_turns, batch)

    assert [200, 200, status] == [result.status_code for result in results]
    assert ["all"] * 3 == [result.operation_id for result in results]
    assert title == results[-1].response["title"]
    now = _now(in_turns, batch)
    assert (3, 3, 1) == (now.total_operations, now.finished_operations, now.errored_operations)


def test_the_batch_is_deleted_between_two_turns(in_turns: StepRunner) -> None:
    """A deleted batch gets no further pages."""
    _add_members(in_turns, 35)
    batch = _start_batch(in_turns, _get_all_members(in_turns))
    execute(in_turns.parts, batch.id, 0)
    numbers = in_turns.get_waiting_chunks(batch)

    assert delete_batch(in_turns.parts, batch.account_id, batch.public_id)

    for number in numbers:
        in_turns.check_no_effect(lambda number=number: execute(in_turns.parts, batch.id, number))  # type: ignore[misc]


@pytest.mark.parametrize("bytes_max", [1, 8_000, 30_000, 10**9])
@pytest.mark.parametrize("format_name", ["per-operation", "per-batch"])
@pytest.mark.parametrize("is_one_hop", [True, False])
def test_reads_among_writes_in_several_parts(
    runner: StepRunner,
    monkeypatch: pytest.MonkeyPatch,
    bytes_max: int,
    format_name: str,
    *,
    is_one_hop: bool,
) -> None:
    """Each write takes effect once, and a read sees all writes before the last border."""
    monkeypatch.setattr(limits, "page_count_max", PAGE)
    monkeypatch.setattr(limits, "answer_bytes_max", bytes_max)
    runner.parts = replace(runner.parts, format_name=format_name)
    batch = runner.submit(list(_make_reads_and_writes(runner.list_id, 6)))

    if is_one_hop:
        run(runner.parts, batch.id)
        results = runner.read_results(batch)
    else:
        split(runner.parts, batch.id)
        results = _finish(runner, batch)

    assert {200} == {result.status_code for result in results}
    for group in range(6):
        shown = _get_addresses(
            [result for result in results if result.operation_id == f"all {group}"]
        )
        assert {f"{number}@example.com" for number in range(4 * group + 4)} <= set(shown)
        assert len(set(shown)) == len(shown)
        [page] = [result for result in results if result.operation_id == f"three {group}"]
        assert 3 == len(page.response["members"])
    assert {f"add {number}" for number in range(24)} <= {result.operation_id for result in results}
    assert 24 == runner.count_members()
    now = _now(runner, batch)
    assert len(results) == now.total_operations == now.finished_operations
    assert 0 == now.errored_operations


# --- Helpers --------------------------------------------------------------------------------------


class _OtherWorkerFirst(InterruptedTarget):
    """A target during whose page another worker runs the same turn."""

    def __init__(self, parts: Parts, batch_id: int, number: int) -> None:
        super().__init__(get_audience(parts), lambda _: None)
        object.__setattr__(self, "turn", (parts, batch_id, number))

    turn: tuple[Parts, int, int]

    def answer_page(
        self, caller: Caller, operation: StoredOperation, continuation: str
    ) -> TargetResult:
        """Run the turn in the other worker, then answer."""
        execute(*self.turn)
        return super().answer_page(caller, operation, continuation)


def _make_large_list(api: Api) -> str:
    list_id = api.new_list()
    additions = [add_member(list_id, f"m{number}@example.com") for number in range(1_300)]
    additions += [
        add_member(list_id, f"p{number}@example.com", status="pending") for number in range(1_200)
    ]
    assert 0 == api.wait_until_finished(api.submit(*additions))["errored_operations"]
    return list_id


def _check_pages(params: dict[str, Any], pages: list[dict[str, Any]]) -> None:
    key = "email_address" if "fields" in params else "id"
    shown = [member[key] for page in pages for member in page.get("members", [])]
    assert sum(page[COUNTED] for page in pages) == len(set(shown)) == len(shown)
    for page in pages:
        assert COUNTED == list(page)[-1]
        if "fields" in params:
            assert {"members", COUNTED} == set(page)
            assert {("email_address",)} == {tuple(member) for member in page["members"]}
        elif "exclude_fields" in params:
            assert ["members", "list_id", COUNTED] == list(page)
        elif params.get("status") == "pending":
            assert 1200 == page["total_items"]


def _get_responses(results: list[Result], operation_id: str) -> list[Any]:
    return [result.response for result in results if result.operation_id == operation_id]


def _make_delete(list_id: str, number: int) -> Operation:
    return {"method": "DELETE", "path": f"/lists/{list_id}/members/{number}@example.com"}


def _add_members(runner: StepRunner, count: int) -> None:
    _run_batch(runner, runner.submit(runner.make_additions(count)))


def _run_batch(runner: StepRunner, batch: Batch) -> None:
    """Run all steps of a batch, in any number of turns."""
    while runner.get_status(batch) != "finished":
        run(runner.parts, batch.id)


def _get_all_members(runner: StepRunner) -> Operation:
    return get(f"/lists/{runner.list_id}/members", "all")


def _start_batch(runner: StepRunner, *operations: Operation) -> Batch:
    batch = runner.submit(operations)
    split(runner.parts, batch.id)
    return batch


def _run_turns(runner: StepRunner, batch: Batch) -> Iterator[int]:
    """Run one turn after the other, until none is left."""
    while waiting := runner.get_waiting_chunks(batch):
        execute(runner.parts, batch.id, waiting[0])
        yield waiting[-1]


def _finish(runner: StepRunner, batch: Batch) -> list[Result]:
    for _ in _run_turns(runner, batch):
        pass
    finalize(runner.parts, batch.id)
    return runner.read_results(batch)


def _now(runner: StepRunner, batch: Batch) -> Batch:
    found = runner.load_batch(batch)
    assert found
    return found


def _get_counts(results: list[Result]) -> list[int]:
    return [result.response.get(COUNTED, 0) for result in results]


def _get_addresses(results: list[Result]) -> list[str]:
    return [member["email_address"] for result in results for member in result.response["members"]]


def _end_paging(runner: StepRunner, batch: Batch, event: str) -> tuple[int, str]:
    """Cause the event, and return status and title of the page that reports it."""
    if event == "list deleted":
        _run_batch(
            runner, runner.submit([{"method": "DELETE", "path": f"/lists/{runner.list_id}"}])
        )
        return 404, "Resource Not Found"
    if event == "cancelled":
        assert cancel_batch(runner.parts, batch.account_id, batch.public_id)
        return 499, "Operation Cancelled"
    with runner.parts.database.write() as connection:
        assert accounts.revoke_key(connection, batch.api_key_id, runner.clock())
    return 401, "API Key Invalid"


def _make_reads_and_writes(list_id: str, groups: int) -> Iterator[Operation]:
    """Yield groups of four additions, a border and two reads."""
    path = f"/lists/{list_id}"
    for group in range(groups):
        for number in range(4 * group, 4 * group + 4):
            yield add_member(list_id, f"{number}@example.com", f"add {number}")
        body = json.dumps({"name": f"Group {group}"})
        yield {"method": "PATCH", "path": path, "body": body, "operation_id": f"border {group}"}
        yield get(f"{path}/members", f"all {group}")
        yield get(f"{path}/members", f"three {group}", count=3)
