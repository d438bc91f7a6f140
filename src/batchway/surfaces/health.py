"""`/healthz`: 200 once the API and a worker are ready."""

from dataclasses import dataclass, field

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from batchway.store import leases
from batchway.store.database import Database
from batchway.surfaces.threads import ThreadLimit, run_in_thread


@dataclass(frozen=True)
class Health:
    """Reports whether a worker is ready to run batches."""

    database: Database
    # Not the default limit, because calls may use all of its threads.
    _thread_limit: ThreadLimit = field(default_factory=lambda: ThreadLimit(1))

    async def get(self, _http: HttpRequest) -> Response:
        """Answer with 200, or with 503 while no worker is ready."""
        is_ready = await run_in_thread(self._is_ready, self._thread_limit)
        state = {"status": "ready" if is_ready else "waiting for a worker"}
        return JSONResponse(state, status_code=200 if is_ready else 503)

    def _is_ready(self) -> bool:
        with self.database.read() as connection:
            return leases.is_any_ready(connection)
