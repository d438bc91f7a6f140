"""The values that merge fields accept, and how they are shown."""

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.audience.merge_fields.rows import FIRST_FIELDS
from batchway.audience.merge_fields.rules import MergeField, MergeRules, check_default
from batchway.audience.merge_fields.types import Options, Type, complete_options
from batchway.contract.problems import Refused
from batchway.contract.response import encode

CHOICES = Options(choices=("red", "blue"))


def field(kind: Type, options: Options | None = None, **more: Any) -> MergeField:
    """Return a merge field of this type with its default options."""
    options = options or (CHOICES if kind in {"radio", "dropdown"} else Options())
    options = complete_options(kind, options)
    given_values: dict[str, Any] = {
        "merge_id": 7,
        "tag": "F",
        "name": "F",
        "display_order": 1,
    } | more
    return MergeField(type=kind, options=options, **given_values)


def stored(kind: Type, value: object, options: Options | None = None) -> object:
    """Return what a field of this type stores for a value, or None if it stores nothing."""
    rules = MergeRules([field(kind, options)])
    return rules.read_values({"F": value}, None, skip_required=False).get("7")


def refusal(
    rules: MergeRules,
    given_values: dict[str, Any],
    before: dict[str, Any] | None = None,
    *,
    skip_required: bool = False,
) -> tuple[str, dict[str, str]]:
    """Return the detail of a refusal, and field → message."""
    with pytest.raises(Refused) as refused:
        rules.read_values(given_values, before, skip_required=skip_required)
    problem = refused.value.problem
    assert (400, "Invalid Resource") == (problem.status, problem.title)
    assert problem.errors
    return problem.detail, {error.field: error.message for error in problem.errors}


def message(kind: Type, value: object, options: Options | None = None) -> str:
    """Return why a field of this type refuses a value."""
    detail, errors = refusal(MergeRules([field(kind, options)]), {"F": value})
    assert "Your merge fields were invalid." == detail
    return errors["F"]


US = Options(phone_format="US")
DAY_FIRST = Options(date_format="DD/MM/YYYY")
SHORT_DAY_FIRST = Options(date_format="DD/MM")
ADDRESS = {
    "addr1": "1 Hive",
    "addr2": "",
    "city": "Kyiv",
    "state": "Kyiv",
    "zip": "01001",
    "country": "UA",
}


# --- Values of each type -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "Ann", "Ann"),
        ("text", " Ann\n", " Ann\n"),
        ("text", "Änne 😀", "Änne 😀"),
        ("text", "x" * 255, "x" * 255),
        ("text", 7, "7"),
        ("text", 7.5, "7.5"),
        ("text", 0, "0"),
        ("number", 7, 7),
        ("number", 0, 0),
        ("number", -7.5, -7.5),
        ("number", " 7 ", 7),
        ("number", "+07", 7),
        ("number", "-7.50", -7.5),
        ("number", ".5", 0.5),
        ("number", "7E3", 7000.0),
        ("phone", "000", "000"),
        ("phone", 4045550199, "4045550199"),
        ("zip", "01001", "01001"),
        ("zip", 30308, "30308"),
        ("url", "https://example.com/a?b=c#d", "https://example.com/a?b=c#d"),
        ("url", "HTTP://[::1]:80", "HTTP://[::1]:80"),
        ("imageurl", " http://example.com/a.png ", "http://example.com/a.png"),
        ("radio", "red", "red"),
        ("dropdown", " blue ", "blue"),
        ("date", "2026-11-23", "2026-11-23"),
        ("date", "2026/1/2", "2026-01-02"),
        ("date", "11/23/2026", "2026-11-23"),
        ("date", "2/29/2024", "2024-02-29"),
        ("birthday", "11/23", "11/23"),
        ("birthday", "2/29", "02/29"),
        ("address", ADDRESS, ADDRESS),
        ("address", "1 Hive  Kyiv  Kyiv  01001  UA", ADDRESS),
        ("address", "1 Hive  Kyiv  Kyiv  01001", ADDRESS | {"country": "US"}),
        ("address", "1 Hive  2nd  Kyiv  Kyiv  01001  UA", ADDRESS | {"addr2": "2nd"}),
        ("address", ADDRESS | {"zip": 1001}, ADDRESS | {"zip": "1001"}),
        ("address", ADDRESS | {"addr2": None, "planet": "Mars"}, ADDRESS),
    ],
)
def test_a_value_is_stored(kind: Type, value: object, expected: object) -> None:
    """A value is stored in one form for each type."""
    found = stored(kind, value)

    assert expected == found
    assert type(expected) is type(found)


