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
from batchway.contract.response import Response, build_error_response, encode_body
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
from tests.receiver import Delivery, Receiver, Reply
from tests.scenario import Server
from tests.sqlite import SqliteTemplate
from tests.step_runner import BASE, StepRunner, open_step_runner
from tests.steps import run

LOOPBACK = (ip_network("127.0.0.0/8"),)
HOUR: Microseconds = 60 * 60 * SECOND
BROKEN = Reply(500, body=b"broken")


@dataclass
class DeliveryRunner:
    """The webhooks of one account, and their deliveries."""

    runner: StepRunner
    deliver: DeliverStep = field(init=False)
    _calls: RouteTable[Route] = field(init=False)

    def __post_init__(self) -> None:
        self._wire()

    def set_limits(self, **values: Any) -> None:
        """Change limits of the step and of the calls."""
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

    def add_account(self) -> "DeliveryRunner":
        """Create another account in the same app."""
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
        """Send a call on webhooks, and return status and body."""
        content = None if body is None else json.dumps(body).encode()
        response = self._answer(Request(method, path, params, content))
        encoded = encode_body(response)
        return response.status, json.loads(encoded) if encoded else None

    def call_ok(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        """Send a call that must succeed, and return the body of the reply."""
        status, answer = self.call(method, path, body, **params)
        assert status in {200, 204}, answer
        return answer

    def new_webhook(self, receiver: Receiver) -> Any:
        """Create a webhook, and return the reply to its POST."""
        return self.call_ok("POST", "/batch-webhooks", {"url": receiver.url})

    def finish_batch(self, count: int = 1) -> Batch:
        """Submit a batch and run all of its steps."""
        batch = self.runner.submit(self.runner.make_additions(count))
        run(self.runner.parts, batch.id)
        assert "finished" == self.runner.get_status(batch)
        return batch

    def get_pending_keys(self) -> list[int]:
        """Return the keys of all pending deliveries, due or not, oldest first."""
        return [key for key, _ in self._pending()]

    def get_next_attempt_at(self) -> Microseconds:
        """Return the time of the next attempt of the only pending delivery."""
        [(_, moment)] = self._pending()
        return moment

    def deliver_pending(self) -> None:
        """Attempt each pending delivery, after setting the clock to the time of its attempt."""
        for key, moment in self._pending():
            self.runner.clock.now = max(self.runner.clock.now, moment)
            self.deliver(key)

    def make_steps(self, keys: Sequence[int]) -> list[Callable[[], None]]:
        """Return a function for each delivery that attempts it."""
        return [partial(self.deliver, key) for key in keys]

    def exhaust(self) -> None:
        """Attempt all pending deliveries until none is pending."""
        while self.get_pending_keys():
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
            return build_error_response(refused)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def first_account(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeliveryRunner]:
    """A delivery runner on each database in turn, for all tests of a file."""
    folder = tmp_path_factory.mktemp("deliveries")
    with (
        new_database(request, folder) as url,
        open_step_runner(Server(folder, url)) as runner,
    ):
        yield DeliveryRunner(runner)


def new_database(request: pytest.FixtureRequest, folder: Path) -> AbstractContextManager[str]:
    """Return the URL of a new database of the kind in the fixture's parameter."""
    if request.param == "sqlite":
        template: SqliteTemplate = request.getfixturevalue("sqlite_template")
        return nullcontext(template.copy_to(folder))
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.database()


@pytest.fixture
def account(first_account: DeliveryRunner) -> DeliveryRunner:
    """A delivery runner with an account that only this test uses."""
    return first_account.add_account()


def make_path(webhook: Any, *more: str) -> str:
    """Return the path of a webhook, or of a resource below it."""
    return "/".join(["/batch-webhooks", webhook["id"], *more])


def get_event_ids(deliveries: list[Delivery]) -> list[str]:
    """Return the event id of each request."""
    return [delivery.headers["webhook-id"] for delivery in deliveries]


def get_log(account: DeliveryRunner, webhook: Any) -> Any:
    """Return the deliveries to a webhook, as the API shows them."""
    return account.call_ok("GET", make_path(webhook, "deliveries"))


def get_only_delivery(account: DeliveryRunner, webhook: Any) -> Any:
    """Return the only delivery to a webhook, as the API shows it."""
    [entry] = get_log(account, webhook)["deliveries"]
    return entry


def get_result_link(delivery: Delivery) -> str:
    """Return the link to the results in an event."""
    [link] = parse_qs(delivery.body.decode())["data[response_body_url]"]
    return link
