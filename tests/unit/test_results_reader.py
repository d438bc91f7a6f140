"""The results of a batch: read in order, in pages, from the store and from the archive.

Also the two formats of an archive that they are read from.
"""

import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchway import limits
from batchway.model.batch import Batch
from batchway.results import Filter, RecordedResult, Results
from tests.contract.shared_servers import running_server
from tests.scenario import PING, Operation, Server, add_member
from tests.step_runner import StepRunner, open_step_runner
from tests.steps import execute, execute_whole, finalize, run, split

FORMATS = ("per-operation", "per-batch")
UNBOUNDED = 10**12  # bytes of a page


@pytest.fixture
def runner(tmp_path: Path, database_url: str) -> Iterator[StepRunner]:
    """A step runner, on each database in turn."""
    with open_step_runner(Server(tmp_path, database_url)) as opened:
        yield opened


# --- Order and pages -----------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("bytes_max", [1, 5_000, 10**9])
def test_order(
    runner: StepRunner, monkeypatch: pytest.MonkeyPatch, format_name: str, bytes_max: int
) -> None:
    """Results are in the order of operations and pages, however they were executed."""
    monkeypatch.setattr(limits, "page_count_max", 2)
    monkeypatch.setattr(limits, "answer_bytes_max", bytes_max)
    batch = _mixed(runner, format_name)
    split(runner.parts, batch.id)
    _execute_all(runner, batch)

    _check_order(runner, batch)
    finalize(runner.parts, batch.id)
    _check_order(runner, batch)


# Positions and pages of the results of `_mixed`.
PLACES = [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (3, 0), (4, 0), (4, 1), (4, 2), (5, 0)]


def _check_order(runner: StepRunner, batch: Batch) -> None:
    """Check that each way of reading returns each result once, in order, with its operation."""
    results = _results(runner, batch)
    assert PLACES == _places(results.iterate())
    for offset in range(len(PLACES) + 2):
        assert PLACES[offset:] == _places(results.iterate(offset))
        for count in (0, 1, 4, 100):
            found, total = results.read_page(count, offset, UNBOUNDED)
            assert (PLACES[offset:][:count], len(PLACES)) == (_places(found), total)
    for wanted, places in (
        (Filter(path="/ping"), [(2, 0), (5, 0)]),
        (Filter(operation_id="all", status_code=200), [*PLACES[1:4], *PLACES[6:9]]),
        (Filter(errored=True), []),
        (Filter(errored=False), PLACES),
    ):
        some = _results(runner, batch, wanted)
        assert places == _places(some.iterate())
        assert (places[2:5], len(places)) == (
            _places(some.read_page(3, 2, UNBOUNDED)[0]),
            some.read_page(3, 2, UNBOUNDED)[1],
        )
    for place in PLACES:
        found_at = results.find(*place)
        assert found_at
        operation, recorded = found_at
        assert recorded
        assert (place, operation) == (recorded.place, recorded.operation)
        assert (operation.operation_id == "all") == (b"returned_item_count" in recorded.response)
    assert results.find(1, 3) is not None
    assert results.find(6, 0) is None


def test_pages_of_large_responses(runner: StepRunner) -> None:
    """A page ends after the result that exceeds its size; the next page continues there."""
    run(runner.parts, runner.submit(runner.make_additions(20)).id)
    batch = runner.submit([{"method": "GET", "path": f"/lists/{runner.list_id}/members"}] * 9)
    run(runner.parts, batch.id)
    results = _results(runner, batch)
    size = len(next(results.iterate()).response)

    for bytes_max, sizes in ((1, [1] * 9), (size + 1, [2, 2, 2, 2, 1]), (9 * size, [9])):
        pages = list(_pages(results, bytes_max))
        assert sizes == [len(page) for page in pages]
        assert list(range(9)) == [result.position for page in pages for result in page]


