"""Running servers that tests share, one for each database, and calls on them.

A test that uses them changes only what it has created.
"""

import io
import json
import socket
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import Connection, create_engine, text
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

from batchway.cli.api_keys import add_key
from batchway.kit.clock import system_clock
from batchway.store import accounts
from batchway.store.database import Database
from tests.audience import NEW_LIST
from tests.postgres import Postgres
from tests.scenario import KEY, Operation, Result, Server

PROBLEM = "application/problem+json; charset=utf-8"
JSON = "application/json; charset=utf-8"
TYPE = "https://mailchimp.com/developer/marketing/docs/errors/"

LOOPBACK = "127.0.0.0/8,::1/128"  # where receivers of webhooks listen
FAR_FUTURE = 4_000_000_000_000_000  # microseconds; a batch touched then is never overdue

# Database → the fixture of the shared server on it.
SERVER_FIXTURES = {"sqlite": "sqlite_server", "postgresql": "postgres_server"}

Body = Any
Call = tuple[str, str, Body]  # method, path, body
Answer = tuple[int, Any]  # status and body; an error without its instance


class SharedServerScheduling(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Runs all tests of a shared server in one process, so that it is started once.

    The marks of `--dist loadgroup` do not reach the scheduler: xdist 3.8 writes them into node ids,
    and pytest 9.2 no longer accepts that.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(("tests/contract/", "tests/clients/")):
            return "postgresql" if "postgresql" in nodeid else "sqlite"
        return nodeid


def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Producer | None
) -> SharedServerScheduling:
    """Return the scheduler of `make test`."""
    return SharedServerScheduling(config, log)


@contextmanager
def running_server(folder: Path, database_url: str = "", **variables: str) -> Iterator[Server]:
    """Run a server until the end of the block; `variables` are added to its environment."""
    server = Server(folder, database_url, variables={"BATCHWAY_EGRESS_ALLOW": LOOPBACK} | variables)
    try:
        yield server.start().wait_until_ready()
    finally:
        server.close()


@pytest.fixture(scope="session")
def sqlite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite, for all tests of this process."""
    with running_server(tmp_path_factory.mktemp("sqlite")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres
) -> Iterator[Server]:
    """A server on PostgreSQL, for all tests of this process."""
    folder = tmp_path_factory.mktemp("postgresql")
    with postgres.database() as url, running_server(folder, url) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server:
    """A shared server on each database in turn; `-k sqlite` or `-k postgresql` selects one."""
    found: Server = request.getfixturevalue(SERVER_FIXTURES[request.param])
    return found


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """A client that keeps its connections open between calls."""
    with httpx.Client(timeout=60) as client:
        yield client


@pytest.fixture
def api(server: Server, http: httpx.Client) -> "Api":
    """Calls of an account that other tests use, too."""
    return Api(server, http)


@pytest.fixture(params=["alone", "batched"])
def send(request: pytest.FixtureRequest, api: "Api") -> "CallSender":
    """Sends each call alone, then as an operation of a batch: the answers must be the same."""
    return CallSender(api, is_batched=request.param == "batched")


@pytest.fixture
def own_api(server: Server, http: httpx.Client) -> "Api":
    """Calls of an account that only this test uses."""
    return Api(replace(server, key=create_account(server)), http)


def create_account(server: Server) -> str:
    """Create an account and return its key. The command would take a second to start."""
    database = Database(get_database_url(server))
    try:
        with database.write() as connection:
            account = accounts.create(connection, "Another", system_clock())
        return add_key(database, account, "first")
    finally:
        database.close()


@dataclass(frozen=True)
class Api:
    """Calls of one account on a server."""

    server: Server
    http: httpx.Client

    def call(self, method: str, path: str, body: Body = None, **params: str) -> httpx.Response:
        """Call a path under /3.0. A `body` that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return self.http.request(
            method,
            f"{self.server.url}/3.0{path}",
            auth=("any", self.server.key),
            content=content,
            params=params or None,
        )

    def call_ok(self, method: str, path: str, body: Body = None, **params: str) -> Any:
        """Send a call that must succeed, and return the body of the reply."""
        reply = self.call(method, path, body, **params)
        assert reply.status_code in {200, 204}, reply.text
        return reply.json() if reply.content else None

    def new_list(self) -> str:
        """Create a list and return its id."""
        return str(self.call_ok("POST", "/lists", NEW_LIST)["id"])

    def new_webhook(self, url: str, **more: Body) -> Any:
        """Create a webhook, and return the reply to its POST."""
        return self.call_ok("POST", "/batch-webhooks", {"url": url} | more)

    def submit(self, *operations: Operation) -> str:
        """POST a batch and return its id."""
        return str(self.call_ok("POST", "/batches", {"operations": operations})["id"])

    def get_link(self, batch_id: str) -> str:
        """Return a new link to the results of a finished batch."""
        return str(self.call_ok("GET", f"/batches/{batch_id}")["response_body_url"])

    def wait_until_finished(self, batch_id: str) -> Any:
        """Wait until a batch is finished, and return it."""
        return self.server.wait_until_finished(batch_id)

    def run_batch(self, *operations: Operation) -> list[Result]:
        """Run operations as a batch, and return their results."""
        return self.server.get_results(self.submit(*operations))


