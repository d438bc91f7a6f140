"""Which refusal an operation gets as its result if there was no response."""

from batchway.errors import Refusal, RefusalKind
from batchway.model.result import NoAnswer, NoAnswerReason

_KINDS = {
    NoAnswerReason.NOT_SENT: RefusalKind.NOT_SENT,
    NoAnswerReason.UNKNOWN: RefusalKind.OUTCOME_UNKNOWN,
}


def explain_no_answer(missing: NoAnswer) -> Refusal:
    """Return the refusal for a missing response, which each surface renders in its own words."""
    return Refusal(_KINDS[missing.reason], missing.detail)
