"""The body of `POST /batches`: checked as a whole before anything is kept.

A wrong shape refuses the whole request. What a client commonly gets wrong but Mailchimp accepts
(lower-case methods, whole numbers as `operation_id`, a body that is no string) is taken; a body
that is no string becomes that operation's own 400.
"""

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from batchway import limits
from batchway.contract.problems import FieldError, Refused, invalid_field, too_large
from batchway.contract.validation import decode
from batchway.model.operation import METHODS, Operation

_METHOD_NAMES = {name: method for method in METHODS for name in (method, method.lower())}
_BODY_MISTAKE = "Schema describes string, {found} found instead"


class _Operation(msgspec.Struct, gc=False):
    method: str
    path: str
    params: dict[str, Any] | list[Any] | None = None
    body: str | dict[str, Any] | list[Any] | None = None
    operation_id: str | int | None = None


class _Request(msgspec.Struct):
    operations: list[_Operation]


_decoder = msgspec.json.Decoder(_Request)


def read_batch(body: bytes | None) -> list[Operation]:
    """The operations of a request, in order; raises a problem that names the wrong field."""
    given = decode(_decoder, body).operations
    if len(given) > limits.operations_per_batch_max:
        detail = (
            f"A batch may have {limits.operations_per_batch_max} operations, this one has "
            f"{len(given)}. Send it in several requests."
        )
        raise too_large(detail)
    return [_operation(position, each) for position, each in enumerate(given)]


def _operation(position: int, given: _Operation) -> Operation:
    method = _METHOD_NAMES.get(given.method) or _METHOD_NAMES.get(given.method.upper())
    if method is None:
        raise _wrong(position, "method", f"Value should be one of {', '.join(METHODS)}.")
    path, params = _path_and_params(position, given)
    body = given.body
    is_text = body is None or isinstance(body, str)
    return Operation(
        method,
        path,
        params,
        body if is_text else None,  # type: ignore[arg-type]
        _operation_id(position, given.operation_id),
        None if is_text else _BODY_MISTAKE.format(found=_kind(body)),
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


def _operation_id(position: int, value: str | int | None) -> str | None:
    if value is None:
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


def _kind(value: object) -> str:
    return "array" if isinstance(value, list) else "object"


def _wrong(position: int, name: str, message: str) -> Refused:
    return invalid_field(f"operations.item:{position}.{name}", message)


def mistake_in(operation: Operation) -> FieldError | None:
    """What makes an accepted operation fail when it is executed, if anything."""
    return None if operation.mistake is None else FieldError("body", operation.mistake)
