"""The types of merge fields: the options of each type, and how values of clients are read."""

import re
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from batchway import limits
from batchway.audience.body import is_storable
from batchway.audience.countries import find_country_code
from batchway.contract.problems import invalid_field

Type = Literal[
    "text",
    "number",
    "address",
    "phone",
    "date",
    "url",
    "imageurl",
    "radio",
    "dropdown",
    "birthday",
    "zip",
]
# Takes any JSON value and returns the value to store; an empty string means no value.
Read = Callable[[Any], Any]

DAY_FIRST = ("DD/MM/YYYY", "DD/MM")

_SIZE_DEFAULT = 25
_COUNTRY_DEFAULT = 164  # the contract's number of the United States
_COUNTRY_MAX = 9_999
_NUMBER_MAX = 10**300  # a little below the largest float
_LEAP_YEAR = 2000
_PHONE_DIGITS = 10

_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+(?P<fraction>\.[0-9]*)?|(?P<point>\.[0-9]+))(?P<e>e[+-]?[0-9]+)?"
)
_YEAR_FIRST = re.compile(r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})")
_YEAR_LAST = re.compile(r"([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})")
_MONTH_AND_DAY = re.compile(r"([0-9]{1,2})[-/.]([0-9]{1,2})")
_ZIP = re.compile(r"[0-9]{5}")
_US_PHONE = re.compile(r"[-0-9 ().+]+")
_NO_URL = re.compile(r"[\s<>\"\x00-\x1f\x7f]")
_ADDRESS_PARTS = ("addr1", "addr2", "city", "state", "zip", "country")
_ADDRESS_REQUIRED = ("addr1", "city", "state", "zip")


class WrongShape(Exception):
    """The JSON type of the value is never valid for the field."""


class WrongValue(Exception):
    """The value is not valid for the field; the text tells the client which values are."""


class IncompleteAddress(WrongValue):
    """An address lacks parts. It is stored nevertheless if the client skips the validation."""

    def __init__(self, address: dict[str, str]) -> None:
        super().__init__("Please enter a complete address")
        self.address = address


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """Options of a field. Each type has some of them."""

    default_country: int | msgspec.UnsetType = msgspec.UNSET
    phone_format: str | msgspec.UnsetType = msgspec.UNSET
    date_format: str | msgspec.UnsetType = msgspec.UNSET
    choices: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    size: int | msgspec.UnsetType = msgspec.UNSET


def complete_options(kind: Type, given: Options) -> Options:
    """Return the options of a field of this type, with defaults for missing ones; raises 400."""
    complete = _COMPLETE.get(kind)
    return complete(given) if complete else Options()


def make_reader(kind: Type, options: Options) -> Read:
    """Return the function that reads values of a field; it raises WrongShape or WrongValue."""
    match kind:
        case "date":
            return partial(_read_date, day_first=options.date_format in DAY_FIRST)
        case "birthday":
            return partial(_read_birthday, date_format=str(options.date_format))
        case "radio" | "dropdown":
            return partial(_read_choice, choices=options.choices or ())
        case "address":
            number = options.default_country
            country = find_country_code(0 if number is msgspec.UNSET else number)
            return partial(_read_address, default_country=country)
        case "phone" if options.phone_format == "US":
            return _read_us_phone
        case _:
            return _READERS[kind]


# --- Options -------------------------------------------------------------------------------------


def _complete_size(given: Options) -> Options:
    size = given.size or _SIZE_DEFAULT
    if not 0 < size <= limits.merge_text_characters_max:
        raise invalid_field(
            "options.size", f"A size is from 1 to {limits.merge_text_characters_max}."
        )
    return Options(size=size)


def _complete_choices(given: Options) -> Options:
    choices = tuple(choice.strip() for choice in given.choices or ())
    if not choices or not all(choices):
        message = "A radio or dropdown field needs choices, and none of them may be blank."
        raise invalid_field("options.choices", message)
    if len(choices) > limits.merge_choices_max or len(choices) > len(set(choices)):
        message = f"A field has at most {limits.merge_choices_max} choices, all of them different."
        raise invalid_field("options.choices", message)
    return Options(choices=choices)


def _complete_date_format(given: Options, formats: tuple[str, ...]) -> Options:
    chosen = given.date_format or formats[0]
    if chosen not in formats:
        raise invalid_field("options.date_format", f"This value should be {' or '.join(formats)}.")
    return Options(date_format=chosen)


def _complete_phone_format(given: Options) -> Options:
    chosen = given.phone_format or "none"
    known = {"us": "US", "none": "none", "international": "none"}.get(chosen.lower())
    if known is None:
        raise invalid_field(
            "options.phone_format", "This value should be US, International or none."
        )
    return Options(phone_format=known)


def _complete_country(given: Options) -> Options:
    country = given.default_country
    country = _COUNTRY_DEFAULT if country is msgspec.UNSET else country
    if not 0 <= country <= _COUNTRY_MAX:
        message = f"A country's number is from 0 to {_COUNTRY_MAX}."
        raise invalid_field("options.default_country", message)
    return Options(default_country=country)


