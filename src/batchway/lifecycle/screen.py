"""Screen: check operations by the rules of every target, before a target gets them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from batchway.errors import Refusal
from batchway.model.operation import Operation
from batchway.model.result import Result
from batchway.targets.base import check_operation


@dataclass(frozen=True)
class ScreenedOperations:
    """The operations that a target may get, and the results of all others, by index."""

    admitted: Sequence[Operation]
    refused: Mapping[int, Result]

    def merge(self, results: Sequence[Result]) -> Sequence[Result]:
        """Return the results of all operations, in order, from those of the admitted ones.

        If the target answered only the first operations, so does the merged sequence.
        """
        if not self.refused:
            return results
        merged: list[Result] = []
        remaining = iter(results)
        for index in range(len(self.admitted) + len(self.refused)):
            result = self.refused.get(index) or next(remaining, None)
            if result is None:
                break
            merged.append(result)
        return merged


def screen_operations(
    operations: Sequence[Operation], render_refusal: Callable[[Refusal], Result]
) -> ScreenedOperations:
    """Apply the rules to each operation."""
    refused: dict[int, Result] = {}
    for index, operation in enumerate(operations):
        try:
            check_operation(operation)
        except Refusal as refusal:
            refused[index] = render_refusal(refusal)
    if not refused:
        return ScreenedOperations(operations, refused)
    admitted = [operation for index, operation in enumerate(operations) if index not in refused]
    return ScreenedOperations(admitted, refused)
