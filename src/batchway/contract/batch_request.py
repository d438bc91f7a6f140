"""An operation as clients send it, and as it is stored.

A wrong shape refuses the whole request. What a client commonly gets wrong but Mailchimp accepts
(lower-case methods, whole numbers as `operation_id`, a body that is no string) is taken; a body
that is no string becomes that operation's own 400.
"""

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from batchway import limits
from batchway.contract.problems import FieldError, Refused, invalid_field
from batchway.model.operation import METHODS, Operation

_METHOD_NAMES = {name: method for method in METHODS for name in (method, method.lower())}
_BODY_MISTAKES = [
    f"Schema describes string, {found} found instead" for found in ("object", "array")
]


class GivenOperation(msgspec.Struct, gc=False):
    """An operation as clients send it, right or nearly so."""

    method: str
    path: str
    params: dict[str, Any] | list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    body: str | dict[str, Any] | list[Any] | msgspec.UnsetType | None = msgspec.UNSET
    operation_id: str | int | msgspec.UnsetType | None = msgspec.UNSET


def mistake_in(operation: Operation) -> FieldError | None:
    """What makes an accepted operation fail when it is executed, if anything."""
    return None if operation.mistake is None else FieldError("body", operation.mistake)


def operation(position: int, given: GivenOperation) -> Operation:
    """The operation as it is stored; raises a problem that names the wrong field."""
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


def _path_and_params(position: int, given: GivenOperation) -> tuple[str, dict[str, str]]:
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
