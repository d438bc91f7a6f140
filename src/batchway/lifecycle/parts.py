"""The objects that every step uses; created in `app.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from batchway.archives.base import Archive
from batchway.errors import Refusal
from batchway.formats.base import Format
from batchway.kit.clock import DAY, Clock, Microseconds
from batchway.lifecycle.running_steps import RunningSteps
from batchway.limits import Limits
from batchway.model.batch import Batch
from batchway.model.result import Result
from batchway.model.step import HandOver
from batchway.observers.base import Observers
from batchway.results import Filter, Results
from batchway.store.database import Database
from batchway.targets.table import TargetTable


@dataclass(frozen=True)
class Parts:
    """The database, the archive store, the targets and so on that are in use.

    `formats` are the results formats by name; new batches use the one with `format_name`.
    `render_refusal` returns the result of an operation that is not run, in a surface's words.
    `observe` passes an event to the observers. `worker` is the name under which this process claims
    steps, and the name of its lease if it is a worker; `running` are the steps that it runs.
    """

    database: Database
    archive: Archive
    targets: TargetTable
    clock: Clock
    hand_over: HandOver
    worker: str
    limits: Limits
    formats: Mapping[str, Format]
    format_name: str
    render_refusal: Callable[[Refusal], Result]
    observe: Observers
    running: RunningSteps = field(default_factory=RunningSteps)

    def get_results_since(self) -> Microseconds:
        """Return the time since which submitted batches still have their results."""
        return self.clock() - self.limits.result_days * DAY

    def get_format(self, batch: Batch) -> Format:
        """Return the format of a batch's results, which was fixed when it was submitted."""
        return self.formats[batch.format_name]

    def read_results(self, batch: Batch, wanted: Filter) -> Results:
        """Return a reader of the results of a batch that match a filter."""
        return Results(self.database, self.archive, self.get_format(batch), batch, wanted)
