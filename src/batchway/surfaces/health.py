"""`/healthz`: 200 once the API and a worker are ready."""

from dataclasses import dataclass, field

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from batchway.store import leases
from batchway.store.database import Database
from batchway.surfaces.threads import Turns, in_thread


@dataclass(frozen=True)
class Health:
    """Tells whether batches that are submitted now will be run now."""

    database: Database
    _turns: Turns = field(default_factory=lambda: Turns(1))  # its own: calls may take all others

    async def get(self, _http: HttpRequest) -> Response:
        """200, or 503 while no worker is ready."""
        is_ready = await in_thread(self._is_ready, self._turns)
        state = {"status": "ready" if is_ready else "waiting for a worker"}
        return JSONResponse(state, status_code=200 if is_ready else 503)

    def _is_ready(self) -> bool:
        with self.database.read() as connection:
            return leases.is_any_ready(connection)
