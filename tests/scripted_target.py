"""A sending target in the process of the tests. The path of an operation says what happens."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.model.operation import Operation
from batchway.model.result import NoAnswer, NoAnswerReason, Result
from batchway.targets.base import OutgoingOperation, Postponed, Sending, SendingTarget, Slice
from batchway.targets.table import Mount

ECHO = "/echo"  # the prefix; behind it: ok, fail, silent, unsent, later, break
PAUSE = "The receiver asked for a pause."


class Broken(Exception):
    """Ends an attempt, as a mistake in a target would."""


class Sent(NamedTuple):
    """One operation that reached the receiver."""

    position: int
    key: str


@dataclass
class ScriptedTarget(SendingTarget):
    """Sends to the list `sent`, and to the file `history` if there is one.

    Results come in slices of `slice_count`, the last operation first.
    """

    slice_count: int = 2
    history: Path | None = None
    sent: list[Sent] = field(default_factory=list)
    postponed: set[str] = field(default_factory=set)
    before_slice: Callable[[], object] = bool

    @property
    def mount(self) -> Mount:
        """The target under its prefix."""
        return Mount(ECHO, "echo", self)

    def check(self, caller: Caller, operations: Sequence[Operation]) -> Sequence[Result]:
        """Return a success for each operation."""
        body = msgspec.json.encode({"account": caller.account_id})
        return [Result.from_bytes(200, body) for _ in operations]

    def answer_single(self, caller: Caller, request: Request) -> Response | NoAnswer:
        """Answer a call as an operation would be answered, without a key."""
        status = _STATUSES.get(_script(request.path))
        return (
            _no_answer(request.path)
            if status is None
            else Response(status, {"account": caller.account_id})
        )

    def send(self, sending: Sending) -> Generator[Slice, None, None]:
        """Send the operations, the last one first."""
        waiting = list(sending.operations)
        while waiting and not sending.is_stopping():
            some = [waiting.pop() for _ in range(min(self.slice_count, len(waiting)))]
            part = self._send_slice(some)
            self.before_slice()
            yield part

    def _send_slice(self, some: Sequence[OutgoingOperation]) -> Slice:
        later = [outgoing for outgoing in some if self._is_postponed(outgoing)]
        self.postponed.update(outgoing.key for outgoing in later)
        results = {
            outgoing.position: self._send(outgoing) for outgoing in some if outgoing not in later
        }
        if not later:
            return Slice(results)
        return Slice(results, Postponed([outgoing.position for outgoing in later], 60, PAUSE))

    def _is_postponed(self, outgoing: OutgoingOperation) -> bool:
        return _script(outgoing.operation.path) == "later" and outgoing.key not in self.postponed

    def _send(self, outgoing: OutgoingOperation) -> Result | NoAnswer:
        path = outgoing.operation.path
        script = _script(path)
        if script == "break":
            raise Broken
        if script != "unsent":
            self._note(Sent(outgoing.position, outgoing.key))
        status = _STATUSES.get(script)
        if status is None:
            return _no_answer(path)
        return Result.from_bytes(status, msgspec.json.encode({"key": outgoing.key}))

    def _note(self, sent: Sent) -> None:
        self.sent.append(sent)
        if self.history is not None:
            with self.history.open("a") as file:
                file.write(f"{sent.position} {sent.key}\n")


_STATUSES = {"ok": 200, "later": 200, "fail": 422}


def read_history(path: Path) -> list[Sent]:
    """Return what reached the receiver, from all processes that wrote the file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Sent(int(position), key) for position, key in map(str.split, lines)]


def _script(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _no_answer(path: str) -> NoAnswer:
    if _script(path) == "unsent":
        return NoAnswer(NoAnswerReason.NOT_SENT, "The receiver could not be reached.")
    return NoAnswer(NoAnswerReason.UNKNOWN, "The receiver did not answer.")
