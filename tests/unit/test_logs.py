"""The default configuration of logging."""

import subprocess
import sys

_PROGRAM = """
import structlog
from batchway.kit.logs import log_exception

def fail(body):
    api_key = "a-secret-key"
    raise ValueError("It is wrong.")

try:
    fail(b"a-secret-body")
except ValueError:
    log_exception(structlog.get_logger(), "call_failed", request="1")
"""


def test_a_traceback_shows_no_local_variables() -> None:
    """A traceback shows no local variables, also without a configuration."""
    command = [sys.executable, "-c", _PROGRAM]
    written = subprocess.run(command, capture_output=True, text=True, check=True)
    shown = written.stdout + written.stderr

    assert "call_failed" in shown
    assert "ValueError: It is wrong." in shown
    assert "a-secret" not in shown
