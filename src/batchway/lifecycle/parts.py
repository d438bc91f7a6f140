"""What every step works with; wired in `app.py`."""

from dataclasses import dataclass

from batchway.archives.base import Archive
from batchway.kit.clock import Clock
from batchway.model.batch import Layout
from batchway.model.step import HandOver
from batchway.store.database import Database
from batchway.targets.base import Target


@dataclass(frozen=True)
class Parts:
    """The database, the families' members in use, the clock and the engine's hand-over.

    `layout` is that of the archives of new batches.
    """

    database: Database
    archive: Archive
    target: Target
    clock: Clock
    hand_over: HandOver
    layout: Layout = Layout.PER_OPERATION
