"""The error tree. None of these knows HTTP; `contract/problems.py` maps what a client may see.

BatchwayError
├── SettingsError        a setting is missing or wrong; says which and what to do
├── SchemaError          the database's schema is not the one this version needs
├── DataFolderInUse      another process tree holds the data folder
├── DatabaseBusy         a lock or a connection was not free in time
├── ArchiveMissing       the archive store has nothing under a key
├── ArchiveUnwritable    the archive store could not keep what it was given
├── Stale                what a plan rests on has changed; plan again
└── HandOverRefused      a hand-over that would never run; a programming error
"""


class BatchwayError(Exception):
    """The root; its text is written for the person who reads it."""


class SettingsError(BatchwayError):
    """One or more settings are missing or wrong."""


class SchemaError(BatchwayError):
    """The database needs `batchway migrate`, or belongs to a newer version."""


class DataFolderInUse(BatchwayError):
    """A second process tree was started on one data folder."""


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
