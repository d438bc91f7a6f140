"""Calls on a server that runs in the process of the tests."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette

from tests.faults.by_hand import BASE
from tests.scenario import KEY


@dataclass(frozen=True)
class Client:
    """Calls on a server that has no worker, in this process: its clock and its limits are ours."""

    app: Starlette

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One call under /3.0; returns when its reply has ended."""
        url = f"{BASE}/3.0{path}"
        return anyio.run(partial(self._request, method, url, auth=("any", KEY), **more))

    def fetch(self, url: str) -> httpx.Response:
        """What stands behind a link, without a key."""
        return anyio.run(self._request, "GET", url)

    async def _request(self, method: str, url: str, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app)) as client:
            return await client.request(method, url, **more)
