"""The error tree. None of these knows HTTP: a surface turns what a client may see into a status.

BatchwayError
├── SettingsError        a setting is missing or wrong; says which and what to do
├── SchemaError          the database's schema is not the one this version needs
├── DataFolderInUse      another process tree holds the data folder
├── OtherInstallation    the process does not share what the others share: archives, secret key
├── Refusal              the core does not do what a client asked for; has a kind
├── DatabaseBusy         a lock or a connection was not free in time
├── ArchiveMissing       the archive store has nothing under a key
├── ArchiveUnwritable    the archive store could not keep what it was given
├── Stale                what a plan rests on has changed; plan again
└── HandOverRefused      a hand-over that would never run; a programming error
"""

from collections.abc import Mapping
from enum import Enum


class BatchwayError(Exception):
    """The root; its text is written for the person who reads it."""


class SettingsError(BatchwayError):
    """One or more settings are missing or wrong."""


class SchemaError(BatchwayError):
    """The database needs `batchway migrate`, or belongs to a newer version."""


class DataFolderInUse(BatchwayError):
    """A second process tree was started on one data folder."""


class OtherInstallation(BatchwayError):
    """The archives or the secret key of this process are not those of the other processes."""


class RefusalKind(Enum):
    """Why something is refused. Each surface gives a kind its own status and words."""

    WRONG = "wrong"  # it cannot be taken as it is; `fields` may name what is wrong
    CONFLICT = "conflict"  # it does not fit the present state
    TOO_MANY = "too many"  # the account has as much under way as it may have
    NO_ROOM = "no room"  # the disk is nearly full
    KEY_REVOKED = "key revoked"  # before the operation was run
    CANCELLED = "cancelled"  # the batch, before the operation was run
    FAILED = "failed"  # by a fault of ours
    NOT_SENT = "not sent"  # the operation never reached its receiver
    OUTCOME_UNKNOWN = "outcome unknown"  # it was sent, but no response was recorded


class Refusal(BatchwayError):
    """The core does not do what was asked for. It has had no effect, unless the kind says so.

    `detail` is a sentence for the client, where the kind does not say everything. `fields` has a
    message for each wrong field.
    """

    def __init__(
        self, kind: RefusalKind, detail: str = "", fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail or kind.value)
        self.kind = kind
        self.detail = detail
        self.fields = fields or {}


class DatabaseBusy(BatchwayError):
    """A lock or a connection of the database was not free in time. Nothing has taken effect."""


class ArchiveMissing(BatchwayError):
    """The archive store has nothing under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"There is no archive with the key {key!r}.")


class ArchiveUnwritable(BatchwayError):
    """The archive could not be written whole; nothing was left under its key."""


class Stale(BatchwayError):
    """Somebody changed what a plan rests on before it was written."""


class HandOverRefused(BatchwayError):
    """The engine was asked to hand over something that it could never run."""