@pytest.mark.parametrize(
    ("kind", "options", "value", "expected"),
    [
        ("date", DAY_FIRST, "23/11/2026", "2026-11-23"),
        ("date", DAY_FIRST, "2026-11-23", "2026-11-23"),
        ("birthday", SHORT_DAY_FIRST, "23/11", "11/23"),
        ("phone", US, "(404) 555-0199", "(404) 555-0199"),
        ("phone", US, "+1 404 555 0199", "+1 404 555 0199"),
        ("radio", Options(choices=("1", "2")), 2, "2"),
    ],
)
def test_options_decide(kind: Type, options: Options, value: object, expected: str) -> None:
    """The format and the choices of a field decide how a value is read."""
    assert expected == stored(kind, value, options)


@pytest.mark.parametrize(
    ("kind", "options", "value", "expected"),
    [
        ("text", None, "x" * 256, "Please enter at most 255 characters"),
        ("text", None, "a\0b", "Please enter text without NUL characters and broken Unicode"),
        ("text", None, "\ud800", "Please enter text without NUL characters and broken Unicode"),
        ("number", None, "many", "Please enter a number"),
        ("number", None, "1,000", "Please enter a number"),
        ("number", None, "7\n8", "Please enter a number"),
        ("number", None, "٣", "Please enter a number"),
        ("number", None, "nan", "Please enter a number"),
        ("number", None, "1e999", "Please enter a number"),
        ("number", None, 10**400, "Please enter a number"),
        ("number", None, float("inf"), "Please enter a number"),
        ("number", None, float("nan"), "Please enter a number"),
        ("phone", US, "555-0199", "Please enter a phone number of 10 digits"),
        ("phone", US, "404-555-01९९", "Please enter a phone number of 10 digits"),
        ("phone", US, "404 555 0199 x7", "Please enter a phone number of 10 digits"),
        ("zip", None, "1001", "Please enter a zip code (5 digits)"),
        ("zip", None, "3030٨", "Please enter a zip code (5 digits)"),
        ("url", None, "example.com", "That is not a valid URL"),
        ("url", None, "javascript://x", "That is not a valid URL"),
        ("url", None, "http://", "That is not a valid URL"),
        ("url", None, "http://[", "That is not a valid URL"),
        ("imageurl", None, "http://a b", "That is not a valid URL"),
        ("radio", None, "green", "Value must be one of: red, blue (not green)"),
        ("dropdown", None, "Red", "Value must be one of: red, blue (not Red)"),
        ("date", None, "23/11/2026", "Please enter the date"),
        ("date", DAY_FIRST, "11/23/2026", "Please enter the date"),
        ("date", None, "2025-02-29", "Please enter the date"),
        ("date", None, "0000-01-01", "Please enter the date"),
        ("date", None, "tomorrow", "Please enter the date"),
        ("date", None, 20261123, "Please enter the date"),
        ("birthday", None, "23/11", "Please enter a month (01-12) and a day (01-31)"),
        ("birthday", SHORT_DAY_FIRST, "11/23", "Please enter a month (01-12) and a day (01-31)"),
        ("birthday", None, "2/30", "Please enter a month (01-12) and a day (01-31)"),
        ("birthday", None, "1990-11-23", "Please enter a month (01-12) and a day (01-31)"),
        (
            "address",
            None,
            ADDRESS | {"city": " "},
            "Please enter a complete address",
        ),
        ("address", None, "Hive", "Please enter a complete address"),
        (
            "address",
            None,
            "  ".join("abcdefg"),
            "Please enter a complete address",
        ),
        ("address", None, ADDRESS | {"city": "x" * 256}, "Please enter at most 255 characters"),
    ],
)
def test_a_value_is_refused(
    kind: Type, options: Options | None, value: object, expected: str
) -> None:
    """The message says what to enter."""
    assert expected == message(kind, value, options)


