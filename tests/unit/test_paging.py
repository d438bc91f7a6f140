"""`count` and `offset`."""

import pytest

from batchway import limits
from batchway.contract.paging import Page, page
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
def test_the_page_asked_for(params: dict[str, str], expected: Page) -> None:
    """A larger count is answered with the largest; an offset always fits the database."""
    assert expected == page(params)


def test_the_defaults_are_the_contracts() -> None:
    """Ten, and at most a thousand."""
    assert (10, 1000) == (limits.page_count_default, limits.page_count_max)


@pytest.mark.parametrize("name", ["count", "offset"])
@pytest.mark.parametrize("value", ["-1", "+1", "ten", "1.0", "1e3", "٣", "²", "1 0", "0x10"])
def test_what_is_no_number(name: str, value: str) -> None:
    """It is refused by name."""
    with pytest.raises(Refused) as refused:
        page({name: value})

    assert 400 == refused.value.problem.status
    assert refused.value.problem.errors
    assert [name] == [error.field for error in refused.value.problem.errors]
