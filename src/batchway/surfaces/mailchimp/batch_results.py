"""The results of a batch without its archive, while it runs and after. An extension."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import msgspec

from batchway import limits
from batchway.contract.description import ON_ONE, ON_PAGE, Described, Parameter
from batchway.contract.fields import select_fields
from batchway.contract.links import Links
from batchway.contract.paging import page
from batchway.contract.problems import invalid_field, not_found
from batchway.contract.request import Request
from batchway.contract.response import Response, encode
from batchway.contract.stream import NDJSON, Stream, accepts
from batchway.lifecycle.parts import Parts
from batchway.model.account import Identity
from batchway.model.batch import Batch, Status
from batchway.model.operation import Operation
from batchway.results import Filter, RecordedResult, Results
from batchway.surfaces.mailchimp.batches import TAG, find_batch
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
    """Answers the calls on single results of a batch."""

    parts: Parts

    def routes(self) -> tuple[Route, ...]:
        """Method, path and answer of each call."""
        return (
            Route(
                "GET",
                "/batches/{batch_id}/operations",
                self.list,
                Described(
                    "The results recorded so far, in the order of the operations.",
                    query=(*FILTERS, *ON_PAGE),
                    reply=OperationResults,
                    reply_types=(NDJSON,),
                    notes=f"An extension. With `Accept: {NDJSON}` all of them, one a line; then "
                    "`fields` and `exclude_fields` name fields of one result.",
                    tag=TAG,
                ),
            ),
            Route(
                "GET",
                "/batches/{batch_id}/operations/{position}",
                self.get,
                Described(
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
                self.errors,
                Described(
                    "The failures so far, grouped by what went wrong.",
                    query=ON_ONE,
                    reply=BatchErrors,
                    notes="An extension.",
                    tag=TAG,
                ),
            ),
        )

    def list(self, request: Request, identity: Identity, links: Links) -> Response:
        """The results recorded so far, in the order of the operations.

        A page ends early when its responses are large together; the next one begins behind it.
        """
        batch = find_batch(self.parts, request, identity)
        results = self._results(batch, filter_of(request.params))
        if accepts(request.headers.get("accept", ""), NDJSON):
            return Response(200, Stream(NDJSON, _lines(request, results)))
        wanted = page(request.params)
        found, total = results.read_page(wanted.count, wanted.offset, limits.answer_bytes_max)
        itself = f"/batches/{batch.public_id}"
        return Response(
            200,
            OperationResults(
                [_result(each) for each in found],
                batch.public_id,
                total,
                links.collection(
                    "Batches/Operations", itself, f"{itself}/operations", create=False
                ),
            ),
        )

    def get(self, request: Request, identity: Identity, _links: Links) -> Response:
        """One operation, with its result if there is one yet; 404 if there will never be."""
        batch = find_batch(self.parts, request, identity)
        position = _number(request.path_params["position"])
        if position is None or position >= batch.operation_count:
            raise not_found()
        wanted_page = _number(request.params.get("page", "0"))
        if wanted_page is None:
            raise invalid_field("page", "This value should be a whole number of 0 or more.")
        found = self._results(batch).find(position, wanted_page)
        if found is None:
            raise not_found()
        operation, recorded = found
        if recorded is not None:
            return Response(200, _result(recorded))
        if batch.status is Status.FINISHED:
            raise not_found()
        return Response(200, _pending(position, wanted_page, operation))

    def errors(self, request: Request, identity: Identity, links: Links) -> Response:
        """The failures so far, grouped by what went wrong."""
        batch = find_batch(self.parts, request, identity)
        groups = ErrorGroups(self.parts.limits.error_groups_max)
        for each in self._results(batch, Filter(errored=True)).iterate():
            groups.add(each.position, each.operation, each.status_code, each.response)
        itself = f"/batches/{batch.public_id}"
        return Response(
            200,
            BatchErrors(
                batch.public_id,
                groups.count,
                groups.groups(),
                links.collection("Batches/Errors", itself, f"{itself}/errors", create=False),
            ),
        )

    def _results(self, batch: Batch, wanted: Filter | None = None) -> Results:
        return self.parts.read_results(batch, wanted or Filter())


def filter_of(params: Mapping[str, str], *, errored: bool | None = None) -> Filter:
    """The results that a query string asks for.

    `errored` is the default of that parameter, unless a status code says what is wanted.
    """
    status_code = params.get("status_code", "").strip()
    number = _number(status_code)
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


def _lines(request: Request, results: Results) -> Iterator[bytes]:
    """All results from the offset on, or as many as are asked for; `fields` are those of one."""
    wanted = page(request.params)
    count = wanted.count if request.params.get("count", "").strip() else None
    found = islice(results.iterate(wanted.offset), count)
    replies = (select_fields(Response(200, _result(each)), request.params) for each in found)
    return (encode(reply.body) + b"\n" for reply in replies)


def _result(recorded: RecordedResult) -> OperationResult:
    return OperationResult(
        recorded.position,
        recorded.page,
        recorded.operation.operation_id,
        recorded.operation.method,
        recorded.operation.path,
        recorded.status_code,
        msgspec.Raw(recorded.response),
    )


def _pending(position: int, wanted_page: int, operation: Operation) -> OperationResult:
    return OperationResult(
        position,
        wanted_page,
        operation.operation_id,
        operation.method,
        operation.path,
        None,
        _NO_RESPONSE,
    )


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) < 10  # noqa: PLR2004 - 32 bits
    return int(text) if is_number else None
