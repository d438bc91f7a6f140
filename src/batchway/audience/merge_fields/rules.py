"""The merge fields of a list as rules: how values of members are checked, stored and shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from batchway.audience.merge_fields.types import (
    DAY_FIRST,
    IncompleteAddress,
    Options,
    Read,
    Type,
    WrongShape,
    WrongValue,
    make_reader,
)
from batchway.contract.problems import FieldError, invalid_field, invalid_fields, invalid_resource

_WRONG_SHAPE = "Data did not match any of the schemas described in anyOf."


class MergeField(msgspec.Struct, frozen=True, kw_only=True):
    """One merge field of a list. Its `merge_id` is unique in the list and never reused."""

    merge_id: int
    tag: str
    name: str
    type: Type
    required: bool = False
    default_value: str = ""
    public: bool = False
    display_order: int
    options: Options
    help_text: str = ""


class _Rule(msgspec.Struct, frozen=True):
    key: str
    tag: str
    required: bool
    read: Read


class MergeRules:
    """Reads and renders the values of a list's members. Safe for many threads.

    Values are stored by merge id, so that members need not change if a tag changes or a field is
    deleted. A field without a value is not stored.
    """

    def __init__(self, fields: Sequence[MergeField]) -> None:
        """`fields` in the order in which they are shown."""
        rules = [
            _Rule(
                str(field.merge_id),
                field.tag,
                field.required,
                make_reader(field.type, field.options),
            )
            for field in fields
        ]
        self._rules = {rule.tag: rule for rule in rules}
        self._required = tuple(rule for rule in rules if rule.required)
        self._shown = tuple((rule.tag, rule.key) for rule in rules)
        self._day_first = tuple(
            (field.tag, str(field.merge_id))
            for field in fields
            if field.type == "birthday" and field.options.date_format in DAY_FIRST
        )
        self._names = tuple(
            rule.key for tag in ("FNAME", "LNAME") if (rule := self._rules.get(tag))
        )
        self._defaults: dict[str, Any] = {}
        self._read_into(
            self._defaults,
            {field.tag: field.default_value for field in fields if field.default_value},
        )

    def read_values(
        self,
        given: Mapping[str, Any],
        stored: Mapping[str, Any] | None,
        *,
        skip_required: bool,
    ) -> dict[str, Any]:
        """Return the values to store: those `given` by tag, which replace those `stored`.

        `stored` is None for a new member, which gets default values, and must have the required
        values and complete addresses unless `skip_required`. The case of tags is ignored, and so
        are unknown tags. The arguments are not changed. Raises 400 Invalid Resource
        that names every wrong field.
        """
        values = dict(self._defaults if stored is None else stored)
        wrong = self._read_into(values, given, takes_incomplete=skip_required)
        if self._required and not skip_required:
            wrong += self._find_missing(values, stored, wrong)
        if wrong:
            detail = "Your merge fields were invalid."
            raise invalid_resource(detail, wrong)
        return values

    def render(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return a value for every merge field, by tag; an empty string if there is none."""
        shown = {tag: stored.get(key, "") for tag, key in self._shown}
        for tag, key in self._day_first:
            if key in stored:
                shown[tag] = "/".join(reversed(stored[key].split("/")))
        return shown

    def render_full_name(self, stored: Mapping[str, Any]) -> str:
        """Return the first and the last name, without those that are missing."""
        return " ".join([str(stored.get(key, "")) for key in self._names]).strip()

    def _read_into(
        self, values: dict[str, Any], given: Mapping[str, Any], *, takes_incomplete: bool = False
    ) -> list[FieldError]:
        shapes: list[FieldError] = []
        wrong: list[FieldError] = []
        for tag, value in given.items():
            rule = self._rules.get(tag) or self._rules.get(tag.upper())
            if rule is None:
                continue
            try:
                read = rule.read(value)
            except WrongShape:
                shapes.append(FieldError(f"merge_fields.{tag}", _WRONG_SHAPE))
            except WrongValue as error:
                if takes_incomplete and isinstance(error, IncompleteAddress):
                    values[rule.key] = error.address
                else:
                    wrong.append(FieldError(rule.tag, str(error)))
            else:
                _put(values, rule.key, read)
        if shapes:
            raise invalid_fields(*shapes)
        return wrong

    def _find_missing(
        self,
        values: Mapping[str, Any],
        stored: Mapping[str, Any] | None,
        wrong: Sequence[FieldError],
    ) -> list[FieldError]:
        """Return errors for required values that a new member lacks, or a member would lose."""
        reported = {error.field for error in wrong}
        return [
            FieldError(rule.tag, "Please enter a value")
            for rule in self._required
            if rule.key not in values
            and (stored is None or rule.key in stored)
            and rule.tag not in reported
        ]


def check_default(field: MergeField) -> None:
    """Raise 400 Invalid Resource unless the default value is valid for the field."""
    try:
        make_reader(field.type, field.options)(field.default_value)
    except WrongValue as error:
        raise invalid_field("default_value", str(error)) from None


def _put(values: dict[str, Any], key: str, read: Any) -> None:  # noqa: ANN401 - any JSON
    if read == "":
        values.pop(key, None)
    else:
        values[key] = read
