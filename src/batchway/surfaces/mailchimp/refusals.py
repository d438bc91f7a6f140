"""Maps each kind of refusal of the core to a problem of /3.0. No other module does."""

from batchway.contract.problems import (
    FieldError,
    Refused,
    api_key_invalid,
    bad_request,
    conflict,
    internal_error,
    invalid_fields,
    no_room,
    not_sent,
    operation_cancelled,
    outcome_unknown,
    too_many_requests,
)
from batchway.contract.response import encode
from batchway.errors import Refusal, RefusalKind
from batchway.model.result import Result

_WITH_DETAIL = {
    RefusalKind.WRONG: bad_request,
    RefusalKind.CONFLICT: conflict,
    RefusalKind.TOO_MANY: too_many_requests,
    RefusalKind.NOT_SENT: not_sent,
    RefusalKind.OUTCOME_UNKNOWN: outcome_unknown,
}
_WITHOUT_DETAIL = {
    RefusalKind.NO_ROOM: no_room,
    RefusalKind.KEY_REVOKED: api_key_invalid,
    RefusalKind.CANCELLED: operation_cancelled,
    RefusalKind.FAILED: internal_error,
}


def find_problem(refusal: Refusal) -> Refused:
    """Return the problem for a refusal."""
    if refusal.fields:
        return invalid_fields(*(FieldError(*each) for each in refusal.fields.items()))
    if refusal.kind in _WITH_DETAIL:
        return _WITH_DETAIL[refusal.kind](refusal.detail)
    return _WITHOUT_DETAIL[refusal.kind]()


def render_refusal(refusal: Refusal) -> Result:
    """Return the result of an operation that was not run."""
    problem = find_problem(refusal).problem
    return Result.from_bytes(problem.status, encode(problem))
