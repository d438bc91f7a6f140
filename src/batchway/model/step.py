"""The steps of a batch, and how one hands over to the next."""

from enum import StrEnum
from typing import Protocol

from sqlalchemy import Connection


class Step(StrEnum):
    """What a worker can be asked to do. The values are part of hand-over ids: never change them."""

    RUN = "run"  # a small batch from beginning to end
    SPLIT = "split"
    EXECUTE = "execute"  # one chunk, named by its number
    FINALIZE = "finalize"
    DELIVER = "deliver"  # one attempt of a delivery


class HandOver(Protocol):
    """Asks for a step to be run, in the transaction of the state change it follows from."""

    def __call__(
        self,
        connection: Connection,
        step: Step,
        key: int,
        number: int = 0,
        *,
        delay_seconds: float = 0,
    ) -> None:
        """Commits, or is rolled back, with the connection's transaction.

        `key` is that of the batch, or of the delivery, that the step works on. A delay has a
        precision of about a second.
        """
