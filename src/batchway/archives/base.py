"""The contract of an archive store: finished result archives, each whole or absent, by key."""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol

_KEY = re.compile(r"[0-9a-z]{1,40}")


class Archive(Protocol):
    """Keeps the bytes of result archives. Safe for many threads and processes at once.

    A key is 1 to 40 of `0-9a-z`; every method refuses any other with ValueError.
    """

    def write(self, key: str, parts: Iterable[bytes]) -> int:
        """Store the joined parts under the key and answer how many bytes they are.

        Durable when it returns. Until then, and for good when it raises or the writer dies,
        readers see what was there before. May be called again with the same key: the last one
        wins. Raises ArchiveUnwritable when the store cannot take the parts; what `parts` itself
        raises is passed on, but an OSError as the cause of an ArchiveUnwritable.
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """The stored bytes from the start, for the caller to close. Raises ArchiveMissing.

        A later write or delete does not disturb them.
        """
        ...

    def size(self, key: str) -> int:
        """How many bytes are stored. Raises ArchiveMissing."""
        ...

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, fewer where the archive ends before.

        Raises ArchiveMissing, and ValueError for a negative offset or length.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the archive. A missing one is no error, so this may be called twice."""
        ...

    def keys(self) -> Iterator[str]:
        """The keys of all whole archives, in no order; writes and deletes may go on meanwhile."""
        ...

    def get_identity(self) -> str:
        """An id of this store, made at the first call and kept in the store.

        All who use the same store get the same one, whatever they call its place; so an archive
        store that was moved keeps it. Raises ArchiveUnwritable if the store cannot keep it.
        """
        ...

    def link(self, key: str, seconds: int) -> str | None:
        """A URL under which a client can download the archive for so long.

        None if the store has no such URLs: then the API serves the archive itself.
        """
        ...

    def free_bytes(self) -> int | None:
        """How much more can be stored, or None where there is no telling."""
        ...

    def sweep_temporary(self, older_than_seconds: float) -> int:
        """Remove what dead writers left behind and answer how many pieces that were.

        Older means: nothing was written to it for that long. Choose it longer than any live
        writer pauses; one that was robbed all the same gets ArchiveUnwritable and leaves nothing.
        """
        ...


def check_key(key: str) -> None:
    """Raise ValueError unless this is a key; so no key can name a path outside the store."""
    if _KEY.fullmatch(key) is None:
        message = f"An archive key is 1 to 40 of 0-9a-z, not {key!r}."
        raise ValueError(message)
