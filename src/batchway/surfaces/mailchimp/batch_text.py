"""Where the parts of a batch's body stand in its text, and whether a key is given twice.

The end of an operation is guessed, and decoding the text before it proves the guess: text that is
cut within a string or an object is no JSON.
"""

import json
import re
from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from batchway.contract.problems import Refused, invalid_field, json_parse_exception
from batchway.contract.validation import explain_decode_error

SPACE = rb"[ \t\r\n]*+"
BEGIN, COMMA, END = b"[,]"

_LIKELY_BORDER = re.compile(rb"\}" + SPACE + b",(?=" + SPACE + rb"\{" + SPACE + b'")')
_LIKELY_BORDERS_TRIED = 3
_LOOK_BACK_BYTES = 64 * 1024  # an operation is rarely larger
_SMALL_BYTES = 64 * 1024  # few enough for all that they say to be decoded
_KEYS_MAX = 1_000  # of a large operation; to go from one to the next takes long
_BLANK = re.compile(SPACE)
# msgspec's words; it counts the byte that is too much, too.
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
# A letter or an underscore, of which names consist. Hardly any client writes them so.
_ESCAPED_KEY = re.compile(rb"\\u00[567]")

_raw = msgspec.json.Decoder(msgspec.Raw)


def find_likely_borders(window: bytearray) -> list[int]:
    """Commas between two operations, as it seems; the last one first."""
    found = _LIKELY_BORDER.finditer(window, max(0, len(window) - _LOOK_BACK_BYTES))
    return [each.end() - 1 for each in reversed(deque(found, _LIKELY_BORDERS_TRIED))]


def find_last_border(window: bytearray) -> int | None:
    """Where the array ends, or the last comma between two of its elements, if there is any."""
    found = None
    at: int | None = 0
    while at is not None and bytes(window[at : at + 1]) in {b"[", b",", b"]"}:
        found = at or None
        if window[at] == END:
            break
        at = _find_next_token(window, at + 1)
    return found


def _find_next_token(text: bytes | bytearray, at: int) -> int | None:
    """Where the next token behind a value stands, or that in its place; None if all is cut off."""
    blank = _BLANK.match(text, at)
    at = blank.end() if blank else at
    if bytes(text[at : at + 1]) in {b",", b"]"}:
        return at
    try:
        with memoryview(text) as whole, whole[at:] as rest:
            _raw.decode(rest)
    except msgspec.DecodeError as error:
        # The fastest way to find the end of a value is to take it for the last one. The error then
        # counts the bytes up to the first that is too much, and that one, too.
        trailing = _TRAILING.search(str(error))
        return at + int(trailing[1]) - 1 if trailing else None
    except RecursionError as error:
        raise explain_decode_error(error, within="") from None
    return None


def has_escaped_key(text: bytes | bytearray, end: int) -> bool:
    """Whether a key before `end` may be written with escapes."""
    return _ESCAPED_KEY.search(text, 0, end) is not None


def check_keys(elements: Iterable[msgspec.Raw | bytes], first: int, names: Sequence[str]) -> None:
    """Refuse an element in which one of these keys is given twice; `first` is its position."""
    quoted = [f'"{name}"'.encode() for name in names]
    for position, element in enumerate(elements, first):
        text = bytes(element)
        if any(text.count(name) > 1 for name in quoted) or _ESCAPED_KEY.search(text):
            is_small = len(text) <= _SMALL_BYTES
            given = decode_keys(text) if is_small else read_keys(text, _KEYS_MAX)
            if given is None:
                raise _too_many_keys(position)
            for name in names:
                if given.count(name) > 1:
                    raise duplicate_key(f"operations.item:{position}", name)


def decode_keys(raw: bytes) -> list[str]:
    """The keys of an object in their order, doubles too; all in it is decoded."""
    text = raw.decode(errors="replace")  # what is ignored may be no UTF-8
    try:
        # Numbers stay text: those that are ignored may have any number of digits.
        pairs = json.loads(
            text, object_pairs_hook=list, parse_int=str, parse_float=str, strict=False
        )
    except (ValueError, RecursionError) as error:
        raise explain_decode_error(error, within="") from None
    return [name for name, _ in pairs]


def read_keys(raw: bytes, most: int) -> list[str] | None:
    """The same of an object that may be large; None if there are more keys than `most`."""
    names: list[str] = []
    at: int | None = raw.index(b"{")
    while at is not None and raw[at : at + 1] in {b"{", b","}:
        colon = _find_next_token(raw, at + 1)
        if colon is None:
            break
        names.append(json.loads(raw[at + 1 : colon].decode(errors="replace"), strict=False))
        if len(names) > most:
            return None
        at = _find_next_token(raw, colon + 1)
    return names


def duplicate_key(field: str, name: str) -> Refused:
    """400: a key was given twice."""
    return invalid_field(field, f"This key was given twice: {name}")


def _too_many_keys(position: int) -> Refused:
    return json_parse_exception(
        f"operations.item:{position} has more than {_KEYS_MAX} keys. Leave out those that are "
        "ignored."
    )
