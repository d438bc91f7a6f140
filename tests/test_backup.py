"""Back up a running server and restore it elsewhere, by the commands of the page on it."""

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
from tests.transcripts import ROOT, Reader, commands

COMMANDS = commands(ROOT / "docs" / "howto" / "back-up-and-restore.md")
SERVE = ".venv/bin/batchway serve"


def test_a_restored_server_goes_on_from_the_backup(tmp_path: Path) -> None:
    """Lists, members, keys, links and results are back; what was running ends as if uninterrupted.

    The archives are copied so slowly that there is one more by then, of a batch that the copied
    database does not know.
    """
    before, after = _reader(tmp_path / "before"), _reader(tmp_path / "after")
    with before.server(f"{SERVE} --workers 0"):
        server = _client(before)
        list_id = server.new_list()
        finished = server.submit([add_member(list_id, "ann@example.com", "crm-1")])
        with _worker(before):
            link = server.wait_until_finished(finished)["response_body_url"]
        operations = _operations(list_id)
        running = server.submit(operations)
        with _worker(before, BATCHWAY_FAULT=Event.EXECUTE_AFTER_COMMIT) as worker:
            assert -signal.SIGKILL == worker.wait(60)
        at_backup = server.get_batch(running)
        before.types({"back up": COMMANDS["back-up"]})
        too_late = server.submit([add_member(list_id, "late@example.com")])
        with _worker(before):
            server.wait_until_finished(too_late)
        before.types({"copy on": COMMANDS["back-up"].splitlines()[-1]})
    (before.folder / "backup").rename(after.folder / "backup")
    after.types({"restore": COMMANDS["restore"]})
    after.variables = {"BATCHWAY_PORT": before.url.rpartition(":")[2]}
    with after.server(SERVE):
        restored = _client(after, before.key)
        restored.wait_until_finished(running)
        results = check_invariants(restored, running, operations)
        addresses = {member["email_address"] for member in restored.get_members(list_id)}

        assert ("started", Limits.chunk_operations_max) == (
            at_backup["status"],
            at_backup["finished_operations"],
        )
        assert {200} == {result.status_code for result in results}
        assert {"ann@example.com", *_addresses()} == addresses
        assert ["crm-1"] == [result.operation_id for result in restored.get_results(finished)]
        assert 200 == httpx.get(link).status_code
        assert 404 == restored.call("GET", f"/batches/{too_late}").status_code
        kept = {path.name for path in (after.folder / "batchway-data" / "archives").iterdir()}
        assert {"identity", f"{finished}.tar.gz", f"{running}.tar.gz"} == kept


def _reader(folder: Path) -> Reader:
    folder.mkdir()
    return Reader(folder)


def _client(reader: Reader, key: str = "") -> Server:
    """The server that a reader has started, to be called."""
    return Server(reader.folder, url=reader.url, key=key or reader.key)


@contextmanager
def _worker(reader: Reader, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A worker beside the reader's server."""
    command = [sys.executable, "-m", "batchway", "worker"]
    environment = reader.environment() | variables
    with start_process(command, cwd=reader.folder, env=environment) as worker:
        try:
            yield worker
        finally:
            worker.terminate()


def _addresses() -> list[str]:
    return [f"member-{number}@example.com" for number in range(Limits.chunk_operations_max + 1_000)]


def _operations(list_id: str) -> list[Operation]:
    """More than one chunk."""
    return [add_member(list_id, each, each) for each in _addresses()]
