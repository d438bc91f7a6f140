"""How long to wait before a retry."""

import random
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.kit.backoff import add_jitter, clamp_retry_after

NOON = 1_795_435_200
PLANNED, MOST = 60.0, 3_600.0


@given(st.floats(0, 1e6), st.floats(0, 1))
def test_a_wait_is_about_as_long_as_planned(seconds: float, spread: float) -> None:
    """The wait differs from the plan by at most the spread."""
    wait = add_jitter(seconds, spread)

    assert seconds * (1 - spread) - 1e-6 <= wait <= seconds * (1 + spread) + 1e-6


def test_waits_differ() -> None:
    """Waits use the whole spread, in both directions."""
    waits = [
        add_jitter(100.0, 0.1, random.Random(1)),
        *(add_jitter(100.0, 0.1) for _ in range(1_000)),
    ]

    assert 1_000 <= len(set(waits))
    assert min(waits) < 92
    assert max(waits) > 108


def test_a_seed_repeats_a_wait() -> None:
    """The same seed gives the same wait."""
    assert add_jitter(100.0, 0.1, random.Random(7)) == add_jitter(100.0, 0.1, random.Random(7))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, PLANNED),
        ("", PLANNED),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("0", PLANNED),
        ("59", PLANNED),
        ("3600", MOST),
        ("3601", MOST),
        ("9" * 5_000, MOST),
        ("-120", PLANNED),
        ("+120", PLANNED),
        ("1e3", PLANNED),
        ("120.5", PLANNED),
        ("١٢٠", PLANNED),
        ("inf", PLANNED),
        ("nan", PLANNED),
        ("soon", PLANNED),
        (formatdate(NOON + 120, usegmt=True), 120.0),
        (formatdate(NOON + 120), 120.0),
        ("Monday, 23-Nov-26 12:02:00 GMT", 120.0),
        ("Mon Nov 23 12:02:00 2026", 120.0),
        ("Mon, 23 Nov 2026 13:02:00 +0100", 120.0),
        (formatdate(NOON + 30, usegmt=True), PLANNED),
        (formatdate(NOON - 120, usegmt=True), PLANNED),
        (formatdate(NOON + 999_999, usegmt=True), MOST),
        ("Mon, 32 Nov 2026 12:02:00 GMT", PLANNED),
        ("Mon, 23 Nov 99999 12:02:00 GMT", PLANNED),
    ],
)
def test_a_receiver_may_ask_for_a_longer_wait(header: str | None, expected: float) -> None:
    """`Retry-After` can extend a wait, up to a limit, and never shorten it."""
    assert expected == clamp_retry_after(header, PLANNED, MOST, NOON)


@pytest.mark.parametrize("header", [None, "1", "5000", "nonsense"])
def test_what_was_planned_is_not_cut_short(header: str | None) -> None:
    """The limit of `Retry-After` does not shorten a planned wait."""
    assert 36_000.0 == clamp_retry_after(header, 36_000.0, MOST, NOON)


@given(st.text() | st.text("0123456789 :,+-MonGTJa"))
def test_any_text_is_a_wait(header: str) -> None:
    """Any text of `Retry-After` gives a wait between the plan and the limit."""
    assert PLANNED <= clamp_retry_after(header, PLANNED, MOST, NOON) <= MOST
