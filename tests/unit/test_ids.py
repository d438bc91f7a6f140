"""Random ids, and ids that are derived from values."""

import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.kit import ids

KEY_MAX = (1 << 63) - 1
keys = st.integers(0, KEY_MAX)


def test_public_ids() -> None:
    """A public id has ten hexadecimal digits, and is random."""
    made = {ids.new_public_id() for _ in range(1_000)}

    assert 1_000 == len(made)
    assert all(re.fullmatch("[0-9a-f]{10}", made_id) for made_id in made)


def test_api_keys() -> None:
    """An API key has the form that client libraries require, and is random."""
    made = {ids.new_api_key() for _ in range(1_000)}

    assert 1_000 == len(made)
    assert all(re.fullmatch("[0-9a-f]{32}-us1", made_id) for made_id in made)


def test_the_hash_of_a_key() -> None:
    """The hash depends on the whole key."""
    key = "0123456789abcdef0123456789abcdef-us1"

    assert sha256(key.encode()).digest() == ids.hash_api_key(key)
    assert ids.hash_api_key(key) != ids.hash_api_key(key.removesuffix("-us1"))


def test_subscriber_hashes() -> None:
    """A subscriber hash is the MD5 of the lower-cased address."""
    assert "62eeb292278cc15f5817cb78f7790b08" == ids.compute_subscriber_hash(
        "Urist.McVankab@freddiesjokes.com"
    )
    assert "1020b8f7b35fa04503bbb1a6c0182ca9" == ids.compute_subscriber_hash("JÖRG@example.com")


def test_unique_email_ids() -> None:
    """An address has one id in an account, in any case, and another one in other accounts."""
    made = ids.compute_unique_email_id(1, "ann@example.com")

    assert re.fullmatch("[0-9a-f]{10}", made)
    assert made == ids.compute_unique_email_id(1, "Ann@Example.com")
    assert made != ids.compute_unique_email_id(2, "ann@example.com")
    assert made != ids.compute_unique_email_id(1, "bea@example.com")
    assert ids.compute_unique_email_id(1, "1:a@x.com") != ids.compute_unique_email_id(
        11, ":a@x.com"
    )


@given(keys)
def test_contact_ids_can_be_turned_back(key: int) -> None:
    """A contact id can be decoded, also in upper case, so it needs no column."""
    contact = ids.compute_contact_id(key)

    assert re.fullmatch("[0-9a-f]{32}", contact)
    assert key == ids.parse_contact_id(contact)
    assert key == ids.parse_contact_id(contact.upper())


@given(keys, keys)
def test_contact_ids_differ(one: int, other: int) -> None:
    """Two members have different contact ids."""
    assert (one == other) == (ids.compute_contact_id(one) == ids.compute_contact_id(other))


@given(keys, st.integers(0, 31), st.sampled_from("0123456789abcdef"))
def test_a_changed_contact_id_is_nobodys(key: int, place: int, digit: str) -> None:
    """A changed contact id belongs to no member."""
    contact = ids.compute_contact_id(key)
    changed = contact[:place] + digit + contact[place + 1 :]

    assert (key if changed == contact else None) == ids.parse_contact_id(changed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann@example.com",
        "0" * 32,
        "f" * 32,
        "g" * 32,
        ids.compute_contact_id(1)[:-1],
        ids.compute_contact_id(1) + "0",
        f" {ids.compute_contact_id(1)}",
        ids.compute_contact_id(1)[:16] + "+" + ids.compute_contact_id(1)[17:],
        ids.compute_contact_id(1)[:16] + "0x" + ids.compute_contact_id(1)[18:],
        "0" * 100_000,
        "\ud800" * 32,
    ],
)
def test_what_is_no_contact_id(text: str) -> None:
    """Any other text is None, not an error: it may be an address or a hash."""
    assert ids.parse_contact_id(text) is None


def test_a_key_that_is_too_large_is_nobodys() -> None:
    """A contact id with a number larger than any key is None."""
    assert ids.parse_contact_id(ids.compute_contact_id(KEY_MAX + 1)) is None
