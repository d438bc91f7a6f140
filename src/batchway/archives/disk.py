"""Result archives as files in one folder of this machine."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from batchway.archives.base import check_key
from batchway.errors import ArchiveMissing, ArchiveUnwritable
from batchway.kit.files import make_folder, sync_folder
from batchway.kit.ids import new_archive_id

_SUFFIX = ".tar.gz"
_TEMPORARY_SUFFIX = ".writing"
_ARCHIVE_FILE = re.compile(r"([0-9a-z]{1,40})\.tar\.gz")
_TEMPORARY_FILE = re.compile(r"[0-9a-z]{1,40}\.[^.]+\.writing")
_FILE_MODE = 0o600
_IDENTITY_FILE = "identity"


class DiskArchive:
    """Keeps each archive in a file `{key}.tar.gz` that only its owner can read.

    The folder is created if it does not exist. Only processes of one machine may use it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)

    def write(self, key: str, parts: Iterable[bytes]) -> int:
        """Write a temporary file, sync it, rename it, and sync the folder."""
        path = self._path(key)
        try:
            return self._write_durably(key, path, parts)
        except OSError as error:
            message = (
                f"The result archive {path} could not be written: {error.strerror or error}. "
                "Make room there and check the folder's permissions, then write it again."
            )
            raise ArchiveUnwritable(message) from error

    def open(self, key: str) -> BinaryIO:
        """Open the file for reading."""
        try:
            return self._path(key).open("rb")
        except FileNotFoundError:
            raise ArchiveMissing(key) from None

    def get_size(self, key: str) -> int:
        """Return the size of the file."""
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            raise ArchiveMissing(key) from None

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Read a part of the file."""
        if offset < 0 or length < 0:
            message = f"Offset {offset} and length {length} must not be negative."
            raise ValueError(message)
        with self.open(key) as file:
            file.seek(offset)
            return file.read(length)

    def delete(self, key: str) -> None:
        """Remove the file.

        The folder is not synced. If a crash restores the file, the sweep removes it.
        """
        self._path(key).unlink(missing_ok=True)

    def list_keys(self) -> Iterator[str]:
        """Yield the keys of all files that have the name of an archive."""
        for name in self._file_names():
            if match := _ARCHIVE_FILE.fullmatch(name):
                yield match[1]

    def get_identity(self) -> str:
        """Return the content of the identity file, which the first process writes."""
        path = self._folder / _IDENTITY_FILE
        try:
            with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, _FILE_MODE), "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
                return file.read() or self._write_identity(file)
        except OSError as error:
            message = (
                f"The identity of the archive folder {path} could not be read or written: "
                f"{error.strerror or error}. Check the folder's permissions."
            )
            raise ArchiveUnwritable(message) from error

    def build_link(self, key: str, seconds: int) -> None:
        """Return None, because the API serves the files."""
        check_key(key)
        del seconds

    def get_free_bytes(self) -> int:
        """Return the space on the file system of the folder that this user can use."""
        return shutil.disk_usage(self._folder).free

    def sweep_temporary(self) -> int:
        """Remove temporary files that no process has locked."""
        temporaries = [
            self._folder / name for name in self._file_names() if _TEMPORARY_FILE.fullmatch(name)
        ]
        return sum(_remove_if_left(path) for path in temporaries)

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._folder / f"{key}{_SUFFIX}"

    def _write_durably(self, key: str, path: Path, parts: Iterable[bytes]) -> int:
        # mkstemp creates a new file (of mode 0600), so two writers of one key never share a file.
        descriptor, name = tempfile.mkstemp(_TEMPORARY_SUFFIX, f"{key}.", self._folder)
        temporary = Path(name)
        try:
            written = _write_and_rename(descriptor, parts, temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(self._folder)
        return written

    def _write_identity(self, file: TextIO) -> str:
        identity = new_archive_id()
        file.write(identity)
        file.flush()
        os.fsync(file.fileno())
        sync_folder(self._folder)
        return identity

    def _file_names(self) -> Iterator[str]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                yield entry.name


def _write_and_rename(descriptor: int, parts: Iterable[bytes], temporary: Path, path: Path) -> int:
    with os.fdopen(descriptor, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed: the sweep leaves it alone
        written = sum(file.write(part) for part in parts)
        file.flush()
        os.fsync(file.fileno())
        temporary.replace(path)
    return written


def _remove_if_left(path: Path) -> bool:
    """Remove a file unless a living process writes it. Returns whether this call removed it.

    The system ends the lock of a writer that dies. Another sweep may have removed the file, or its
    writer may have renamed it.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    return True
