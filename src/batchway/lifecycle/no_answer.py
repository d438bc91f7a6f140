"""What a missing response of a target means for the operation."""

from batchway.errors import Refusal, RefusalKind
from batchway.model.result import NoAnswer, NoAnswerReason

_KINDS = {
    NoAnswerReason.NOT_SENT: RefusalKind.NOT_SENT,
    NoAnswerReason.UNKNOWN: RefusalKind.OUTCOME_UNKNOWN,
}


def explain_no_answer(missing: NoAnswer) -> Refusal:
    """Return the refusal that stands for a missing response; each surface has words for it."""
    return Refusal(_KINDS[missing.reason], missing.detail)
