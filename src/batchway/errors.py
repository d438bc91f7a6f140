"""The error tree. None of these knows HTTP: a surface turns what a client may see into a status.

BatchwayError
├── SettingsError        a setting is missing or wrong; says which and what to do
├── SchemaError          the database's schema is not the one this version needs
├── DataFolderInUse      another `batchway serve` uses the data folder
├── OtherInstallation    the process has other archives or another secret key than the others
├── Refusal              the core does not do what a client asked for; has a kind
├── DatabaseBusy         a lock or a connection was not free in time
├── ArchiveMissing       the archive store has no archive under a key
├── ArchiveUnwritable    the archive store could not store an archive
├── Stale                what a plan is based on has changed; it must be planned again
└── HandOverRefused      a hand-over that could never be run; a programming error
"""

from collections.abc import Mapping
from enum import Enum


class BatchwayError(Exception):
    """The base class. Its text is written for people, not for programs."""


class SettingsError(BatchwayError):
    """One or more settings are missing or wrong."""


class SchemaError(BatchwayError):
    """The database needs `batchway migrate`, or belongs to a newer version."""


class DataFolderInUse(BatchwayError):
    """Another `batchway serve` uses the data folder."""


class OtherInstallation(BatchwayError):
    """The archives or the secret key of this process are not those of the other processes."""


class RefusalKind(Enum):
    """Why something is refused. Each surface decides on the status code and the words of a kind."""

    WRONG = "wrong"  # the request is not valid; `fields` may name what is wrong
    CONFLICT = "conflict"  # the present state does not allow it
    TOO_MANY = "too many"  # the account has reached a limit
    NO_ROOM = "no room"  # the disk is nearly full
    KEY_REVOKED = "key revoked"  # the API key was, before the operation was run
    CANCELLED = "cancelled"  # the batch was, before the operation was run
    FAILED = "failed"  # because of an error of this server
    NOT_SENT = "not sent"  # the receiver did not get the operation
    OUTCOME_UNKNOWN = "outcome unknown"  # it was sent, but no response was recorded


class Refusal(BatchwayError):
    """The core does not do what a client asked for. Nothing took effect, unless the kind says so.

    `detail` is a sentence for the client; it is empty if the kind says everything. `fields` has a
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
    """The archive store has no archive under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"There is no archive with the key {key!r}.")


class ArchiveUnwritable(BatchwayError):
    """The archive could not be stored completely; what its key had before is unchanged."""


class Stale(BatchwayError):
    """What a plan is based on was changed before the plan was written."""


class HandOverRefused(BatchwayError):
    """The engine was asked to hand over a step that it could never run."""