@pytest.mark.parametrize("kind", get_args(Type))
@pytest.mark.parametrize("value", [[], ["Ann"], {}, {"a": 1}, None, True, False])
def test_a_value_of_the_wrong_shape(kind: Type, value: object) -> None:
    """Arrays, null and booleans are refused; objects are for addresses only."""
    rules = MergeRules([field(kind)])
    if kind == "address" and isinstance(value, dict):
        assert {} == rules.read_values({"f": value}, None, skip_required=False)
    else:
        _, errors = refusal(rules, {"f": value})
        assert {
            "merge_fields.f": "Data did not match any of the schemas described in anyOf."
        } == errors


def test_a_part_of_an_address_of_the_wrong_shape() -> None:
    """A wrong part of an address is an error of the address."""
    _, errors = refusal(MergeRules([field("address")]), {"F": ADDRESS | {"city": ["Kyiv"]}})

    assert ["merge_fields.F"] == list(errors)


@pytest.mark.parametrize("kind", get_args(Type))
@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_clears_every_type(kind: Type, blank: str) -> None:
    """A blank value deletes the stored one, and is shown as an empty string."""
    rules = MergeRules([field(kind)])

    values = rules.read_values({"F": blank}, {"7": "something", "8": "other"}, skip_required=False)

    assert {"8": "other"} == values
    assert {"F": ""} == rules.render(values)


def test_an_address_of_blanks_clears() -> None:
    """An address that has only a country is blank, because forms send a default country."""
    blank = dict.fromkeys(ADDRESS, " ") | {"country": "US"}

    assert stored("address", blank) is None


# --- Merging -------------------------------------------------------------------------------------


FIVE = MergeRules(FIRST_FIELDS)


def test_values_are_merged_over_what_is_stored() -> None:
    """Values are stored by merge id; the arguments do not change."""
    before = {"1": "Ann", "2": "Lee", "99": "of a deleted field"}
    values = {"fname": "Bea", "Phone": "1", "UNKNOWN": ["x"]}

    after = FIVE.read_values(values, before, skip_required=False)

    assert {"1": "Bea", "2": "Lee", "4": "1", "99": "of a deleted field"} == after
    assert {"1": "Ann", "2": "Lee", "99": "of a deleted field"} == before
    assert {"fname": "Bea", "Phone": "1", "UNKNOWN": ["x"]} == values


def test_all_wrong_fields_are_named() -> None:
    """The error names all wrong fields."""
    detail, errors = refusal(FIVE, {"BIRTHDAY": "never", "ADDRESS": "Hive", "FNAME": "Ann"})

    assert "Your merge fields were invalid." == detail
    assert ["BIRTHDAY", "ADDRESS"] == list(errors)


def test_wrong_shapes_come_first() -> None:
    """Wrong shapes are reported before values are checked."""
    detail, errors = refusal(FIVE, {"BIRTHDAY": "never", "FNAME": [], "LNAME": {}})

    assert "field-specific" in detail
    assert ["merge_fields.FNAME", "merge_fields.LNAME"] == list(errors)


REQUIRED = MergeRules(
    [
        field("text", merge_id=1, tag="A", required=True),
        field("number", merge_id=2, tag="B", required=True),
        field("text", merge_id=3, tag="C", required=True, default_value="c"),
        field("number", merge_id=4, tag="D", default_value="5"),
        field("text", merge_id=5, tag="E"),
    ]
)
MISSING = "Please enter a value"


@pytest.mark.parametrize(
    ("values", "before", "expected"),
    [
        ({}, None, {"A": MISSING, "B": MISSING}),
        ({"A": " ", "B": "many"}, None, {"B": "Please enter a number", "A": MISSING}),
        ({"A": "a", "B": 0, "C": ""}, None, {"C": MISSING}),
        ({"A": ""}, {"1": "a"}, {"A": MISSING}),
    ],
)
def test_required_values(
    values: dict[str, Any], before: dict[str, Any] | None, expected: dict[str, str]
) -> None:
    """A new member needs required values, and no member can clear them."""
    assert expected == refusal(REQUIRED, values, before)[1]


def test_a_new_member_gets_default_values() -> None:
    """Fields that are not given get their default value."""
    accept = REQUIRED.read_values

    assert {"1": "a", "2": 0, "3": "c", "4": 5} == accept(
        {"A": "a", "B": 0}, None, skip_required=False
    )
    assert {"3": "c", "4": 5} == accept({}, None, skip_required=True)
    assert {"3": "c"} == accept({"D": ""}, None, skip_required=True)
    assert {} == accept({}, {}, skip_required=False)


