"""Which texts are e-mail addresses."""

import pytest
from email_validator import validate_email
from hypothesis import given
from hypothesis import strategies as st

from batchway.audience.members.email_address import check_email_address
from batchway.contract.problems import Problem, Refused

LONG = "a" * 64
LONGEST = f"{LONG}@{'b' * 63}.{'c' * 63}.{'d' * 57}.com"


def refusal(address: str, *, refuses_fake: bool = False) -> Problem:
    """Return the problem that an address is refused with."""
    with pytest.raises(Refused) as refused:
        check_email_address(address, refuses_fake=refuses_fake)
    assert (400, "Invalid Resource") == (
        refused.value.problem.status,
        refused.value.problem.title,
    )
    return refused.value.problem


@pytest.mark.parametrize(
    "address",
    [
        "ann@example.com",
        "Ann.Lee+tag@Sub.Example.COM",
        "o'brien@example.ie",
        "!#$%&'*+/=?^_`{|}~-@example.com",
        "1@2.io",
        "a@b.c",
        "a-b@x-y.co.uk",
        "ann@batchway.test",
        "ann@x.xn--p1ai",
        "ann@münchen.de",
        "user@例子.广告",
        '"ann lee"@example.com',
        f"{LONG}@example.com",
        LONGEST,
    ],
)
def test_an_address_is_kept_as_it_was_given(address: str) -> None:
    """The case of an address is kept; only its hash uses lower case."""
    assert address == check_email_address(address, refuses_fake=False)


def test_spaces_around_are_dropped() -> None:
    """Spaces around an address are removed."""
    assert "ann@example.com" == check_email_address("  ann@example.com ", refuses_fake=False)


@pytest.mark.parametrize(
    "address",
    [
        "ann",
        "ann@",
        "@example.com",
        "a@b",
        "a@localhost",
        "a@test",
        "a..b@x.com",
        ".a@x.com",
        "a.@x.com",
        "a@.x.com",
        "a@x..com",
        "a@x.com.",
        "a@-x.com",
        "a@x-.com",
        "a@x_y.com",
        "a@x.123",
        "a@127.0.0.1",
        "a@[127.0.0.1]",
        "a@ab--cd.com",
        "a@xn--zzzz99.com",
        "a@b@x.com",
        "jörg@example.com",
        "dirección@example.com",
        "用户@例子.广告",
        "a b@x.com",
        "a@x y.com",
        "Ann <ann@x.com>",
        "ann@x.com, bea@x.com",
        "ann@x.com\n",
        "\nann@x.com",
        "ann@x.com\r\n",
        "ann@x.com\t",
        "ann@x.com\u00a0",
        "ann\0@x.com",
        "ann@x\0.com",
        "\ud800@x.com",
        "ann\u202e@x.com",
        f"a{LONG}@example.com",
        f"ä{'a' * 64}@example.com",
        f"ann@{'b' * 64}.com",
        LONGEST.replace("ddd", "dddd"),
        "a" * 1_000_000,
        "a@" + "x." * 500_000 + "com",
    ],
)
def test_a_malformed_address(address: str) -> None:
    """All malformed addresses have the same message."""
    problem = refusal(address)

    assert "Please provide a valid email address." == problem.detail
    assert not problem.errors


@pytest.mark.parametrize("address", ["", " ", "\t", "\n", "\u00a0"])
def test_a_blank_address(address: str) -> None:
    """A blank address is an error of its field."""
    problem = refusal(address)

    assert problem.errors
    assert [("email_address", "This value should not be blank.")] == [
        (error.field, error.message) for error in problem.errors
    ]


@pytest.mark.parametrize(
    "address",
    [
        "ann@example.com",
        "ann@EXAMPLE.org",
        "ann@mail.example.net",
        "ann@x.test",
        "ann@x.invalid",
        "ann@x.localhost",
        "ann@x.example",
    ],
)
def test_fake_addresses_are_refused_where_that_is_set(address: str) -> None:
    """Addresses at reserved domains are refused only if the setting says so."""
    assert address == check_email_address(address, refuses_fake=False)
    assert (
        f"{address} looks fake or invalid, please enter a real email address."
        == refusal(address, refuses_fake=True).detail
    )


@pytest.mark.parametrize("address", ["ann@myexample.com", "ann@example.com.br", "example@x.com"])
def test_addresses_that_only_look_alike_are_not_fake(address: str) -> None:
    """Only a complete reserved domain is refused."""
    assert address == check_email_address(address, refuses_fake=True)


def test_a_malformed_address_is_not_called_fake() -> None:
    """The form of an address is checked first."""
    detail = refusal("a..b@example.com", refuses_fake=True).detail

    assert "Please provide a valid email address." == detail


atoms = st.text("aZ09!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=20)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


@given(
    st.lists(atoms, min_size=1, max_size=6).map(".".join),
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.sampled_from(["com", "museum", "Q", "c1", "1c"]),
)
def test_the_pattern_agrees_with_the_validator(local: str, domain: str, top: str) -> None:
    """The pattern and the validator accept the same addresses."""
    address = f"{local}@{domain}.{top}"

    assert is_valid(address) == is_accepted(address)


@given(st.text(st.sampled_from('aZ0.-_@+" \n\0é(),:;<>[]\\'), max_size=20).map("x@x.com".join))
def test_any_text(between: str) -> None:
    """Any text is accepted unchanged, or refused."""
    try:
        assert between.strip(" ") == check_email_address(between, refuses_fake=False)
    except Refused as refused:
        assert 400 == refused.problem.status  # noqa: PT017 - a refusal is one of two right answers


def is_accepted(address: str) -> bool:
    """Return whether our check accepts the address."""
    try:
        check_email_address(address, refuses_fake=False)
    except Refused:
        return False
    return True


def is_valid(address: str) -> bool:
    """Return whether the library accepts the address."""
    try:
        validate_email(address, check_deliverability=False, strict=True, test_environment=True)
    except ValueError:
        return False
    return True
