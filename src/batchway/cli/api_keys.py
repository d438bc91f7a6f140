"""Makes API keys. A key is shown once. Only its hash is stored."""

import re

from batchway.errors import SettingsError
from batchway.kit.clock import system_clock
from batchway.kit.ids import new_api_key
from batchway.model.account import Account
from batchway.store import accounts
from batchway.store.database import Database

FIRST_ACCOUNT = "Default"
_KEY_FORM = re.compile(r"[!-9;-~]{8,128}")  # printable, without spaces and colons


def add_key(database: Database, account: Account, label: str) -> str:
    """Make a key for an account and return it."""
    key = new_api_key()
    with database.write() as connection:
        accounts.add_key(connection, account.id, key, label, system_clock())
    return key


def ensure_key(database: Database, wanted: str | None) -> str | None:
    """Make sure that the wanted key exists or, if none is wanted, that any key exists.

    Returns the key only if this call generated it. May be called any number of times.
    """
    with database.write() as connection:
        if wanted is None and accounts.find_keys(connection):
            return None
        if wanted is not None and not _KEY_FORM.fullmatch(wanted):
            message = (
                "BATCHWAY_API_KEY must have 8 to 128 printable characters without spaces and "
                "colons. Mailchimp clients expect 32 hexadecimal digits followed by -us1."
            )
            raise SettingsError(message)
        now = system_clock()
        known = accounts.find_all(connection)
        account = known[0] if known else accounts.create(connection, FIRST_ACCOUNT, now)
        key = wanted or new_api_key()
        is_new = accounts.add_key(connection, account.id, key, "made by serve", now)
        return key if is_new and wanted is None else None
