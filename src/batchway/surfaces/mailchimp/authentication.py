"""Finds the account of a request by its API key, in each form in which clients send the key."""

import base64
import binascii
from collections.abc import Mapping

from batchway.contract.problems import api_key_invalid, api_key_missing
from batchway.model.account import Identity
from batchway.store import accounts
from batchway.store.database import Database

_PLAIN_SCHEMES = frozenset({"bearer", "oauth", "apikey"})


def authenticate(
    database: Database, authorization: str | None, method: str, params: Mapping[str, str]
) -> Identity:
    """Return the account and the API key of a request. Raises a 401."""
    key = _find_key(authorization, method, params)
    with database.read() as connection:
        identity = accounts.identify(connection, key)
    if identity is None:
        raise api_key_invalid()
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
