"""Times: how they are read and shown."""

import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.kit.clock import SECOND, format_iso, parse_iso, system_clock

NOON = 1_795_435_200 * SECOND


def test_the_system_clock_counts_microseconds() -> None:
    """The system clock returns microseconds since the epoch."""
    before = time.time() - 1

    assert before * SECOND < system_clock() < (before + 60) * SECOND


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (None, ""),
        (0, "1970-01-01T00:00:00+00:00"),
        (NOON, "2026-11-23T12:00:00+00:00"),
        (NOON + SECOND - 1, "2026-11-23T12:00:00+00:00"),
        (-1, "1969-12-31T23:59:59+00:00"),
    ],
)
def test_a_moment_is_shown_as_the_contract_does(moment: int | None, expected: str) -> None:
    """A time has a numeric zone and no fraction; a missing time is an empty string."""
    assert expected == format_iso(moment)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T12:00:00+00:00", NOON),
        ("2026-11-23T12:00:00Z", NOON),
        ("2026-11-23T12:00:00", NOON),
        ("2026-11-23 12:00:00", NOON),
        (" 2026-11-23T12:00:00Z\n", NOON),
        ("2026-11-23T14:00:00+02:00", NOON),
        ("2026-11-23T07:00-05:00", NOON),
        ("2026-11-23T12:00:00.5Z", NOON + 500_000),
        ("2026-11-23T12:00:00.999Z", NOON + 999_000),
        ("2026-11-23T12:00:00.999999Z", NOON + 999_999),
        ("2026-11-23", NOON - 12 * 3600 * SECOND),
        ("1970-01-01", 0),
        ("1969-12-31T23:59:59Z", -SECOND),
    ],
)
def test_a_moment_is_read(text: str, expected: int) -> None:
    """Times are read in the forms that clients send; without a zone they are UTC."""
    assert expected == parse_iso(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "now", "12:00", "2026-13-01", "2026-02-30", "2026-11-23T25:00Z", "1795435200", "\0"],
)
def test_what_names_no_moment(text: str) -> None:
    """Other texts are None, and no error."""
    assert parse_iso(text) is None


@given(
    st.datetimes(
        datetime(1900, 1, 1),  # noqa: DTZ001 - the zone is the third argument's
        datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.integers(-14 * 60, 14 * 60).map(
            lambda minutes: timezone(timedelta(minutes=minutes))
        ),
    )
)
def test_every_second_is_kept(moment: datetime) -> None:
    """A time that is shown is read as the same time, in any zone."""
    moment = moment.replace(microsecond=0)
    found = parse_iso(moment.isoformat())

    assert found is not None
    assert moment == datetime.fromisoformat(format_iso(found))
    assert found == parse_iso(format_iso(found))


def test_every_microsecond_is_kept() -> None:
    """Different times stay different."""
    assert 75 == (parse_iso("1978-08-01T00:00:00.000075Z") or 0) % SECOND


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+12:00",
        "9999-12-31T23:59:59.999999Z",
    ],
)
def test_what_is_read_can_be_shown(text: str) -> None:
    """Any text that is read as a time can be shown."""
    moment = parse_iso(text)

    assert moment is None or text[:4] == format_iso(moment)[:4]


def test_a_zone_whose_plus_sign_was_lost() -> None:
    """A time that was put into a URL without escaping is read."""
    assert NOON == parse_iso("2026-11-23T12:00:00 00:00")
