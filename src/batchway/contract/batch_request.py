"""The body of `POST /batches`: read piece by piece, checked before anything is kept.

A wrong shape refuses the whole request. What a client commonly gets wrong but Mailchimp accepts
(lower-case methods, whole numbers as `operation_id`, a body that is no string) is taken; a body
that is no string becomes that operation's own 400.

A large body is cut into windows, each of which ends where an operation ends. The end is guessed,
and decoding the window proves the guess: text that is cut within a string or an object is no JSON.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from batchway import limits
from batchway.contract.problems import (
    FieldError,
    Refused,
    invalid_field,
    json_parse_exception,
    too_large,
)
from batchway.contract.validation import WRONG, decode, refusal
from batchway.model.operation import METHODS, Operation

operation_bytes_max = 10 * 1024 * 1024  # of one operation, as it is sent
batch_window_bytes = 512 * 1024  # of a body that are decoded at once; larger is slower
unstreamed_body_bytes_max = 32 * 1024 * 1024  # where `operations` is not the first key

_METHOD_NAMES = {name: method for method in METHODS for name in (method, method.lower())}
_BODY_MISTAKES = [
    f"Schema describes string, {found} found instead" for found in ("object", "array")
]
_TRUNCATED = "Input data was truncated"  # msgspec's words

_SPACE = rb"[ \t\r\n]*+"
_HEAD = re.compile(_SPACE + rb"\{" + _SPACE + rb'"operations"' + _SPACE + b":" + _SPACE + rb"\[")
_LIKELY_BORDER = re.compile(rb"\}" + _SPACE + b",(?=" + _SPACE + rb"\{" + _SPACE + b'")')
_LIKELY_BORDERS_TRIED = 3
_LOOK_BACK_BYTES = 64 * 1024  # an operation is rarely larger

_BLANK = re.compile(_SPACE)
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")

_TOO_MANY = f"A batch may have {limits.operations_per_batch_max} operations. Send it in several."
_TOO_MUCH_BESIDE = (
    f"A body of more than {unstreamed_body_bytes_max} bytes must have `operations` as its first "
    "key, and little beside it. Put it first, and leave out the other keys: they are ignored."
)
_REQUEST_NAMES_MAX = 10_000
_EMPTY = b'{"operations":[]'
# A letter or an underscore, of which names consist. Hardly any client writes them so.
_ESCAPED_NAME = re.compile(rb"\\u00[567]")
_BEGIN, _COMMA, _END = b"[,]"


class _Operation(msgspec.Struct, gc=False):
    method: str
    path: str
    params: dict[str, Any] | list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    body: str | dict[str, Any] | list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    operation_id: str | int | msgspec.UnsetType | None = msgspec.UNSET


_NAMES = tuple(f'"{name}"'.encode() for name in _Operation.__struct_fields__)


class _Request(msgspec.Struct):
    operations: list[_Operation]


_request = msgspec.json.Decoder(_Request)
_elements = msgspec.json.Decoder(list[_Operation])
_element = msgspec.json.Decoder(_Operation)
_raw = msgspec.json.Decoder(msgspec.Raw)
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_batch(body: bytes | None) -> list[Operation]:
    """The operations of a JSON body, in order; raises a problem that names the wrong field."""
    reader = BatchReader(is_lines=False)
    found = [each for group in reader.feed(body or b"") for each in group]
    return found + [each for group in reader.finish() for each in group]


def mistake_in(operation: Operation) -> FieldError | None:
    """What makes an accepted operation fail when it is executed, if anything."""
    return None if operation.mistake is None else FieldError("body", operation.mistake)


class BatchReader:
    """Reads a body that comes in pieces; not for several threads at once.

    With `is_lines` the body is NDJSON: an operation a line. Otherwise it is one object, and only
    if `operations` is its first key may it be larger than 32 MiB. However the body is cut into
    pieces, the groups and the problems are the same. After a problem the reader is of no use.
    """

    def __init__(self, *, is_lines: bool, window_bytes: int = batch_window_bytes) -> None:
        self._window_bytes = self._wanted_bytes = window_bytes
        self._buffer = bytearray()
        self._first_byte = 0  # where the buffer begins in the body
        self._count = 0  # of operations before those of the buffer
        self._groups = _Groups()
        self._read: Callable[[], None] = self._read_lines if is_lines else self._read_head
        self._end: Callable[[], None] = self._take_lines if is_lines else self._end_whole

    def feed(self, data: bytes) -> Iterator[list[Operation]]:
        """Operations that are complete now, in groups; take all groups before the next call.

        A group has at most `limits.piece_operations_max` operations. Those that are held back,
        to make the next group a full one, are few or small.
        """
        rest = memoryview(data)
        while rest:
            room = self._wanted_bytes - len(self._buffer)
            self._buffer += rest[:room]
            rest = rest[room:]
            while len(self._buffer) >= self._wanted_bytes:
                self._read()
                yield from self._groups.full()

    def finish(self) -> Iterator[list[Operation]]:
        """The rest of the operations; raises a problem if the body is not complete."""
        self._end()
        yield from self._groups.full()
        yield from self._groups.rest()

    # One step for each part of a body. A step runs when the buffer holds as much as is wanted, and
    # drops what it is done with; it may want more, and it may name the next step. The step's end
    # takes what is left when the body is over.

    def _read_head(self) -> None:
        head = _HEAD.match(self._buffer)
        if head is None:
            self._read = self._refuse
            self._wanted_bytes = unstreamed_body_bytes_max + 1
            return
        self._drop(head.end() - 1)
        self._read, self._end = self._read_elements, self._end_elements

    def _refuse(self) -> None:
        if self._first_byte == 0 and not self._buffer.lstrip().startswith(b"{"):
            decode(_request, bytes(self._buffer))  # it is wrong from its first character
        raise json_parse_exception(_TOO_MUCH_BESIDE)

    def _end_whole(self) -> None:
        raw, most = bytes(self._buffer).strip(), operation_bytes_max
        given = decode(_request, raw).operations
        for position, each in enumerate(_raw_operations(raw) if len(raw) > most else ()):
            if len(bytes(each)) > most:
                raise _operation_too_large(position)
        _check_request_names(raw)
        self._accept(given, len(self._buffer), lambda: _raw_operations(raw))

    # In these two steps the buffer begins with a bracket: that of the array, or one in the place
    # of the comma before the next element. So its elements can be decoded where they are.

    def _read_elements(self) -> None:
        for border in _likely_borders(self._buffer):
            given = self._decoded(border)
            if isinstance(given, list):
                return self._go_on_behind(border, given)
        found = _last_border(self._buffer)
        if found is None:
            return self._widen(_elements, "operations")
        given = self._proven(found)
        if self._buffer[found] == _COMMA:
            return self._go_on_behind(found, given)
        self._take_elements(found, given)
        self._drop(found + 1)
        self._read, self._end = self._refuse, self._end_tail
        self._wanted_bytes = unstreamed_body_bytes_max + 1
        return None

    def _end_elements(self) -> None:
        # Most bodies have nothing behind the array.
        border: int | None = self._buffer.rfind(b"]")
        given = self._decoded(border) if border else None
        if border is None or not isinstance(given, list):
            border = _last_border(self._buffer)
            if border is None or self._buffer[border] != _END:
                raise self._incomplete()
            given = self._proven(border)
        self._take_elements(border, given)
        self._drop(border + 1)
        self._end_tail()

    def _end_tail(self) -> None:
        raw = _EMPTY + bytes(self._buffer).rstrip()
        try:
            _object.decode(raw)
        except WRONG as error:
            at = self._first_byte - len(_EMPTY)
            raise refusal(error, within="", first_byte=at) from None
        _check_request_names(raw)

    def _read_lines(self) -> None:
        end = self._buffer.rfind(b"\n") + 1
        if not end:
            return self._widen(_element, f"operations.item:{self._count}")
        self._take_lines(end)
        self._drop(end)
        self._wanted_bytes = self._window_bytes
        return None

    def _take_lines(self, end: int | None = None) -> None:
        end = len(self._buffer) if end is None else end
        every = bytes(self._buffer[:end]).split(b"\n")
        lines = [line for line in every if line and not line.isspace()]
        given: list[_Operation] = []
        try:
            for line in lines:
                given.append(_element.decode(line))  # noqa: PERF401 - says which line was wrong
        except WRONG as error:
            item = f"operations.item:{self._count + len(given)}"
            raise refusal(error, within=item, what=f"The line of {item}") from None
        self._accept(given, end, lambda: lines)

    def _widen(self, decoder: msgspec.json.Decoder[Any], within: str) -> None:
        """Want more bytes, for the buffer holds no operation as a whole."""
        if self._wanted_bytes <= operation_bytes_max:
            self._wanted_bytes = min(2 * self._wanted_bytes, operation_bytes_max + 1)
            return
        try:
            decoder.decode(self._buffer)
        except WRONG as error:
            if str(error) != _TRUNCATED:
                raise self._refusal(error, within) from None
        raise _operation_too_large(self._count)

    def _go_on_behind(self, border: int, given: list[_Operation]) -> None:
        self._take_elements(border, given)
        self._buffer[border] = _BEGIN
        self._drop(border)
        self._wanted_bytes = self._window_bytes

    def _take_elements(self, border: int, given: list[_Operation]) -> None:
        if not given and (self._count or self._buffer[border] == _COMMA):
            byte = self._first_byte + border
            told = f"there is a comma too much before {chr(self._buffer[border])} (byte {byte})"
            raise json_parse_exception(f"The body is not valid JSON: {told}")
        self._accept(given, border, lambda: _raws.decode(self._buffer[:border] + b"]"))

    def _decoded(self, border: int) -> list[_Operation] | Exception:
        """The elements before `border`, or why they are no JSON, perhaps because it is none."""
        was = self._buffer[border]
        self._buffer[border] = _END
        try:
            with memoryview(self._buffer) as buffer, buffer[: border + 1] as text:
                return _elements.decode(text)
        except WRONG as error:
            if isinstance(error, msgspec.ValidationError | RecursionError):
                raise self._refusal(error) from None
            return error
        finally:
            self._buffer[border] = was

    def _proven(self, border: int) -> list[_Operation]:
        given = self._decoded(border)
        if not isinstance(given, list):
            raise self._refusal(given)
        return given

    def _incomplete(self) -> Refused:
        try:
            _elements.decode(self._buffer)
        except WRONG as error:
            return self._refusal(error)
        return json_parse_exception("The body is not valid JSON: the array does not end.")

    def _refusal(self, error: Exception, within: str = "operations") -> Refused:
        return refusal(error, within=within, first=self._count, first_byte=self._first_byte)

    def _accept(
        self,
        given: list[_Operation],
        end: int,
        elements: Callable[[], Iterable[msgspec.Raw | bytes]],
    ) -> None:
        if self._count + len(given) > limits.operations_per_batch_max:
            raise too_large(_TOO_MANY)
        if given and _may_have_doubles(self._buffer, end, given):
            _check_names(elements(), self._count)
        try:
            operations = [_operation(*each) for each in enumerate(given, self._count)]
        except RecursionError as error:
            raise self._refusal(error) from None
        self._count += len(given)
        self._groups.add(operations, end)

    def _drop(self, byte_count: int) -> None:
        del self._buffer[:byte_count]
        self._first_byte += byte_count


class _Groups:
    """Makes full groups, but holds no more bytes back than one piece may have."""

    def __init__(self) -> None:
        self._held: list[Operation] = []
        self._held_bytes = 0

    def add(self, operations: list[Operation], byte_count: int) -> None:
        """`byte_count` is the size of the text that the operations come from."""
        self._held += operations
        self._held_bytes += byte_count
        self._last_bytes = byte_count

    def full(self) -> Iterator[list[Operation]]:
        most = limits.piece_operations_max
        end = len(self._held) // most * most
        if end:
            held, self._held = self._held, self._held[end:]
            self._held_bytes = self._last_bytes
            for start in range(0, end, most):
                yield held[start : start + most]
        if self._held_bytes > limits.piece_bytes_max:
            yield from self.rest()

    def rest(self) -> Iterator[list[Operation]]:
        held, self._held, self._held_bytes = self._held, [], 0
        if held:
            yield held


def _likely_borders(window: bytearray) -> list[int]:
    """Commas between two operations, as it seems; the last one first."""
    found = _LIKELY_BORDER.finditer(window, max(0, len(window) - _LOOK_BACK_BYTES))
    return [each.end() - 1 for each in reversed(deque(found, _LIKELY_BORDERS_TRIED))]


def _last_border(window: bytearray) -> int | None:
    """Where the array ends, or the last comma between two of its elements, if there is any."""
    found = None
    at: int | None = 0
    while at is not None and bytes(window[at : at + 1]) in {b"[", b",", b"]"}:
        found = at or None
        if window[at] == _END:
            break
        at = _behind_value(window, at + 1)
    return found


def _behind_value(text: bytes | bytearray, at: int) -> int | None:
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
        raise refusal(error, within="") from None
    return None


def _may_have_doubles(text: bytes | bytearray, end: int, given: list[_Operation]) -> bool:
    """Whether a name stands more often in the text than there are operations that have it.

    Or may, as the name stands in a value, or is written with escapes. In a string, each quote has
    a backslash before it; so only the string's own ends can be taken for those of a name.
    """
    absent = msgspec.UNSET
    had = [len(given), len(given)]  # `method` and `path` are required
    had.append(sum([each.params is not absent for each in given]))
    had.append(sum([each.body is not absent for each in given]))
    had.append(sum([each.operation_id is not absent for each in given]))
    named = [text.count(name, 0, end) for name in _NAMES]
    return named != had or _ESCAPED_NAME.search(text, 0, end) is not None


def _check_names(elements: Iterable[msgspec.Raw | bytes], first: int) -> None:
    for position, element in enumerate(elements, first):
        text = bytes(element)
        if any(text.count(name) > 1 for name in _NAMES) or _ESCAPED_NAME.search(text):
            names = _names(text)
            for name in _Operation.__struct_fields__:
                if names.count(name) > 1:
                    raise _given_twice(f"operations.item:{position}", name)


def _names(element: bytes) -> list[str]:
    """The keys of an object in their order, those that are given twice as well."""
    text = element.decode(errors="replace")  # what is ignored may be no UTF-8
    try:
        # Numbers stay text: those that are ignored may have any number of digits.
        pairs = json.loads(
            text, object_pairs_hook=list, parse_int=str, parse_float=str, strict=False
        )
    except (ValueError, RecursionError) as error:
        raise refusal(error, within="") from None
    return [name for name, _ in pairs]


def _check_request_names(raw: bytes) -> None:
    if raw.count(b'"operations"') < 2 and not _ESCAPED_NAME.search(raw):  # noqa: PLR2004
        return
    names: list[str] = []
    at: int | None = raw.index(b"{")
    while at is not None and raw[at : at + 1] in {b"{", b","}:
        colon = _behind_value(raw, at + 1)
        if colon is None:
            break
        names.append(json.loads(raw[at + 1 : colon].decode(errors="replace"), strict=False))
        if len(names) > _REQUEST_NAMES_MAX:
            raise json_parse_exception(_TOO_MUCH_BESIDE)
        at = _behind_value(raw, colon + 1)
    if names.count("operations") > 1:
        raise _given_twice("", "operations")


def _given_twice(field: str, name: str) -> Refused:
    return invalid_field(field, f"This key was given twice: {name}")


def _raw_operations(raw: bytes) -> list[msgspec.Raw]:
    return _raws.decode(_object.decode(raw)["operations"])


def _operation_too_large(position: int) -> Refused:
    return too_large(
        f"An operation may have {operation_bytes_max} bytes; operations.item:{position} has more."
    )


def _operation(position: int, given: _Operation) -> Operation:
    method = _METHOD_NAMES.get(given.method) or _METHOD_NAMES.get(given.method.upper())
    if method is None:
        raise _wrong(position, "method", f"Value should be one of {', '.join(METHODS)}.")
    path, params = _path_and_params(position, given)
    body = None if given.body is msgspec.UNSET else given.body
    is_text = body is None or isinstance(body, str)
    return Operation(
        method,
        path,
        params,
        body if is_text else None,  # type: ignore[arg-type]
        _operation_id(position, given.operation_id),
        None if is_text else _BODY_MISTAKES[isinstance(body, list)],
    )


def _path_and_params(position: int, given: _Operation) -> tuple[str, dict[str, str]]:
    path, _, query = given.path.partition("?")
    if not path.strip():
        raise _wrong(position, "path", "This value should not be blank.")
    if len(given.path) > limits.operation_path_characters_max:
        most = limits.operation_path_characters_max
        raise _wrong(position, "path", f"This value should have {most} characters or less.")
    if not path.startswith("/"):
        path = f"/{path}"
    params = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
    if given.params:
        if isinstance(given.params, list):
            raise _wrong(position, "params", "Schema describes object, array found instead")
        params.update({name: _text(value) for name, value in given.params.items()})
    return path, params


def _operation_id(position: int, value: str | int | msgspec.UnsetType | None) -> str | None:
    if value is None or value is msgspec.UNSET:
        return None
    if len(str(value)) > limits.operation_id_characters_max:
        most = limits.operation_id_characters_max
        raise _wrong(position, "operation_id", f"This value should have {most} characters or less.")
    return str(value)


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    """A query parameter as it would stand in a URL."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, list):
        return ",".join(_text(each) for each in value)
    return msgspec.json.encode(value).decode()


def _wrong(position: int, name: str, message: str) -> Refused:
    return invalid_field(f"operations.item:{position}.{name}", message)
