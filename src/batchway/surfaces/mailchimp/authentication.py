"""Finds the account of a request by its API key, in each form in which clients send the key."""

import base64
import binascii
from collections.abc import Callable, Mapping
from time import monotonic

from batchway import limits
from batchway.contract.problems import api_key_invalid, api_key_missing
from batchway.kit.ids import hash_api_key
from batchway.model.account import Identity
from batchway.store import accounts
from batchway.store.database import Database

_PLAIN_SCHEMES = frozenset({"bearer", "oauth", "apikey"})


class ApiKeyAuthenticator:
    """Finds the account of an API key, and remembers it for a moment.

    So most requests need no look-up. A key may be accepted for `known_key_seconds` after it is
    revoked. Only the hashes of keys are remembered.
    """

    def __init__(self, database: Database, time: Callable[[], float] = monotonic) -> None:
        self._database = database
        self._time = time
        self._known: dict[bytes, tuple[Identity, float]] = {}  # each until a time

    def recall(
        self, authorization: str | None, method: str, params: Mapping[str, str]
    ) -> Identity | None:
        """Return the identity if its key was found a moment ago. Raises a 401 without a key."""
        known = self._known.get(hash_api_key(_find_key(authorization, method, params)))
        if known is None or known[1] < self._time():
            return None
        return known[0]

    def authenticate(
        self, authorization: str | None, method: str, params: Mapping[str, str]
    ) -> Identity:
        """Return the account and the API key of a request. Raises a 401."""
        key = _find_key(authorization, method, params)
        known_until = self._time() + limits.known_key_seconds
        with self._database.read() as connection:
            identity = accounts.identify(connection, key)
        if identity is None:
            raise api_key_invalid()
        if len(self._known) >= limits.known_keys_max:
            self._known.clear()
        self._known[hash_api_key(key)] = identity, known_until
        return identity


def _find_key(authorization: str | None, method: str, params: Mapping[str, str]) -> str:
    in_query = params.get("apikey") if method == "GET" else None
    in_header = _read_header(authorization) if authorization else None
    if in_query and in_header and in_query != in_header:
        raise api_key_invalid()
    key = in_header or in_query
    if not key:
        raise api_key_missing()
    return key


def _read_header(authorization: str) -> str | None:
    scheme, _, rest = authorization.strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "basic":
        return _decode_password(rest)
    if scheme.lower() in _PLAIN_SCHEMES:
        return rest
    raise api_key_invalid()


def _decode_password(encoded: str) -> str | None:
    """Return the password of a Basic header. URL-safe base64 is accepted as well."""
    try:
        raw = base64.urlsafe_b64decode(
            encoded.translate(_URL_SAFE).rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4)
        )
        _, _, password = raw.decode().partition(":")
    except (binascii.Error, ValueError):
        raise api_key_invalid() from None
    return password or None


_URL_SAFE = str.maketrans("+/", "-_")
