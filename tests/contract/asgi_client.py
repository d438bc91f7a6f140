"""Calls an ASGI app in the process of the tests."""

import asyncio
from collections.abc import Sequence
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

    def call_at_once(self, calls: Sequence[tuple[str, str, Any]]) -> list[httpx.Response]:
        """Send calls (method, path, JSON body) that all wait at the same time."""
        return anyio.run(self._gather, calls)

    def fetch(self, url: str) -> httpx.Response:
        """GET a URL without a key."""
        return anyio.run(self._request, "GET", url)

    async def _gather(self, calls: Sequence[tuple[str, str, Any]]) -> list[httpx.Response]:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(
            transport=transport, base_url=BASE, auth=("any", KEY)
        ) as client:
            await client.get("/3.0/ping")  # so that the key is known, and no call waits for it
            requests = [
                client.request(method, f"/3.0{path}", json=body) for method, path, body in calls
            ]
            return await asyncio.gather(*requests)

    async def _request(self, method: str, url: str, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app)) as client:
            return await client.request(method, url, **more)
