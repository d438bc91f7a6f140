"""The contract of an observer: it is called at each named event of the steps.

An event with a dot in its name is a fault point: if the process dies there, nothing may be lost.
Fault points whose names end in `before_commit` happen inside a transaction, which may still be
rolled back. An event without a dot reports a fact. It happens after the commit, at most once for
each commit, and not at all if the process dies in between. So observers can be used for logs and
metrics, but not for anything that must happen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Field = str | int | float


class Event(StrEnum):
    """Every event of the steps."""

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
    SEND_BEFORE_COMMIT = "send.before_commit"
    SEND_AFTER_COMMIT = "send.after_commit"
    FINALIZE_AFTER_STATUS = "finalize.after_status"
    FINALIZE_AFTER_WRITE = "finalize.after_write"
    FINALIZE_BEFORE_COMMIT = "finalize.before_commit"
    FINALIZE_AFTER_COMMIT = "finalize.after_commit"
    DELIVER_BEFORE_SEND = "deliver.before_send"
    DELIVER_AFTER_SEND = "deliver.after_send"
    DELIVER_BEFORE_COMMIT = "deliver.before_commit"
    DELIVER_AFTER_COMMIT = "deliver.after_commit"
    BATCH_ACCEPTED = "batch_accepted"
    CHUNK_ADVANCED = "chunk_advanced"
    CHUNK_DONE = "chunk_done"
    BATCH_FINISHED = "batch_finished"
    DELIVERY_ATTEMPTED = "delivery_attempted"
    HOUSEKEEPING_DONE = "housekeeping_done"

    @property
    def is_fault_point(self) -> bool:
        """Whether the event is a place at which tests kill the process, and not a fact."""
        return "." in self


FAULT_POINTS = tuple(event for event in Event if event.is_fault_point)


class Observer(Protocol):
    """Is called in the thread of the step, which waits for it. Safe for concurrent threads.

    `fields` are ids, counts and durations in seconds, but never a body, a key or an address. An
    exception of an observer ends the step like any other; only observers of tests raise.
    """

    def observe(self, event: Event, fields: Mapping[str, Field]) -> None:
        """Handle an event."""
        ...


@dataclass(frozen=True)
class Observers:
    """Calls several observers, one after the other."""

    members: Sequence[Observer]

    def __call__(self, event: Event, **fields: Field) -> None:
        """Call each observer with the event."""
        for member in self.members:
            member.observe(event, fields)
