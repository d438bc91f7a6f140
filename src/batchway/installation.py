"""Joins the installation: at its start, a process checks what all processes must share.

A worker that writes archives to another folder than the one the API reads, or that signs with
another key, would run without an error, but its results could not be downloaded. So it is refused.

Limits are not compared: a limit applies to one process, and processes with different limits can
work together.
"""

from collections.abc import Sequence

from batchway.archives.base import Archive
from batchway.errors import OtherInstallation
from batchway.kit.signing import fingerprint_key
from batchway.store import installation
from batchway.store.database import Database
from batchway.store.installation import Installation

_WAY_OUT = (
    "If it is gone for good, stop all processes and run: batchway migrate --forget-installation"
)


def join_installation(database: Database, archive: Archive, secret_keys: Sequence[bytes]) -> None:
    """Raise OtherInstallation unless archives and keys are those of the other processes.

    The first process decides which they are. To rotate the secret key, put a new one first: a
    process may join if any of its keys is the one that signs, and its first key signs from then on.
    """
    fingerprints = [fingerprint_key(key) for key in secret_keys]
    own = Installation(archive.get_identity(), fingerprints[0])
    with database.write() as connection:
        installation.insert_first(connection, own)
        found = installation.get(connection)
        _check_archive(found, own)
        _check_key(found, fingerprints)
        installation.change_key(connection, found.key_fingerprint, own.key_fingerprint)


def forget_installation(database: Database) -> None:
    """Let the next process that starts decide which archives and secret key all must have."""
    with database.write() as connection:
        installation.delete(connection)


def _check_archive(found: Installation, own: Installation) -> None:
    if found.archive_id != own.archive_id:
        message = (
            "The archives of this installation are kept in another folder than this process would "
            "use. Start it with the data folder of the other processes, on their machine: "
            f"--data-dir. {_WAY_OUT}"
        )
        raise OtherInstallation(message)


def _check_key(found: Installation, fingerprints: Sequence[str]) -> None:
    if found.key_fingerprint not in fingerprints:
        message = (
            "The other processes of this installation sign with another secret key. Set the same "
            "BATCHWAY_SECRET_KEY everywhere; to rotate it, put the new key first and keep the old "
            f"one behind it, separated by a comma. {_WAY_OUT}"
        )
        raise OtherInstallation(message)
