"""Validate: what operations would come to, each through its own target and without effect."""

from collections import defaultdict
from collections.abc import Sequence

from batchway.contract.request import Caller
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.screen import screen
from batchway.model.operation import Operation
from batchway.model.result import Result


def validate(parts: Parts, caller: Caller, operations: Sequence[Operation]) -> Sequence[Result]:
    """Return one result for each operation, in order.

    Each is checked by itself: it sees what is there now, not what the others would do.
    """
    screened = screen(operations, parts.render_refusal)
    indexes: dict[str, list[int]] = defaultdict(list)
    for index, operation in enumerate(screened.admitted):
        indexes[parts.targets.find(operation.path).name].append(index)
    found: dict[int, Result] = {}
    for name, chosen in indexes.items():
        target = parts.targets.by_name[name].target
        results = target.check(caller, [screened.admitted[index] for index in chosen])
        found.update(zip(chosen, results, strict=True))
    return screened.merge([found[index] for index in range(len(screened.admitted))])
