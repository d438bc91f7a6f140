"""The signed, expiring links to result archives."""

from dataclasses import dataclass

from batchway.archives.base import Archive
from batchway.kit.clock import SECOND, Clock
from batchway.kit.signing import Signer, Verdict
from batchway.model.batch import Batch


@dataclass(frozen=True)
class ResultLinks:
    """Makes `response_body_url`, good for `link_seconds`, and checks what comes back."""

    signer: Signer
    archive: Archive
    clock: Clock
    link_seconds: int

    def url(self, batch: Batch, base: str) -> str:
        """A fresh link; an empty text while there is nothing to download.

        It leads to the archive store if that serves archives itself, or else to the API, which the
        client reaches by the address `base`.
        """
        if not batch.has_results:
            return ""
        link = self.archive.link(batch.public_id, self.link_seconds)
        if link is not None:
            return link
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
