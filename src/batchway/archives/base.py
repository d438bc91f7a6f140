"""The contract of an archive store, which keeps finished result archives by key.

An archive is complete or absent: readers never see a part of one.
"""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol

_KEY = re.compile(r"[0-9a-z]{1,40}")


class Archive(Protocol):
    """Keeps the bytes of result archives. Safe for concurrent threads and processes.

    A key has 1 to 40 of the characters `0-9a-z`. Every method raises ValueError for other keys.
    """

    def write(self, key: str, parts: Iterable[bytes]) -> int:
        """Store the joined parts under the key, and return their number of bytes.

        The archive is durable when this returns. Until then, and if this raises or the process
        dies, readers see the previous archive. A second call with the same key replaces the
        archive. Raises ArchiveUnwritable if the store cannot keep the parts. Exceptions of the
        iterator `parts` are passed on, except OSError, which becomes an ArchiveUnwritable.
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """Open the archive for reading; the caller closes it. Raises ArchiveMissing.

        Later writes and deletes do not change what the reader sees.
        """
        ...

    def get_size(self, key: str) -> int:
        """Return the number of stored bytes. Raises ArchiveMissing."""
        ...

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on, or fewer if the archive ends before.

        Raises ArchiveMissing, and ValueError for a negative offset or length.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the archive, if it exists."""
        ...

    def list_keys(self) -> Iterator[str]:
        """Yield the keys of all archives, in no particular order.

        Archives may be written and deleted meanwhile.
        """
        ...

    def get_identity(self) -> str:
        """Return the id of this store, which the first call creates and keeps in the store.

        All processes that use the store get the same id, also by different paths, and also after
        the store was moved. Raises ArchiveUnwritable if the store cannot keep the id.
        """
        ...

    def build_link(self, key: str, seconds: int) -> str | None:
        """Return a URL from which a client can download the archive for so many seconds.

        Returns None if the store has no such URLs: then the API serves the archive.
        """
        ...

    def get_free_bytes(self) -> int | None:
        """Return how many bytes can still be stored, or None if that is unknown."""
        ...

    def sweep_temporary(self) -> int:
        """Remove the temporary files of dead writers, and return their number.

        A live writer keeps its file, however long it pauses and whatever a clock shows. A writer
        whose file was removed nevertheless raises ArchiveUnwritable.
        """
        ...


def check_key(key: str) -> None:
    """Raise ValueError unless this is a valid key. A valid key names no path outside the store."""
    if _KEY.fullmatch(key) is None:
        message = f"An archive key is 1 to 40 of 0-9a-z, not {key!r}."
        raise ValueError(message)
