"""Positions: a set of numbers as ranges, and as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.model.positions import Positions

NUMBERS = st.sets(st.integers(0, 60))


@given(NUMBERS)
def test_a_set_and_its_text(numbers: set[int]) -> None:
    """Iterating gives the numbers in order, and the text gives the same value back."""
    positions = Positions.collect(numbers)

    assert sorted(numbers) == list(positions)
    assert len(numbers) == len(positions)
    assert positions == Positions.parse(str(positions))
    assert all((number in numbers) == (number in positions) for number in range(62))


@given(NUMBERS, st.integers(0, 70))
def test_splitting(numbers: set[int], count: int) -> None:
    """The first positions and the others; together they are all."""
    head, tail = Positions.collect(numbers).split_at(count)

    assert sorted(numbers)[:count] == list(head)
    assert sorted(numbers)[count:] == list(tail)
    assert head == Positions.collect(head)
    assert tail == Positions.collect(tail)


@given(NUMBERS, NUMBERS)
def test_removing(numbers: set[int], others: set[int]) -> None:
    """What is left of a set is the difference of the sets."""
    left = Positions.collect(numbers).remove(Positions.collect(others))

    assert Positions.collect(numbers - others) == left


@given(NUMBERS, st.integers(0, 60), st.integers(0, 60))
def test_clipping(numbers: set[int], first: int, end: int) -> None:
    """Only positions within the bounds are left."""
    clipped = Positions.collect(numbers).clip(first, end)

    assert Positions.collect(number for number in numbers if first <= number < end) == clipped


@given(NUMBERS)
def test_bounds(numbers: set[int]) -> None:
    """`first` and `end` enclose the set, and a set without a gap is consecutive."""
    positions = Positions.collect(numbers)

    if not numbers:
        assert (0, 0, True) == (positions.first, positions.end, positions.is_consecutive)
        return
    assert (min(numbers), max(numbers) + 1) == (positions.first, positions.end)
    has_gap = positions.end - positions.first > len(numbers)
    assert has_gap != positions.is_consecutive


def test_the_text_is_short() -> None:
    """Ranges name their first and last position."""
    assert "0-99,105,107-108" == str(Positions.collect([*range(100), 105, 107, 108]))
    assert "" == str(Positions())
    assert "7-9" == str(Positions.span(7, 3))
    assert Positions() == Positions.span(7, 0)


@pytest.mark.parametrize(
    "text", ["a", "1,", ",1", "3-1", "1-1", "1--2", "-1", "1,2", "5,3", "1-3,2", " 1", "01", "1_0"]
)
def test_other_texts(text: str) -> None:
    """Text that no set has is refused."""
    with pytest.raises(ValueError, match=r"."):
        Positions.parse(text)
