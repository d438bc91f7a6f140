"""Reads the body of `POST /batches` piece by piece, and checks each operation.

A large body is cut into windows, each of which ends at the end of an operation (`batch_text.py`).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from batchway import limits
from batchway.contract.problems import Refused, invalid_fields, json_parse_exception, too_large
from batchway.contract.validation import (
    DECODE_ERRORS,
    PADDING,
    can_explain,
    decode_uncounted,
    explain_decode_error,
)
from batchway.limits import Limits
from batchway.model.operation import Operation
from batchway.surfaces.mailchimp.batch_text import (
    BEGIN,
    COMMA,
    END,
    SPACE,
    check_keys,
    duplicate_key,
    find_last_border,
    find_likely_borders,
    has_escaped_key,
    read_keys,
)
from batchway.surfaces.mailchimp.operation_conversion import (
    NO_HEADERS,
    NO_PARAMS,
    GivenOperation,
    convert_operation,
    convert_plain_operations,
    find_operation_errors,
)

_HEAD = re.compile(SPACE + rb"\{" + SPACE + rb'"operations"' + SPACE + b":" + SPACE + rb"\[")
_TRUNCATED = "Input data was truncated"  # the text of msgspec's error
_REQUEST_KEYS_MAX = 10_000
_EMPTY = b'{"operations":[]'
_KEYS = GivenOperation.__struct_fields__
_PLAIN_KEYS = [key not in {"params", "headers"} for key in _KEYS]  # those of a plain operation
_QUOTED_KEYS = tuple(f'"{key}"'.encode() for key in _KEYS)


class _Request(msgspec.Struct):
    operations: list[GivenOperation]


class _RawRequest(msgspec.Struct):
    operations: list[msgspec.Raw]


class _AnyObject(msgspec.Struct):
    """Its content is skipped."""


_request = msgspec.json.Decoder(_Request)
_elements = msgspec.json.Decoder(list[GivenOperation])
_element = msgspec.json.Decoder(GivenOperation)
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_raw_request = msgspec.json.Decoder(_RawRequest)
_object = msgspec.json.Decoder(_AnyObject)


class BatchReader:
    """Reads a body that arrives in pieces. It is not thread-safe.

    With `is_lines` the body is NDJSON, with one operation on each line. Otherwise it is one object,
    which may be larger than 8 MiB only if `operations` is its first key. The groups and the
    problems do not depend on how the body is cut into pieces. Discard the reader after a problem.
    """

    def __init__(
        self, in_force: Limits, *, is_lines: bool, window_bytes: int = limits.batch_window_bytes
    ) -> None:
        self._operations_max = in_force.operations_per_batch_max
        self._window_bytes = self._wanted_bytes = window_bytes
        self._buffer = bytearray()
        self._first_byte = 0  # the position of the buffer in the body
        self._count = 0  # of the operations before the buffer
        self._groups = _Groups(in_force.piece_operations_max)
        # Functions, not bound methods: these would make a cycle, which would keep the buffer of a
        # refused body until the next garbage collection.
        reader = BatchReader
        self._read_step = reader._read_lines if is_lines else reader._read_head  # noqa: SLF001
        self._finish_step = reader._take_lines if is_lines else reader._finish_whole  # noqa: SLF001

    def feed(self, data: bytes) -> Iterator[list[Operation]]:
        """Yield the operations that are complete, in groups of at most `piece_operations_max`.

        Exhaust the iterator before the next call. Operations that do not fill a group are held
        back for the next one, as long as they are small.
        """
        rest = memoryview(data)
        while rest:
            room = self._wanted_bytes - len(self._buffer)
            self._buffer += rest[:room]
            rest = rest[room:]
            while len(self._buffer) >= self._wanted_bytes:
                self._read_step(self)
                yield from self._groups.take_full_groups()

    def finish(self) -> Iterator[list[Operation]]:
        """Yield the remaining operations. Raises a problem if the body is not complete."""
        self._finish_step(self)
        yield from self._groups.take_full_groups()
        yield from self._groups.take_rest()

    # Each part of a body has a read step and a finish step. The read step runs when the buffer has
    # the wanted size. It drops the bytes that it has processed, and may change the wanted size and
    # the steps. The finish step processes the rest of the buffer when the body has ended.

    def _read_head(self) -> None:
        head = _HEAD.match(self._buffer)
        if head is None:
            self._read_step = BatchReader._refuse_body
            self._wanted_bytes = limits.unstreamed_body_bytes_max + 1
            return
        self._drop_bytes(head.end() - 1)
        self._read_step = BatchReader._read_elements
        self._finish_step = BatchReader._finish_elements

    def _refuse_body(self) -> None:
        if self._first_byte == 0 and not self._buffer.lstrip().startswith(b"{"):
            decode_uncounted(_request, bytes(self._buffer))  # raises: the body is not an object
        raise _operations_not_first()

    def _finish_whole(self) -> None:
        raw = bytes(self._buffer).strip()
        given = decode_uncounted(_request, raw).operations
        _check_request_keys(raw)
        self._accept_operations(
            given, len(self._buffer), lambda: _raw_request.decode(raw).operations
        )

    # In these two steps the buffer begins with a bracket: that of the array, or one that replaced
    # the comma before the next element. Therefore the buffer can be decoded as an array.

    def _read_elements(self) -> None:
        for border in find_likely_borders(self._buffer):
            given = self._try_decode_elements(border)
            if isinstance(given, list):
                return self._continue_after(border, given)
        found = find_last_border(self._buffer)
        if found is None:
            return self._widen_window(_elements, "operations")
        given = self._decode_elements(found)
        if self._buffer[found] == COMMA:
            return self._continue_after(found, given)
        self._take_elements(found, given)
        self._drop_bytes(found + 1)
        self._read_step = BatchReader._refuse_body
        self._finish_step = BatchReader._finish_tail
        self._wanted_bytes = limits.unstreamed_body_bytes_max + 1
        return None

    def _finish_elements(self) -> None:
        # In most bodies nothing but a brace follows the array.
        border: int | None = self._buffer.rfind(b"]")
        given = self._try_decode_elements(border) if border else None
        if border is None or not isinstance(given, list):
            border = find_last_border(self._buffer)
            if border is None or self._buffer[border] != END:
                raise self._explain_incomplete_array()
            given = self._decode_elements(border)
        self._take_elements(border, given)
        self._drop_bytes(border + 1)
        self._finish_tail()

    def _finish_tail(self) -> None:
        raw = _EMPTY + bytes(self._buffer).rstrip()
        try:
            _object.decode(raw + PADDING)
        except DECODE_ERRORS as error:
            at = self._first_byte - len(_EMPTY)
            raise explain_decode_error(error, within="", first_byte=at) from None
        _check_request_keys(raw)

    def _read_lines(self) -> None:
        end = self._buffer.rfind(b"\n") + 1
        if not end:
            return self._widen_window(_element, f"operations.item:{self._count}")
        self._take_lines(end)
        self._drop_bytes(end)
        self._wanted_bytes = self._window_bytes
        return None

    def _take_lines(self, end: int | None = None) -> None:
        end = len(self._buffer) if end is None else end
        every = bytes(self._buffer[:end]).split(b"\n")
        lines = [line for line in every if line and not line.isspace()]
        given: list[GivenOperation] = []
        try:
            for line in lines:
                given.append(_element.decode(line + PADDING))  # noqa: PERF401 - its length tells the wrong line
        except DECODE_ERRORS as error:
            item = f"operations.item:{self._count + len(given)}"
            raise explain_decode_error(error, within=item, what=f"The line of {item}") from None
        self._accept_operations(given, end, lambda: lines)

    def _widen_window(self, decoder: msgspec.json.Decoder[Any], within: str) -> None:
        """Double the wanted size, because the buffer does not contain a whole operation."""
        if self._wanted_bytes <= limits.operation_bytes_max:
            self._wanted_bytes = min(2 * self._wanted_bytes, limits.operation_bytes_max + 1)
            return
        try:
            decoder.decode(self._buffer)
        except DECODE_ERRORS as error:
            if str(error) != _TRUNCATED:
                raise self._explain_error(error, within) from None
        raise _operation_too_large(self._count)

    def _continue_after(self, border: int, given: list[GivenOperation]) -> None:
        self._take_elements(border, given)
        self._buffer[border] = BEGIN
        self._drop_bytes(border)
        self._wanted_bytes = self._window_bytes

    def _take_elements(self, border: int, given: list[GivenOperation]) -> None:
        if not given and (self._count or self._buffer[border] == COMMA):
            byte = self._first_byte + border
            reason = f"unexpected comma before {chr(self._buffer[border])} (byte {byte})"
            raise json_parse_exception(f"The body is not valid JSON: {reason}")
        self._accept_operations(given, border, lambda: _raws.decode(self._close_array(border)))

    def _close_array(self, border: int) -> bytearray:
        """Copy the elements before `border`, because their `params` keep referring to the text."""
        return self._buffer[:border] + b"]"

    def _try_decode_elements(self, border: int) -> list[GivenOperation] | Exception:
        """Decode the elements before `border`, or return the error if it may be a wrong guess.

        The error has no traceback, whose frames would keep the buffer until the next collection.
        """
        try:
            return _elements.decode(self._close_array(border))
        except DECODE_ERRORS as error:
            if isinstance(error, msgspec.ValidationError | RecursionError):
                raise self._explain_error(error) from None
            return error.with_traceback(None)

    def _decode_elements(self, border: int) -> list[GivenOperation]:
        given = self._try_decode_elements(border)
        if not isinstance(given, list):
            raise self._explain_error(given)
        return given

    def _explain_incomplete_array(self) -> Refused:
        try:
            _elements.decode(self._buffer + PADDING)
        except DECODE_ERRORS as error:
            return self._explain_error(error)
        return json_parse_exception("The body is not valid JSON: the array does not end.")

    def _explain_error(self, error: Exception, within: str = "operations") -> Refused:
        return explain_decode_error(
            error, within=within, first=self._count, first_byte=self._first_byte
        )

    def _accept_operations(
        self,
        given: list[GivenOperation],
        end: int,
        elements: Callable[[], Iterable[msgspec.Raw | bytes]],
    ) -> None:
        if self._count + len(given) > self._operations_max:
            raise _too_many_operations(self._operations_max)
        operations = convert_plain_operations(given)
        are_plain = len(operations) == len(given)
        key_counts = (
            [len(given) * each for each in _PLAIN_KEYS] if are_plain else _count_keys(given)
        )
        if given and _may_have_duplicate_keys(self._buffer, end, key_counts):
            check_keys(elements(), self._count, _KEYS)
        if not are_plain:
            operations = self._convert_operations(given)
        self._count += len(given)
        self._groups.add(operations, end)

    def _convert_operations(self, given: list[GivenOperation]) -> list[Operation]:
        try:
            return [convert_operation(*each) for each in enumerate(given, self._count)]
        except RecursionError as error:
            raise self._explain_error(error) from None

    def _drop_bytes(self, byte_count: int) -> None:
        del self._buffer[:byte_count]
        self._first_byte += byte_count


def name_all_faults(first: Refused, body: bytes, *, is_lines: bool) -> Refused:
    """Return the problem that names every wrong operation of a whole body; `first` is known."""
    if first.problem.title != "Invalid Resource" or not can_explain(body):
        return first
    try:
        elements = body.splitlines() if is_lines else _raw_request.decode(body).operations
        given = (element for element in elements if bytes(element).strip())
        errors = list(islice(find_operation_errors(given, 0), limits.field_errors_max))
    except DECODE_ERRORS:  # what follows the first fault is no JSON
        return first
    return invalid_fields(*errors) if len(errors) > 1 else first


class _Groups:
    """Forms full groups of operations, and holds back at most the bytes of one piece."""

    def __init__(self, operations_max: int) -> None:
        self._operations_max = operations_max
        self._held: list[Operation] = []
        self._held_bytes = 0

    def add(self, operations: list[Operation], byte_count: int) -> None:
        """Add operations whose text has `byte_count` bytes."""
        self._held += operations
        self._held_bytes += byte_count
        self._last_bytes = byte_count

    def take_full_groups(self) -> Iterator[list[Operation]]:
        most = self._operations_max
        end = len(self._held) // most * most
        if end:
            held, self._held = self._held, self._held[end:]
            self._held_bytes = self._last_bytes
            for start in range(0, end, most):
                yield held[start : start + most]
        if self._held_bytes > limits.piece_bytes_max:
            yield from self.take_rest()

    def take_rest(self) -> Iterator[list[Operation]]:
        held, self._held, self._held_bytes = self._held, [], 0
        if held:
            yield held


def _count_keys(given: list[GivenOperation]) -> list[int]:
    """Count for each key the operations that have it."""
    absent = msgspec.UNSET
    key_counts = [len(given), len(given)]  # `method` and `path` are required
    key_counts.append(sum([each.params is not NO_PARAMS for each in given]))
    key_counts.append(sum([each.body is not absent for each in given]))
    key_counts.append(sum([each.operation_id is not absent for each in given]))
    key_counts.append(sum([each.headers is not NO_HEADERS for each in given]))
    return key_counts


def _may_have_duplicate_keys(text: bytes | bytearray, end: int, key_counts: list[int]) -> bool:
    """Whether a key may occur more often in the text than there are operations that have it.

    This is also true if a value equals the name of a key, or a key contains escapes. Within a
    string each quote follows a backslash, so that only a whole string can look like a key.
    """
    occurrences = [text.count(key, 0, end) for key in _QUOTED_KEYS]
    return occurrences != key_counts or has_escaped_key(text, end)


def _check_request_keys(raw: bytes) -> None:
    if raw.count(b'"operations"') < 2 and not has_escaped_key(raw, len(raw)):  # noqa: PLR2004
        return
    keys = read_keys(raw, _REQUEST_KEYS_MAX)
    if keys is None:
        raise _operations_not_first()
    if keys.count("operations") > 1:
        raise duplicate_key("", "operations")


def _too_many_operations(operations_max: int) -> Refused:
    return too_large(f"A batch may have {operations_max} operations. Send it in several.")


def _operations_not_first() -> Refused:
    most = limits.unstreamed_body_bytes_max
    return json_parse_exception(
        f"A body of more than {most} bytes must have `operations` as its first key, and few "
        "other keys. Put it first, and remove the other keys: they are ignored."
    )


def _operation_too_large(position: int) -> Refused:
    most = limits.operation_bytes_max
    return too_large(f"An operation may have {most} bytes; operations.item:{position} has more.")
