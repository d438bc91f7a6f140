"""The download of a result archive. It needs no key, because its link is signed."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import structlog
from anyio import move_on_after
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from batchway import limits
from batchway.contract.problems import Refused, database_busy
from batchway.contract.result_links import ResultLinks
from batchway.errors import ArchiveMissing, DatabaseBusy
from batchway.kit.logs import log_exception
from batchway.kit.signing import Verdict
from batchway.lifecycle.parts import Parts
from batchway.model.batch import Batch
from batchway.store import batches
from batchway.surfaces.concurrency_limit import ConcurrencyLimit
from batchway.surfaces.threads import run_in_thread

log = structlog.get_logger(__name__)

_BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True)
class ResultDownloads:
    """Serves result archives."""

    parts: Parts
    result_links: ResultLinks
    downloads: ConcurrencyLimit

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. Downloads have a bound of their own.

        A link needs no key, so that who has one must not use up the requests of its key.
        """
        http = HttpRequest(scope, receive)
        with ExitStack() as held:
            found = await self._find_batch_or_refuse(http)
            if isinstance(found, Batch):
                try:
                    held.enter_context(self.downloads.hold_slot(found.api_key_id))
                    found = await run_in_thread(partial(self._open_archive, found))
                except Refused as refused:
                    found = _refuse(refused)
            with move_on_after(limits.download_seconds_max):  # then the connection ends
                await found(scope, receive, send)

    async def _find_batch_or_refuse(self, http: HttpRequest) -> Batch | Response:
        try:
            return await run_in_thread(partial(self._find_batch, http))
        except DatabaseBusy:
            return _refuse(database_busy())

    def _find_batch(self, http: HttpRequest) -> Batch | Response:
        if http.method not in {"GET", "HEAD"}:
            return PlainTextResponse("Only GET.\n", 405, headers={"Allow": "GET"})
        public_id = http.path_params["batch_id"]
        verdict = self.result_links.check_token(public_id, http.query_params.get("t", ""))
        if verdict is not Verdict.VALID:
            return PlainTextResponse(_REFUSALS[verdict], status_code=403)
        with self.parts.database.read() as connection:
            batch = batches.find_by_public_id(connection, public_id, self.parts.get_results_since())
        if batch is None or batch.archive_key is None:
            return PlainTextResponse(_GONE, status_code=404)
        return batch

    def _open_archive(self, batch: Batch) -> Response:
        """Return the response that streams the archive. Its gzip is not a content encoding."""
        public_id = batch.public_id
        try:
            size, file = self.parts.archive.get_size(public_id), self.parts.archive.open(public_id)
        except ArchiveMissing:
            log_exception(log, "archive_missing", batch=batch.id)
            return PlainTextResponse(_GONE, status_code=404)
        return StreamingResponse(
            _read_blocks(file),
            media_type="application/gzip",
            headers={
                "Content-Length": str(size),
                "Content-Disposition": f'attachment; filename="{public_id}-response.tar.gz"',
                "Cache-Control": "private, no-store",
            },
        )


def _refuse(refused: Refused) -> Response:
    return PlainTextResponse(
        f"{refused.problem.detail}\n", refused.problem.status, headers=dict(refused.headers)
    )


def _read_blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block


_REFUSALS = {
    Verdict.EXPIRED: "This link has expired. Ask for the batch's status to get a fresh one.\n",
    Verdict.FORGED: "This link is not valid. Ask for the batch's status to get a fresh one.\n",
}
_GONE = "There are no results here: the batch was deleted, or its seven days are over.\n"
