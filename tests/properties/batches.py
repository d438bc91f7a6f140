"""Runs batches of one account step by step in one process, with all failures that can happen.

Hand-overs are written to the engine's table as usual. The test decides which of them runs, and
when. `batch_checks.py` checks the outcome.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from batchway import limits
from batchway.contract.links import Links
from batchway.contract.problems import Refused
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, encode_body
from batchway.contract.result_links import ResultLinks
from batchway.errors import Stale
from batchway.kit.clock import SECOND
from batchway.kit.egress import LATE, Answered, Egress, Unreached
from batchway.kit.sealing import Sealer
from batchway.kit.signing import Signer
from batchway.lifecycle.deliver import DeliverStep
from batchway.lifecycle.submit import IdempotentRequest, IncomingBatch, submit_batch
from batchway.lifecycle.sweep import sweep
from batchway.limits import Limits
from batchway.model.batch import Batch
from batchway.model.step import Step, StepName, WrittenHandOver
from batchway.observers.base import Event, Field, Observers
from batchway.store import batch_webhooks, batches, deliveries
from batchway.store.database import run as run_sql
from batchway.surfaces.mailchimp.batch_webhook_calls import BatchWebhookCalls
from batchway.surfaces.mailchimp.delivery_calls import DeliveryCalls
from batchway.surfaces.mailchimp.webhook_event import MailchimpEvents
from batchway.surfaces.mailchimp.webhook_url_checks import WebhookUrlChecks
from tests.batch_bodies import read_batch
from tests.properties.calls import NEW_LIST
from tests.properties.world import Place, create_account
from tests.step_runner import BASE, get_audience
from tests.steps import execute, finalize, run, split

URL = "https://example.com/hook"
Operation = dict[str, Any]

# So small that a few operations meet every one of them.
SMALL_LIMITS = Limits(
    piece_operations_max=3,
    chunk_operations_max=6,
    small_batch_operations_max=3,
    chunk_attempts_max=2,
    running_batches_per_account_max=2,
    pending_batches_per_account_max=4,
    delivery_waits_seconds=(5.0, 60.0),
)
_SMALL_PAGES = {"page_count_max": 2, "answer_bytes_max": 4_000}


class Died(Exception):
    """Ends a step as the death of its process would: uncommitted changes are lost."""


class HandOver(NamedTuple):
    """A hand-over that has not been completed."""

    key: int
    step: Step
    step_number: int
    number: int

    @property
    def workflow_id(self) -> str:
        """The engine's id of the hand-over."""
        return f"{self.key}/{self.step}/{self.step_number}/{self.number}"


class Outside(Egress):
    """The network: records requests, and gives prepared answers at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[dict[str, str]] = []
        self.answers: deque[int] = deque()

    def send(  # noqa: PLR0913 - as the real one
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        seconds: float,
        answer_bytes_max: int,
    ) -> Answered | Unreached:
        """Return the next answer, or a 200. The answer 0 is a time-out."""
        assert (url, answer_bytes_max) == (URL, limits.delivery_answer_bytes_max)
        if method == "POST":
            assert body
            self.sent.append(dict(headers))
        status_code = self.answers.popleft() if self.answers else 200
        if not status_code:
            return Unreached(LATE, seconds)
        asks_to_wait = {"retry-after": "7"} if status_code == 503 else {}
        return Answered(status_code, asks_to_wait, b"what it says", 0.1)


@dataclass
class Known:
    """An accepted batch, and its last known state."""

    batch: Batch
    operations: list[Operation]
    is_deleted: bool = False
    webhooks_with_event: list[set[int]] = field(default_factory=list)
    seen: list[Batch] = field(default_factory=list)
    results: list[tuple[int, int, int, Any]] = field(default_factory=list)


@contextmanager
def small_pages() -> Iterator[None]:
    """Let few items fill a page, until the end of the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _SMALL_PAGES.items():
            patch.setattr(limits, name, value)
        yield


