"""Backs up a running server and restores it elsewhere, with the commands of the documentation."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from batchway.limits import Limits
from batchway.observers.base import Event
from tests.processes import start_process
from tests.scenario import Operation, Server, add_member, check_invariants
from tests.transcripts import ROOT, Reader, find_commands

COMMANDS = find_commands(ROOT / "docs" / "howto" / "back-up-and-restore.md")
SERVE = ".venv/bin/batchway serve"


def test_a_restored_server_goes_on_from_the_backup(tmp_path: Path) -> None:
    """A restored server has its data and links, and finishes the batch that was running.

    The archives are copied after the database. The copy has one archive more: of a batch that the
    copied database does not contain.
    """
    before, after = _make_reader(tmp_path / "before"), _make_reader(tmp_path / "after")
    with before.run_server(f"{SERVE} --workers 0"):
        server = _make_client(before)
        list_id = server.new_list()
        finished = server.submit([add_member(list_id, "ann@example.com", "crm-1")])
        with _run_worker(before):
            link = server.wait_until_finished(finished)["response_body_url"]
        operations = _make_operations(list_id)
        running = server.submit(operations)
        with _run_worker(before, BATCHWAY_FAULT=Event.EXECUTE_AFTER_COMMIT) as worker:
            assert -signal.SIGKILL == worker.wait(60)
        at_backup = server.get_batch(running)
        before.run_blocks({"back up": COMMANDS["back-up"]})
        too_late = server.submit([add_member(list_id, "late@example.com")])
        with _run_worker(before):
            server.wait_until_finished(too_late)
        before.run_blocks({"copy on": COMMANDS["back-up"].splitlines()[-1]})
    (before.folder / "backup").rename(after.folder / "backup")
    after.run_blocks({"restore": COMMANDS["restore"]})
    after.variables = {"BATCHWAY_PORT": before.url.rpartition(":")[2]}
    with after.run_server(SERVE):
        restored = _make_client(after, before.key)
        restored.wait_until_finished(running)
        results = check_invariants(restored, running, operations)
        addresses = {member["email_address"] for member in restored.get_members(list_id)}

        assert ("started", Limits.chunk_operations_max) == (
            at_backup["status"],
            at_backup["finished_operations"],
        )
        assert {200} == {result.status_code for result in results}
        assert {"ann@example.com", *_make_addresses()} == addresses
        assert ["crm-1"] == [result.operation_id for result in restored.get_results(finished)]
        assert 200 == httpx.get(link).status_code
        assert 404 == restored.call("GET", f"/batches/{too_late}").status_code
        kept = {path.name for path in (after.folder / "batchway-data" / "archives").iterdir()}
        assert {"identity", f"{finished}.tar.gz", f"{running}.tar.gz"} == kept


def _make_reader(folder: Path) -> Reader:
    folder.mkdir()
    return Reader(folder)


def _make_client(reader: Reader, key: str = "") -> Server:
    """Return a client of the server that a reader has started."""
    return Server(reader.folder, url=reader.url, key=key or reader.key)


@contextmanager
def _run_worker(reader: Reader, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run a worker on the reader's data folder."""
    command = [sys.executable, "-m", "batchway", "worker"]
    environment = reader.environment() | variables
    with start_process(command, cwd=reader.folder, env=environment) as worker:
        try:
            yield worker
        finally:
            worker.terminate()


def _make_addresses() -> list[str]:
    return [f"member-{number}@example.com" for number in range(Limits.chunk_operations_max + 1_000)]


def _make_operations(list_id: str) -> list[Operation]:
    """Return the operations of more than one chunk."""
    return [add_member(list_id, address, address) for address in _make_addresses()]
