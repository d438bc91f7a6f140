"""`count` and `offset`."""

import pytest

from batchway import limits
from batchway.contract.paging import Page, parse_page
from batchway.contract.problems import Refused


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, Page(10, 0)),
        ({"count": "", "offset": " "}, Page(10, 0)),
        ({"count": "25", "offset": "50"}, Page(25, 50)),
        ({"count": "0"}, Page(0, 0)),
        ({"count": " 7 "}, Page(7, 0)),
        ({"count": "007"}, Page(7, 0)),
        ({"count": "1000"}, Page(1000, 0)),
        ({"count": "1001"}, Page(1000, 0)),
        ({"count": "9" * 10_000}, Page(1000, 0)),
        ({"offset": "1000000"}, Page(10, 1_000_000)),
        ({"offset": "9" * 30}, Page(10, (1 << 63) - 1)),
    ],
)
def test_page(params: dict[str, str], expected: Page) -> None:
    """A count is reduced to the maximum, and an offset to what the database can store."""
    assert expected == parse_page(params)


def test_defaults() -> None:
    """The default count is ten, and the maximum is a thousand."""
    assert (10, 1000) == (limits.page_count_default, limits.page_count_max)


@pytest.mark.parametrize("name", ["count", "offset"])
@pytest.mark.parametrize("value", ["-1", "+1", "ten", "1.0", "1e3", "٣", "²", "1 0", "0x10"])
def test_a_value_that_is_not_a_number(name: str, value: str) -> None:
    """A value that is not a whole number is rejected with the name of its parameter."""
    with pytest.raises(Refused) as refused:
        parse_page({name: value})

    assert 400 == refused.value.problem.status
    assert refused.value.problem.errors
    assert [name] == [error.field for error in refused.value.problem.errors]
