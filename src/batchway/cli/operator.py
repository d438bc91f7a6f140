"""What the operator's commands share: settings from options, logs, and making keys."""

import json
import os
import re
from typing import Any

from batchway import settings as settings_module
from batchway.errors import SettingsError
from batchway.kit.clock import system_clock
from batchway.kit.ids import new_api_key
from batchway.kit.logs import configure
from batchway.model.account import Account
from batchway.settings import Settings
from batchway.store import accounts
from batchway.store.database import Database

FIRST_ACCOUNT = "Default"
_PRIVATE = 0o077
_KEY_FORM = re.compile(r"[!-9;-~]{8,128}")  # printable, without spaces and colons


def load_settings(**given: Any) -> Settings:  # noqa: ANN401 - whatever the command line gave
    """Settings, with logs set up by them; what this process writes is for its owner alone."""
    os.umask(_PRIVATE)
    loaded = settings_module.load(**given)
    configure(loaded.log_level)
    return loaded


def description(name: str) -> str:
    """What `--help` says of a setting: the same as its reference."""
    return str(Settings.model_fields[name].description)


def variables(loaded: Settings) -> dict[str, str]:
    """The settings as environment variables, for child processes."""
    kept = {
        "BATCHWAY_DATA_DIR": str(loaded.data_dir.resolve()),
        "BATCHWAY_DATABASE_URL": loaded.database_url,
        "BATCHWAY_PUBLIC_URL": loaded.public_url,
        "BATCHWAY_REFUSE_FAKE_ADDRESSES": str(loaded.refuse_fake_addresses).lower(),
        "BATCHWAY_RESULT_FILES": loaded.result_files,
        "BATCHWAY_EGRESS_ALLOW": ",".join(map(str, loaded.egress_allow)),
        "BATCHWAY_LIMITS": json.dumps(loaded.limits),
        "BATCHWAY_LOG_LEVEL": loaded.log_level,
    }
    if loaded.secret_key is not None:
        kept["BATCHWAY_SECRET_KEY"] = loaded.secret_key.get_secret_value()
    return kept


def parent_fd(variable: str) -> int | None:
    """A descriptor that the supervisor has passed on, if this is a child of one."""
    value = os.environ.get(variable)
    return int(value) if value else None


def ensure_key(database: Database, wanted: str | None) -> str | None:
    """Make sure that there is a key: the one wanted, or any. Answers a key only if it is new.

    May be called any number of times.
    """
    with database.write() as connection:
        now = system_clock()
        if wanted is None and accounts.keys(connection):
            return None
        if wanted is not None and not _KEY_FORM.fullmatch(wanted):
            message = (
                "BATCHWAY_API_KEY needs 8 to 128 printable characters without spaces and colons. "
                "Clients of Mailchimp want 32 hexadecimal digits and -us1."
            )
            raise SettingsError(message)
        known = accounts.every(connection)
        account = known[0] if known else accounts.create(connection, FIRST_ACCOUNT, now)
        key = wanted or new_api_key()
        is_new = accounts.add_key(connection, account.id, key, "made by serve", now)
        return key if is_new and wanted is None else None


def add_key(database: Database, account: Account, label: str) -> str:
    """A new key of an account; shown this once, never stored."""
    key = new_api_key()
    with database.write() as connection:
        accounts.add_key(connection, account.id, key, label, system_clock())
    return key
