"""Decodes a JSON body into a typed value, or explains its mistakes as the contract does.

The path of a field is dotted, and an index is `item:N`, as in `operations.item:325.path`.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

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
# A text, or a character that separates values; the text may contain no escaped quotes.
_TOKEN = re.compile(rb'"[^"]*+"?|[\[{,]')
_SHOWN_CHARACTERS_MAX = 200  # of each end of an error's text, which may contain a value
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
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY_OF = frozenset({"string", "number", "object"})
_NO_SCHEMA_MATCHES = "Data did not match any of the schemas described in anyOf."
_SEPARATORS = (b"[", b"{", b",")


def decode(decoder: msgspec.json.Decoder[T], body: bytes | None) -> T:
    """Decode a JSON body into its typed value. An absent body and `null` count as `{}`.

    Raises a 400 JSON Parse Exception, a 400 Invalid Resource that names every wrong field, or the
    first one if the body is longer than `explained_bytes_max`, or a 413 for too many values: they
    are counted before they are decoded, because `{}` needs 50 times its bytes.
    """
    if has_many_tokens(body or b"", limits.body_tokens_max):
        raise _too_many_tokens()
    return decode_uncounted(decoder, body)


def decode_uncounted(decoder: msgspec.json.Decoder[T], body: bytes | None) -> T:
    """Decode as `decode` does, but any number of values: for a type that skips most of them."""
    raw = _strip_body(body)
    try:
        return decoder.decode(raw + PADDING)
    except msgspec.ValidationError as error:
        raise _explain_validation_error(str(error), decoder, raw) from None
    except DECODE_ERRORS as error:
        raise explain_decode_error(error, within="") from None


def has_many_tokens(raw: bytes, most: int) -> bool:
    """Whether a JSON text has more than `most` texts, brackets and commas. It is not decoded.

    Nearly all texts need no look at their tokens: they are short, or have few of these characters.
    """
    if len(raw) <= most or sum(map(raw.count, _SEPARATORS)) + raw.count(b'"') // 2 <= most:
        return False
    plain = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    return next(islice(_TOKEN.finditer(plain), most, None), None) is not None


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


def can_explain(body: bytes | None) -> bool:
    """Return whether a body is short enough to be taken apart, so that all its faults are named."""
    return len(body or b"") <= limits.explained_bytes_max


def decode_fields(kind: type, body: bytes | None) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the values of those fields of a struct that are right, and errors for all others.

    It is slow, and meant for bodies that are wrong and at most `explained_bytes_max` long. Raises a
    400 if the body is no JSON object.
    """
    given = _decode_object(_strip_body(body))
    types = _get_field_types(kind)
    values, errors = {}, []
    for name, raw in given.items():
        if name in types:
            wrong = list(find_errors(types[name], raw, name))
            errors += wrong
            if not wrong:
                values[name] = msgspec.json.decode(raw, type=types[name])
    return values, [*_find_missing(kind, given, ""), *errors]


def find_errors(kind: Any, raw: bytes | msgspec.Raw, path: str) -> Iterator[FieldError]:  # noqa: ANN401 - a type
    """Yield an error for each part of a JSON value that does not have its type.

    msgspec stops at the first one. So a value that is wrong is taken apart, and each part is
    decoded alone. At most `field_errors_max` errors are found.
    """
    return islice(_find_errors(kind, raw, path), limits.field_errors_max)


def _find_errors(kind: Any, raw: bytes | msgspec.Raw, path: str) -> Iterator[FieldError]:  # noqa: ANN401 - a type
    try:
        msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        kind = _choose_compound(kind, bytes(raw))
        if kind is None:
            message, within = _split_message(str(error))
            yield FieldError(_format_field(path + within), _translate_message(message))
        elif get_origin(kind) is list:
            for position, item in enumerate(msgspec.json.decode(raw, type=list[msgspec.Raw])):
                yield from _find_errors(get_args(kind)[0], item, f"{path}.item:{position}")
        else:
            yield from _find_errors_of_object(kind, raw, path)


def _find_errors_of_object(kind: Any, raw: bytes | msgspec.Raw, path: str) -> Iterator[FieldError]:  # noqa: ANN401 - a type
    given = _decode_object(raw)
    types: Mapping[str, Any] = {}
    if get_origin(kind) is dict:
        types = dict.fromkeys(given, get_args(kind)[1])
    else:
        yield from _find_missing(kind, given, path)
        types = _get_field_types(kind)
    for name, value in given.items():
        if name in types:
            yield from _find_errors(types[name], value, f"{path}.{name}" if path else name)


