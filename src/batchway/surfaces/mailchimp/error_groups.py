"""Groups the failures of a batch by status, title and field, each with a count and samples."""

from dataclasses import dataclass, field

import msgspec

from batchway import limits
from batchway.contract.problems import FieldError
from batchway.model.operation import Operation
from batchway.surfaces.mailchimp.bodies.batches import ErrorGroup, ErrorSample

_OTHERS = "Other errors"


class _ProblemDocument(msgspec.Struct):
    """The parts of a problem document that an upstream may have sent."""

    title: str = ""
    detail: str = ""
    errors: list[FieldError] = []


@dataclass
class _Group:
    message: str
    count: int = 0
    samples: list[ErrorSample] = field(default_factory=list)


_problem_documents = msgspec.json.Decoder(_ProblemDocument)


class ErrorGroups:
    """Collects failures in at most `groups_max` groups, and one more for each status code."""

    def __init__(self, groups_max: int) -> None:
        self._groups_max = groups_max
        self._groups: dict[tuple[int, str, str], _Group] = {}
        self.count = 0

    def add(self, position: int, operation: Operation, status_code: int, response: bytes) -> None:
        """Add a failed operation. One with several wrong fields counts in several groups."""
        self.count += 1
        document = _parse_problem(response)
        errors = document.errors or [FieldError("", document.detail)]
        for name, message in {each.field: each.message for each in errors}.items():
            group = self._find_group((status_code, document.title, name), message)
            group.count += 1
            if len(group.samples) < limits.error_samples_max:
                group.samples.append(
                    ErrorSample(position, operation.operation_id, operation.path, message)
                )

    def list_groups(self) -> list[ErrorGroup]:
        """Return the groups, the largest one first."""
        found = [
            ErrorGroup(status_code, title, name, group.message, group.count, group.samples)
            for (status_code, title, name), group in self._groups.items()
        ]
        return sorted(found, key=lambda group: (-group.count, group.status_code, group.field))

    def _find_group(self, key: tuple[int, str, str], message: str) -> _Group:
        if key not in self._groups and len(self._groups) >= self._groups_max:
            key, message = (key[0], _OTHERS, ""), ""
        return self._groups.setdefault(key, _Group(message))


def _parse_problem(response: bytes) -> _ProblemDocument:
    try:
        return _problem_documents.decode(response)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _ProblemDocument()  # the upstream describes failures in a form of its own
