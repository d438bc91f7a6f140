"""Checks what must hold for all batches of an account, after any actions in any order."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from sqlalchemy import text

from batchway.kit.clock import DAY
from batchway.model.batch import Batch, Status
from batchway.results import Filter, RecordedResult
from batchway.store.database import run
from tests.properties.batches import Bench, Known, Operation
from tests.scenario import Result, read_archive

_ORDER = list(Status)
_TABLES = ("batches", "batch_inputs", "chunks", "segments", "segment_data", "deliveries")


def check_all(bench: Bench, enabled_before: set[int]) -> None:
    """Check every batch, every delivery and every member."""
    for known in bench.known:
        batch = bench.find(known)
        if batch is None:
            assert known.is_deleted or _is_expired(bench, known)
            continue
        _check_forward(known, batch)
        _check_counters(bench, known, batch)
        if batch.status is Status.FINISHED:
            _check_finished(bench, known, batch)
            _check_announced(bench, known, enabled_before)
        known.seen = [batch]
    _check_deliveries(bench)
    _check_members(bench)


def check_swept(bench: Bench) -> None:
    """Check that deleted and expired batches have left nothing."""
    gone = [
        known
        for known in bench.known
        if known.is_deleted or (_was_finished(known) and _is_expired(bench, known))
    ]
    with bench.database.read() as connection:
        for table in _TABLES:
            column = "id" if table == "batches" else "batch_id"
            rows = connection.execute(text(f"SELECT {column} FROM {table}"))
            left = set(rows.scalars())
            assert [] == [known.batch.id for known in gone if known.batch.id in left], table
        attempts = "SELECT count(*) FROM delivery_attempts WHERE delivery_id NOT IN "
        lost = connection.execute(text(f"{attempts} (SELECT id FROM deliveries)"))
        assert 0 == lost.scalar_one()
    archives = set(bench.parts.archive.list_keys())
    assert [] == [known for known in gone if known.batch.public_id in archives]


def _is_expired(bench: Bench, known: Known) -> bool:
    return known.batch.submitted_at <= bench.clock() - bench.parts.limits.result_days * DAY


def _was_finished(known: Known) -> bool:
    return bool(known.seen) and known.seen[-1].status is Status.FINISHED


def _check_forward(known: Known, batch: Batch) -> None:
    """Check that statuses and counters only increase, and that the rest does not change."""
    assert known.is_deleted == (batch.status is Status.DELETED)
    assert batch.errored_operations <= batch.finished_operations <= batch.total_operations
    assert len(known.operations) == batch.operation_count
    for before in known.seen:
        assert _ORDER.index(before.status) <= _ORDER.index(batch.status)
        assert before.finished_operations <= batch.finished_operations
        assert before.errored_operations <= batch.errored_operations
        assert before.total_operations <= batch.total_operations
        assert before.is_cancelling <= batch.is_cancelling


def _check_counters(bench: Bench, known: Known, batch: Batch) -> None:
    """Check that counters equal the rows they count, and that results have different positions."""
    with bench.database.read() as connection:
        chunks = run(
            connection,
            """
            SELECT count(*), coalesce(sum(CASE WHEN state = 'waiting' THEN 1 ELSE 0 END), 0)
            FROM chunks WHERE batch_id = :batch_id
            """,
            batch_id=batch.id,
        ).one()
        segments = run(
            connection,
            """
            SELECT coalesce(sum(operation_count), 0), coalesce(sum(errored_count), 0)
            FROM segments WHERE batch_id = :batch_id
            """,
            batch_id=batch.id,
        ).one()
    assert (batch.chunk_count, batch.chunks_left) == tuple(chunks)
    assert (batch.finished_operations, batch.errored_operations) == tuple(segments)
    if len(known.results) != batch.finished_operations and not known.is_deleted:
        known.results = _check_results(bench, known, batch)


def _check_results(bench: Bench, known: Known, batch: Batch) -> list[tuple[int, int, int, Any]]:
    found = list(bench.parts.read_results(batch, Filter()).iterate())
    places = [(result.position, result.page) for result in found]
    assert batch.finished_operations == len(found) == len(set(places))
    assert batch.errored_operations == sum(not 200 <= result.status_code < 300 for result in found)
    assert batch.total_operations == batch.operation_count + sum(page > 0 for _, page in places)
    for result in found:
        assert _is_result_of(result, known.operations[result.position])
        assert result.page == 0 or (result.position, result.page - 1) in places
    results = [_get_values(result) for result in found]
    assert all(before in results for before in known.results)
    return results


def _get_values(result: RecordedResult) -> tuple[int, int, int, Any]:
    return result.position, result.page, result.status_code, json.loads(result.response)


def _is_result_of(recorded: RecordedResult, operation: Operation) -> bool:
    is_same = (recorded.operation.method, recorded.operation.path) == (
        operation["method"],
        operation["path"],
    )
    return is_same and (not recorded.page or "pages" in _get_kind(operation))


def _get_kind(operation: Operation) -> str:
    is_get = operation["method"] == "GET"
    return "pages" if is_get and "params" not in operation else "one"


def _check_finished(bench: Bench, known: Known, batch: Batch) -> None:
    """Check that all operations have results, and that the archive has exactly these."""
    assert batch.total_operations == batch.finished_operations
    assert 0 == batch.chunks_left
    assert set(range(batch.operation_count)) == {result[0] for result in known.results}
    if known.seen and known.seen[0].status is Status.FINISHED:
        assert not batch.archive_key or bench.parts.archive.get_size(batch.public_id)
        return
    _check_pages(known)
    assert bool(batch.operation_count) == bool(batch.archive_key)
    held: list[Result] = []
    if batch.archive_key:
        with bench.parts.archive.open(batch.public_id) as file:
            held = read_archive(file.read())
    in_archive = [
        (archived.status_code, archived.operation_id, _dump(archived.response)) for archived in held
    ]
    recorded = [
        (status, known.operations[position].get("operation_id"), _dump(response))
        for position, _, status, response in known.results
    ]
    assert sorted(recorded, key=str) == sorted(in_archive, key=str)
    places = [result[:2] for result in known.results]
    read_places = [
        _get_values(result)[:2] for result in bench.parts.read_results(batch, Filter()).iterate()
    ]
    assert sorted(places) == sorted(read_places)


def _dump(response: Any) -> str:
    return json.dumps(response, sort_keys=True)


def _check_pages(known: Known) -> None:
    """Check that a list that was paged to its end was shown completely, without duplicates."""
    pages: dict[int, list[Any]] = {}
    for position, _, status, response in sorted(known.results, key=lambda result: result[:2]):
        if _get_kind(known.operations[position]) == "pages":
            pages.setdefault(position, []).append(response if status == 200 else None)
    for responses in pages.values():
        if all(responses):
            shown = [member["id"] for response in responses for member in response["members"]]
            assert len(shown) == len(set(shown)) >= responses[0]["total_items"]
            assert [len(response["members"]) for response in responses] == [
                response["returned_item_count"] for response in responses
            ]


def _check_announced(bench: Bench, known: Known, enabled_before: set[int]) -> None:
    """Check that each webhook enabled at the end of the batch has one delivery of it."""
    with bench.database.read() as connection:
        rows = run(
            connection,
            "SELECT batch_webhook_id FROM deliveries WHERE batch_id = :batch_id",
            batch_id=known.batch.id,
        )
        announced = Counter(rows.scalars())
    assert set(announced.values()) <= {1}
    webhooks = set(bench.webhooks())
    enabled = set(bench.webhooks(only_enabled=True))
    if not known.webhooks_with_event:
        assert enabled_before & enabled <= set(announced) <= enabled_before | enabled
        known.webhooks_with_event = [set(announced)]
    assert known.webhooks_with_event[0] & webhooks == set(announced)


def _check_deliveries(bench: Bench) -> None:
    """Check that attempts are within the schedule, and that each one was a request."""
    most = len(bench.parts.limits.delivery_waits_seconds) + 1
    sent = Counter(sent_operation["webhook-id"] for sent_operation in bench.outside.sent)
    for row in _read_deliveries(bench):
        assert row.attempt_count - row.attempts_before <= most
        assert row.attempt_count == row.recorded <= sent[row.public_id]
        assert (row.state == "pending") == (row.next_attempt_at is not None)
        if row.state == "delivered":
            assert row.succeeded >= 1
        assert row.recorded == (row.last or 0)


def _read_deliveries(bench: Bench) -> Iterator[Any]:
    with bench.database.read() as connection:
        yield from run(
            connection,
            """
            SELECT d.public_id, d.state, d.attempt_count, d.attempts_before, d.next_attempt_at,
                   count(a.number) AS recorded, max(a.number) AS last,
                   coalesce(sum(CASE WHEN a.status_code BETWEEN 200 AND 299 THEN 1 ELSE 0 END), 0)
                       AS succeeded
            FROM deliveries AS d LEFT JOIN delivery_attempts AS a ON a.delivery_id = d.id
            WHERE d.account_id = :account_id
            GROUP BY d.id, d.public_id, d.state, d.attempt_count, d.attempts_before,
                     d.next_attempt_at
            """,
            account_id=bench.account_id,
        ).all()


def _check_members(bench: Bench) -> None:
    """Check that each member was added by exactly one operation, whose result says so."""
    members = bench.members()
    assert set(members.values()) <= {1}
    added: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for known in bench.known:
        for operation in known.operations:
            if operation["method"] == "POST":
                asked[_get_address(operation)] += 1
        for position, _, status, _ in known.results:
            operation = known.operations[position]
            if operation["method"] == "POST":
                answered[_get_address(operation)] += 1
                added[_get_address(operation)] += status == 200
    for address, count in asked.items():
        assert added[address] <= members.get(address, 0)
        if answered[address] == count:
            assert added[address] == members.get(address, 0)


def _get_address(operation: Operation) -> str:
    return str(json.loads(operation["body"])["email_address"])
