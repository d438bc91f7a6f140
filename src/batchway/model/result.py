"""A result: the recorded response of one operation; and what is recorded without a response."""

from enum import StrEnum

import msgspec

from batchway.kit.json_text import JsonText, RenderedJson

_SUCCESS = range(200, 300)


class Result(msgspec.Struct, frozen=True, gc=False):
    """The response of an operation. `body` is JSON text, never empty.

    If the response is a page and more pages follow, `continuation` is where the next page begins;
    only the target that returned it can read it.
    """

    status_code: int
    body: JsonText
    continuation: str | None = None

    @classmethod
    def from_bytes(cls, status_code: int, body: bytes) -> "Result":
        """Return a result with this status code and this body, as JSON text."""
        return cls(status_code, RenderedJson(body))

    @property
    def is_errored(self) -> bool:
        """Whether the result counts in `errored_operations`."""
        return is_error(self.status_code)


class NoAnswerReason(StrEnum):
    """Why an operation has no response, and whether it may have taken effect."""

    NOT_SENT = "not_sent"  # the receiver did not get the operation: it had no effect
    UNKNOWN = "unknown"  # it was sent, but no response was received: it may have taken effect


class NoAnswer(msgspec.Struct, frozen=True, gc=False):
    """The result of an operation that got no response, and so has no status code.

    `detail` is a sentence for the owner of the batch.
    """

    reason: NoAnswerReason
    detail: str


def is_error(status_code: int) -> bool:
    """Return whether a status code is not 2xx."""
    return status_code not in _SUCCESS
