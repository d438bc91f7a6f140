"""The keys of new rows, reserved in blocks by the caller."""

from collections.abc import Callable

NextKey = Callable[[str], int]  # takes the name of a table, gives a key that no row of it has
