"""The whole command: help, wrong arguments, and exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from batchway.cli.main import build_app
from batchway.cli.terminal import CommandError

NOBODY = "http://127.0.0.1:1"
COMMANDS = [
    ["import"],
    ["lists", "create"],
    ["lists", "list"],
    ["batches", "submit"],
    ["batches", "list"],
    ["batches", "watch"],
    ["batches", "results"],
    ["batches", "errors"],
    ["batches", "operations"],
    ["batches", "retry"],
    ["batches", "cancel"],
    ["batches", "delete"],
    ["webhooks", "list"],
    ["webhooks", "create"],
    ["webhooks", "update"],
    ["webhooks", "delete"],
    ["webhooks", "deliveries"],
    ["webhooks", "show"],
    ["webhooks", "resend"],
    ["webhooks", "recover"],
    ["webhooks", "test"],
    ["webhooks", "rotate-secret"],
    ["webhooks", "listen"],
    ["limits"],
]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a separate process."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("BATCHWAY_")}
    return subprocess.run(
        [sys.executable, "-m", "batchway", *arguments],
        env={**own, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example_and_the_variables(command: list[str]) -> None:
    """The help of each command has an example, and the variables of the server and the key."""
    found = CliRunner().invoke(build_app(), [*command, "--help"], env={"COLUMNS": "200"})

    assert 0 == found.exit_code
    assert f"batchway {' '.join(command)}" in found.output.split("Example")[-1]
    assert "BATCHWAY_URL" in found.output
    assert "BATCHWAY_API_KEY" in found.output


def test_without_a_server_the_error_names_the_command() -> None:
    """There is one message on standard error and the exit code 1, but no traceback."""
    found = run("lists", "list", BATCHWAY_URL=NOBODY)

    expected = f"Error: No server answers at {NOBODY}.\nStart one with: batchway serve\n"
    assert (1, "", expected) == (found.returncode, found.stdout, found.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "no-such-file.csv", "--list", "x"],
        ["import", __file__],
        ["import", __file__, "--list", "x", "--delimiter", "::"],
        ["lists", "list", "--count", "0"],
        ["batches", "submit", "no-such-file.json"],
        ["batches", "submit", __file__, "--validate-only", "--watch"],
        ["batches", "submit", __file__, "--idempotency-key", "Zoë"],
        ["batches", "submit", __file__, "--idempotency-key", "x" * 256],
        ["batches", "watch"],
        ["batches", "operations", "x", "--status-code", "99"],
        ["webhooks", "create"],
        ["webhooks", "update", "x"],
        ["webhooks", "deliveries", "x", "--state", "lost"],
        ["webhooks", "recover", "x"],
        ["webhooks", "recover", "x", "--since", "yesterday"],
        ["webhooks", "listen", "--host", "::"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2(arguments: list[str]) -> None:
    """Wrong arguments are refused before a request is sent."""
    found = CliRunner().invoke(build_app(), arguments, env={"BATCHWAY_URL": NOBODY})

    assert 2 == found.exit_code


def test_a_batch_can_come_from_standard_input() -> None:
    """A dash stands for standard input."""
    arguments = ["batches", "submit", "-", "--url", NOBODY]

    found = CliRunner().invoke(build_app(), arguments, input='{"operations": []}')

    assert isinstance(found.exception, CommandError)
    assert "No server answers" in str(found.exception)


def test_a_narrow_encoding_does_not_end_the_program(tmp_path: Path) -> None:
    """Characters that the encoding does not have are escaped."""
    missing = tmp_path / "Zoë.csv"
    missing.write_text("")

    found = run("import", str(missing), "--list", "x", "--url", NOBODY, PYTHONIOENCODING="ascii")

    assert 1 == found.returncode
    assert "No server answers" in found.stderr
