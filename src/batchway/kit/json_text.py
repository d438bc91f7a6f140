"""JSON text that is recorded within JSON, as the response in the result of an operation."""

import json
from abc import ABC, abstractmethod

import msgspec

_encode = msgspec.json.Encoder().encode


class JsonText(ABC):
    """JSON text that is made when it is asked for."""

    __slots__ = ()

    @abstractmethod
    def plain(self) -> bytes:
        """The text, in UTF-8."""

    @abstractmethod
    def quoted(self) -> bytes:
        """The text as a JSON string, in ASCII only."""


class Encoded(JsonText):
    """JSON text that is there already."""

    __slots__ = ("_text",)

    def __init__(self, text: bytes) -> None:
        """`text` is in UTF-8, or `quoted` raises UnicodeDecodeError."""
        self._text = text

    def plain(self) -> bytes:
        """The text, as it was given."""
        return self._text

    def quoted(self) -> bytes:
        """The text as a JSON string."""
        return json_string(str(self._text, "utf-8"))


def json_string(text: str) -> bytes:
    """A text as a JSON string, in ASCII only."""
    # msgspec is the fastest but leaves non-ASCII as it is; json escapes it.
    return _encode(text) if text.isascii() else json.dumps(text).encode("ascii")


def inside_quotes(text: bytes) -> bytes:
    """A text in UTF-8 as a part of a JSON string: without the quotes."""
    return json_string(str(text, "utf-8"))[1:-1]
