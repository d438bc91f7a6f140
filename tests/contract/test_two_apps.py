"""Two apps in one process share nothing."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.asgi_client import AsgiClient
from tests.contract.test_submit_options import make_body
from tests.scenario import PING, Server
from tests.sqlite import SqliteTemplate
from tests.step_runner import open_step_runner
from tests.steps import run


def test_two_apps_with_different_limits(sqlite_template: SqliteTemplate, tmp_path: Path) -> None:
    """Each app keeps its own limits, batches and results."""
    with ExitStack() as stack:
        strict, generous = (
            stack.enter_context(open_step_runner(_new_server(sqlite_template, tmp_path / name)))
            for name in ("strict", "generous")
        )
        strict.set_limits(pending_batches_per_account_max=1)
        clients = [AsgiClient(runner.app.asgi()) for runner in (strict, generous)]

        statuses = [
            [
                client.call("POST", "/batches", content=make_body(PING)).status_code
                for client in clients
            ]
            for _ in range(2)
        ]
        shown = [client.call("GET", "/limits").json()["limits"] for client in clients]
        kept = [client.call("GET", "/batches").json()["total_items"] for client in clients]
        finished = generous.submit([PING])
        run(generous.parts, finished.id)

        assert [[200, 200], [429, 200]] == statuses
        assert [1, 500] == [limits["pending_batches_per_account_max"] for limits in shown]
        assert [1, 2] == kept
        assert [200] == [result.status_code for result in generous.read_results(finished)]
        assert 404 == clients[0].call("GET", f"/batches/{finished.public_id}").status_code


def test_a_second_worker_in_a_process(sqlite_template: SqliteTemplate, tmp_path: Path) -> None:
    """A process has one engine, so a second worker is refused before it takes any work."""
    with open_step_runner(_new_server(sqlite_template, tmp_path)) as runner:
        first, second = runner.app.worker(), runner.app.worker()
        runner.app.start(first)
        try:
            with pytest.raises(RuntimeError, match="A worker runs in this process already"):
                runner.app.start(second)
        finally:
            first.stop()


def _new_server(template: SqliteTemplate, folder: Path) -> Server:
    folder.mkdir(exist_ok=True)
    return Server(folder, template.copy_to(folder))
