"""Calls an ASGI app in the process of the tests."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette

from tests.scenario import KEY
from tests.step_runner import BASE


@dataclass(frozen=True)
class AsgiClient:
    """Calls an app that has no worker. The test controls its clock and its limits."""

    app: Starlette

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Call a path under /3.0, and return when the reply has ended."""
        url = f"{BASE}/3.0{path}"
        return anyio.run(partial(self._request, method, url, auth=("any", KEY), **more))

    def fetch(self, url: str) -> httpx.Response:
        """GET a URL without a key."""
        return anyio.run(self._request, "GET", url)

    async def _request(self, method: str, url: str, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app)) as client:
            return await client.request(method, url, **more)
