"""The steps of a batch, and how one hands over to the next."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from sqlalchemy import Connection


class Step(StrEnum):
    """What a worker can be asked to do. The values are part of hand-over ids: never change them."""

    RUN = "run"  # all steps of a small batch, one after the other
    SPLIT = "split"
    EXECUTE = "execute"  # one chunk, named by its number
    SEND = "send"  # the same, for a chunk whose target sends requests and waits for replies
    FINALIZE = "finalize"
    DELIVER = "deliver"  # one attempt of a delivery

    @property
    def is_of_chunk(self) -> bool:
        """Whether the step works on one chunk of a batch."""
        return self in (Step.EXECUTE, Step.SEND)


class StepName(NamedTuple):
    """One step of one batch, of one of its chunks, or of one delivery.

    `key` is that of the batch or of the delivery, `number` that of the chunk.
    """

    step: Step
    key: int
    number: int = 0


class WrittenHandOver(NamedTuple):
    """The newest hand-over of a step; its number is 0 if there was none."""

    name: StepName
    hand_over_number: int


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
        """Release the step if this worker has claimed it, and ask for it to be run by any worker.

        Commits, or is rolled back, with the connection's transaction. Does nothing if the step has
        no work left, or if another living worker has claimed it. `key` is that of the batch, or of
        the delivery, that the step works on. A delay has a precision of about a second.
        """
