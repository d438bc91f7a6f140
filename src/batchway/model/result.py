"""A result: the recorded response of one operation."""

import msgspec

_SUCCESS = range(200, 300)


class Result(msgspec.Struct, frozen=True, gc=False):
    """`body` is JSON text in UTF-8, never empty.

    A `continuation` says, in the target's words, where the next page of the response begins.
    """

    status_code: int
    body: bytes
    continuation: str | None = None

    @property
    def is_errored(self) -> bool:
        """Whether the result counts in `errored_operations`: its status is not 2xx."""
        return self.status_code not in _SUCCESS
