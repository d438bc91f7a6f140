"""Accounts with two lists that can be called in several ways and compared.

Each world is an account of its own, so that one database can have any number of them.
"""

import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from batchway import limits
from batchway.app import App, open_app
from batchway.audience.lists.deletion import purge_deleted_lists
from batchway.audience.settings import AudienceSettings
from batchway.contract.links import Links
from batchway.contract.request import Caller, Request
from batchway.contract.response import EMPTY_OBJECT, encode_body
from batchway.errors import Stale
from batchway.kit import ids
from batchway.kit.clock import SECOND, Microseconds
from batchway.lifecycle.screen import screen_operations
from batchway.lifecycle.submit import IncomingBatch, submit_batch
from batchway.model.account import Identity
from batchway.model.operation import Operation
from batchway.model.result import Result
from batchway.model.step import Step
from batchway.settings import load_settings
from batchway.store import accounts
from batchway.store.database import Database, run
from batchway.surfaces.mailchimp.refusals import render_refusal
from batchway.targets.base import Plan
from batchway.targets.builtin import BuiltinTarget
from tests.batch_bodies import read_batch
from tests.properties.calls import NEW_LIST, PEOPLE, Call
from tests.scenario import SECRET_KEY
from tests.step_runner import BASE, FixedClock, get_audience
from tests.steps import run_steps

BEFORE: Microseconds = 1_790_000_000 * SECOND
NOW: Microseconds = 1_795_435_200 * SECOND  # 2026-11-23T12:00:00+00:00
_FIRST_MEMBER = 1_000_000  # so that the key of a member is never that of a list


class Answered(NamedTuple):
    """The answer to a call."""

    status: int
    text: str


@dataclass(frozen=True)
class Place:
    """A database for worlds, with an app but without a worker."""

    app: App = field(repr=False)
    clock: FixedClock = field(repr=False)


@contextmanager
def opened_place(folder: Path, database_url: str) -> Iterator[Place]:
    """Open a place in a new database, with its archives in a folder."""
    settings = load_settings(data_dir=folder, database_url=database_url, secret_key=SECRET_KEY)
    clock = FixedClock(BEFORE)
    app = open_app(settings, clock)
    with app.database.write() as connection:
        run(
            connection,
            "INSERT INTO id_sequences (name, next_id) VALUES ('members', :first)",
            first=_FIRST_MEMBER,
        )
    try:
        yield Place(app, clock)
    finally:
        app.close()


def create_account(database: Database) -> Identity:
    """Create an account with a key, and return both."""
    with database.write() as connection:
        account = accounts.create(connection, "Bees", BEFORE)
        key = ids.new_api_key()
        accounts.add_key(connection, account.id, key, "", BEFORE)
        identity = accounts.identify(connection, key)
    assert identity
    return replace(identity, client_address="198.51.100.9")