class Bench:
    """A new account with a list, and all actions on it."""

    def __init__(self, place: Place, format_name: str) -> None:
        self.place = place
        self.clock = place.clock
        self.database = place.app.database
        self.ambush = Ambush()
        self.parts = replace(
            place.app.parts,
            format_name=format_name,
            limits=SMALL_LIMITS,
            observe=Observers([self.ambush]),
        )
        self.identity = create_account(self.database)
        self.account_id = self.identity.account.id
        self.list_id = str(self.call("POST", "/lists", NEW_LIST)["id"])
        self.known: list[Known] = []
        self.keys: dict[bytes, tuple[list[Operation], Known, int]] = {}
        self.outside = Outside()
        self.is_anything_lost = False
        self._addresses = 0
        settings = place.app.settings
        sealer = Sealer(settings.get_secret_keys())
        links = ResultLinks(
            Signer(settings.get_secret_keys()),
            place.app.parts.archive,
            self.clock,
            Limits.result_link_seconds,
        )
        self.deliver = DeliverStep(self.parts, self.outside, sealer, MailchimpEvents(links, BASE))
        self._webhook_calls = BatchWebhookCalls(
            self.parts, WebhookUrlChecks(self.parts, self.outside), sealer
        )
        self._delivery_calls = DeliveryCalls(self.parts)

    # --- Calls -----------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        """Make one call on the audience, and return the body of the reply."""
        caller = Caller(self.account_id, "", self.clock(), Links(BASE))
        request = Request(method, path, params, None if body is None else json.dumps(body).encode())
        return json.loads(encode_body(get_audience(self.parts).answer_single(caller, request)))

    def members(self) -> dict[str, int]:
        """Return how often each address is on the list."""
        found: dict[str, int] = {}
        with self.database.read() as connection:
            rows = run_sql(
                connection,
                "SELECT email_address FROM members WHERE account_id = :account_id",
                account_id=self.account_id,
            )
            for address in rows.scalars():
                found[address] = found.get(address, 0) + 1
        return found

    def on_webhook(
        self, action: str, webhook: str = "", delivery: str = "", **body: Any
    ) -> Response | None:
        """Make a call on webhooks or deliveries; return None if it is refused."""
        answer = {
            "create": self._webhook_calls.create,
            "update": self._webhook_calls.update,
            "delete": self._webhook_calls.delete,
            "rotate": self._webhook_calls.rotate_secret,
            "test": self._delivery_calls.send_test,
            "resend": self._delivery_calls.resend,
            "recover": self._delivery_calls.recover,
        }[action]
        places = {"batch_webhook_id": webhook, "delivery_id": delivery}
        request = Request("", "", {}, json.dumps(body).encode(), places)
        try:
            return answer(request, self.identity, Links(BASE))
        except Refused as refused:
            assert refused.problem.status in {400, 404, 409}  # noqa: PT017 - right answers
            return None

    # --- Batches ---------------------------------------------------------------------------------

    def operation(self, kind: str) -> list[Operation]:
        """Return an operation of this kind, or two that belong together."""
        members = f"/lists/{self.list_id}/members"
        match kind:
            case "add" | "add twice":
                self._addresses += 1
                address = f"{self._addresses}@example.com"
                body = json.dumps({"email_address": address, "status": "subscribed"})
                add = {"method": "POST", "path": members, "body": body}
                return [add] * (1 if kind == "add" else 2)
            case "pages":
                return [{"method": "GET", "path": members}]
            case "page":
                return [{"method": "GET", "path": members, "params": {"count": "1"}}]
            case _:
                return [{"method": "GET", "path": "/nowhere"}]

    def submit(self, given: list[Operation], idempotency: IdempotentRequest | None) -> Batch:
        """Submit a batch. Its first hand-over is written."""
        body = json.dumps({"operations": given}).encode()
        operations = read_batch(body) if given else []
        with IncomingBatch.collect(self.parts.targets, self.parts.limits, operations) as incoming:
            return submit_batch(self.parts, self.identity, BASE, incoming, idempotency=idempotency)

    def newest(self) -> Batch:
        """Return the batch that was accepted last."""
        with self.database.read() as connection:
            [batch], _ = batches.find_page(
                connection, self.account_id, 1, 0, self.parts.get_results_since()
            )
        return batch

    def find(self, known: Known) -> Batch | None:
        """Return the batch as the steps see it."""
        with self.database.read() as connection:
            return batches.get(connection, known.batch.id)

    def visible(self) -> list[Known]:
        """Return the batches that their owner can see."""
        with self.database.read() as connection:
            return [
                known
                for known in self.known
                if batches.find(
                    connection,
                    self.account_id,
                    known.batch.public_id,
                    self.parts.get_results_since(),
                )
            ]

    def webhooks(self, *, only_enabled: bool = False) -> dict[int, str]:
        """Return the public ids of the account's webhooks by their keys."""
        with self.database.read() as connection:
            found = batch_webhooks.find_page(connection, self.account_id, 100, 0)
        return {
            webhook.id: webhook.public_id
            for webhook in found
            if webhook.enabled or not only_enabled
        }

    # --- Steps -----------------------------------------------------------------------------------

    def hand_overs(self) -> list[HandOver]:
        """Return the hand-overs that have not been run, in a fixed order."""
        with self.database.read() as connection:
            rows = connection.execute(text(f"SELECT workflow_uuid FROM {self._table}"))
            found = [row[0].split("/") for row in rows]
        return sorted(
            HandOver(int(key), Step(step), int(step_number), int(number))
            for key, step, step_number, number in found
        )

    def run(self, hand_over: HandOver) -> bool:
        """Run a step, and delete its hand-over unless the step dies or must be retried."""
        try:
            self.step(hand_over)
        except (Died, Stale):
            return False
        self.strike_off(hand_over)
        return True

    def step(self, hand_over: HandOver) -> None:
        """Run the step of a hand-over, at its time."""
        key = hand_over.key
        if hand_over.step is Step.DELIVER:
            self._wait_for(key)
            self.deliver(key)
            return
        steps: dict[Step, Callable[[], None]] = {
            Step.RUN: partial(run, self.parts, key),
            Step.SPLIT: partial(split, self.parts, key),
            Step.EXECUTE: partial(execute, self.parts, key, hand_over.step_number),
            Step.FINALIZE: partial(finalize, self.parts, key),
        }
        steps[hand_over.step]()

    def _wait_for(self, delivery_id: int) -> None:
        with self.database.read() as connection:
            delivery = deliveries.get(connection, delivery_id)
        if delivery and delivery.next_attempt_at:
            self.clock.now = max(self.clock.now, delivery.next_attempt_at)

    def strike_off(self, hand_over: HandOver) -> None:
        """Delete a hand-over from the engine's table."""
        statement = f"DELETE FROM {self._table} WHERE workflow_uuid = :id"
        with self.database.write() as connection:
            connection.execute(text(statement), {"id": hand_over.workflow_id})

    def sweep(self) -> None:
        """Run the sweep at a time when all idle batches are overdue."""
        self.clock.now += int(limits.overdue_seconds * SECOND) + 1
        waiting = {hand_over[:3] for hand_over in self.hand_overs()}

        def find_lost(written: Sequence[WrittenHandOver]) -> list[StepName]:
            names = [hand_over.name for hand_over in written]
            return [name for name in names if (name.key, name.step, name.number) not in waiting]

        sweep(self.parts, find_lost)

    def drain(self) -> None:
        """Run all hand-overs until none is left."""
        for _ in range(2_000):
            waiting = self.hand_overs()
            if not waiting:
                return
            for hand_over in waiting:
                self.run(hand_over)
        raise AssertionError("hand-overs without end")

    def forget_engine(self) -> None:
        """Delete all hand-overs, for the next account."""
        with self.database.write() as connection:
            connection.execute(text(f"DELETE FROM {self._table}"))

    @property
    def _table(self) -> str:
        return "workflow_status" if self.database.is_sqlite else "dbos.workflow_status"


@dataclass
class Ambush:
    """An observer that calls a function at a fault point, once."""

    strikes: list[tuple[Event, Callable[[], object]]] = field(default_factory=list)

    def observe(self, event: Event, _fields: Mapping[str, Field]) -> None:
        """Call the functions for this event."""
        for strike in [strike for strike in self.strikes if strike[0] is event]:
            self.strikes.remove(strike)
            strike[1]()

    @contextmanager
    def lay(self, point: Event | None, deed: Callable[[], object]) -> Iterator[None]:
        """Within the block, call `deed` at the first visit of the point, if there is a point."""
        strike = None if point is None else (point, deed)
        if strike:
            self.strikes.append(strike)
        try:
            yield
        finally:
            if strike in self.strikes:
                self.strikes.remove(strike)


def die() -> None:
    """Let the step die."""
    raise Died
