"""Runs deliveries without a worker: real receivers, and a clock that only the test changes."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from sqlalchemy import text

from batchway.cli.api_keys import add_key
from batchway.contract.links import Links
from batchway.contract.problems import Refused
from batchway.contract.request import Request
from batchway.contract.response import Response, encode_body, refusal
from batchway.contract.result_links import ResultLinks
from batchway.contract.routing import RouteTable
from batchway.kit.clock import SECOND, Microseconds
from batchway.kit.egress import Egress
from batchway.kit.sealing import Sealer
from batchway.kit.signing import Signer
from batchway.lifecycle.deliver import DeliverStep
from batchway.model.batch import Batch
from batchway.store import accounts
from batchway.surfaces.mailchimp.route import Route
from batchway.surfaces.mailchimp.routes import make_routes
from batchway.surfaces.mailchimp.webhook_event import MailchimpEvents
from tests.postgres import Postgres
from tests.receiver import Delivery, Receiver, Reply, open_receiver
from tests.scenario import Server
from tests.sqlite import SqliteTemplate
from tests.step_runner import BASE, StepRunner, open_step_runner
from tests.steps import run

LOOPBACK = (ip_network("127.0.0.0/8"),)
HOUR: Microseconds = 60 * 60 * SECOND
BROKEN = Reply(500, body=b"broken")


@dataclass
class DeliveryRunner:
    """One account's webhooks and their deliveries."""

    runner: StepRunner
    deliver: DeliverStep = field(init=False)
    _calls: RouteTable[Route] = field(init=False)

    def __post_init__(self) -> None:
        self._wire()

    def set_limits(self, **values: Any) -> None:
        """Give the step and the calls other limits."""
        self.runner.set_limits(**values)
        self._wire()

    def _wire(self) -> None:
        parts, keys = self.runner.parts, self.runner.app.settings.get_secret_keys()
        egress, sealer = Egress(LOOPBACK), Sealer(keys)
        result_links = ResultLinks(
            Signer(keys), parts.archive, parts.clock, parts.limits.result_link_seconds
        )
        self.deliver = DeliverStep(parts, egress, sealer, MailchimpEvents(result_links, BASE))
        self._calls = make_routes(parts, result_links, egress, sealer)

    def another_account(self) -> "DeliveryRunner":
        """The same process's step, for an account that nobody else uses."""
        runner = self.runner
        with runner.parts.database.write() as connection:
            account = accounts.create(connection, "Another", runner.clock())
        key = add_key(runner.parts.database, account, "first")
        with runner.parts.database.read() as connection:
            identity = accounts.identify(connection, key)
        assert identity
        made = DeliveryRunner(StepRunner(runner.app, runner.clock, identity))
        made.deliver = self.deliver
        return made

    def call(self, method: str, path: str, body: Any = None, **params: str) -> tuple[int, Any]:
        """Status and body of a call on webhooks."""
        content = None if body is None else json.dumps(body).encode()
        response = self._answer(Request(method, path, params, content))
        encoded = encode_body(response)
        return response.status, json.loads(encoded) if encoded else None

    def call_ok(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        """The body of a call that must succeed."""
        status, answer = self.call(method, path, body, **params)
        assert status in {200, 204}, answer
        return answer

    def new_webhook(self, receiver: Receiver) -> Any:
        """A new webhook, as the reply to its POST shows it."""
        return self.call_ok("POST", "/batch-webhooks", {"url": receiver.url})

    def finish_batch(self, count: int = 1) -> Batch:
        """A batch from beginning to end."""
        batch = self.runner.submit(self.runner.make_additions(count))
        run(self.runner.parts, batch.id)
        assert "finished" == self.runner.get_status(batch)
        return batch

    def pending(self) -> list[int]:
        """The keys of all deliveries that are to be tried, due or not, oldest first."""
        return [key for key, _ in self._pending()]

    def next_attempt_at(self) -> Microseconds:
        """When the only delivery that is pending is tried."""
        [(_, moment)] = self._pending()
        return moment

    def deliver_pending(self) -> None:
        """Go to the time of each delivery that is pending, one after the other, and try it."""
        for key, moment in self._pending():
            self.runner.clock.now = max(self.runner.clock.now, moment)
            self.deliver(key)

    def steps(self, keys: Sequence[int]) -> list[Callable[[], None]]:
        """The step of each of some deliveries."""
        return [partial(self.deliver, key) for key in keys]

    def exhaust(self) -> None:
        """Try what is pending until it has been given up."""
        while self.pending():
            self.deliver_pending()

    def _pending(self) -> list[tuple[int, Microseconds]]:
        statement = """
            SELECT id, next_attempt_at FROM deliveries
            WHERE account_id = :account_id AND state = 'pending' ORDER BY id
        """
        with self.runner.parts.database.read() as connection:
            rows = connection.execute(
                text(statement), {"account_id": self.runner.identity.account.id}
            )
            return [(row.id, row.next_attempt_at) for row in rows]

    def _answer(self, request: Request) -> Response:
        try:
            route, request.path_params = self._calls.match(request.method, request.path)
            assert route.answer
            return route.answer(request, self.runner.identity, Links(BASE))
        except Refused as refused:
            return refusal(refused)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def first_account(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeliveryRunner]:
    """Deliveries on each database in turn, for all tests of a file."""
    folder = tmp_path_factory.mktemp("deliveries")
    with (
        new_database(request, folder) as url,
        open_step_runner(Server(folder, url)) as runner,
    ):
        yield DeliveryRunner(runner)


def new_database(request: pytest.FixtureRequest, folder: Path) -> AbstractContextManager[str]:
    """The URL of a new database of the kind that the parameter names."""
    if request.param == "sqlite":
        template: SqliteTemplate = request.getfixturevalue("sqlite_template")
        return nullcontext(template.copy_to(folder))
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.database()


@pytest.fixture
def account(first_account: DeliveryRunner) -> DeliveryRunner:
    """An account of this test's own."""
    return first_account.another_account()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with open_receiver() as opened:
        yield opened


def path_of(webhook: Any, *more: str) -> str:
    """The path of a webhook, or of something below it."""
    return "/".join(["/batch-webhooks", webhook["id"], *more])


def ids_of(deliveries: list[Delivery]) -> list[str]:
    """The id that each request names."""
    return [each.headers["webhook-id"] for each in deliveries]


def log_of(account: DeliveryRunner, webhook: Any) -> Any:
    """The deliveries to a webhook."""
    return account.call_ok("GET", path_of(webhook, "deliveries"))


def only_entry(account: DeliveryRunner, webhook: Any) -> Any:
    """The only delivery to a webhook."""
    [entry] = log_of(account, webhook)["deliveries"]
    return entry


def link_in(delivery: Delivery) -> str:
    """The link to the results that an event holds."""
    [link] = parse_qs(delivery.body.decode())["data[response_body_url]"]
    return link
