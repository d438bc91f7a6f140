"""The bodies of batches, their progress, their results and their errors."""

from collections.abc import Sequence

import msgspec

from batchway.contract.links import Link


class BatchBody(msgspec.Struct, frozen=True, rename={"links": "_links"}):
    """A batch as the contract shows it."""

    id: str
    status: str
    total_operations: int
    finished_operations: int
    errored_operations: int
    submitted_at: str = ""
    completed_at: str = ""
    response_body_url: str = ""
    links: list[Link] = []


class BatchList(msgspec.Struct, frozen=True, rename={"links": "_links"}):
    """A page of batches."""

    batches: list[BatchBody]
    total_items: int
    links: list[Link] = []


class BatchProgress(msgspec.Struct, frozen=True):
    """The status of a batch, and its progress. The body of a batch can be read as one."""

    id: str
    status: str
    total_operations: int
    finished_operations: int
    errored_operations: int
    operations_per_second: float | None = None
    estimated_end: str = ""
    waiting_for: str = ""
    retry_of: str = ""


class ErrorSample(msgspec.Struct, frozen=True):
    """One operation that failed."""

    position: int
    operation_id: str | None
    path: str
    detail: str


class ErrorGroup(msgspec.Struct, frozen=True):
    """Operations that failed for the same reason. `message` is that of the first of them."""

    status_code: int
    title: str
    field: str
    message: str
    count: int
    samples: Sequence[ErrorSample]


class BatchErrors(msgspec.Struct, frozen=True, rename={"links": "_links"}):
    """Why operations of a batch failed."""

    batch_id: str
    errored_operations: int
    groups: list[ErrorGroup]
    links: list[Link] = []


class Validation(msgspec.Struct, frozen=True, rename={"links": "_links"}):
    """The result of a validation: the operations of a batch that would fail."""

    valid: bool
    total_operations: int
    checked_operations: int
    errored_operations: int
    groups: list[ErrorGroup]
    links: list[Link] = []


class OperationResult(msgspec.Struct, frozen=True):
    """One operation with its result; without a status code there is no result yet."""

    position: int
    page: int
    operation_id: str | None
    method: str
    path: str
    status_code: int | None
    response: msgspec.Raw


class OperationResults(msgspec.Struct, frozen=True, rename={"links": "_links"}):
    """A page of results."""

    operations: list[OperationResult]
    batch_id: str
    total_items: int
    links: list[Link] = []