def test_segments_of_an_older_version(runner: StepRunner) -> None:
    """Segments of an older version, without statuses, are read."""
    batch = runner.submit([*runner.make_additions(3), *runner.make_additions(2), PING])
    split(runner.parts, batch.id)
    execute(runner.parts, batch.id, 0)
    with runner.parts.database.write() as connection:
        connection.exec_driver_sql("UPDATE segments SET status_counts = NULL")

    found, total = _results(runner, batch, Filter(errored=True)).read_page(1, 1, UNBOUNDED)

    assert ([(4, 0)], 2) == (_places(found), total)
    assert 6 == _results(runner, batch).read_page(0, 0, UNBOUNDED)[1]


def test_few_segments_are_read(runner: StepRunner) -> None:
    """A page of a large batch reads only the chunk that it needs."""
    batch = runner.submit(
        [*[PING] * 5_000, *runner.make_additions(1_000), {"method": "GET", "path": "/x"}]
    )
    split(runner.parts, batch.id)
    _execute_all(runner, batch)
    with runner.parts.database.write() as connection:  # a read of this row would fail
        connection.exec_driver_sql("DELETE FROM segment_data WHERE chunk_number = 0")

    found, total = _results(runner, batch).read_page(3, 5_100, UNBOUNDED)
    lost, count = _results(runner, batch, Filter(status_code=404)).read_page(3, 0, UNBOUNDED)

    assert ([5_100, 5_101, 5_102], 6_001) == ([result.position for result in found], total)
    assert ([6_000], 1) == ([result.position for result in lost], count)
    assert [5_999, 6_000] == [result.position for result in _results(runner, batch).iterate(5_999)]


def test_a_batch_that_finishes_while_it_is_read(runner: StepRunner) -> None:
    """A reader finds the results after they have moved into the archive."""
    for format_name in FORMATS:
        runner.parts = replace(runner.parts, format_name=format_name)
        batch = runner.submit([PING, *runner.make_additions(3), PING])
        split(runner.parts, batch.id)
        execute(runner.parts, batch.id, 0)
        whole = runner.parts.read_results(batch, Filter())
        reader = replace(whole, database=_FinishFirst(runner, batch))  # type: ignore[arg-type]

        assert [0, 1, 2, 3, 4] == [result.position for result in reader.iterate()]
        assert "finished" == runner.get_status(batch)


class _FinishFirst:
    """A database whose batch finishes when it is read for the second time."""

    def __init__(self, runner: StepRunner, batch: Batch) -> None:
        self._runner = runner
        self._batch = batch
        self._read_count = 0

    def read(self) -> Any:
        """Finish the batch before the second read, then read."""
        self._read_count += 1
        if self._read_count == 2:
            finalize(self._runner.parts, self._batch.id)
        return self._runner.parts.database.read()


# --- One file for all results --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("writes", "reads", "files"), [(30, 0, 1), (0, 3, 3), (5, 2, 3), (0, 0, 0), (1, 1, 2)]
)
def test_one_file(runner: StepRunner, writes: int, reads: int, files: int) -> None:
    """All results except those of GETs are in one file; each GET has a file."""
    runner.parts = replace(runner.parts, format_name="per-batch")
    mixed = [*runner.make_additions(writes), *([PING] * reads)]
    batch = runner.submit(mixed[::2] + mixed[1::2])

    run(runner.parts, batch.id)

    now = _now(runner, batch)
    assert writes + reads == now.total_operations == now.finished_operations
    if files == 0:
        assert now.archive_key is None
        return
    found = _files(runner, batch)
    assert files == len(found)
    assert sorted([1] * reads + [writes] * bool(writes)) == sorted(map(len, found))


def test_one_file_of_several_chunks(runner: StepRunner) -> None:
    """Chunks that end in any order make one file in the order of the operations."""
    runner.parts = replace(runner.parts, format_name="per-batch")
    operations = runner.make_additions(5_500)
    operations[5_100] = PING | {"operation_id": "ping"}
    batch = runner.submit(operations)
    split(runner.parts, batch.id)

    execute_whole(runner.parts, batch.id, 1)
    runner.run_twice(lambda: execute(runner.parts, batch.id, 0))
    runner.run_twice(lambda: finalize(runner.parts, batch.id))

    results, alone = _files(runner, batch)
    wanted = [str(number) for number in range(5_500) if number != 5_100]
    assert wanted == [result["operation_id"] for result in results]
    assert ["ping"] == [entry["operation_id"] for entry in alone]
    assert list(range(5_500)) == [result.position for result in _results(runner, batch).iterate()]
    with runner.parts.archive.open(batch.public_id) as file:
        reader = zlib.decompressobj(wbits=31)
        raw = reader.decompress(file.read())
    assert (True, b"") == (reader.eof, reader.unused_data)
    assert (b"ustar\x0000", b"0") == (raw[257:265], raw[156:157])


