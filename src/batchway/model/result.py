"""A result: the recorded response of one operation."""

import msgspec

from batchway.kit.json_text import JsonText, RenderedJson

_SUCCESS = range(200, 300)


class Result(msgspec.Struct, frozen=True, gc=False):
    """`body` is JSON text, never empty.

    A `continuation` says, in the target's words, where the next page of the response begins.
    """

    status_code: int
    body: JsonText
    continuation: str | None = None

    @classmethod
    def of(cls, status_code: int, body: bytes) -> "Result":
        """The result with a body that is encoded."""
        return cls(status_code, RenderedJson(body))

    @property
    def is_errored(self) -> bool:
        """Whether the result counts in `errored_operations`."""
        return is_error(self.status_code)


def is_error(status_code: int) -> bool:
    """Whether a status is not 2xx."""
    return status_code not in _SUCCESS
