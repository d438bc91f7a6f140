"""A key that was found is known for a moment, and not longer."""

from collections.abc import Iterator

import pytest

from batchway import limits
from batchway.cli.api_keys import ensure_key
from batchway.contract.problems import Refused
from batchway.store import accounts
from batchway.store.database import Database
from batchway.surfaces.mailchimp.authentication import ApiKeyAuthenticator
from tests.scenario import KEY

OTHER = KEY.replace("0", "1")
BEARER: tuple[str, str, dict[str, str]] = (f"Bearer {KEY}", "GET", {})


class Clock:
    """Shows `now`, in seconds."""

    now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with one account and its key, of each kind in turn."""
    opened = Database(database_url)
    ensure_key(opened, KEY)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    """The clock of the authenticator."""
    return Clock()


@pytest.fixture
def authenticator(database: Database, clock: Clock) -> ApiKeyAuthenticator:
    """An authenticator that knows no key yet."""
    return ApiKeyAuthenticator(database, clock)


def revoke(database: Database, authenticator: ApiKeyAuthenticator) -> None:
    """Revoke the key, as another process does."""
    key_id = authenticator.authenticate(*BEARER).api_key_id
    with database.write() as connection:
        assert accounts.revoke_key(connection, key_id, now=0)


def test_a_key_is_known_after_it_was_found(authenticator: ApiKeyAuthenticator) -> None:
    """A key is known in each form in which it is sent, but only after a look-up."""
    assert authenticator.recall(*BEARER) is None

    identity = authenticator.authenticate(*BEARER)

    assert identity == authenticator.recall(*BEARER)
    assert identity == authenticator.recall(None, "GET", {"apikey": KEY})
    assert authenticator.recall(f"Bearer {OTHER}", "GET", {}) is None
    with pytest.raises(Refused):
        authenticator.recall(None, "POST", {"apikey": KEY})


def test_a_revoked_key_is_known_for_a_moment(
    database: Database, authenticator: ApiKeyAuthenticator, clock: Clock
) -> None:
    """A key that another process revokes is accepted until its time ends, and never again."""
    revoke(database, authenticator)

    clock.now += limits.known_key_seconds - 0.001
    assert authenticator.recall(*BEARER) is not None
    clock.now += 0.002
    assert authenticator.recall(*BEARER) is None
    with pytest.raises(Refused) as refused:
        authenticator.authenticate(*BEARER)
    assert 401 == refused.value.problem.status
    assert authenticator.recall(*BEARER) is None


def test_the_time_begins_before_the_look_up(
    database: Database, authenticator: ApiKeyAuthenticator, clock: Clock
) -> None:
    """A look-up that takes long does not prolong the time for which a key is known."""
    revoke(database, authenticator)
    read = database.read
    with database.write() as connection:
        accounts.add_key(connection, 1, OTHER, "", 0)

    def read_slowly() -> object:
        clock.now += limits.known_key_seconds + 0.001
        return read()

    database.read = read_slowly  # type: ignore[method-assign,assignment]
    authenticator.authenticate(f"Bearer {OTHER}", "GET", {})

    assert authenticator.recall(f"Bearer {OTHER}", "GET", {}) is None


def test_the_number_of_known_keys_has_a_limit(
    database: Database, authenticator: ApiKeyAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too many keys, all are forgotten but the last one; each is only looked up again."""
    monkeypatch.setattr(limits, "known_keys_max", 2)
    headers = [f"Bearer {digit * 32}-us1" for digit in "abc"]
    with database.write() as connection:
        for header in headers:
            accounts.add_key(connection, 1, header.removeprefix("Bearer "), "", 0)
    for header in headers:
        authenticator.authenticate(header, "GET", {})

    known = [authenticator.recall(header, "GET", {}) is not None for header in headers]

    assert [False, False, True] == known
