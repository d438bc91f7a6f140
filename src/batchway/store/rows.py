"""What a statement returned: named tuples, and how many rows it changed."""

from collections import namedtuple
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Self

from sqlalchemy.exc import MultipleResultsFound, NoResultFound


class Rows:
    """The rows that one statement returned, all of them loaded, and how many it changed.

    A row is a tuple whose values can also be read as attributes, by the names of the columns.
    `returns_rows` is false for a statement that cannot return any.
    """

    __slots__ = ("_rows", "returns_rows", "rowcount")

    def __init__(self, rows: Sequence[Any], rowcount: int, *, returns_rows: bool) -> None:
        self._rows = rows
        self.rowcount = rowcount
        self.returns_rows = returns_rows

    @classmethod
    def load(cls, cursor: Any) -> Self:  # noqa: ANN401 - a cursor of either driver
        """Load what the statement that the cursor has executed returned."""
        if cursor.description is None:
            return cls((), cursor.rowcount, returns_rows=False)
        make_row = _define_row(tuple(column[0] for column in cursor.description))
        rows = [make_row(values) for values in cursor.fetchall()]
        return cls(rows, cursor.rowcount, returns_rows=True)  # SQLite counts while rows are read

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        """Return all rows."""
        return self._rows

    def first(self) -> Any:  # noqa: ANN401
        """Return the first row, or None."""
        return self._rows[0] if self._rows else None

    def one(self) -> Any:  # noqa: ANN401
        """Return the only row. Raises if there is not exactly one."""
        row = self.one_or_none()
        if row is None:
            raise NoResultFound("No row was found when one was required.")
        return row

    def one_or_none(self) -> Any:  # noqa: ANN401
        """Return the only row, or None. Raises if there are more."""
        if len(self._rows) > 1:
            raise MultipleResultsFound("Several rows were found when one was required.")
        return self.first()

    def scalars(self) -> Iterator[Any]:
        """Return the first value of each row."""
        return (row[0] for row in self._rows)

    def scalar_one(self) -> Any:  # noqa: ANN401
        """Return the first value of the only row. Raises if there is not exactly one."""
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:  # noqa: ANN401
        """Return the first value of the only row, or None. Raises if there are more."""
        row = self.one_or_none()
        return None if row is None else row[0]


@lru_cache(maxsize=512)
def _define_row(names: tuple[str, ...]) -> Any:  # noqa: ANN401 - makes a row of a tuple
    row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024
    return row._make
