"""The engine's books: which hand-overs will still be run, taken over, or deleted."""

from collections.abc import Sequence

import structlog
from dbos import DBOS, WorkflowStatus, error

from batchway import limits
from batchway.engine.hand_overs import workflow_id
from batchway.engine.lanes import LANES
from batchway.engine.running_hand_overs import RunningHandOvers
from batchway.kit.clock import SECOND, Clock, Microseconds, format_iso
from batchway.model.step import StepName, WrittenHandOver
from batchway.store import leases
from batchway.store.database import Database

log = structlog.get_logger(__name__)

_DELAY_SECONDS_MAX = 2 * limits.hand_over_retry_seconds_max
_UNDER_WAY = ["ENQUEUED", "PENDING", "DELAYED"]
_OVER = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


def find_lost(clock: Clock, written: Sequence[WrittenHandOver]) -> list[StepName]:
    """The steps whose newest hand-over the engine will not run in time; one question for all.

    All of these steps are due. So the longest delay of a hand-over is that of a step that failed,
    unless a clock has moved: `clock` is the one by which the engine ends delays.
    """
    ids = {workflow_id(each): each.name for each in written}
    under_way = DBOS.list_workflows(
        workflow_ids=list(ids), status=_UNDER_WAY, load_input=False, load_output=False
    )
    latest = clock() + int(_DELAY_SECONDS_MAX * SECOND)
    for each in under_way:
        if each.status != "DELAYED" or _get_delay_end(each) <= latest:
            ids.pop(each.workflow_id, None)
    return list(ids.values())


def _get_delay_end(hand_over: WorkflowStatus) -> Microseconds:
    return (hand_over.delay_until_epoch_ms or 0) * SECOND // 1_000


def take_over(database: Database, worker: str) -> None:
    """Let other workers run what dead ones had dequeued. `worker` is the caller, which lives.

    The books are read first and the leases second: a worker that takes a hand-over has a lease.
    """
    pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
    with database.read() as connection:
        alive = leases.find_live(connection) | {worker}
    _resume_pending([hand_over for hand_over in pending if hand_over.executor_id not in alive])


def end_lost(worker: str, running: RunningHandOvers) -> None:
    """End the hand-overs that this worker has dequeued and has lost: see `running_hand_overs.py`.

    The sweep finds that the steps wait without a hand-over, and hands them over under new ids. The
    same ids are not resumed: a thread of the engine may still try to record how they ended.
    """
    dequeued = DBOS.list_workflows(
        status="PENDING", executor_id=worker, load_input=False, load_output=False
    )
    lost = running.give_up_lost([hand_over.workflow_id for hand_over in dequeued])
    if lost:
        DBOS.cancel_workflows(lost)
        log.warning("hand_overs_lost", hand_overs=len(lost))


def _resume_pending(hand_overs: Sequence[WorkflowStatus]) -> None:
    for lane in set(LANES.values()):
        ids = [each.workflow_id for each in hand_overs if each.queue_name == lane.name]
        if ids:
            log.warning("taken_over", hand_overs=len(ids))
            _resume(ids, lane.name)


def _resume(workflow_ids: Sequence[str], queue: str) -> None:
    try:
        DBOS.resume_workflows(list(workflow_ids), queue_name=queue)
    except error.DBOSNonExistentWorkflowError:
        if len(workflow_ids) > 1:  # one of them is gone, which fails all
            for each in workflow_ids:
                _resume([each], queue)


def delete_old(clock: Clock) -> None:
    """Delete hand-overs that have been over for a while."""
    over = DBOS.list_workflows(
        status=_OVER,
        completed_before=format_iso(clock() - int(limits.overdue_seconds * SECOND)),
        limit=limits.swept_workflows_max,
        load_input=False,
        load_output=False,
    )
    if over:
        DBOS.delete_workflows([each.workflow_id for each in over])