def test_a_change_of_something_else_does_not_ask_for_required_values() -> None:
    """A change of other fields needs no required values."""
    assert {"5": "e"} == REQUIRED.read_values({"E": "e"}, {}, skip_required=False)
    assert {} == REQUIRED.read_values({"A": ""}, {}, skip_required=False)


def test_required_values_may_be_skipped() -> None:
    """Required values can be skipped; wrong values are still refused."""
    assert {} == REQUIRED.read_values({"A": ""}, {"1": "a"}, skip_required=True)
    assert {"B": "Please enter a number"} == refusal(REQUIRED, {"B": "many"}, skip_required=True)[1]


def test_members_do_not_share_their_defaults() -> None:
    """The values of one member do not change those of another."""
    first = REQUIRED.read_values({}, None, skip_required=True)
    first["3"] = "changed"

    assert {"3": "c", "4": 5} == REQUIRED.read_values({}, None, skip_required=True)


@pytest.mark.parametrize(
    ("kind", "value"), [("number", "many"), ("zip", "1"), ("radio", "green"), ("date", "today")]
)
def test_a_default_value_that_its_field_does_not_take(kind: Type, value: str) -> None:
    """An invalid default value is refused when it is set."""
    with pytest.raises(Refused) as refused:
        check_default(field(kind, default_value=value))

    assert refused.value.problem.errors
    assert "default_value" == refused.value.problem.errors[0].field


# --- Showing -------------------------------------------------------------------------------------


def test_every_field_is_shown_in_its_order() -> None:
    """A field without a value is an empty string; deleted fields are not shown."""
    rules = MergeRules([field("text", merge_id=2, tag="B"), field("address", merge_id=1, tag="A")])

    shown = rules.render({"1": ADDRESS, "99": "deleted"})

    assert [("B", ""), ("A", ADDRESS)] == list(shown.items())


def test_birthdays_follow_the_format_of_their_field() -> None:
    """Birthdays use the current format of the field."""
    stored_birthday = {"7": stored("birthday", "11/23")}
    rules = MergeRules([field("birthday", SHORT_DAY_FIRST)])

    assert {"F": "23/11"} == rules.render(stored_birthday)
    assert {"F": ""} == rules.render({})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ""),
        ({"1": "Ann"}, "Ann"),
        ({"2": "Lee"}, "Lee"),
        ({"1": "Ann", "2": "Lee"}, "Ann Lee"),
        ({"1": " Ann ", "2": "Lee "}, "Ann  Lee"),
    ],
)
def test_full_names(values: dict[str, Any], expected: str) -> None:
    """A full name is the first and the last name, if they are set."""
    assert expected == FIVE.render_full_name(values)


def test_a_full_name_needs_the_fields() -> None:
    """A list without these tags has no full names; a name may be a number."""
    assert "" == MergeRules([field("text")]).render_full_name({"1": "Ann", "7": "Lee"})
    assert "7" == MergeRules([field("number", tag="LNAME")]).render_full_name({"7": 7})


# --- Any value -----------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
texts = st.sampled_from(
    ["1", "red", "30308", "2026-11-23", "1/2", "12/31/1999", "http://a.b", "1 H  K  K  1  UA"]
)
values_of_any_kind = st.recursive(
    scalars | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*ADDRESS, "x"]), inner, max_size=7)
    ),
    max_leaves=8,
)
ALL = [
    field(kind, merge_id=number, tag=kind.upper()) for number, kind in enumerate(get_args(Type), 1)
]


@given(st.dictionaries(st.sampled_from([field.tag for field in ALL]), values_of_any_kind))
def test_any_value_is_refused_or_kept(values: dict[str, Any]) -> None:
    """An accepted value can be stored as JSON, shown, and accepted again."""
    rules = MergeRules(ALL)
    try:
        accepted = rules.read_values(values, None, skip_required=False)
    except Refused as refused:
        assert refused.problem.errors  # noqa: PT017 - a refusal is one of two right answers
        return
    kept = msgspec.json.decode(encode(accepted))
    shown = rules.render(kept)

    assert kept == accepted == json.loads(json.dumps(accepted))
    assert "\\u0000" not in json.dumps(accepted)
    assert [field.tag for field in ALL] == list(shown)
    assert accepted == rules.read_values(shown, None, skip_required=False)
