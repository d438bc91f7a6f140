"""Where the programs are that rows compare with, and how they are started."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from measuring import Skipped
from running import ended
from surroundings import ROOT

_ENVIRONMENT = ROOT / ".venv-bench" / "bin"


def installed(name: str) -> str:
    """A program of the contestants' own environment."""
    path = _ENVIRONMENT / name
    if not path.exists():
        raise Skipped(f"{name} is not installed; `make bench` installs it")
    return str(path)


def on_this_machine(name: str) -> str:
    """A program that pip does not bring."""
    path = shutil.which(name)
    if path is None:
        raise Skipped(f"{name} is not installed")
    return path


@contextmanager
def started(
    command: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that works in a folder and is ended with the block; it says nothing."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with ended(process):
        yield process


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
