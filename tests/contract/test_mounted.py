"""The app of a server, mounted below a path of another application."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from batchway.store import batches
from tests.scenario import KEY, PING, Server, read_archive
from tests.sqlite import SqliteTemplate
from tests.step_runner import BASE, StepRunner, open_step_runner
from tests.steps import run

MOUNTED_AT = f"{BASE}/batch%20api"


@dataclass(frozen=True)
class Mounted:
    """Calls on an app that is mounted at a path with a space in it."""

    runner: StepRunner

    def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        """One request to the outer application."""
        return anyio.run(partial(self._request, method, url, **more))

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One call of the API, with a key."""
        return self.request(method, f"{MOUNTED_AT}/3.0{path}", auth=("any", KEY), **more)

    def run_batch(self, public_id: str) -> None:
        """Run a small batch to its end, as a worker does."""
        runner = self.runner
        with runner.parts.database.read() as connection:
            batch = batches.find(connection, runner.identity.account.id, public_id, 0)
        assert batch
        run(runner.parts, batch.id)

    async def _request(self, method: str, url: str, **more: Any) -> httpx.Response:
        outer = Starlette(routes=[Mount("/batch api", self.runner.app.asgi())])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(outer)) as client:
            return await client.request(method, url, **more)


@pytest.fixture
def mounted(sqlite_template: SqliteTemplate, tmp_path: Path) -> Iterator[Mounted]:
    """A mounted app without a worker."""
    server = Server(tmp_path, sqlite_template.copy_to(tmp_path))
    with open_step_runner(server) as runner:
        yield Mounted(runner)


def test_calls_and_links(mounted: Mounted) -> None:
    """Calls are answered, and every link leads below the mount."""
    created = mounted.call("POST", "/batches", json={"operations": [PING]})
    listed = mounted.call("GET", "/lists")

    assert (200, 200) == (created.status_code, listed.status_code)
    links = [*created.json()["_links"], *listed.json()["_links"]]
    assert links
    assert all(link["href"].startswith(f"{MOUNTED_AT}/3.0/") for link in links)


def test_results_are_downloaded(mounted: Mounted) -> None:
    """The link in `response_body_url` leads to the archive."""
    batch_id = mounted.call("POST", "/batches", json={"operations": [PING]}).json()["id"]
    mounted.run_batch(batch_id)

    url = mounted.call("GET", f"/batches/{batch_id}").json()["response_body_url"]

    assert url.startswith(f"{MOUNTED_AT}/results/")
    assert [200] == [
        result.status_code for result in read_archive(mounted.request("GET", url).content)
    ]


def test_documents(mounted: Mounted) -> None:
    """The OpenAPI document and the page name the address below the mount."""
    document = mounted.request("GET", f"{MOUNTED_AT}/openapi.json").json()
    page = mounted.request("GET", f"{MOUNTED_AT}/docs")

    assert [{"url": "/batch%20api/3.0"}] == document["servers"]
    assert 200 == page.status_code
    assert "/batch%20api" in page.text


def test_problems(mounted: Mounted) -> None:
    """A path that leads nowhere is a problem of the API."""
    reply = mounted.call("GET", "/lists/a%2Fb")

    assert (404, "Resource Not Found") == (reply.status_code, reply.json()["title"])


def test_outside_the_mount(mounted: Mounted) -> None:
    """The outer application answers all other paths itself."""
    assert 404 == mounted.request("GET", f"{BASE}/3.0/ping").status_code