class World:
    """Two lists with some members in every state, all created at BEFORE."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.target = get_audience(place.app.parts)
        self.database = place.app.database
        self.identity = create_account(self.database)
        self.account_id = self.identity.account.id
        self.names: dict[str, str] = {}
        self._furnish()

    def _furnish(self) -> None:
        for name, merge_field in (("A", _LTV), ("B", _NEED)):
            made = self._call_ok("POST", "/lists", NEW_LIST | {"name": name})
            self.names[f"<{name}>"] = path = made["id"]
            self._call_ok("POST", f"/lists/{path}/merge-fields", merge_field)
            members = self._call_ok("POST", f"/lists/{path}", _MEMBERS[name])["new_members"]
            for member in members:
                person = member["email_address"].partition("@")[0]
                self.names[f"<{name}:{person}>"] = member["contact_id"]
        first = f"/lists/{self.names['<A>']}/members/{{}}"
        self._call_ok("DELETE", first.format("dee@example.com"))
        self._call_ok("POST", first.format("eve@example.com/actions/delete-permanent"))
        self._run(_BY_OWN_WISH, hash=ids.compute_subscriber_hash("bob@example.com"))

    def _call_ok(self, method: str, path: str, body: Any = None) -> Any:
        call = Call("write", method, path, {}, json.dumps(body))
        status, text = self._answer_one(call, BEFORE)
        assert status in {200, 204}, text
        return json.loads(text)

    # --- The same calls, in several ways ---------------------------------------------------------

    def answer_alone(
        self, calls: Sequence[Call], now: Microseconds, *, pages: bool = False
    ) -> list[Answered]:
        """Make the calls one by one, in the order that a batch documents.

        With `pages`, a call that a batch would page is answered with its first page.
        """
        one = self._answer_page if pages else self._answer_one
        answered = {index: one(calls[index], now) for index in as_in_a_batch(calls)}
        return [answered[index] for index in range(len(calls))]

    def _answer_page(self, call: Call, now: Microseconds) -> Answered:
        if not is_paged(call):
            return self._answer_one(call, now)
        most = {"count": str(limits.page_count_max)}
        answered = self._answer_one(replace(call, params={**call.params, **most}), now)
        if answered.status != 200:
            return answered
        whole = {name: text for name, text in call.params.items() if "fields" not in name}
        items = json.loads(self._answer_one(replace(call, params=whole | most), now).text)
        count = len(items[_ITEMS[_last_segment(call)]])
        return Answered(200, _with_last(answered.text, f'"returned_item_count":{count}'))

    def _answer_one(self, call: Call, now: Microseconds) -> Answered:
        if call.kind == "barred":
            return BARRED
        request = Request(call.method, self._path(call), call.params, _bytes(call.body))
        response = self.target.answer_single(self.caller(now), request)
        return Answered(response.status, (encode_body(response) or EMPTY_OBJECT).decode())

    def answer_as_batch(self, calls: Sequence[Call], now: Microseconds) -> list[Answered]:
        """Make the calls as one batch, from its request to its archive."""
        parts = self.place.app.parts
        self.place.clock.now = now
        with IncomingBatch.collect(parts.targets, parts.limits, self.operations(calls)) as incoming:
            batch = submit_batch(parts, self.identity, BASE, incoming)
        run_steps(parts, Step.SPLIT, batch.id)
        with (
            parts.archive.open(batch.public_id) as file,
            tarfile.open(fileobj=file, mode="r:gz") as tar,
        ):
            files = [tar.extractfile(member) for member in tar]
            results = [entry for file in files if file for entry in json.load(file)]
        assert [str(number) for number in range(len(calls))] == [
            result["operation_id"] for result in results
        ]
        return [
            _answered(call, entry["status_code"], entry["response"])
            for call, entry in zip(calls, results, strict=True)
        ]

    def answer_as_chunk(
        self,
        calls: Sequence[Call],
        now: Microseconds,
        *,
        is_crowded: bool = False,
        meet: Callable[[], object] = bool,
    ) -> list[Answered]:
        """Make the calls as a chunk of its own.

        If it is crowded, another writer has made its plan stale. `meet` is called before the write.
        """
        target = BuiltinTarget(self.database, AudienceSettings())
        screened = screen_operations(self.operations(calls), render_refusal)
        caller = self.caller(now)
        results: list[Result] = []
        while left := screened.admitted[len(results) :]:
            try:
                plan = None if is_crowded else target.plan(caller, left)
            except Stale:
                plan = None
            if not results:
                meet()
            results += self._write(target, left, caller, plan)
        return [
            _answered(call, result.status_code, result.body.render().decode())
            for call, result in zip(calls, screened.merge(results), strict=True)
        ]

    def _write(
        self,
        target: BuiltinTarget,
        operations: Sequence[Operation],
        caller: Caller,
        plan: Plan | None,
    ) -> Sequence[Result]:
        try:
            if plan is not None:
                with self.database.write() as connection:
                    plan.write(connection)
                return plan.results
        except Stale:
            pass
        with self.database.write() as connection:
            return target.answer_within(connection, caller, operations)

    def operations(self, calls: Sequence[Call]) -> list[Operation]:
        """Return the calls as operations of a batch."""
        given = [self._operation(call, number) for number, call in enumerate(calls)]
        return read_batch(json.dumps({"operations": given}).encode()) if given else []

    def _operation(self, call: Call, number: int) -> dict[str, Any]:
        path, params = self._path(call), dict(call.params)
        if call.has_query_in_path and params:
            path, params = f"{path}?{urlencode(params)}", {}
        operation: dict[str, Any] = {
            "method": call.method,
            "path": path,
            "operation_id": str(number),
        }
        if params:
            operation["params"] = params
        return operation if call.body is None else operation | {"body": call.body}

    def _path(self, call: Call) -> str:
        return re.sub("<[^>]+>", lambda found: self.names.get(found[0], found[0]), call.path)

    def caller(self, now: Microseconds) -> Caller:
        """Return the caller, alone or in a batch."""
        address = self.identity.client_address
        return Caller(self.account_id, self.identity.account.name, now, Links(BASE), address)

    # --- What has become of it -------------------------------------------------------------------

    def state(self) -> Iterator[str]:
        """Yield every row of the account's audience as JSON."""
        for table, statement in _STATE.items():
            for row in self._run(statement):
                yield f"{table} {_json(row._asdict())}"

    def list_names(self) -> dict[str, str]:
        """Return names for the public ids of all lists, oldest first, also of deleted ones."""
        rows = self._run("SELECT public_id FROM lists WHERE account_id = :account_id ORDER BY id")
        ids_now = [self.names["<A>"], self.names["<B>"], *(row[0] for row in rows)]
        return {list_id: f"<list {n}>" for n, list_id in enumerate(dict.fromkeys(ids_now))}

    def assert_sound(self) -> None:
        """Check what must hold for every audience after its deleted lists are purged."""
        purge_deleted_lists(self.database)
        for what, statement in _UNSOUND.items():
            assert [] == [tuple(row) for row in self._run(statement)], what
        for address, hashed in self._run(_ADDRESSES):
            assert ids.compute_subscriber_hash(address) == hashed

    def _run(self, statement: str, **values: Any) -> list[Any]:
        with self.database.write() as connection:
            found = run(connection, statement, account_id=self.account_id, **values)
            return list(found) if found.returns_rows else []