_COMPLETE: dict[Type, Callable[[Options], Options]] = {
    "text": _complete_size,
    "radio": _complete_choices,
    "dropdown": _complete_choices,
    "date": partial(_complete_date_format, formats=("MM/DD/YYYY", "DD/MM/YYYY")),
    "birthday": partial(_complete_date_format, formats=("MM/DD", "DD/MM")),
    "phone": _complete_phone_format,
    "address": _complete_country,
}


# --- Values --------------------------------------------------------------------------------------


def _read_text(value: Any) -> str:  # noqa: ANN401 - any JSON
    text = value if type(value) is str else _read_number_as_text(value)
    if len(text) > limits.merge_text_characters_max:
        message = f"Please enter at most {limits.merge_text_characters_max} characters"
        raise WrongValue(message)
    if not is_storable(text):
        message = "Please enter text without NUL characters and broken Unicode"
        raise WrongValue(message)
    return "" if text.isspace() else text


def _read_number_as_text(value: Any) -> str:  # noqa: ANN401 - any JSON
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongShape
    return str(_check_finite(value))


def _check_finite(number: float) -> float:
    if not abs(number) <= _NUMBER_MAX:  # NaN is refused, too
        message = "Please enter a number"
        raise WrongValue(message)
    return number


def _read_number(value: Any) -> float | str:  # noqa: ANN401 - any JSON
    if type(value) is int or type(value) is float:
        return _check_finite(value)
    text = _read_text(value).strip()
    if not text:
        return ""
    found = _NUMBER.fullmatch(text.lower())
    if not found:
        message = "Please enter a number"
        raise WrongValue(message)
    return _check_finite(float(text) if any(found.groups()) else int(text))


def _read_date(value: Any, *, day_first: bool) -> str:  # noqa: ANN401 - any JSON
    text = _read_text(value).strip()
    if not text:
        return ""
    if found := _YEAR_FIRST.fullmatch(text):
        year, month, day = found.groups()
    elif found := _YEAR_LAST.fullmatch(text):
        month, day, year = found.groups()
        month, day = (day, month) if day_first else (month, day)
    else:
        year = month = day = "0"
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        message = "Please enter the date"
        raise WrongValue(message) from None


def _read_birthday(value: Any, *, date_format: str) -> str:  # noqa: ANN401 - any JSON
    """Return MM/DD for every format, so that the format of a field can change."""
    text = _read_text(value).strip()
    if not text:
        return ""
    found = _MONTH_AND_DAY.fullmatch(text)
    month, day = found.groups() if found else ("0", "0")
    month, day = (day, month) if date_format in DAY_FIRST else (month, day)
    try:
        return date(_LEAP_YEAR, int(month), int(day)).strftime("%m/%d")
    except ValueError:
        message = "Please enter a month (01-12) and a day (01-31)"
        raise WrongValue(message) from None


def _read_choice(value: Any, *, choices: tuple[str, ...]) -> str:  # noqa: ANN401 - any JSON
    text = _read_text(value).strip()
    if text and text not in choices:
        message = f"Value must be one of: {', '.join(choices)} (not {text})"
        raise WrongValue(message)
    return text


def _read_us_phone(value: Any) -> str:  # noqa: ANN401 - any JSON
    text = _read_text(value).strip()
    digits = [character for character in text if character.isdigit()]
    digits = digits[1:] if digits[:1] == ["1"] else digits
    if text and not (_US_PHONE.fullmatch(text) and len(digits) == _PHONE_DIGITS):
        message = f"Please enter a phone number of {_PHONE_DIGITS} digits"
        raise WrongValue(message)
    return text


def _read_url(value: Any) -> str:  # noqa: ANN401 - any JSON
    text = _read_text(value).strip()
    if text and (_NO_URL.search(text) or not _has_host(text)):
        message = "That is not a valid URL"
        raise WrongValue(message)
    return text


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def _read_zip(value: Any) -> str:  # noqa: ANN401 - any JSON
    text = _read_text(value).strip()
    if text and not _ZIP.fullmatch(text):
        message = "Please enter a zip code (5 digits)"
        raise WrongValue(message)
    return text


def _read_address(value: Any, *, default_country: str) -> dict[str, str] | str:  # noqa: ANN401 - any JSON
    given = value if isinstance(value, dict) else _split_address(_read_text(value))
    # A part that is null is the same as a missing part.
    address = {
        name: _read_text("" if given.get(name) is None else given[name]).strip()
        for name in _ADDRESS_PARTS
    }
    if not any(address[name] for name in _ADDRESS_PARTS if name != "country"):
        return ""
    address["country"] = address["country"] or default_country
    if not all(address[name] for name in _ADDRESS_REQUIRED):
        raise IncompleteAddress(address)
    return address


def _split_address(text: str) -> dict[str, str]:
    """Split an address at two or more spaces; the second line and the country may be missing."""
    parts = re.split(r" {2,}", text.strip())
    match len(parts):
        case 4:
            names: tuple[str, ...] = _ADDRESS_REQUIRED
        case 5:
            names = (*_ADDRESS_REQUIRED, "country")
        case 6:
            names = _ADDRESS_PARTS
        case _:
            return {"addr1": text}
    return dict(zip(names, parts, strict=True))


_READERS: dict[Type, Read] = {
    "text": _read_text,
    "number": _read_number,
    "phone": _read_text,
    "url": _read_url,
    "imageurl": _read_url,
    "zip": _read_zip,
}
