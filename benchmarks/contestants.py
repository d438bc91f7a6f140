"""Finds and starts the programs that rows compare with."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from measuring import Skipped
from running import terminate_at_end
from surroundings import ROOT

_ENVIRONMENT = ROOT / ".venv-bench" / "bin"


def find_installed(name: str) -> str:
    """Return the path of a program in the environment of the contestants."""
    path = _ENVIRONMENT / name
    if not path.exists():
        raise Skipped(f"{name} is not installed; `make bench` installs it")
    return str(path)


def find_program(name: str) -> str:
    """Return the path of a program that pip does not install."""
    path = shutil.which(name)
    if path is None:
        raise Skipped(f"{name} is not installed")
    return path


@contextmanager
def run_program(
    command: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a folder until the end of the block, without its output."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with terminate_at_end(process):
        yield process


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
