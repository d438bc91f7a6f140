"""Signed links to result archives, which expire."""

from dataclasses import dataclass

from batchway.archives.base import Archive
from batchway.kit.clock import SECOND, Clock
from batchway.kit.signing import Signer, Verdict
from batchway.model.batch import Batch


@dataclass(frozen=True)
class ResultLinks:
    """Builds the links of `response_body_url`, which last `link_seconds`, and checks them."""

    signer: Signer
    archive: Archive
    clock: Clock
    link_seconds: int

    def build_url(self, batch: Batch, base: str) -> str:
        """Return a new link, or an empty text while the batch has no results.

        It leads to the archive store if that serves archives itself, or else to the API, which the
        client reaches by the address `base`.
        """
        if not batch.has_results:
            return ""
        link = self.archive.build_link(batch.public_id, self.link_seconds)
        if link is not None:
            return link
        expires_at = self.clock() + self.link_seconds * SECOND
        token = self.signer.sign(_build_subject(batch.public_id), expires_at)
        return f"{base}{build_path(batch.public_id)}?t={token}"

    def check_token(self, public_id: str, token: str) -> Verdict:
        """Check whether a token gives access to the results of this batch."""
        return self.signer.verify(token, _build_subject(public_id), self.clock())


def build_path(public_id: str) -> str:
    """Return the path that the results of a batch are served from."""
    return f"/results/{public_id}-response.tar.gz"


def _build_subject(public_id: str) -> str:
    return f"results:{public_id}"
