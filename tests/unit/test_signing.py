"""Signed, expiring tokens."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.kit.clock import SECOND
from batchway.kit.signing import Signer, Verdict

NOON = 1_795_435_200 * SECOND
LATER = NOON + 600 * SECOND
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

signer = Signer((b"secret",))


def test_a_token_is_good_until_it_expires() -> None:
    """A token is valid until its exact time."""
    token = signer.sign("batch", LATER)

    assert Verdict.VALID is signer.verify(token, "batch", NOON)
    assert Verdict.VALID is signer.verify(token, "batch", LATER - 1)
    assert Verdict.EXPIRED is signer.verify(token, "batch", LATER)
    assert Verdict.EXPIRED is signer.verify(token, "batch", LATER + SECOND)


def test_a_token_is_good_for_one_subject() -> None:
    """A token is valid for its subject only."""
    token = signer.sign("batch", LATER)

    assert Verdict.FORGED is signer.verify(token, "batch2", NOON)
    assert Verdict.FORGED is signer.verify(token, "", NOON)


def test_a_forged_token_is_not_called_expired() -> None:
    """A forged token is never reported as expired."""
    token = Signer((b"another",)).sign("batch", NOON - SECOND)

    assert Verdict.FORGED is signer.verify(token, "batch", NOON)


def test_keys_can_be_rotated() -> None:
    """The first key signs, all keys verify; a removed key verifies nothing."""
    old = signer.sign("batch", LATER)
    rotated = Signer((b"new", b"secret"))
    new = rotated.sign("batch", LATER)

    assert Verdict.VALID is rotated.verify(old, "batch", NOON)
    assert Verdict.VALID is rotated.verify(new, "batch", NOON)
    assert Verdict.FORGED is signer.verify(new, "batch", NOON)
    assert Verdict.FORGED is Signer((b"new",)).verify(old, "batch", NOON)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(min_size=1))
def test_a_token_is_one_plain_word(subject: str, key: bytes) -> None:
    """A token needs no escaping in a URL."""
    made = Signer((key,))
    token = made.sign(subject, LATER)

    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert Verdict.VALID is made.verify(token, subject, NOON)


@given(st.text(max_size=50) | st.text(ALPHABET, max_size=50))
def test_any_text_is_no_token(text: str) -> None:
    """Any other text is forged, and no error."""
    assert Verdict.FORGED is signer.verify(text, "batch", NOON)


@pytest.mark.parametrize("place", range(34))
def test_a_changed_token_is_forged(place: int) -> None:
    """A token with any changed letter except the last is forged."""
    token = signer.sign("batch", LATER)
    changed = [token[:place] + letter + token[place + 1 :] for letter in ALPHABET]
    changed.remove(token)

    assert {Verdict.FORGED} == {
        signer.verify(changed_token, "batch", NOON) for changed_token in changed
    }


@pytest.mark.parametrize("change", ["", "A", "AAAA", ".", "\n", " ", "é"])
def test_a_longer_or_shorter_token_is_forged(change: str) -> None:
    """A token with added or missing letters is forged."""
    token = signer.sign("batch", LATER)
    changed = token + change if change else token[:-1]

    assert Verdict.FORGED is signer.verify(changed, "batch", NOON)


def test_a_token_has_one_spelling() -> None:
    """A token with another last letter is forged."""
    token = signer.sign("batch", LATER)
    changed = [token[:-1] + letter for letter in ALPHABET if letter != token[-1]]

    assert {Verdict.FORGED} == {
        signer.verify(changed_token, "batch", NOON) for changed_token in changed
    }


def test_a_token_is_written_in_one_alphabet() -> None:
    """A token with `+`, `/` or `=` is forged."""
    tokens = [signer.sign("batch", LATER + number * SECOND) for number in range(20)]
    changed = [token.replace("-", "+").replace("_", "/") for token in tokens]
    changed = [changed_token for changed_token in changed if changed_token not in tokens] + [
        f"{token}=" for token in tokens
    ]

    assert {Verdict.FORGED} == {
        signer.verify(changed_token, "batch", NOON) for changed_token in changed
    }
