"""A batch of two chunks with errors of two kinds."""

from batchway.model.batch import Batch
from tests.scenario import NOWHERE, PING, Operation, add_member
from tests.step_runner import LARGE, StepRunner
from tests.steps import run


def submit_large_batch(runner: StepRunner) -> Batch:
    """Submit a batch; of each ten operations the first fails, and the second adds a member.

    All additions are of the same existing member, so that they fail. Operation 1 is a ping.
    """
    operations: list[Operation] = []
    for position in range(LARGE):
        operation = PING
        if position % 10 == 0:
            operation = NOWHERE
        elif position % 10 == 1:
            operation = add_member(runner.list_id, "0@example.com")
        operations.append(operation | {"operation_id": str(position)})
    # The second chunk may run first, so that the member is to be there before.
    if runner.count_members() == 0:
        run(runner.parts, runner.submit(runner.make_additions(1)).id)
    operations[1] = PING | {"operation_id": "1"}
    return runner.submit(operations)
