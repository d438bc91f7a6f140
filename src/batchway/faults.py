"""Named places where a test may kill the process. In production `fault` does nothing.

`BATCHWAY_FAULT=execute.before_commit` dies by SIGKILL at that point; with `BATCHWAY_FAULT_ONCE`
naming a file, only the first process that can create that file dies. `BATCHWAY_FAULT_SIGNAL`
names another signal: `SIGSTOP` pauses the process there. A test that runs steps in its own process
uses `striking`.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class FaultPoint(StrEnum):
    """Every place where dying must lose nothing."""

    SUBMIT_BEFORE_COMMIT = "submit.before_commit"
    SUBMIT_AFTER_COMMIT = "submit.after_commit"
    SPLIT_BEFORE_COMMIT = "split.before_commit"
    SPLIT_AFTER_COMMIT = "split.after_commit"
    EXECUTE_AFTER_ATTEMPT = "execute.after_attempt"
    EXECUTE_BEFORE_ANSWER = "execute.before_answer"
    EXECUTE_BEFORE_TRANSACTION = "execute.before_transaction"
    EXECUTE_BEFORE_COMMIT = "execute.before_commit"
    EXECUTE_AFTER_COMMIT = "execute.after_commit"
    PAGES_BEFORE_TRANSACTION = "pages.before_transaction"
    PAGES_BEFORE_COMMIT = "pages.before_commit"
    PAGES_AFTER_COMMIT = "pages.after_commit"
    FINALIZE_AFTER_STATUS = "finalize.after_status"
    FINALIZE_AFTER_WRITE = "finalize.after_write"
    FINALIZE_BEFORE_COMMIT = "finalize.before_commit"
    FINALIZE_AFTER_COMMIT = "finalize.after_commit"
    DELIVER_BEFORE_SEND = "deliver.before_send"
    DELIVER_AFTER_SEND = "deliver.after_send"
    DELIVER_BEFORE_COMMIT = "deliver.before_commit"
    DELIVER_AFTER_COMMIT = "deliver.after_commit"


_armed = os.environ.get("BATCHWAY_FAULT", "")
_once = os.environ.get("BATCHWAY_FAULT_ONCE", "")
_signal = signal.Signals[os.environ.get("BATCHWAY_FAULT_SIGNAL", "SIGKILL")]


def fault(point: FaultPoint) -> None:
    """Die here if a test has asked for it."""
    for strike in _strikes:
        strike(point)


@contextmanager
def striking(strike: Callable[[FaultPoint], object]) -> Iterator[None]:
    """Within the block, call `strike` at each point; what it raises ends the step there."""
    _strikes.append(strike)
    try:
        yield
    finally:
        _strikes.remove(strike)


def _kill(point: FaultPoint) -> None:
    if point == _armed and _is_first():
        os.kill(os.getpid(), _signal)


def _is_first() -> bool:
    if not _once:
        return True
    try:
        os.close(os.open(_once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


# Nothing, unless a test has asked for it.
_strikes: list[Callable[[FaultPoint], object]] = [_kill] if _armed else []
