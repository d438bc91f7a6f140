"""Housekeeping: removes from the archive store what nothing else would ever remove.

It lists the whole store, which takes long where there are many archives. So it is done once an hour
in one process, however many there are and however often they start.
"""

from batchway import limits
from batchway.kit.clock import compute_seconds
from batchway.lifecycle.parts import Parts
from batchway.observers.base import Event
from batchway.store import batches, installation


def keep_house(parts: Parts) -> None:
    """Do the housekeeping if it is due. If the process dies, the next one is in an hour."""
    with parts.database.write() as connection:
        if not installation.begin_housekeeping(connection, limits.housekeeping_seconds):
            return
    began_at = parts.clock()
    archives = _remove_orphans(parts)
    temporary_files = parts.archive.sweep_temporary(limits.temporary_archive_seconds)
    parts.observe(
        Event.HOUSEKEEPING_DONE,
        archives=archives,
        temporary_files=temporary_files,
        seconds=compute_seconds(began_at, parts.clock()),
    )


def _remove_orphans(parts: Parts) -> int:
    """Delete archives without a batch: it was deleted while a process that died wrote its archive.

    An archive is written after its batch, so none is deleted that is still to be used.
    """
    removed = 0
    for key in list(parts.archive.keys()):
        with parts.database.read() as connection:
            is_known = batches.exists(connection, key)
        if not is_known:
            parts.archive.delete(key)
            removed += 1
    return removed
