"""Commands against a real server: webhooks, the local receiver, results and errors of batches."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from typer.testing import CliRunner, Result

from batchway.cli.main import build_app
from batchway.cli.terminal import CommandError
from tests.contract.shared_servers import create_account
from tests.processes import start_process
from tests.receiver import Receiver, Reply
from tests.scenario import PING, Server, add_member, wait_until

MISSING = {"method": "GET", "path": "/lists/0123456789", "operation_id": "crm-7"}
PRIVATE = "http://10.0.0.1/"  # the servers of the tests may call this machine alone
ENDED_SECONDS = 60


@pytest.fixture
def server(sqlite_server: Server) -> Server:
    """A server with an account of this test. The database makes no difference here."""
    return replace(sqlite_server, key=create_account(sqlite_server))


def run_command(server: Server, *arguments: str) -> Result:
    """Run a `batchway` command against the server."""
    variables = {"BATCHWAY_URL": server.url, "BATCHWAY_API_KEY": server.key}
    return CliRunner().invoke(build_app(), arguments, env=variables)


def run_ok(server: Server, *arguments: str) -> str:
    """Run a command that must succeed, and return its output."""
    result = run_command(server, *arguments)
    assert 0 == result.exit_code, f"{result.output}\n{result.exception!r}"
    return result.stdout


def run_refused(server: Server, *arguments: str) -> CommandError:
    """Run a command that must fail, and return its error."""
    result = run_command(server, *arguments)
    assert isinstance(result.exception, CommandError), result.output
    return result.exception


def create_webhook(server: Server, receiver: Receiver, *arguments: str) -> str:
    """Create a batch webhook, and return its id."""
    printed = run_ok(server, "webhooks", "create", receiver.url, *arguments)
    return str(re.findall(r"Batch webhook (\w+) was created", printed)[0])


def parse_table(printed: str) -> list[list[str]]:
    """Return the rows of a printed table, without its header."""
    return [line.split("\t") for line in printed.splitlines()][1:]


# --- Webhooks ------------------------------------------------------------------------------------


def test_the_life_of_a_webhook(server: Server, receiver: Receiver) -> None:
    """It is created, listed, changed and deleted; each secret is printed when it is created."""
    webhook = create_webhook(server, receiver, "--no-signing", "--disabled")
    listed = parse_table(run_ok(server, "webhooks", "list"))
    changed = run_ok(server, "webhooks", "update", webhook, "--enable", "--signing")
    rotated = run_ok(server, "webhooks", "rotate-secret", webhook)
    refused = run_refused(server, "webhooks", "rotate-secret", webhook)
    forced = run_ok(server, "webhooks", "rotate-secret", webhook, "--force")
    deleted = run_ok(server, "webhooks", "delete", webhook)

    assert [[webhook, receiver.url, "disabled", "not signed"]] == listed
    assert "is enabled, its events are signed" in changed
    assert "--force" in refused.next_step
    secret = re.compile(r"whsec_\S+   \(shown only this once")
    shown = [secret.findall(text) for text in (changed, rotated, forced)]
    assert [1, 1, 1] == [len(secrets) for secrets in shown]
    assert 3 == len({secret for [secret] in shown})
    assert f"Batch webhook {webhook} was deleted.\n" == deleted
    assert [] == parse_table(run_ok(server, "webhooks", "list"))


def test_a_delivery_is_shown_and_sent_again(server: Server, receiver: Receiver) -> None:
    """The receiver's answer is shown, and the event can be sent again when the receiver works."""
    webhook = create_webhook(server, receiver)
    receiver.answer_posts(Reply(410, body=b"Gone fishing."))
    event = re.findall(r"msg_\w+", run_ok(server, "webhooks", "test", webhook))[0]
    receiver.wait_for(1)

    def exhausted() -> list[list[str]]:
        return parse_table(
            run_ok(server, "webhooks", "deliveries", webhook, "--state", "exhausted")
        )

    [row] = wait_until(exhausted, "the delivery is given up")
    shown = run_ok(server, "webhooks", "show", webhook, event)
    receiver.answer_posts(Reply(200))
    error = run_refused(server, "webhooks", "resend", webhook, event)
    run_ok(server, "webhooks", "update", webhook, "--enable")
    resent = run_ok(server, "webhooks", "resend", webhook, event)
    [_, again] = receiver.wait_for(2)

    assert [event, "test", "", "exhausted"] == row[:4]
    assert ["1", "410", ""] == row[5:]
    assert "410\tGone fishing." in shown
    assert f"batchway webhooks update {webhook} --enable" in error.next_step
    assert f"Event {event} will be sent." in resent
    assert event == again.headers["webhook-id"]


