"""The machine, the versions and the commit of a measurement, without names and paths."""

import os
import platform
import re
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil

from batchway.store.database import SQLITE_PRAGMAS

ROOT = Path(__file__).parent.parent
_GIB = 1024**3


class Surroundings(msgspec.Struct, frozen=True):
    """Saved with each row, because rows may be measured at different times."""

    machine: str
    versions: str
    settings: str
    commit: str
    date: str


def get_surroundings() -> Surroundings:
    """Return the current ones."""
    memory = round(psutil.virtual_memory().total / _GIB)
    return Surroundings(
        machine=f"{_processor()}, {os.cpu_count()} cores, {memory} GiB of memory, "
        f"{platform.system()}",
        versions=f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        settings=", ".join(
            pragma.removeprefix("PRAGMA ")
            for pragma in SQLITE_PRAGMAS
            if re.search("page_size|journal_mode|synchronous|autocheckpoint", pragma)
        ),
        commit=_commit(),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def _commit() -> str:
    """Return the commit, and whether the code differs from it."""
    try:
        commit = _git("rev-parse", "--short=10", "HEAD")
        changed = _git("status", "--porcelain", "--", "src", "benchmarks/*.py", "benchmarks/rows")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with changes" if changed else commit


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