def as_in_a_batch(calls: Sequence[Call]) -> Iterator[int]:
    """Yield indexes of calls in the order in which the audience answers few calls.

    Calls on members keep their order. Plain reads keep theirs, and come after the calls on members
    around them. A plain write and a read of a collection are borders that no call passes. Reads
    directly after a collection are answered with it, until a call that may change something.
    """
    held: list[int] = []
    is_behind_collection = False
    for index, call in enumerate(calls):
        if call.kind == "write" or _is_collection_read(call):
            yield from held
            held = []
            is_behind_collection = call.kind == "read"
        elif call.kind == "member" and call.method != "GET":
            is_behind_collection = False
        if call.kind == "read" and not _is_collection_read(call) and not is_behind_collection:
            held.append(index)
        else:
            yield index
    yield from held


def is_paged(call: Call) -> bool:
    """Return whether a batch pages through the result of the call."""
    return _is_collection(call) and not call.params.get("count")


def _is_collection_read(call: Call) -> bool:
    return call.kind == "read" and _is_collection(call)


def _is_collection(call: Call) -> bool:
    return (
        call.method == "GET" and call.kind in {"read", "member"} and _last_segment(call) in _ITEMS
    )


def _last_segment(call: Call) -> str:
    return call.path.rpartition("/")[2]


def _with_last(text: str, member: str) -> str:
    """Return the JSON text of an object with one more member."""
    return f"{text[:-1]}{',' if len(text) > 2 else ''}{member}}}"


def shown(world: World, answers: Sequence[Answered]) -> list[str]:
    """Return answers and state with names instead of ids, so that two worlds can be compared.

    Ids that are random or come from a sequence are named in the order of their first appearance.
    """
    lists = world.list_names()
    list_id = re.compile("|".join(lists))
    lines = [list_id.sub(lambda found: lists[found[0]], line) for line in _lines(world, answers)]
    # Each row begins with what tells it from others, so that it stands in the same place.
    lines = lines[: len(answers)] + sorted(lines[len(answers) :])
    names: dict[str, str] = {}
    return [
        _KEY.sub(lambda found: names.setdefault(found[0], f"<{len(names)}>"), line)
        for line in lines
    ]


def _lines(world: World, answers: Sequence[Answered]) -> Iterator[str]:
    for status, text in answers:
        yield f"{status} {text}"
    yield from world.state()


BARRED = Answered(400, "")
_ITEMS = {"lists": "lists", "members": "members", "merge-fields": "merge_fields", "tags": "tags"}
_KEY = re.compile(r'"(?:web_id|id)":[0-9]+|"contact_id":"[0-9a-f]{32}"')


def _answered(call: Call, status: int, text: str) -> Answered:
    """Return the answer. Of an operation that only a batch refuses, only the status is compared."""
    return Answered(status, "" if call.kind == "barred" else text)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _json(row: Any) -> str:
    return json.dumps(row, separators=(",", ":"))


_LTV = {"tag": "LTV", "name": "Lifetime value", "type": "number"}
_NEED = {"tag": "NEED", "name": "Needed", "type": "text", "required": True}


def _member(name: str, status: str, *tags: str) -> dict[str, Any]:
    return {
        "email_address": f"{name}@example.com",
        "status": status,
        "tags": list(tags),
        "merge_fields": {"NEED": "here", "FNAME": name.title()},
    }