def test_links_of_a_test_event_lead_to_the_server(server: Server, receiver: Receiver) -> None:
    """The workers know the address that the server listens on, even if it chose a free port."""
    webhook = create_webhook(server, receiver)

    run_ok(server, "webhooks", "test", webhook)

    [event] = receiver.wait_for(1)
    fields = parse_qsl(event.body.decode())
    links = [value for name, value in fields if name.endswith("[href]")]
    assert [f"{server.url}/3.0/batches"] * 3 == [link[: len(server.url) + 12] for link in links]


def test_exhausted_deliveries_are_recovered(server: Server, receiver: Receiver) -> None:
    """One command sends all of the events again; a second one finds none."""
    webhook = create_webhook(server, receiver)
    receiver.script(Reply(410))
    server.submit([PING])
    wait_until(
        lambda: "was disabled" in run_command(server, "webhooks", "deliveries", webhook).stderr,
        "a 410",
    )
    run_ok(server, "webhooks", "update", webhook, "--enable")

    first = run_ok(server, "webhooks", "recover", webhook, "--since", "2h")
    receiver.wait_for(2)
    second = run_ok(server, "webhooks", "recover", webhook, "--since", "2h")

    assert first.startswith("1 events since ")
    assert second.startswith("0 events since ")


def test_a_refused_address_names_the_setting(server: Server) -> None:
    """The error says which setting lets the server call it."""
    error = run_refused(server, "webhooks", "create", PRIVATE)

    assert "We couldn't verify the URL is working." in str(error)
    assert "BATCHWAY_EGRESS_ALLOW=10.0.0.1/32" in error.next_step


# --- Listening -----------------------------------------------------------------------------------


@contextmanager
def run_listener(server: Server) -> Iterator[subprocess.Popen[str]]:
    """Run `batchway webhooks listen` until the end of the block."""
    process = start_process(
        [sys.executable, "-m", "batchway", "webhooks", "listen"],
        env=server.environment() | {"BATCHWAY_URL": server.url, "BATCHWAY_API_KEY": server.key},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_events_are_printed_until_a_signal(server: Server, number: signal.Signals) -> None:
    """An event is printed and verified; a signal deletes the webhook and exits with 0."""
    with run_listener(server) as process:
        assert process.stdout
        greeting = process.stdout.readline()
        batch_id = server.submit([PING, MISSING])
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(number)
        rest, errors = process.communicate(timeout=ENDED_SECONDS)

    assert re.fullmatch(r"Batch webhook \w+ listens at http://127.0.0.1:\d+/ .*\n", greeting)
    assert "signature verified" in lines[0]
    assert "batch_operation_completed" in lines[1]
    assert f"batch {batch_id} finished: 2 of 2 operations, 1 errored" in lines[2]
    assert f"{server.url}/" in lines[3]
    assert (0, "") == (process.returncode, errors)
    assert "was deleted" in rest
    assert [] == server.get("/batch-webhooks")["webhooks"]


def test_a_closed_pipe_ends_the_listening(server: Server) -> None:
    """A closed pipe ends the command, and the webhook is deleted."""
    with run_listener(server) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        server.submit([PING])
        process.wait(ENDED_SECONDS)

    assert [] == server.get("/batch-webhooks")["webhooks"]


def test_listening_where_the_server_may_not_call(server: Server) -> None:
    """No webhook remains, and the error says what to set, and where the URL must lead."""
    error = run_refused(server, "webhooks", "listen", "--public-url", PRIVATE)

    assert "BATCHWAY_EGRESS_ALLOW=10.0.0.1/32" in error.next_step
    assert re.search(r"must lead to http://127\.0\.0\.1:\d+/ on this machine", error.next_step)
    assert 0 == server.get("/batch-webhooks")["total_items"]


# --- Batches -------------------------------------------------------------------------------------


def test_errors_are_grouped(server: Server) -> None:
    """There is one row for each reason, the most frequent first, with its operations."""
    list_id = server.new_list()
    mistakes = [add_member(list_id, "no address", f"bad-{number}") for number in range(3)]
    batch_id = server.submit([PING, MISSING, *mistakes])
    server.wait_until_finished(batch_id)

    found = parse_table(run_ok(server, "batches", "errors", batch_id))

    assert [["3", "400"], ["1", "404"]] == [row[:2] for row in found]
    assert ["bad-0, bad-1, bad-2", "crm-7"] == [row[5] for row in found]
    assert [f"/lists/{list_id}/members", "/lists/0123456789"] == [row[6] for row in found]


def test_no_errors(server: Server) -> None:
    """The command says that no operation has errored."""
    batch_id = server.submit([PING])
    server.wait_until_finished(batch_id)

    expected = f"No operation of batch {batch_id} has errored.\n"
    assert expected == run_ok(server, "batches", "errors", batch_id)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["0", "1", "2"]),
        (["--errored"], ["1"]),
        (["--succeeded"], ["0", "2"]),
        (["--status-code", "404"], ["1"]),
        (["--operation-id", "crm-7"], ["1"]),
        (["--path", "/ping", "--succeeded"], ["0", "2"]),
        (["--offset", "1"], ["1", "2"]),
        (["--count", "1"], ["0"]),
        (["--count", "1", "--offset", "1"], ["1"]),
    ],
)
def test_operations_are_chosen(server: Server, arguments: list[str], expected: list[str]) -> None:
    """The table and the JSON lines have the same operations."""
    batch_id = server.submit([PING, MISSING, PING])
    server.wait_until_finished(batch_id)
    command = ["batches", "operations", batch_id, *arguments]

    table = parse_table(run_ok(server, *command))
    lines = [json.loads(line) for line in run_ok(server, *command, "--json").splitlines()]

    assert expected == [row[0] for row in table]
    assert expected == [str(line["position"]) for line in lines]
    assert {0: "/ping", 1: "/lists/0123456789", 2: "/ping"}.items() >= {
        (line["position"], line["path"]) for line in lines
    }


