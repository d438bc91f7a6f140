"""The signed, expiring links to result archives."""

from dataclasses import dataclass

from batchway.kit.clock import SECOND, Clock
from batchway.kit.signing import Signer, Verdict
from batchway.model.batch import Batch


@dataclass(frozen=True)
class ResultLinks:
    """Makes `response_body_url`, good for `link_seconds`, and checks what comes back."""

    signer: Signer
    clock: Clock
    link_seconds: int

    def url(self, batch: Batch, base: str) -> str:
        """A fresh link; an empty text while there is nothing to download.

        `base` is the address that the asking client reaches us by.
        """
        if not batch.has_results:
            return ""
        expires_at = self.clock() + self.link_seconds * SECOND
        token = self.signer.sign(_subject(batch.public_id), expires_at)
        return f"{base}{path(batch.public_id)}?t={token}"

    def check(self, public_id: str, token: str) -> Verdict:
        """Whether a token opens the results of this batch."""
        return self.signer.verify(token, _subject(public_id), self.clock())


def path(public_id: str) -> str:
    """Where the results of a batch are served."""
    return f"/results/{public_id}-response.tar.gz"


def _subject(public_id: str) -> str:
    return f"results:{public_id}"
