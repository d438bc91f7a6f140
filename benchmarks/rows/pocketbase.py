"""Row 3: the same contacts as creates of PocketBase's `/api/batch`.

It gets its best: a thousand creates in a request, one sender or two, whichever is faster, no log
of requests, bodies made beforehand. Its answers hold the records and nothing else, and it keeps
no results.
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
from client import Client, request_to, send_all
from contestants import free_port, installed, started
from measuring import RATE, Contestants, Line, Run, Together, Values, ratio_at_least
from rows.adding import ONE_WORKER, one_worker
from running import until

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
    program = installed("pocketbase")
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
    """Records a second, on a new server."""
    with _running(program) as (url, token):
        _send(url, token, _bodies("warm", _WARM_UP), senders)
        taken = _send(url, token, _bodies("contact", count), senders)
        path = "/api/collections/members/records?perPage=1"
        total = Client(url, token).call("GET", path)["totalItems"]
        assert total == count + _WARM_UP, total
        return count / taken


def _send(url: str, token: str, sent: list[bytes], senders: int) -> float:
    requests = [request_to(url, token, "POST", "/api/batch", body) for body in sent]
    return asyncio.run(send_all(url, requests, senders))


@lru_cache(maxsize=4)
def _bodies(prefix: str, count: int) -> list[bytes]:
    records = [_record(prefix, index) for index in range(count)]
    return [
        json.dumps({"requests": records[first : first + _PER_REQUEST]}).encode()
        for first in range(0, count, _PER_REQUEST)
    ]


def _record(prefix: str, index: int) -> dict[str, Any]:
    contact = operations.contact(index, prefix)
    body = contact | {
        "list_id": "0123456789",
        "subscriber_hash": operations.subscriber_hash(contact["email_address"]),
    }
    return {"method": "POST", "url": "/api/collections/members/records", "body": body}


@contextmanager
def _running(program: str) -> Iterator[tuple[str, str]]:
    """A server with the collection; its URL, and the token of an administrator."""
    with tempfile.TemporaryDirectory(prefix="batchway-pocketbase-") as name:
        folder = Path(name)
        data = ["--dir", str(folder / "data"), "--automigrate=false"]
        administrator = ["superuser", "upsert", _ADMIN["identity"], _ADMIN["password"], *data]
        subprocess.run([program, *administrator], cwd=folder, check=True, capture_output=True)
        address = f"127.0.0.1:{free_port()}"
        url = f"http://{address}"
        with started([program, "serve", "--http", address, *data], folder):
            until(lambda: bool(Client(url).send("GET", "/api/health")))
            path = "/api/collections/_superusers/auth-with-password"
            token = Client(url).call("POST", path, _ADMIN)["token"]
            _prepare(Client(url, token))
            yield url, token


def _prepare(client: Client) -> None:
    client.call("PATCH", "/api/settings", _SETTINGS)
    client.call("POST", "/api/collections", _COLLECTION)
