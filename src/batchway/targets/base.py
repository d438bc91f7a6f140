"""The contract of a target: what answers operations, whatever is behind it."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection

from batchway.contract.request import Caller, Request
from batchway.contract.response import Response
from batchway.model.operation import Operation
from batchway.model.result import Result


class Answer(Protocol):
    """The results of a set of operations, and what remains to be written for them to be true."""

    @property
    def results(self) -> Sequence[Result]:
        """One result for each operation, in order: for all, or at least one of the first ones.

        A target answers in part when the results are large together. One that pages gives the
        first page of a GET without a `count`, with its continuation.
        """

    def prepare(self) -> None:
        """Do of `write` what needs no lock, so that others wait less; it may be left out."""

    def write(self, connection: Connection) -> None:
        """Write, in the transaction that records the results.

        Raises Stale if something has changed that the results rest on; nothing may be kept then.
        """


class Target(Protocol):
    """Answers operations. A fault of one operation is its own result and nobody else's."""

    def answer(self, caller: Caller, operations: Sequence[Operation]) -> Answer:
        """Work out the results without holding a write transaction.

        May be called any number of times for the same operations; nothing takes effect before
        `Answer.write`.
        """

    def answer_within(
        self, connection: Connection, caller: Caller, operations: Sequence[Operation]
    ) -> Sequence[Result]:
        """Work out the results and write them within the caller's transaction. Never Stale.

        For all operations, or at least one of the first ones; only those take effect.
        """

    def answer_page(self, caller: Caller, operation: Operation, continuation: str) -> Result:
        """The next page of a GET, where its last page said that it goes on."""

    def check(self, caller: Caller, operations: Sequence[Operation]) -> Sequence[Result]:
        """What all the operations would come to, each as far as that can be told without effect."""

    def answer_single(self, caller: Caller, request: Request) -> Response:
        """Answer one call that came alone, by the same rules, in transactions of its own."""
