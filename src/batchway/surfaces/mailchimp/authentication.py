"""Who a request comes from: every form in which clients send an API key."""

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
    """The identity behind a key; raises 401."""
    key = _key(authorization, method, params)
    with database.read() as connection:
        identity = accounts.identify(connection, key)
    if identity is None:
        raise api_key_invalid()
    return identity


def _key(authorization: str | None, method: str, params: Mapping[str, str]) -> str:
    in_query = params.get("apikey") if method == "GET" else None
    in_header = _from_header(authorization) if authorization else None
    if in_query and in_header and in_query != in_header:
        raise api_key_invalid()
    key = in_header or in_query
    if not key:
        raise api_key_missing()
    return key


def _from_header(authorization: str) -> str | None:
    scheme, _, rest = authorization.strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "basic":
        return _password(rest)
    if scheme.lower() in _PLAIN_SCHEMES:
        return rest
    raise api_key_invalid()


def _password(encoded: str) -> str | None:
    """The password of a Basic header, whatever the user name; URL-safe base64 is taken too."""
    try:
        raw = base64.urlsafe_b64decode(
            encoded.translate(_URL_SAFE).rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4)
        )
        _, _, password = raw.decode().partition(":")
    except (binascii.Error, ValueError):
        raise api_key_invalid() from None
    return password or None


_URL_SAFE = str.maketrans("+/", "-_")