def test_retry_runs_what_errored_again(server: Server) -> None:
    """The errored operations become a new batch; without any it is refused."""
    batch_id = server.submit([PING, MISSING])
    server.wait_until_finished(batch_id)

    printed = run_ok(server, "batches", "retry", batch_id, "--watch")
    new_id = re.findall(r"^Batch (\w+) was accepted: 1 operations", printed)[0]
    error = run_refused(server, "batches", "retry", batch_id, "--status-code", "500")

    assert printed.splitlines()[-1].endswith(f"batchway batches errors {new_id}")
    assert ["crm-7"] == [result.operation_id for result in server.get_results(new_id)]
    assert f"batchway batches operations {batch_id}" in error.next_step


def test_cancel_ends_a_batch(server: Server) -> None:
    """The batch finishes with a result for each operation."""
    batch_id = server.submit([PING] * 2_000)

    run_ok(server, "batches", "cancel", batch_id, "--watch")

    assert 2_000 == server.wait_until_finished(batch_id)["finished_operations"]


def test_validation_shows_what_would_fail(server: Server, tmp_path: Path) -> None:
    """The command exits with 1 if an operation would fail, and creates no batch."""
    wrong, right = tmp_path / "wrong.json", tmp_path / "right.ndjson"
    wrong.write_text(json.dumps({"operations": [PING, MISSING]}))
    right.write_text(f"{json.dumps(PING)}\n{json.dumps(PING)}\n")
    before = server.get("/batches")["total_items"]

    refused = run_command(server, "batches", "submit", str(wrong), "--validate-only")
    accepted = run_command(server, "batches", "submit", str(right), "--validate-only")

    assert (1, 0) == (refused.exit_code, accepted.exit_code)
    assert ["1", "404"] == parse_table(refused.stdout)[0][:2]
    assert "2 of 2 operations were checked, 1 would fail. Nothing was kept." in refused.stdout
    assert before == server.get("/batches")["total_items"]


def test_lines_are_submitted_once(server: Server, tmp_path: Path) -> None:
    """The same file with the same idempotency key is one batch; another file is refused."""
    file, other = tmp_path / "a.ndjson", tmp_path / "b.ndjson"
    file.write_text(f"{json.dumps(PING)}\n")
    other.write_text(f"{json.dumps(MISSING)}\n")
    once = ["--idempotency-key", tmp_path.name, "--quiet"]

    first = run_ok(server, "batches", "submit", str(file), *once)
    second = run_ok(server, "batches", "submit", str(file), *once)
    error = run_refused(server, "batches", "submit", str(other), *once)

    assert first == second
    assert "--idempotency-key" in error.next_step


def test_watching_names_the_next_step(server: Server) -> None:
    """If operations errored, the command for the errors is named; otherwise it is not."""
    bad, good = server.submit([MISSING]), server.submit([PING])

    watched = run_ok(server, "batches", "watch", bad)

    assert watched.splitlines()[-1].endswith(f"batchway batches errors {bad}")
    assert "batches errors" not in run_ok(server, "batches", "watch", good)


def test_limits_are_shown_with_their_use(server: Server, receiver: Receiver) -> None:
    """Each limit of the server is shown, with its use if it is counted."""
    create_webhook(server, receiver)
    limits: dict[str, Any] = server.get("/limits")["limits"]

    found = {name: (value, used) for name, value, used in parse_table(run_ok(server, "limits"))}

    assert list(limits) == list(found)
    assert ("20", "1") == found["batch_webhooks_per_account_max"]
    assert ("7", "") == found["result_days"]
    assert "500" == found["undelivered_events_per_account_max"][0]
