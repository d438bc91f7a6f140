"""Processes that tests start. None of them outlives the tests, however the tests end.

A reaper process gets the id of each process: it is this file as a program, which waits for the end
of its standard input and then kills what still runs. The input ends with the process of the tests,
also when that one is killed.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import psutil


def start_process(arguments: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Start a program in a new process group, which the reaper kills if it outlives the tests.

    Ctrl-C in a terminal does not reach the group.
    """
    process = subprocess.Popen(arguments, text=True, process_group=0, **options)
    reaper = _start_reaper().stdin
    assert reaper
    reaper.write(f"{process.pid}\n")
    reaper.flush()
    return process


@cache
def _start_reaper() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C and the end of a terminal are for the tests
    )


def reap() -> None:
    """Read process ids until the end of the input, then kill the groups that still run."""
    found = []
    for line in sys.stdin:
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(int(line)))
    for process in found:
        if process.is_running():  # the same process, and not another one with its id
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    reap()
