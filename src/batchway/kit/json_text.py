"""JSON text that is written into other JSON, such as the response in an operation's result."""

import json
from abc import ABC, abstractmethod

import msgspec

_encode = msgspec.json.Encoder().encode


class JsonText(ABC):
    """JSON text that is rendered only when it is needed."""

    __slots__ = ()

    @abstractmethod
    def render(self) -> bytes:
        """The text, in UTF-8."""

    @abstractmethod
    def render_quoted(self) -> bytes:
        """The text as a JSON string, in ASCII only."""


class RenderedJson(JsonText):
    """JSON text that is rendered already."""

    __slots__ = ("_text",)

    def __init__(self, text: bytes) -> None:
        """`text` is in UTF-8; otherwise `render_quoted` raises UnicodeDecodeError."""
        self._text = text

    def render(self) -> bytes:
        """The text, unchanged."""
        return self._text

    def render_quoted(self) -> bytes:
        """The text as a JSON string."""
        return quote_json(str(self._text, "utf-8"))


def quote_json(text: str) -> bytes:
    """Return a text as a JSON string, in ASCII only."""
    # msgspec is faster, but it does not escape non-ASCII characters; the json module does.
    return _encode(text) if text.isascii() else json.dumps(text).encode("ascii")


def escape_json(text: bytes) -> bytes:
    """Return a text in UTF-8 as the content of a JSON string, without the quotes."""
    return quote_json(str(text, "utf-8"))[1:-1]
