"""Sealed texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.kit.sealing import Sealer, Unsealable

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

sealer = Sealer((b"new", b"old"))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(min_size=1))
def test_what_is_sealed_opens(text: str, key: bytes) -> None:
    """Any text can be sealed and opened with any key."""
    made = Sealer((key,))

    assert text == made.open(made.seal(text, "a"), "a")


def test_what_is_sealed_does_not_show() -> None:
    """A sealed text shows neither the text nor whether two texts are equal."""
    first, second = sealer.seal(SECRET, "a"), sealer.seal(SECRET, "a")

    assert first != second
    assert SECRET.encode() not in first


def test_keys_can_be_rotated() -> None:
    """The first key seals, all keys open; a removed key opens nothing."""
    by_old = Sealer((b"old",)).seal(SECRET, "a")
    by_both = sealer.seal(SECRET, "a")

    assert SECRET == sealer.open(by_old, "a")
    assert SECRET == Sealer((b"new",)).open(by_both, "a")
    with pytest.raises(Unsealable):
        Sealer((b"old",)).open(by_both, "a")
    with pytest.raises(Unsealable):
        Sealer((b"new",)).open(by_old, "a")


def test_a_text_opens_for_its_purpose_only() -> None:
    """A text that was sealed for another purpose does not open."""
    sealed = sealer.seal(SECRET, "webhook")

    with pytest.raises(Unsealable, match="upstream"):
        sealer.open(sealed, "upstream")


@pytest.mark.parametrize("change", [b"", b"x", b"\xff", b"gAAAAA"])
def test_what_was_not_sealed(change: bytes) -> None:
    """A text that was not sealed is an error that says what to do."""
    with pytest.raises(Unsealable, match="Add the old key after the new one"):
        sealer.open(change, "a")


def test_every_changed_letter_is_seen() -> None:
    """A sealed text with any changed letter does not open."""
    sealed = sealer.seal("a", "a")

    for place in range(len(sealed) - 4):  # the last letters hold bits that mean nothing
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(Unsealable):
            sealer.open(bytes(changed), "a")


@pytest.mark.parametrize("keys", [(), (b"",), (b"a", b"")])
def test_without_a_key_nothing_is_sealed(keys: tuple[bytes, ...]) -> None:
    """An empty key is refused."""
    with pytest.raises(ValueError, match="at least one key"):
        Sealer(keys)


def test_keys_are_not_shown() -> None:
    """The `repr` of a sealer shows no key."""
    assert "new" not in repr(sealer)
