"""Filters and sort orders of collections: how they are read from a query and turned into SQL.

A collection declares its filters once; the documentation of its parameters is generated from them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from batchway.contract.description import Parameter
from batchway.contract.problems import invalid_field
from batchway.kit.clock import Microseconds, parse_iso

Params = Mapping[str, str]
Direction = Literal["ASC", "DESC"]
_TRUE = frozenset({"true", "1"})
_DIRECTIONS = ("ASC", "DESC")
NOTHING = "1 = 0"  # the condition of a filter that no item meets


@dataclass(frozen=True)
class Filter:
    """One parameter of a query, and the SQL condition that it adds.

    `read` turns the text of the parameter into the value that the condition uses under the
    parameter's name; it raises 400. The condition of a flag uses no value.
    """

    parameter: Parameter
    condition: str
    read: Callable[[str, str], Any]
    is_flag: bool = False

    @property
    def name(self) -> str:
        """The name of the parameter."""
        return self.parameter.name

    def is_used(self, params: Params) -> bool:
        """Return whether a query uses the filter: its value is not empty, and a flag is true."""
        text = params.get(self.name, "").strip()
        return _read_boolean(self.name, text) if self.is_flag else bool(text)


@dataclass(frozen=True)
class Conditions:
    """The conditions of a query: SQL that is appended to a WHERE clause, and its values by name."""

    sql: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    names: frozenset[str] = frozenset()  # of the filters that are used


ALL_ITEMS = Conditions()


def filter_by_moment(name: str, condition: str, description: str) -> Filter:
    """Make a filter for a date and time."""
    parameter = Parameter(name=name, description=description, format="date-time")
    return Filter(parameter, condition, read_moment)


def filter_by_text(name: str, condition: str, description: str) -> Filter:
    """Make a filter for any text."""
    return Filter(Parameter(name=name, description=description), condition, _read_text)


def filter_by_choice(
    name: str, condition: str, description: str, choices: tuple[str, ...]
) -> Filter:
    """Make a filter for one of a few values."""
    parameter = Parameter(name=name, description=description, choices=choices)
    return Filter(parameter, condition, lambda name, text: read_choice(name, text, choices))


def filter_by_flag(name: str, condition: str, description: str) -> Filter:
    """Make a filter that is used if its parameter is true."""
    parameter = Parameter(name=name, description=description, kind="boolean")
    return Filter(parameter, condition, _read_text, is_flag=True)


def filter_by_boolean(name: str, condition: str, description: str) -> Filter:
    """Make a filter for one of the two values of a boolean."""
    parameter = Parameter(name=name, description=description, kind="boolean")
    return Filter(parameter, condition, _read_boolean)


def read_conditions(filters: Sequence[Filter], params: Params) -> Conditions:
    """Return the conditions of a query, all of which an item must meet. Raises 400."""
    used = [filter_ for filter_ in filters if filter_.is_used(params)]
    return Conditions(
        " ".join(f"AND {filter_.condition}" for filter_ in used),
        {
            filter_.name: filter_.read(filter_.name, params[filter_.name].strip())
            for filter_ in used
            if not filter_.is_flag
        },
        frozenset(filter_.name for filter_ in used),
    )


def read_moment(name: str, text: str) -> Microseconds:
    """Read a date and time; raises 400."""
    moment = parse_iso(text)
    if moment is None:
        raise invalid_field(name, "This value should be a date and time in ISO 8601.")
    return moment


def read_choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    """Return the text if it is one of the choices; raises 400."""
    if text not in choices:
        raise invalid_field(name, f"Value should be one of {', '.join(choices)}.")
    return text


def _read_boolean(_name: str, text: str) -> bool:
    return text.lower() in _TRUE


def _read_text(_name: str, text: str) -> str:
    return text


@dataclass(frozen=True)
class SortOrder:
    """The orders that a collection can have.

    `columns` has the SQL of each value of `sort_field`. Without `sort_field`, items are in the
    order of `unsorted` (SQL), or of the first column. Items that are equal are in the order of
    `key`.
    """

    columns: Mapping[str, str]
    key: str
    default: Direction
    unsorted: str = ""

    def read(self, params: Params) -> str:
        """Return the SQL of an ORDER BY clause; raises 400."""
        name = params.get("sort_field", "").strip()
        direction = params.get("sort_dir", "").strip().upper() or self.default
        if name:
            read_choice("sort_field", name, tuple(self.columns))
        read_choice("sort_dir", direction, _DIRECTIONS)
        if not name and self.unsorted:
            return self.unsorted
        column = self.columns[name] if name else next(iter(self.columns.values()))
        return f"{column} {direction}, {self.key} {direction}"
