"""Decodes a JSON body into a typed value, or explains its mistakes as the contract does.

The path of a field is dotted, and an index is `item:N`, as in `operations.item:325.path`.
"""

import re
from functools import cache
from typing import TypeVar

import msgspec

from batchway import limits
from batchway.contract.problems import (
    FieldError,
    Refused,
    invalid_fields,
    json_parse_exception,
    too_large,
)

T = TypeVar("T")

_PATH_BEGIN = " - at `$"
_WRONG_TYPE = re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<found>\w+)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
_INDEX = re.compile(r"\A\[(\d+)\]")
_BYTE = re.compile(r"\(byte (\d+)\)")
_ENUM = re.compile(r"Invalid enum value (?P<value>.*)", re.DOTALL)
_NAMES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "object": "object",
    "array": "array",
    "null": "NULL",
}
# Appended to a text, so that half of a surrogate pair near its end is reported as such, and not as
# the end of the text.
PADDING = b" " * len(r"\udc00")
# The exceptions that msgspec raises for a wrong body.
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_BODY = frozenset({b"", b"null"})


def decode(decoder: msgspec.json.Decoder[T], body: bytes | None) -> T:
    """Decode a JSON body into its typed value. An absent body and `null` count as `{}`.

    Raises a 400 JSON Parse Exception, a 400 Invalid Resource that names the wrong field, or a 413
    if the body has too many values: a byte can become two hundred when it is decoded.
    """
    raw = (body or b"").strip()
    if count_values(raw) > limits.body_values_max:
        raise too_large(f"A body may have {limits.body_values_max} values. Send it in parts.")
    raw = b"{}" if raw in _NO_BODY else raw
    try:
        return decoder.decode(raw + PADDING)
    except msgspec.ValidationError as error:
        raise _explain_validation_error(str(error), decoder, raw) from None
    except DECODE_ERRORS as error:
        raise explain_decode_error(error, within="") from None


def count_values(raw: bytes) -> int:
    """Return how many values a JSON text has at most; 0 for a short one, which is not counted.

    It counts what can begin a value, also within texts, which is fast.
    """
    if len(raw) < limits.counted_body_bytes_min:
        return 0
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def explain_decode_error(
    error: Exception, *, within: str, first: int = 0, what: str = "The body", first_byte: int = 0
) -> Refused:
    """Return the problem for a part of a body that was decoded alone; see `DECODE_ERRORS`.

    `within` is the field path of the part. If the part is a slice of an array, `within` is the path
    of the array, and `first` the position of the slice's first element. If the part is not valid
    JSON, the detail begins with `what`, and counts bytes from `first_byte`.
    """
    if isinstance(error, RecursionError):
        return json_parse_exception("The body is nested too deeply.")
    if not isinstance(error, msgspec.ValidationError):
        message = _BYTE.sub(lambda byte: f"(byte {int(byte[1]) + first_byte})", str(error))
        return json_parse_exception(f"{what} is not valid JSON: {message}")
    message, path = _split_message(str(error))
    path = _INDEX.sub(lambda index: f"[{int(index[1]) + first}]", path)
    missing = _MISSING.search(message)
    names = [missing["name"]] if missing else []
    return _build_field_problem(_format_field(within + path), message, names)


def _explain_validation_error(text: str, decoder: msgspec.json.Decoder[T], raw: bytes) -> Refused:
    message, path = _split_message(text)
    field = _format_field(path)
    missing = _MISSING.search(message)
    if not missing:
        return _build_field_problem(field, message, [])
    names = [missing["name"]] if field else _find_missing_names(decoder, raw)
    return _build_field_problem(field, message, names)


def _split_message(text: str) -> tuple[str, str]:
    """Split a message of msgspec. Its path is at the end; text of the client may be before it."""
    message, marker, path = text.rpartition(_PATH_BEGIN)
    return (message, path.removesuffix("`")) if marker and path.endswith("`") else (text, "")


def _find_missing_names(decoder: msgspec.json.Decoder[T], raw: bytes) -> list[str]:
    fields = msgspec.structs.fields(decoder.type)  # type: ignore[arg-type]
    required = tuple(each.encode_name for each in fields if each.required)
    # This may raise as well: msgspec stops at the first mistake, and the rest may not be JSON.
    given = decode(_build_presence_decoder(required), raw)
    found = msgspec.structs.astuple(given)
    return [name for name, value in zip(required, found, strict=True) if value is None]


@cache
def _build_presence_decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[msgspec.Struct]:
    """Build a decoder that finds which of these keys an object has, and skips all others."""
    encoded = {f"field_{index}": name for index, name in enumerate(names)}
    fields = [(field, msgspec.Raw, None) for field in encoded]
    return msgspec.json.Decoder(msgspec.defstruct("Presence", fields, rename=encoded))


def _build_field_problem(field: str, message: str, missing: list[str]) -> Refused:
    if missing:
        message = f"Required fields were not provided: {', '.join(missing)}"
        return invalid_fields(FieldError(field, message))
    return invalid_fields(FieldError(field, _translate_message(message)))


def _translate_message(text: str) -> str:
    wrong = _WRONG_TYPE.search(text)
    if wrong:
        wanted = [_NAMES.get(each.strip(), each.strip()) for each in wrong["wanted"].split("|")]
        found = _NAMES.get(wrong["found"], wrong["found"])
        return f"Schema describes {_choose_type_name(wanted)}, {found} found instead"
    enum = _ENUM.search(text)
    if enum:
        return f"Value {enum['value']} is not one of the values that this field can have."
    return text


def _choose_type_name(wanted: list[str]) -> str:
    """Choose the type to report: the contract's, not those that we accept from lenient clients."""
    return next((each for each in ("string", "object") if each in wanted), wanted[0])


def _format_field(path: str) -> str:
    path = re.sub(r"\[(\d+)\]", r".item:\1", path)
    return path.replace("[...]", "").lstrip(".")
