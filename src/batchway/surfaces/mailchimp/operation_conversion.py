"""Converts an operation from the form that clients send to the form that is stored.

One invalid operation rejects the whole request. Common mistakes that Mailchimp accepts are accepted
here as well: lower-case methods, whole numbers as `operation_id`, and a body that is not a string,
which gives this operation a 400 as its result.

A few MB of text can contain millions of values. Therefore nothing is decoded before its size is
known: a body that is not a string is skipped, and `params` are decoded only if they are small.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from batchway import limits
from batchway.contract.problems import FieldError, Refused, invalid_field
from batchway.contract.validation import DECODE_ERRORS, explain_decode_error, find_errors
from batchway.model.operation import METHODS, Operation
from batchway.surfaces.mailchimp.batch_text import SPACE, decode_keys, duplicate_key

_METHODS = frozenset(METHODS)
_METHODS_BY_NAME = {name: method for method in METHODS for name in (method, method.lower())}
_BODY_MISTAKES = [
    f"Schema describes string, {found} found instead" for found in ("object", "array")
]
_KEY_END = re.compile(rb'"' + SPACE + b":")
NO_PARAMS = msgspec.Raw(b"null")
NO_HEADERS = msgspec.Raw(b"null")
_headers = msgspec.json.Decoder(dict[str, str] | list[Any] | None)
_params = msgspec.json.Decoder(dict[str, Any] | list[Any] | None)


class _AnyArray(msgspec.Struct, array_like=True):
    """Its content is skipped."""


@dataclass
class _AnyObject:  # no Struct: a union may have only one
    """Its content is skipped."""


class GivenOperation(msgspec.Struct, gc=False):
    """An operation as clients send it, including common mistakes."""

    method: str
    path: str
    params: msgspec.Raw = NO_PARAMS
    body: str | _AnyObject | _AnyArray | msgspec.UnsetType | None = msgspec.UNSET
    operation_id: str | int | msgspec.UnsetType | None = msgspec.UNSET
    headers: msgspec.Raw = NO_HEADERS


_given = msgspec.json.Decoder(GivenOperation)


def convert_plain_operations(given: Sequence[GivenOperation]) -> list[Operation]:
    """Convert the plain operations, and leave out all others.

    A plain operation has all keys except `params`, each with a valid value, as nearly all have.
    The result is that of `convert_operation`; calling it for each would take most of the time.
    """
    return [
        Operation(each.method, each.path, {}, body, operation_id)
        for each in given
        if each.method in _METHODS
        and each.params is NO_PARAMS
        and each.headers is NO_HEADERS
        and type(body := each.body) is str
        and type(operation_id := each.operation_id) is str
        and len(operation_id) <= limits.operation_id_characters_max
        and len(each.path) <= limits.operation_path_characters_max
        and _has_no_query(each.path)
    ]


def convert_operation(position: int, given: GivenOperation) -> Operation:
    """Convert an operation. Raises a problem that names the wrong field."""
    method = _METHODS_BY_NAME.get(given.method) or _METHODS_BY_NAME.get(given.method.upper())
    if method is None:
        raise _wrong_field(position, "method", f"Value should be one of {', '.join(METHODS)}.")
    path = given.path
    params: dict[str, str] = {}
    if given.params is not NO_PARAMS or not _needs_no_parsing(path):
        path, params = _parse_path(position, given)
    body = None if given.body is msgspec.UNSET else given.body
    is_text = body is None or isinstance(body, str)
    return Operation(
        method,
        path,
        params,
        body if is_text else None,  # type: ignore[arg-type]
        _convert_operation_id(position, given.operation_id),
        None if is_text else _BODY_MISTAKES[isinstance(body, _AnyArray)],
        {} if given.headers is NO_HEADERS else _decode_headers(position, bytes(given.headers)),
    )


def find_operation_errors(
    elements: Iterable[msgspec.Raw | bytes], first: int
) -> Iterator[FieldError]:
    """Yield the errors of operations as they were sent; `first` is the position of the first."""
    for position, element in enumerate(elements, first):
        wrong = list(find_errors(GivenOperation, element, f"operations.item:{position}"))
        yield from wrong
        if not wrong:
            try:
                convert_operation(position, _given.decode(element))
            except Refused as refused:
                yield from refused.problem.errors or ()


def _needs_no_parsing(path: str) -> bool:
    """Whether a path is stored unchanged, as nearly all paths are."""
    return len(path) <= limits.operation_path_characters_max and _has_no_query(path)


@lru_cache(maxsize=1024)  # many operations have the same path
def _has_no_query(path: str) -> bool:
    return path.startswith("/") and "?" not in path


def _parse_path(position: int, given: GivenOperation) -> tuple[str, dict[str, str]]:
    path, _, query = given.path.partition("?")
    if not path.strip():
        raise _wrong_field(position, "path", "This value should not be blank.")
    if len(given.path) > limits.operation_path_characters_max:
        most = limits.operation_path_characters_max
        raise _wrong_field(position, "path", f"This value should have {most} characters or less.")
    if not path.startswith("/"):
        path = f"/{path}"
    params = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
    if given.params is not NO_PARAMS:
        params.update(_decode_params(position, bytes(given.params)))
    return path, params


def _decode_params(position: int, raw: bytes) -> dict[str, str]:
    most = limits.operation_params_bytes_max
    if len(raw) > most:
        raise _wrong_field(position, "params", f"This value should have {most} bytes or less.")
    try:
        params = _params.decode(raw)
    except DECODE_ERRORS as error:
        field = f"operations.item:{position}.params"
        raise explain_decode_error(error, within=field, what=f"The value of {field}") from None
    if not params:
        return {}
    if isinstance(params, list):
        raise _wrong_field(position, "params", "Schema describes object, array found instead")
    if len(_KEY_END.findall(raw)) != len(params):  # or a value contains what looks like a key
        keys = decode_keys(raw)
        if len(keys) != len(params):
            key = next(each for each in keys if keys.count(each) > 1)
            raise duplicate_key(f"operations.item:{position}.params", key)
    return {
        name: value if isinstance(value, str) else _format_param(value)
        for name, value in params.items()
    }


def _decode_headers(position: int, raw: bytes) -> dict[str, str]:
    """Return the headers with names in lower case. Which ones a target honours is its decision."""
    most = limits.operation_headers_bytes_max
    if len(raw) > most:
        raise _wrong_field(position, "headers", f"This value should have {most} bytes or less.")
    field = f"operations.item:{position}.headers"
    try:
        given = _headers.decode(raw)
    except DECODE_ERRORS as error:
        raise explain_decode_error(error, within=field, what=f"The value of {field}") from None
    if not given:
        return {}
    if isinstance(given, list):
        raise _wrong_field(position, "headers", "Schema describes object, array found instead")
    headers = {name.lower(): value for name, value in given.items()}
    keys = [key.lower() for key in decode_keys(raw)]
    if len(keys) != len(headers):
        raise duplicate_key(field, next(each for each in keys if keys.count(each) > 1))
    return headers


def _convert_operation_id(position: int, value: str | int | msgspec.UnsetType | None) -> str | None:
    if value is None or value is msgspec.UNSET:
        return None
    if type(value) is str and len(value) <= limits.operation_id_characters_max:
        return value
    if len(str(value)) > limits.operation_id_characters_max:
        most = limits.operation_id_characters_max
        raise _wrong_field(
            position, "operation_id", f"This value should have {most} characters or less."
        )
    return str(value)


def _format_param(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Format the value of a query parameter as in a URL."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, list):
        return ",".join(_format_param(each) for each in value)
    return msgspec.json.encode(value).decode()


def _wrong_field(position: int, name: str, message: str) -> Refused:
    return invalid_field(f"operations.item:{position}.{name}", message)
