"""How keys of new rows are passed in: the caller reserves them."""

from collections.abc import Callable

TakeKey = Callable[[str], int]  # returns a key for a new row of the table with this name
