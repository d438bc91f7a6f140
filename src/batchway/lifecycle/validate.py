"""Validate: let the targets check operations without effect."""

from collections import defaultdict
from collections.abc import Sequence

from batchway.contract.request import Caller
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.screen import screen_operations
from batchway.model.operation import Operation
from batchway.model.result import Result


def validate_operations(
    parts: Parts, caller: Caller, operations: Sequence[Operation]
) -> Sequence[Result]:
    """Return the result that each operation would have, in order.

    Each operation is checked alone, against what is stored now, without the effects of the others.
    """
    screened = screen_operations(operations, parts.render_refusal)
    indexes: dict[str, list[int]] = defaultdict(list)
    for index, operation in enumerate(screened.admitted):
        indexes[parts.targets.find(operation.path).name].append(index)
    found: dict[int, Result] = {}
    for name, chosen in indexes.items():
        target = parts.targets.by_name[name].target
        results = target.check(caller, [screened.admitted[index] for index in chosen])
        found.update(zip(chosen, results, strict=True))
    return screened.merge([found[index] for index in range(len(screened.admitted))])
