"""Row 3: the same contacts as creates of PocketBase's `/api/batch`.

PocketBase has its fastest settings: a thousand creates per request, one sender or two, whichever is
faster, no log of requests, bodies prepared in advance. Its answers have only the records, and it
stores no results.
"""

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import operations
from client import Client, make_request_to, send_all
from contestants import find_installed, free_port, run_program
from measuring import RATE, Contestants, Line, Run, Together, Values, ratio_at_least
from rows.adding import ONE_WORKER, one_worker
from running import wait_until

_PER_REQUEST = 1_000
_OPERATIONS_MAX = 20_000
_WARM_UP = 2_000
_SENDERS = (1, 2)  # it has one writer: more make it slower
_ADMIN = {"identity": "bench@example.com", "password": "correct horse battery"}
_SETTINGS = {
    "batch": {
        "enabled": True,
        "maxRequests": _PER_REQUEST,
        "timeout": 120,
        "maxBodySize": 64 * 1024 * 1024,
    },
    "logs": {"maxDays": 0},
    "rateLimits": {"enabled": False},
}
_COLLECTION = {
    "name": "members",
    "type": "base",
    "fields": [
        {"name": "list_id", "type": "text", "required": True},
        {"name": "subscriber_hash", "type": "text", "required": True},
        {"name": "email_address", "type": "email", "required": True},
        {
            "name": "status",
            "type": "select",
            "maxSelect": 1,
            "values": ["subscribed", "unsubscribed", "cleaned", "pending", "transactional"],
        },
        {"name": "merge_fields", "type": "json"},
        {"name": "tags", "type": "json"},
    ],
    "indexes": ["CREATE UNIQUE INDEX members_hash ON members (list_id, subscriber_hash)"],
}


def _contestants(run: Run) -> Contestants:
    program = find_installed("pocketbase")
    count = min(run.operations, _OPERATIONS_MAX)
    rates = {_name(sender): partial(create_rate, program, count, sender) for sender in _SENDERS}
    return {**one_worker(run), **rates}


def _name(senders: int) -> str:
    return f"PocketBase, {senders} at a time"


def _lines(_run: Run, values: Values) -> list[Line]:
    best = max(_SENDERS, key=lambda senders: median(values[_name(senders)]))
    name = f"PocketBase `/api/batch`, {_PER_REQUEST:,} creates each"
    against = values[_name(best)]
    note = f"PocketBase was faster with {best} of 1 or 2 senders."
    return [Line(ONE_WORKER, RATE, values[ONE_WORKER], name, against, ratio_at_least(5), note)]


BESIDE_POCKETBASE = Together("beside PocketBase", _contestants, _lines)


def create_rate(program: str, count: int, senders: int) -> float:
    """Return records per second, on a new server."""
    with _run_server(program) as (url, token):
        _send(url, token, _bodies("warm", _WARM_UP), senders)
        taken = _send(url, token, _bodies("contact", count), senders)
        path = "/api/collections/members/records?perPage=1"
        total = Client(url, token).call("GET", path)["totalItems"]
        assert total == count + _WARM_UP, total
        return count / taken


def _send(url: str, token: str, sent: list[bytes], senders: int) -> float:
    requests = [make_request_to(url, token, "POST", "/api/batch", body) for body in sent]
    return asyncio.run(send_all(url, requests, senders))


@lru_cache(maxsize=4)
def _bodies(prefix: str, count: int) -> list[bytes]:
    records = [_record(prefix, index) for index in range(count)]
    return [
        json.dumps({"requests": records[first : first + _PER_REQUEST]}).encode()
        for first in range(0, count, _PER_REQUEST)
    ]


def _record(prefix: str, index: int) -> dict[str, Any]:
    contact = operations.make_contact(index, prefix)
    body = contact | {
        "list_id": "0123456789",
        "subscriber_hash": operations.subscriber_hash(contact["email_address"]),
    }
    return {"method": "POST", "url": "/api/collections/members/records", "body": body}


@contextmanager
def _run_server(program: str) -> Iterator[tuple[str, str]]:
    """Run a server with the collection; return its URL and the token of an administrator."""
    with tempfile.TemporaryDirectory(prefix="batchway-pocketbase-") as name:
        folder = Path(name)
        data = ["--dir", str(folder / "data"), "--automigrate=false"]
        administrator = ["superuser", "upsert", _ADMIN["identity"], _ADMIN["password"], *data]
        subprocess.run([program, *administrator], cwd=folder, check=True, capture_output=True)
        address = f"127.0.0.1:{free_port()}"
        url = f"http://{address}"
        with run_program([program, "serve", "--http", address, *data], folder):
            wait_until(lambda: bool(Client(url).send("GET", "/api/health")))
            path = "/api/collections/_superusers/auth-with-password"
            token = Client(url).call("POST", path, _ADMIN)["token"]
            _prepare(Client(url, token))
            yield url, token


def _prepare(client: Client) -> None:
    client.call("PATCH", "/api/settings", _SETTINGS)
    client.call("POST", "/api/collections", _COLLECTION)