def test_a_batch_keeps_its_format(runner: StepRunner) -> None:
    """A batch keeps the format that was set at its POST."""
    other = replace(runner.parts, format_name="per-batch")
    before = runner.submit(runner.make_additions(3))
    run(other, before.id)

    runner.parts = other
    after = runner.submit(runner.make_additions(3))
    run(replace(other, format_name="per-operation"), after.id)

    assert [1, 1, 1] == [len(file) for file in _files(runner, before)]
    assert [3] == [len(file) for file in _files(runner, after)]


def test_server_with_one_file(tmp_path: Path, database_url: str) -> None:
    """The setting `result_files` selects the format; single results can be read."""
    with running_server(tmp_path, database_url, BATCHWAY_RESULT_FILES="per-batch") as server:
        member = {"method": "DELETE", "path": f"/lists/{server.new_list()}/members/x"}
        batch_id = server.submit([PING, member, PING, member])

        archive = tmp_path / "results.tar.gz"
        archive.write_bytes(server.download_archive(batch_id))
        found = server.get(f"/batches/{batch_id}/operations")
        one = server.get(f"/batches/{batch_id}/operations/3")
        errors = server.get(f"/batches/{batch_id}/errors")

    with tarfile.open(archive, mode="r:gz") as tar:
        assert 3 == len(tar.getnames())
    assert [(0, 200), (1, 404), (2, 200), (3, 404)] == [
        (operation["position"], operation["status_code"]) for operation in found["operations"]
    ]
    assert (4, 404) == (found["total_items"], one["status_code"])
    assert [[1, 3]] == [
        [sample["position"] for sample in group["samples"]] for group in errors["groups"]
    ]


# --- What the tests say --------------------------------------------------------------------------


def _mixed(runner: StepRunner, format_name: str) -> Batch:
    """Submit a write, a GET of five members and a read, twice."""
    for number in range(5):
        member = add_member(runner.list_id, f"{number}@example.com")
        runner.call("POST", member["path"], member["body"])
    path = f"/lists/{runner.list_id}/members"
    members: Operation = {"method": "GET", "path": path, "operation_id": "all"}
    vip = {"method": "PATCH", "path": f"{path}/1@example.com", "body": '{"vip":true}'}
    runner.parts = replace(runner.parts, format_name=format_name)
    return runner.submit([vip, members, PING] * 2)


def _execute_all(runner: StepRunner, batch: Batch) -> None:
    while waiting := runner.get_waiting_chunks(batch):
        execute(runner.parts, batch.id, waiting[0])


def _results(runner: StepRunner, batch: Batch, wanted: Filter | None = None) -> Results:
    return runner.parts.read_results(_now(runner, batch), wanted or Filter())


def _places(found: Iterator[RecordedResult] | Sequence[RecordedResult]) -> list[tuple[int, int]]:
    return [result.place for result in found]


def _pages(results: Results, bytes_max: int) -> Iterator[list[RecordedResult]]:
    """Return all pages."""
    offset = 0
    while page := results.read_page(100, offset, bytes_max)[0]:
        yield page
        offset += len(page)


def _now(runner: StepRunner, batch: Batch) -> Batch:
    found = runner.load_batch(batch)
    assert found
    return found


def _files(runner: StepRunner, batch: Batch) -> list[list[dict[str, Any]]]:
    with (
        runner.parts.archive.open(batch.public_id) as file,
        tarfile.open(fileobj=file, mode="r:gz") as tar,
    ):
        members = [tar.extractfile(info) for info in tar]
        return [json.load(member) for member in members if member]
