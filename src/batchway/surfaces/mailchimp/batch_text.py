"""Finds the borders between the operations of a body, and duplicate keys in them.

A border is guessed first. Decoding the text before it confirms the guess, because text that is cut
within a string or an object is not valid JSON.
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
_LOOK_BACK_BYTES = 64 * 1024  # few operations are larger
_SMALL_BYTES = 64 * 1024  # text of this size is cheap to decode completely
_KEYS_MAX = 1_000  # of a large operation; finding each key takes long
_BLANK = re.compile(SPACE)
# The text of msgspec's error; its count includes the first byte after the value.
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
# An escaped letter or underscore, of which our keys consist. Hardly any client escapes them.
_ESCAPED_KEY = re.compile(rb"\\u00[567]")

_raw = msgspec.json.Decoder(msgspec.Raw)


def find_likely_borders(window: bytearray) -> list[int]:
    """Find commas that probably separate two operations, the last one first."""
    found = _LIKELY_BORDER.finditer(window, max(0, len(window) - _LOOK_BACK_BYTES))
    return [each.end() - 1 for each in reversed(deque(found, _LIKELY_BORDERS_TRIED))]


def find_last_border(window: bytearray) -> int | None:
    """Find the end of the array, or else the last comma between two of its elements."""
    found = None
    at: int | None = 0
    while at is not None and bytes(window[at : at + 1]) in {b"[", b",", b"]"}:
        found = at or None
        if window[at] == END:
            break
        at = _find_next_token(window, at + 1)
    return found


def _find_next_token(text: bytes | bytearray, at: int) -> int | None:
    """Find the token after a value, or in its place. None if the text ends before it."""
    blank = _BLANK.match(text, at)
    at = blank.end() if blank else at
    if bytes(text[at : at + 1]) in {b",", b"]"}:
        return at
    try:
        with memoryview(text) as whole, whole[at:] as rest:
            _raw.decode(rest)
    except msgspec.DecodeError as error:
        # The fastest way to find the end of a value is to decode the text as if it were one value.
        # The error names the first byte that does not belong to it.
        trailing = _TRAILING.search(str(error))
        return at + int(trailing[1]) - 1 if trailing else None
    except RecursionError as error:
        raise explain_decode_error(error, within="") from None
    return None


def has_escaped_key(text: bytes | bytearray, end: int) -> bool:
    """Whether a key before `end` may contain escapes."""
    return _ESCAPED_KEY.search(text, 0, end) is not None


def check_keys(elements: Iterable[msgspec.Raw | bytes], first: int, keys: Sequence[str]) -> None:
    """Reject an element with a duplicate of one of these keys. `first` is the first position."""
    quoted = [f'"{key}"'.encode() for key in keys]
    for position, element in enumerate(elements, first):
        text = bytes(element)
        if any(text.count(key) > 1 for key in quoted) or _ESCAPED_KEY.search(text):
            is_small = len(text) <= _SMALL_BYTES
            given = decode_keys(text) if is_small else read_keys(text, _KEYS_MAX)
            if given is None:
                raise _too_many_keys(position)
            for key in keys:
                if given.count(key) > 1:
                    raise duplicate_key(f"operations.item:{position}", key)


def decode_keys(raw: bytes) -> list[str]:
    """Read the keys of a small object, with duplicates, by decoding the whole object."""
    text = raw.decode(errors="replace")  # values that are ignored need not be UTF-8
    try:
        # Numbers remain text, because ignored ones may have any number of digits.
        pairs = json.loads(
            text, object_pairs_hook=list, parse_int=str, parse_float=str, strict=False
        )
    except (ValueError, RecursionError) as error:
        raise explain_decode_error(error, within="") from None
    return [key for key, _ in pairs]


def read_keys(raw: bytes, most: int) -> list[str] | None:
    """Read the keys of an object of any size, with duplicates. None if it has more than `most`."""
    keys: list[str] = []
    at: int | None = raw.index(b"{")
    while at is not None and raw[at : at + 1] in {b"{", b","}:
        colon = _find_next_token(raw, at + 1)
        if colon is None:
            break
        keys.append(json.loads(raw[at + 1 : colon].decode(errors="replace"), strict=False))
        if len(keys) > most:
            return None
        at = _find_next_token(raw, colon + 1)
    return keys


def duplicate_key(field: str, key: str) -> Refused:
    """400: an object has a duplicate key."""
    return invalid_field(field, f"This key was given twice: {key}")


def _too_many_keys(position: int) -> Refused:
    return json_parse_exception(
        f"operations.item:{position} has more than {_KEYS_MAX} keys. Remove those that are ignored."
    )
