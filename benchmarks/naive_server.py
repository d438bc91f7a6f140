"""A plain web service for comparison: `python benchmarks/naive_server.py PORT FOLDER`.

It adds members to one SQLite table and reads them, as a first version of such a service would:
Starlette and uvicorn, one statement and one commit for each call, with `synchronous=FULL` as
Batchway has. It checks no key and no field, and its members have only what was sent.
"""

import hashlib
import json
import sqlite3
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def make_app(folder: Path) -> Starlette:
    """Return the service, with its table in a new file in the folder."""
    connection = sqlite3.connect(folder / "naive.db", isolation_level=None)
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE members (hash TEXT PRIMARY KEY, email_address TEXT, body TEXT)",
    ):
        connection.execute(statement)

    async def add(request: Request) -> JSONResponse:
        member = await request.json()
        address = member["email_address"]
        hashed = hashlib.md5(address.lower().encode()).hexdigest()  # noqa: S324 - as in the contract
        try:
            connection.execute(
                "INSERT INTO members VALUES (?, ?, ?)", (hashed, address, json.dumps(member))
            )
        except sqlite3.IntegrityError:
            return JSONResponse({"title": "Member Exists"}, 400)
        return JSONResponse({"id": hashed, **member})

    async def read(request: Request) -> JSONResponse:
        hashed = request.path_params["subscriber_hash"]
        statement = "SELECT body FROM members WHERE hash = ?"
        found = connection.execute(statement, (hashed,)).fetchone()
        return JSONResponse({"id": hashed, **json.loads(found[0])})

    members = "/3.0/lists/{list_id}/members"
    return Starlette(
        routes=[
            Route(members, add, methods=["POST"]),
            Route(f"{members}/{{subscriber_hash}}", read),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(
        make_app(Path(sys.argv[2])), port=int(sys.argv[1]), log_level="error", access_log=False
    )
