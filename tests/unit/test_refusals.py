"""How refusals of the core are shown in /3.0."""

import pytest

from batchway.errors import Refusal, RefusalKind
from batchway.surfaces.mailchimp.refusals import find_problem, render_refusal

STATUSES = {
    RefusalKind.WRONG: 400,
    RefusalKind.CONFLICT: 409,
    RefusalKind.TOO_MANY: 429,
    RefusalKind.NO_ROOM: 503,
    RefusalKind.KEY_REVOKED: 401,
    RefusalKind.CANCELLED: 499,
    RefusalKind.FAILED: 500,
    RefusalKind.NOT_SENT: 503,
    RefusalKind.OUTCOME_UNKNOWN: 504,
}


@pytest.mark.parametrize("kind", RefusalKind)
def test_every_kind_has_a_status(kind: RefusalKind) -> None:
    """Every kind of refusal has a status and a text, as a problem and as a result."""
    refusal = Refusal(kind, "Because.")

    assert STATUSES[kind] == find_problem(refusal).problem.status
    assert STATUSES[kind] == render_refusal(refusal).status_code


def test_wrong_fields_are_named() -> None:
    """Each wrong field is one error of the problem."""
    problem = find_problem(Refusal(RefusalKind.WRONG, fields={"body": "It is no text."})).problem

    assert problem.errors
    assert [("body", "It is no text.")] == [
        (error.field, error.message) for error in problem.errors
    ]
