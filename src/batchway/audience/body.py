"""What all resources do with request bodies: check their texts, and read partial bodies."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec

from batchway import limits
from batchway.contract import validation
from batchway.contract.problems import FieldError, invalid_fields
from batchway.contract.response import encode

S = TypeVar("S", bound=msgspec.Struct)

_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_body(decoder: msgspec.json.Decoder[S], body: bytes | None) -> S:
    """Return the typed value of a whole body; raises 400 for wrong types and wrong texts."""
    given = validation.decode(decoder, body)
    errors = tuple(_check_texts(given, ""))
    if errors:
        raise invalid_fields(*errors)
    return given


def decode_changes(
    decoder: msgspec.json.Decoder[S], current: msgspec.Struct, body: bytes | None
) -> S:
    """Return `current` with the changes of a partial body, checked as a whole body is.

    Objects are merged, all else is replaced. Fields that `current` does not have are ignored.
    """
    given = validation.decode(_objects, body)
    return decode_body(decoder, encode(_merge(encode(current), given)))


def _merge(current: bytes, given: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    values = _objects.decode(current)
    for name, value in given.items():
        if name in values:
            values[name] = _merge_value(values[name], value)
    return values


def _merge_value(current: msgspec.Raw, given: msgspec.Raw) -> msgspec.Raw:
    if not (_is_object(current) and _is_object(given)):
        return given
    inner: dict[str, msgspec.Raw] = validation.decode(_objects, bytes(given))
    return msgspec.Raw(encode(_merge(bytes(current), inner)))


def _is_object(value: msgspec.Raw) -> bool:
    return bytes(value).lstrip().startswith(b"{")


def _check_texts(value: object, path: str) -> Iterator[FieldError]:
    if isinstance(value, str):
        yield from _check_text(value, path)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _check_texts(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _check_texts(item, f"{path}.item:{number}")


def _check_text(text: str, path: str) -> Iterator[FieldError]:
    if len(text) > limits.field_text_characters_max:
        most = limits.field_text_characters_max
        yield FieldError(path, f"This value is too long. It should have {most} characters or less.")
    if "\0" in text:
        yield FieldError(path, "This value should not contain NUL characters.")


def is_storable(text: str) -> bool:
    """Return whether the database can store a text: it has no NUL and no lone surrogate."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