def get_database_url(server: Server) -> str:
    """Return the URL of the database of a server."""
    return server.database_url or f"sqlite:///{server.folder / 'data' / 'batchway.db'}"


@dataclass(frozen=True)
class CallSender:
    """Sends calls of an account, alone or as operations of a batch."""

    api: Api
    is_batched: bool

    def __call__(self, method: str, path: str, body: Body = None, **params: str) -> Answer:
        """Send one call, and return its answer."""
        [answer] = self.many([(method, path, body)], **params)
        return answer

    def many(self, calls: Sequence[Call], **params: str) -> list[Answer]:
        """Send several calls, and return their answers. As operations, they are in one batch."""
        if self.is_batched:
            results = self.api.run_batch(*(_make_operation(call, params) for call in calls))
            return [(result.status_code, result.response) for result in results]
        return [self._send_alone(*call, params) for call in calls]

    def _send_alone(self, method: str, path: str, body: Body, params: dict[str, str]) -> Answer:
        reply = self.api.call(method, path, body, **params)
        answer = reply.json() if reply.content else {}
        return reply.status_code, answer | ({"instance": ""} if reply.status_code >= 400 else {})


def _make_operation(call: Call, params: dict[str, str]) -> Operation:
    method, path, body = call
    operation: Operation = {"method": method, "path": path, "params": params}
    return operation if body is None else operation | {"body": json.dumps(body)}


@contextmanager
def open_tables(server: Server) -> Iterator[Connection]:
    """Open a transaction on the database of a server."""
    engine = create_engine(get_database_url(server))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def execute_sql(server: Server, statement: str, **values: Any) -> None:
    """Change the tables of a server directly, for states that no call can create."""
    with open_tables(server) as connection:
        connection.execute(text(statement), values)


def insert_batches(api: Api, status: str, count: int = 1) -> str:
    """Insert batches that stay in one status, and return the id of the first one."""
    model = api.wait_until_finished(api.submit({"method": "GET", "path": "/ping"}))["id"]
    ids = [f"{model[:6]}{number:04x}" for number in range(count)]
    copy = """
        INSERT INTO batches (account_id, public_id, api_key_id, base_url, status,
                             total_operations, submitted_at, touched_at)
        SELECT account_id, :id, api_key_id, base_url, :status, 1, submitted_at, :touched
        FROM batches WHERE public_id = :model
    """
    values = {"status": status, "touched": FAR_FUTURE, "model": model}
    with open_tables(api.server) as connection:
        connection.execute(text(copy), [values | {"id": public_id} for public_id in ids])
        connection.execute(text("DELETE FROM batches WHERE public_id = :model"), {"model": model})
    return ids[0]


def read_raw_results(archive: bytes) -> list[dict[str, Any]]:
    """Return each result in an archive unchanged: its response is a string."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        files = [tar.extractfile(info) for info in tar]
        return [entry for file in files if file for entry in json.load(file)]


def check_problem(reply: httpx.Response, status: int, title: str) -> dict[str, Any]:
    """Check the form of an error, which is the same for all errors, and return its document."""
    assert status == reply.status_code, reply.text
    assert PROBLEM == reply.headers["content-type"]
    assert 'ProblemDetailDocument.json>; rel="describedBy"' in reply.headers["link"]
    document: dict[str, Any] = reply.json()
    names = list(document)
    assert ["type", "title", "status", "detail", "instance"] == names[:5]
    assert names[5:] in ([], ["errors"])
    assert (TYPE, status, title) == (document["type"], document["status"], document["title"])
    assert reply.headers["x-request-id"] == document["instance"]
    assert document["detail"]
    return document


def make_member(address: str, **more: Any) -> dict[str, Any]:
    """Return the body that adds a member."""
    return {"email_address": address, "status": "subscribed", **more}


def describe_wrong_type(expected: str, found: str) -> str:
    """Return the message for a value of a wrong type."""
    return f"Schema describes {expected}, {found} found instead"


def get_field_errors(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return field and message of each error in a problem document."""
    return [(error["field"], error["message"]) for error in document["errors"]]


def send_raw_request(
    server: Server, method: str, target: str, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """Send a request unchanged, even if it is invalid, and return status and body of the reply."""
    address = urlsplit(server.url)
    own = {"Host": address.netloc, "Authorization": f"Bearer {KEY}", "Connection": "close"}
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (own | dict(headers)).items()]
    with socket.create_connection((address.hostname or "", address.port or 0), 30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        with connection.makefile("rb") as reply:
            head, _, body = reply.read().partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body
