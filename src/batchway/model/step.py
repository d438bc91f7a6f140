"""The steps of batches and deliveries, and how a step is handed over to the workers."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from sqlalchemy import Connection


class Step(StrEnum):
    """What a worker can do. The values are part of hand-over ids: never change them."""

    RUN = "run"  # all steps of a small batch, one after the other
    SPLIT = "split"
    EXECUTE = "execute"  # one chunk, named by its number
    SEND = "send"  # one chunk whose target sends requests and waits for responses
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
    """Hands a step over, in the transaction of the state change that it follows from."""

    def __call__(
        self,
        connection: Connection,
        step: Step,
        key: int,
        number: int = 0,
        *,
        delay_seconds: float = 0,
    ) -> None:
        """Release the step if this worker has claimed it, and let any worker run it.

        The hand-over commits, or is rolled back, with the connection's transaction. It does nothing
        if the step has no work left, or if another living worker has claimed it. `key` is the key
        of the batch or of the delivery. A delay has a precision of about a second.
        """