def _find_missing(kind: Any, given: Mapping[str, Any], path: str) -> Iterator[FieldError]:  # noqa: ANN401 - a type
    names = [name for name in _get_required_names(kind) if name not in given]
    if names:
        yield FieldError(path, f"Required fields were not provided: {', '.join(names)}")


@cache
def _get_field_types(kind: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a type
    return {each.encode_name: each.type for each in msgspec.structs.fields(kind)}


@cache
def _get_required_names(kind: Any) -> tuple[str, ...]:  # noqa: ANN401 - a type
    return tuple(each.encode_name for each in msgspec.structs.fields(kind) if each.required)


def _choose_compound(kind: Any, raw: bytes) -> Any:  # noqa: ANN401 - a type
    """Return the struct, dictionary or list that a value should be; None if it has no parts."""
    begin = raw.lstrip()[:1]
    for each in get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,):
        is_list = get_origin(each) is list
        is_object = get_origin(each) is dict or (
            isinstance(each, type)
            and issubclass(each, msgspec.Struct)
            and not each.__struct_config__.array_like
        )
        if (begin == b"[" and is_list) or (begin == b"{" and is_object):
            return each
    return None


def _decode_object(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Return the parts of an object; raises a 400 if it is none."""
    try:
        return _object.decode(bytes(raw) + PADDING)
    except msgspec.ValidationError as error:
        message, _ = _split_message(str(error))
        raise invalid_fields(FieldError("", _translate_message(message))) from None
    except DECODE_ERRORS as error:
        raise explain_decode_error(error, within="") from None


def _strip_body(body: bytes | None) -> bytes:
    raw = (body or b"").strip()
    return b"{}" if raw in _NO_BODY else raw


def _explain_validation_error(text: str, decoder: msgspec.json.Decoder[T], raw: bytes) -> Refused:
    try:
        if can_explain(raw):
            errors = tuple(find_errors(decoder.type, raw, ""))
            if errors:
                return invalid_fields(*errors)
    except DECODE_ERRORS as error:  # msgspec stops at the first mistake, and the rest is no JSON
        return explain_decode_error(error, within="")
    message, path = _split_message(text)
    field = _format_field(path)
    missing = _MISSING.search(message)
    if not missing:
        return _build_field_problem(field, message, [])
    names = [missing["name"]] if field else _find_missing_names(decoder, raw)
    return _build_field_problem(field, message, names)


def _split_message(text: str) -> tuple[str, str]:
    """Split a message of msgspec. Its path is at the end; text of the client may be before it."""
    text = _shorten(text)
    message, marker, path = text.rpartition(_PATH_BEGIN)
    return (message, path.removesuffix("`")) if marker and path.endswith("`") else (text, "")


def _shorten(text: str) -> str:
    """Leave out the middle of a long text: a wrong value may have megabytes; a path is its end."""
    most = _SHOWN_CHARACTERS_MAX
    return text if len(text) <= 2 * most else f"{text[:most]}…{text[-most:]}"


def _too_many_tokens() -> Refused:
    most = limits.body_tokens_max
    return too_large(f"The body has more than {most} values. Send it in several requests.")


def _find_missing_names(decoder: msgspec.json.Decoder[T], raw: bytes) -> list[str]:
    kind: Any = decoder.type
    required = _get_required_names(kind)
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
        if set(wanted) >= _ANY_OF:
            return _NO_SCHEMA_MATCHES
        found = _NAMES.get(wrong["found"], wrong["found"])
        return f"Schema describes {_choose_type_name(wanted)}, {found} found instead"
    enum = _ENUM.search(text)
    if enum:
        return f"Value {enum['value']} is not one of the values that this field can have."
    return text


def _choose_type_name(wanted: list[str]) -> str:
    """Choose the type to report: the contract's, not those that we accept from lenient clients."""
    names = ("number", "string", "object")
    return next((each for each in names if each in wanted), wanted[0])


def _format_field(path: str) -> str:
    path = re.sub(r"\[(\d+)\]", r".item:\1", path)
    return path.replace("[...]", "").lstrip(".")
