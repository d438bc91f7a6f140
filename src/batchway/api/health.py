"""`/healthz`: 200 once the API and a worker are ready."""

from dataclasses import dataclass

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from batchway.store import leases
from batchway.store.database import Database


@dataclass(frozen=True)
class Health:
    """Tells whether batches that are submitted now will be run now."""

    database: Database

    def get(self, _http: HttpRequest) -> Response:
        """200, or 503 while no worker is ready."""
        with self.database.read() as connection:
            is_ready = leases.is_any_ready(connection)
        state = {"status": "ready" if is_ready else "waiting for a worker"}
        return JSONResponse(state, status_code=200 if is_ready else 503)