_MEMBERS = {
    "A": {
        "members": [
            _member("ann", "subscribed", "VIP", "old"),
            _member("bob", "unsubscribed", "VIP", "old"),
            _member("cid", "pending", "VIP", "old"),
            _member("dee", "subscribed", "VIP"),
            _member("eve", "cleaned"),
        ]
    },
    "B": {"members": [_member("ann", "subscribed", "new"), _member("bob", "cleaned")]},
}
assert {member["email_address"] for member in _MEMBERS["A"]["members"]} < {
    f"{name}@example.com" for name in PEOPLE
}
_BY_OWN_WISH = """
    UPDATE members SET unsubscribe_reason = 'NORMAL'
    WHERE account_id = :account_id AND subscriber_hash = :hash AND status = 'unsubscribed'
"""
_STATE = {
    "lists": """
        SELECT public_id, id, name, settings, created_at, revision FROM lists
        WHERE account_id = :account_id
    """,
    "list_stats": """
        SELECT lists.public_id, list_stats.subscribed_count, list_stats.unsubscribed_count,
            list_stats.cleaned_count, list_stats.pending_count, list_stats.transactional_count,
            list_stats.archived_count, list_stats.last_subscribed_at,
            list_stats.last_unsubscribed_at
        FROM list_stats LEFT JOIN lists ON lists.id = list_stats.list_id
        WHERE list_stats.account_id = :account_id
    """,
    "merge_fields": """
        SELECT lists.public_id, f.merge_id, f.tag, f.name, f.type, f.required, f.default_value,
            f.public, f.display_order, f.options, f.help_text
        FROM merge_fields AS f LEFT JOIN lists ON lists.id = f.list_id
        WHERE f.account_id = :account_id
    """,
    "members": """
        SELECT lists.public_id, m.subscriber_hash, m.id AS web_id, m.email_address,
            m.unique_email_id, m.status, m.email_type, m.merge_fields, m.language, m.vip,
            m.latitude, m.longitude, m.ip_signup, m.timestamp_signup, m.ip_opt, m.timestamp_opt,
            m.source, m.unsubscribe_reason, m.last_changed
        FROM members AS m LEFT JOIN lists ON lists.id = m.list_id
        WHERE m.account_id = :account_id
    """,
    "list_segments": """
        SELECT lists.public_id, s.name_key, s.name, s.id, s.type, s.created_at, s.updated_at
        FROM list_segments AS s LEFT JOIN lists ON lists.id = s.list_id
        WHERE s.account_id = :account_id
    """,
    "list_segment_members": """
        SELECT lists.public_id, s.name_key, m.subscriber_hash, sm.added_at
        FROM list_segment_members AS sm
        LEFT JOIN list_segments AS s ON s.id = sm.list_segment_id
        LEFT JOIN members AS m ON m.id = sm.member_id AND m.list_id = s.list_id
        LEFT JOIN lists ON lists.id = s.list_id
        WHERE sm.account_id = :account_id
    """,
    "forgotten_members": """
        SELECT lists.public_id, f.subscriber_hash, f.forgotten_at
        FROM forgotten_members AS f LEFT JOIN lists ON lists.id = f.list_id
        WHERE f.account_id = :account_id
    """,
}
_ADDRESSES = """
    SELECT email_address, subscriber_hash FROM members
    WHERE account_id = :account_id
"""
_COUNTED = " OR ".join(
    f"""
    {status}_count <> (
        SELECT COUNT(*) FROM members
        WHERE members.list_id = list_stats.list_id AND members.status = '{status}'
    )
    """
    for status in (
        "subscribed",
        "unsubscribed",
        "cleaned",
        "pending",
        "transactional",
        "archived",
    )
)
_UNSOUND = {
    "counters differ from a recount": f"""
        SELECT list_id FROM list_stats
        WHERE account_id = :account_id AND ({_COUNTED})
    """,
    "an address is on a list twice": """
        SELECT list_id, subscriber_hash FROM members
        WHERE account_id = :account_id
        GROUP BY list_id, subscriber_hash HAVING COUNT(*) > 1
    """,
    "a tag of no member": """
        SELECT member_id FROM list_segment_members
        WHERE account_id = :account_id AND member_id NOT IN (SELECT id FROM members)
    """,
    "a member of no tag": """
        SELECT member_id FROM list_segment_members
        WHERE account_id = :account_id AND list_segment_id NOT IN (SELECT id FROM list_segments)
    """,
    "a member of no list": """
        SELECT id FROM members
        WHERE account_id = :account_id AND list_id NOT IN (SELECT id FROM lists)
    """,
    "a forgotten contact is on the list": """
        SELECT members.id FROM members JOIN forgotten_members AS f
        ON f.list_id = members.list_id AND f.subscriber_hash = members.subscriber_hash
        WHERE members.account_id = :account_id
    """,
}
