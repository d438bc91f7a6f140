"""Calls on the handlers of the built-in API: without HTTP, in one transaction each."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from batchway.audience.base import PlainHandler
from batchway.audience.lists import routes as lists
from batchway.audience.merge_fields import routes as merge_fields
from batchway.contract.links import Links
from batchway.contract.problems import Refused
from batchway.contract.request import Caller, Request
from batchway.contract.response import build_error_response, encode_body
from batchway.contract.routing import RouteTable
from batchway.kit.clock import SECOND, Microseconds
from batchway.kit.ids import compute_subscriber_hash
from batchway.store.database import Database, run

BASE = "http://127.0.0.1:8080"
NOON: Microseconds = 1_795_435_200 * SECOND  # 2026-11-23T12:00:00+00:00

CONTACT = {"company": "Bees", "address1": "1 Hive", "city": "Kyiv", "country": "UA"}
DEFAULTS = {
    "from_name": "Ann",
    "from_email": "ann@example.com",
    "subject": "News",
    "language": "en",
}
NEW_LIST: dict[str, Any] = {
    "name": "Readers",
    "contact": CONTACT,
    "permission_reminder": "You asked for it.",
    "campaign_defaults": DEFAULTS,
    "email_type_option": True,
}


class Audience:
    """Lists and merge fields in one database, called for one account at one time."""

    def __init__(self, database: Database, account_id: int = 1, now: Microseconds = NOON) -> None:
        self.database = database
        self.account_id = account_id
        self.now = now
        self._routes: RouteTable[PlainHandler] = RouteTable()
        for method, template, handler, _ in (*lists.ROUTES, *merge_fields.ROUTES):
            self._routes.add(method, template, handler)

    def call(
        self, method: str, path: str, body: object = None, **params: str
    ) -> tuple[int, dict[str, Any]]:
        """Return status and decoded body, or `{}` if there is none. `body` may be raw bytes."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler, path_params = self._routes.match(method, path)
        request = Request(method, path, params, raw, path_params)
        caller = Caller(self.account_id, "Bees", self.now, Links(BASE))
        transaction = self.database.write if handler.writes else self.database.read
        try:
            with transaction() as connection:
                response = handler.answer(request, caller, connection)
        except Refused as refused:
            response = build_error_response(refused)
        return response.status, json.loads(encode_body(response) or b"{}")

    def call_ok(self, method: str, path: str, body: object = None, **params: str) -> dict[str, Any]:
        """Make a call that must succeed, and return the body of the reply."""
        status, reply = self.call(method, path, body, **params)
        assert status in {200, 204}, reply
        return reply

    def call_refused(
        self, method: str, path: str, body: object = None, **params: str
    ) -> dict[str, str]:
        """Make a call that must be refused as an invalid resource. Return field → message."""
        status, reply = self.call(method, path, body, **params)
        assert (status, reply.get("title")) == (400, "Invalid Resource"), reply
        return {error["field"]: error["message"] for error in reply["errors"]}

    def new_list(self, **settings: object) -> str:
        """Create a list and return its id."""
        made: str = self.call_ok("POST", "/lists", NEW_LIST | settings)["id"]
        return made

    def run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Execute an SQL statement and return its rows."""
        with self.database.write() as connection:
            found = run(connection, statement, **values)
            return [tuple(row) for row in found] if found.returns_rows else []


@contextmanager
def open_audience(database_url: str) -> Iterator[Audience]:
    """Open an empty audience in a database that has our tables."""
    database = Database(database_url)
    try:
        yield Audience(database)
    finally:
        database.close()


def add_member(api: Audience, list_id: int, member_id: int, status: str = "subscribed") -> None:
    """Insert ann@example.com into a list."""
    hashed = compute_subscriber_hash("ann@example.com")
    api.run(
        _MEMBER,
        id=member_id,
        account_id=api.account_id,
        list_id=list_id,
        hash=hashed,
        status=status,
    )


_MEMBER = """
    INSERT INTO members (id, account_id, list_id, subscriber_hash, email_address, unique_email_id,
        status, email_type, merge_fields, language, vip, latitude, longitude, ip_signup, ip_opt,
        source, unsubscribe_reason, last_changed, revision)
    VALUES (:id, :account_id, :list_id, :hash, 'ann@example.com', '', :status, '', '{}', '', FALSE,
        0, 0, '', '', '', '', 0, 0)
"""


def wait_until_blocked(api: Audience, count: int) -> None:
    """Wait until `count` transactions wait for a lock. Only for PostgreSQL."""
    give_up_at = monotonic() + 30
    while monotonic() < give_up_at:
        [(waiting,)] = api.run(
            """
            SELECT COUNT(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
            """
        )
        if waiting == count:
            return
    pytest.fail("The calls did not wait for the lock.")
