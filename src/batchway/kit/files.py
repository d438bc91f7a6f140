"""Files and folders that are there as a whole, or not at all, also after a loss of power."""

import os
import tempfile
from pathlib import Path

_FOLDER_MODE = 0o700


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner can read, and its parents, unless they exist.

    A loss of power after the call cannot take the folder away.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=_FOLDER_MODE if each == folder else 0o777, exist_ok=True)
        sync_folder(each.parent)


def create_file(path: Path, content: bytes) -> None:
    """Create a file, readable by its owner only. Raises FileExistsError if it exists.

    A process that dies at any point leaves the whole file, or none under this name.
    """
    descriptor, name = tempfile.mkstemp(".new", f".{path.name}.", path.parent)  # of mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _move_to_new_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _move_to_new_name(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)  # unlike a rename, this never replaces another file
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that a loss of power cannot take a new or renamed entry away."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
