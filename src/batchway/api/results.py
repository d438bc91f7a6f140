"""The download of a result archive: no key is asked for, the link is the permission."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import structlog
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from batchway.api.links import ResultLinks
from batchway.archives.base import Archive
from batchway.errors import ArchiveMissing
from batchway.kit.clock import Clock
from batchway.kit.signing import Verdict
from batchway.store import batches
from batchway.store.database import Database

log = structlog.get_logger(__name__)

_BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Results:
    """Serves result archives."""

    database: Database
    archive: Archive
    result_links: ResultLinks
    clock: Clock

    def get(self, http: HttpRequest) -> Response:
        """The archive, as it is: its gzip is the payload, not a transfer encoding."""
        public_id = http.path_params["batch_id"]
        verdict = self.result_links.check(public_id, http.query_params.get("t", ""))
        if verdict is not Verdict.VALID:
            return PlainTextResponse(_REFUSALS[verdict], status_code=403)
        with self.database.read() as connection:
            batch = batches.find_by_public_id(connection, public_id, self.clock())
        if batch is None or batch.archive_key is None:
            return PlainTextResponse(_GONE, status_code=404)
        try:
            size, file = self.archive.size(batch.archive_key), self.archive.open(batch.archive_key)
        except ArchiveMissing:
            log.exception("archive_missing", batch=batch.id)
            return PlainTextResponse(_GONE, status_code=404)
        return StreamingResponse(
            _blocks(file),
            media_type="application/gzip",
            headers={
                "Content-Length": str(size),
                "Content-Disposition": f'attachment; filename="{public_id}-response.tar.gz"',
                "Cache-Control": "private, no-store",
            },
        )


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block


_REFUSALS = {
    Verdict.EXPIRED: "This link has expired. Ask for the batch's status to get a fresh one.\n",
    Verdict.FORGED: "This link is not valid. Ask for the batch's status to get a fresh one.\n",
}
_GONE = "There are no results here: the batch was deleted, or its seven days are over.\n"
