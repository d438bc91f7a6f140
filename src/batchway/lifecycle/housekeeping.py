"""Housekeeping: remove files from the archive store that nothing else would remove.

It lists the whole store, which takes long if there are many archives. So one process does it once
an hour, however many processes there are and however often they start.
"""

from itertools import islice

from batchway import limits
from batchway.kit.clock import compute_seconds
from batchway.lifecycle.parts import Parts
from batchway.observers.base import Event
from batchway.store import batches, installation

_KEYS_AT_ONCE = 1_000


def do_housekeeping(parts: Parts) -> None:
    """Do the housekeeping if it is due. If the process dies, it is done an hour later."""
    with parts.database.write() as connection:
        if not installation.begin_housekeeping(connection, limits.housekeeping_seconds):
            return
    began_at = parts.clock()
    archives = _delete_orphans(parts)
    temporary_files = parts.archive.sweep_temporary()
    parts.observe(
        Event.HOUSEKEEPING_DONE,
        archives=archives,
        temporary_files=temporary_files,
        seconds=compute_seconds(began_at, parts.clock()),
    )


def _delete_orphans(parts: Parts) -> int:
    """Delete archives without a batch; return how many there were.

    A batch can be deleted while its archive is written, by a process that then dies. The keys are
    listed before the batches are read, so that each archive that is needed has its batch by then.
    """
    deleted = 0
    keys = iter(list(parts.archive.list_keys()))
    while page := list(islice(keys, _KEYS_AT_ONCE)):
        with parts.database.read() as connection:
            known = batches.select_existing(connection, page)
        for key in page:
            if key not in known:
                parts.archive.delete(key)
                deleted += 1
    return deleted
