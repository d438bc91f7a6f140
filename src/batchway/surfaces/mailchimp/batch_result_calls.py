"""Single results and errors of a batch, also while it runs. Extensions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import msgspec

from batchway import limits
from batchway.contract.description import ON_ONE, ON_PAGE, CallDescription, Parameter
from batchway.contract.fields import select_fields
from batchway.contract.links import Links
from batchway.contract.paging import parse_page
from batchway.contract.problems import invalid_field, not_found
from batchway.contract.request import Request
from batchway.contract.response import Response, encode
from batchway.contract.stream import NDJSON, Stream, accepts
from batchway.lifecycle.parts import Parts
from batchway.model.account import Identity
from batchway.model.batch import Batch, Status
from batchway.model.operation import Operation
from batchway.results import Filter, RecordedResult, Results
from batchway.surfaces.mailchimp.batch_calls import TAG, find_batch
from batchway.surfaces.mailchimp.bodies.batches import (
    BatchErrors,
    OperationResult,
    OperationResults,
)
from batchway.surfaces.mailchimp.error_groups import ErrorGroups
from batchway.surfaces.mailchimp.route import Route

FILTERS = (
    Parameter(
        name="status_code", description="Results with this status.", kind="integer", example=404
    ),
    Parameter(
        name="errored", description="Only results that are errored, or only others.", kind="boolean"
    ),
    Parameter(name="operation_id", description="Results of operations with this id."),
    Parameter(name="path", description="Results of operations on this path.", example="/lists"),
)
_PAGE = Parameter(
    name="page",
    description="Which page of a GET that pages; the first one is 0.",
    kind="integer",
    minimum=0,
    default=0,
)
_NO_RESPONSE = msgspec.Raw(b"null")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class BatchResultCalls:
    """Answers the calls on single results and errors of a batch."""

    parts: Parts

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of these calls."""
        return (
            Route(
                "GET",
                "/batches/{batch_id}/operations",
                self.list,
                CallDescription(
                    "The results recorded so far, in the order of the operations.",
                    query=(*FILTERS, *ON_PAGE),
                    reply=OperationResults,
                    reply_types=(NDJSON,),
                    notes=f"An extension. With `Accept: {NDJSON}`, all results, one a line; then "
                    "`fields` and `exclude_fields` name fields of one result.",
                    tag=TAG,
                ),
            ),
            Route(
                "GET",
                "/batches/{batch_id}/operations/{position}",
                self.get,
                CallDescription(
                    "One operation, with its result if there is one yet.",
                    query=(_PAGE, *ON_ONE),
                    reply=OperationResult,
                    notes="An extension.",
                    tag=TAG,
                ),
            ),
            Route(
                "GET",
                "/batches/{batch_id}/errors",
                self.list_errors,
                CallDescription(
                    "The failures so far, grouped by what went wrong.",
                    query=ON_ONE,
                    reply=BatchErrors,
                    notes="An extension.",
                    tag=TAG,
                ),
            ),
        )

    def list(self, request: Request, identity: Identity, links: Links) -> Response:
        """Answer with the results so far, in the order of the operations.

        A page of results ends early if its responses are large.
        """
        batch = find_batch(self.parts, request, identity)
        results = self._read_results(batch, parse_filter(request.params))
        if accepts(request.headers.get("accept", ""), NDJSON):
            return Response(200, Stream(NDJSON, _stream_lines(request, results)))
        wanted = parse_page(request.params)
        found, total = results.read_page(wanted.count, wanted.offset, limits.answer_bytes_max)
        itself = f"/batches/{batch.public_id}"
        return Response(
            200,
            OperationResults(
                [_build_result(each) for each in found],
                batch.public_id,
                total,
                links.build_collection_links(
                    "Batches/Operations", itself, f"{itself}/operations", create=False
                ),
            ),
        )

    def get(self, request: Request, identity: Identity, _links: Links) -> Response:
        """Answer with one operation, and its result if there is one.

        Raises a 404 if there is none and the batch is finished.
        """
        batch = find_batch(self.parts, request, identity)
        position = _parse_number(request.path_params["position"])
        if position is None or position >= batch.operation_count:
            raise not_found()
        wanted_page = _parse_number(request.params.get("page", "0"))
        if wanted_page is None:
            raise invalid_field("page", "This value should be a whole number of 0 or more.")
        found = self._read_results(batch).find(position, wanted_page)
        if found is None:
            raise not_found()
        operation, recorded = found
        if recorded is not None:
            return Response(200, _build_result(recorded))
        if batch.status is Status.FINISHED:
            raise not_found()
        return Response(200, _build_pending_result(position, wanted_page, operation))

    def list_errors(self, request: Request, identity: Identity, links: Links) -> Response:
        """Answer with the failures so far, grouped by reason."""
        batch = find_batch(self.parts, request, identity)
        groups = ErrorGroups(self.parts.limits.error_groups_max)
        for each in self._read_results(batch, Filter(errored=True)).iterate():
            groups.add(each.position, each.operation, each.status_code, each.response)
        itself = f"/batches/{batch.public_id}"
        return Response(
            200,
            BatchErrors(
                batch.public_id,
                groups.count,
                groups.list_groups(),
                links.build_collection_links(
                    "Batches/Errors", itself, f"{itself}/errors", create=False
                ),
            ),
        )

    def _read_results(self, batch: Batch, wanted: Filter | None = None) -> Results:
        return self.parts.read_results(batch, wanted or Filter())


def parse_filter(params: Mapping[str, str], *, errored: bool | None = None) -> Filter:
    """Return the filter that the parameters describe.

    `errored` is the default of the parameter `errored` if there is no `status_code`.
    """
    status_code = params.get("status_code", "").strip()
    number = _parse_number(status_code)
    if status_code and number is None:
        raise invalid_field("status_code", "This value should be a status code, such as 404.")
    flag = params.get("errored", "").strip().lower()
    if flag and flag not in _FLAGS:
        raise invalid_field("errored", "This value should be true or false.")
    return Filter(
        status_code=number,
        errored=_FLAGS[flag] if flag else errored if number is None else None,
        operation_id=params.get("operation_id"),
        path=params.get("path"),
    )


def _stream_lines(request: Request, results: Results) -> Iterator[bytes]:
    """Yield each result as a line of JSON, from the offset on, up to the count if there is one.

    The parameter `fields` selects fields of each result.
    """
    wanted = parse_page(request.params)
    count = wanted.count if request.params.get("count", "").strip() else None
    found = islice(results.iterate(wanted.offset), count)
    replies = (select_fields(Response(200, _build_result(each)), request.params) for each in found)
    return (encode(reply.body) + b"\n" for reply in replies)


def _build_result(recorded: RecordedResult) -> OperationResult:
    return OperationResult(
        recorded.position,
        recorded.page,
        recorded.operation.operation_id,
        recorded.operation.method,
        recorded.operation.path,
        recorded.status_code,
        msgspec.Raw(recorded.response),
    )


def _build_pending_result(position: int, wanted_page: int, operation: Operation) -> OperationResult:
    return OperationResult(
        position,
        wanted_page,
        operation.operation_id,
        operation.method,
        operation.path,
        None,
        _NO_RESPONSE,
    )


def _parse_number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) < 10  # noqa: PLR2004 - 32 bits
    return int(text) if is_number else None
