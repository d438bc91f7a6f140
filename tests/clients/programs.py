"""Programs that pip does not install. A test that needs a missing program is skipped.

With BATCHWAY_TESTS_COMPLETE=1 in the environment such a test fails instead.
"""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

NODE = Path(__file__).parent / "node"

_LOCK = NODE / "package-lock.json"
_INSTALLED = NODE / "node_modules" / ".package-lock.json"  # npm writes it last
_INSTALL_SECONDS = 300
_RUN_SECONDS = 120


def need(program: str, package: str) -> None:
    """Skip the test if a program is not installed. `package` is its name in Debian."""
    if shutil.which(program) is None:
        absent(f"needs {program}: apt-get install {package}")


def need_node_modules() -> None:
    """Install what package-lock.json pins, once for all processes of all test runs."""
    need("node", "nodejs")
    need("npm", "npm")
    with _LOCK.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_installed():
            _install()


def absent(reason: str) -> NoReturn:
    """Skip the test with a reason, or fail if the tests must be complete."""
    if os.environ.get("BATCHWAY_TESTS_COMPLETE") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def output_of(*command: str | Path, given: bytes = b"") -> str:
    """Run a program with this input, and return its output. Fail with its errors."""
    ran = subprocess.run(
        command, input=given, capture_output=True, timeout=_RUN_SECONDS, check=False
    )
    assert 0 == ran.returncode, f"{command} ended with {ran.returncode}\n{ran.stderr.decode()}"
    return ran.stdout.decode()


def document_of(*command: str | Path) -> Any:
    """Run a program, and return the JSON document that it prints."""
    return json.loads(output_of(*command))


def _is_installed() -> bool:
    return _INSTALLED.exists() and _INSTALLED.stat().st_mtime >= _LOCK.stat().st_mtime


def _install() -> None:
    ran = subprocess.run(
        ["npm", "ci"],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if ran.returncode != 0:
        absent(f"needs what `npm ci` installs in tests/clients/node: {ran.stderr[-1000:]}")
