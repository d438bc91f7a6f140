"""Decode a body into a typed value, or say what is wrong in the contract's grammar.

A field is a dotted path, an index is `item:N`: `operations.item:325.path`.
"""

import re
from typing import TypeVar

import msgspec

from batchway.contract.problems import (
    FieldError,
    Refused,
    invalid_fields,
    json_parse_exception,
)

T = TypeVar("T")

_WHERE = re.compile(r" - at `\$(?P<path>.*)`$", re.DOTALL)
_WRONG_TYPE = re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<found>\w+)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
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
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_BODY = frozenset({b"", b"null"})


def decode(decoder: msgspec.json.Decoder[T], body: bytes | None) -> T:
    """The typed value of a JSON body; an absent body and `null` count as `{}`.

    Raises 400 JSON Parse Exception, or 400 Invalid Resource with a field for each mistake.
    """
    raw = (body or b"").strip()
    raw = b"{}" if raw in _NO_BODY else raw
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), decoder, raw) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise json_parse_exception(f"The body is not valid JSON: {error}") from None
    except RecursionError:
        raise json_parse_exception("The body is nested too deeply.") from None


def _invalid(text: str, decoder: msgspec.json.Decoder[T], raw: bytes) -> Refused:
    where = _WHERE.search(text)
    message = text[: where.start()] if where else text
    field = _field(where["path"]) if where else ""
    missing = _MISSING.search(message)
    if missing:
        names = _missing_names(decoder, raw) if not field else [missing["name"]]
        return invalid_fields(
            FieldError(field, f"Required fields were not provided: {', '.join(names)}")
        )
    return invalid_fields(FieldError(field, _message(message)))


def _missing_names(decoder: msgspec.json.Decoder[T], raw: bytes) -> list[str]:
    given = decode(_objects, raw)  # behind the fault, the body may be no JSON at all
    fields = msgspec.structs.fields(decoder.type)  # type: ignore[arg-type]
    return [each.encode_name for each in fields if each.required and each.encode_name not in given]


def _message(text: str) -> str:
    wrong = _WRONG_TYPE.search(text)
    if wrong:
        wanted = [_NAMES.get(each.strip(), each.strip()) for each in wrong["wanted"].split("|")]
        found = _NAMES.get(wrong["found"], wrong["found"])
        return f"Schema describes {_described(wanted)}, {found} found instead"
    enum = _ENUM.search(text)
    if enum:
        return f"Value {enum['value']} is not one of the values that this field can have."
    return text


def _described(wanted: list[str]) -> str:
    """The type that the contract names; what is taken besides is for clients that err."""
    return next((each for each in ("string", "object") if each in wanted), wanted[0])


def _field(path: str) -> str:
    path = re.sub(r"\[(\d+)\]", r".item:\1", path)
    return path.replace("[...]", "").lstrip(".")
