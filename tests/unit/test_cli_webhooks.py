"""The commands for batch webhooks: what they send, and what they advise."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from batchway.cli.connection import FIRST_WAITS_SECONDS, Connection
from batchway.cli.deliveries import parse_since
from batchway.cli.listen import create_temporary_webhook
from batchway.cli.main import build_app
from batchway.cli.terminal import CommandError
from batchway.cli.webhook_calls import find_private_networks
from batchway.kit.clock import SECOND
from tests.unit.test_cli_connection import HANG_UP, Answer, Stage, problem, staging

WEBHOOK = {
    "id": "0f3a9c21d4",
    "url": "https://crm.example.com/hook",
    "enabled": True,
    "signing_enabled": True,
}
DELIVERY = {
    "id": "msg_1",
    "type": "batch_operation_completed",
    "batch_id": "5cfa0d22b8",
    "state": "pending",
    "fired_at": "2026-03-01T08:00:00+00:00",
    "attempt_count": 0,
    "next_attempt_at": "",
    "attempts": [],
}
NOW = 1_770_000_000


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A server that gives the answers of the test."""
    with staging() as stage:
        yield stage


def run(stage: Stage, *arguments: str) -> Result:
    """Run `batchway webhooks` against the server."""
    environment = {"BATCHWAY_URL": stage.url, "BATCHWAY_API_KEY": "key"}
    return CliRunner().invoke(build_app(), ["webhooks", *arguments], env=environment)


def answer(body: Any) -> Answer:
    """Return a successful answer."""
    return Answer(200, json.dumps(body).encode())


def refused(field: str) -> Answer:
    """Return a refusal for one field."""
    mistake = {"field": field, "message": "We couldn't verify the URL is working."}
    return problem(400, title="Invalid Resource", errors=[mistake])


def bodies(stage: Stage) -> list[Any]:
    """Return the bodies that were sent, parsed."""
    return [json.loads(request.body) for request in stage.received if request.body]


# --- What the commands send ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {"enabled": True, "signing_enabled": True}),
        (["--no-signing"], {"enabled": True, "signing_enabled": False}),
        (["--disabled"], {"enabled": False, "signing_enabled": True}),
    ],
)
def test_a_webhook_is_made_as_asked(
    stage: Stage, arguments: list[str], expected: dict[str, bool]
) -> None:
    """Both options are sent, and the secret is shown with a note that it is shown only once."""
    stage.answers = [answer(WEBHOOK | {"signing_secret": "whsec_abc"})]

    done = run(stage, "create", str(WEBHOOK["url"]), *arguments)

    assert 0 == done.exit_code
    assert [{"url": WEBHOOK["url"], **expected}] == bodies(stage)
    assert "Signing secret: whsec_abc   (shown only this once, so keep it)" in done.output
    assert "batchway webhooks test 0f3a9c21d4" in done.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--enable"], {"enabled": True}),
        (["--disable", "--signing"], {"enabled": False, "signing_enabled": True}),
        (["--no-signing"], {"signing_enabled": False}),
        (["--new-url", "https://b.example.com"], {"url": "https://b.example.com"}),
    ],
)
def test_an_update_sends_only_the_given_fields(
    stage: Stage, arguments: list[str], expected: dict[str, Any]
) -> None:
    """Only the given fields are sent, and no secret is shown unless there is a new one."""
    stage.answers = [answer(WEBHOOK)]

    done = run(stage, "update", "0f3a9c21d4", *arguments)

    assert 0 == done.exit_code
    assert [expected] == bodies(stage)
    assert "secret" not in done.output


def test_deliveries_say_why_a_webhook_is_disabled(stage: Stage) -> None:
    """Below the table are the reason and the command that enables the webhook again."""
    page = {"deliveries": [DELIVERY], "total_items": 1, "disabled_reason": "It has only failed."}
    stage.answers = [answer(page)]

    done = run(stage, "deliveries", "0f3a9c21d4", "--state", "exhausted")

    assert "state=exhausted" in stage.received[0].path
    assert "disabled: It has only failed." in done.stderr
    assert "batchway webhooks update 0f3a9c21d4 --enable" in done.stderr


def test_deliveries_show_the_last_answer(stage: Stage) -> None:
    """A delivery shows the status code of its last attempt or, without one, the reason."""

    def attempted(*outcomes: Any) -> dict[str, Any]:
        attempts = [
            {"number": number, "attempted_at": "x", "duration_ms": 5, **outcome}
            for number, outcome in enumerate(outcomes, start=1)
        ]
        return DELIVERY | {"attempts": attempts, "attempt_count": len(attempts)}

    silent = {"status_code": None, "reason": "It did not answer in time."}
    page = [attempted(), attempted(silent), attempted(silent, {"status_code": 500})]
    stage.answers = [answer({"deliveries": page, "total_items": 3})]

    done = run(stage, "deliveries", "0f3a9c21d4")

    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert ["last answer", "", silent["reason"], "500"] == [line[6] for line in lines]


def test_recovery_goes_on_until_all_are_sent(stage: Stage) -> None:
    """One call recovers a thousand events; all calls have the same moment."""
    stage.answers = [answer({"recovered": count}) for count in (1_000, 1_000, 7)]

    done = run(stage, "recover", "0f3a9c21d4", "--since", "2026-03-01T08:00:00+01:00")

    assert [{"since": "2026-03-01T07:00:00+00:00"}] * 3 == bodies(stage)
    assert "2007 events since 2026-03-01T07:00:00+00:00 will be sent again.\n" == done.stdout


@pytest.mark.parametrize("counts", [[0], [1_000, 0], [999]])
def test_recovery_ends(stage: Stage, counts: list[int]) -> None:
    """Fewer than a thousand events mean that there are no more."""
    stage.answers = [answer({"recovered": count}) for count in counts]

    done = run(stage, "recover", "0f3a9c21d4", "--since", "2h")

    assert done.stdout.startswith(f"{sum(counts)} events since ")
    assert len(counts) == len(stage.received)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", NOW - 1_800),
        ("2h", NOW - 7_200),
        ("3d", NOW - 3 * 86_400),
        (" 1w ", NOW - 7 * 86_400),
        ("2026-03-01", 1_772_323_200),
        ("2026-03-01T08:00:00", 1_772_352_000),
        ("2026-03-01T08:00:00+01:00", 1_772_348_400),
    ],
)
def test_since_is_a_moment_or_how_long_ago(text: str, expected: int) -> None:
    """A time without a zone is UTC."""
    assert expected * SECOND == parse_since(text, lambda: NOW * SECOND)


@pytest.mark.parametrize("text", ["", "2", "h", "2y", "-2h", "2.5h", "yesterday", "9999999d"])
def test_an_invalid_since_is_wrong_use(text: str) -> None:
    """The error has an example."""
    with pytest.raises(typer.BadParameter, match="2h"):
        parse_since(text, lambda: NOW * SECOND)


# --- What they advise ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9000/", "127.0.0.0/8"),
        ("http://127.1.2.3/", "127.0.0.0/8"),
        ("http://localhost:9000/x", "127.0.0.0/8,::1/128"),
        ("http://a.localhost/", "127.0.0.0/8,::1/128"),
        ("http://[::1]:9000/", "::1/128"),
        ("http://10.1.2.3/", "10.1.2.3/32"),
        ("http://[fd00::1]/", "fd00::1/128"),
        ("https://crm.example.com/", ""),
        ("https://93.184.216.34/", ""),
        ("http://[::1", ""),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_the_setting_for_private_addresses(url: str, expected: str) -> None:
    """Only private IP addresses need the setting; names are not resolved."""
    assert expected == find_private_networks(url)


@pytest.mark.parametrize(
    ("url", "field", "expected", "not_expected"),
    [
        ("http://127.0.0.1:9", "url", "BATCHWAY_EGRESS_ALLOW=127.0.0.0/8", "webhooks list"),
        ("https://crm.example.com", "url", "must answer GET with 200", "BATCHWAY_EGRESS_ALLOW"),
        ("http://127.0.0.1:9", "other", "batchway webhooks list", "BATCHWAY_EGRESS_ALLOW"),
    ],
)
@pytest.mark.parametrize("command", ["create", "update"])
def test_a_refused_url_has_a_next_step(  # noqa: PLR0913 - a table of that many columns
    stage: Stage, command: str, url: str, field: str, expected: str, not_expected: str
) -> None:
    """The error names the setting for a private address, or another command."""
    stage.answers = [refused(field)]
    arguments = [url] if command == "create" else ["x", "--new-url", url]

    done = run(stage, command, *arguments)

    assert isinstance(done.exception, CommandError)
    assert "couldn't verify" in str(done.exception)
    assert expected in done.exception.next_step
    assert not_expected not in done.exception.next_step


@pytest.mark.parametrize(
    "arguments", [["resend", "w1", "msg_1"], ["recover", "w1", "--since", "2h"]], ids=" ".join
)
def test_a_disabled_webhook_has_a_next_step(stage: Stage, arguments: list[str]) -> None:
    """The error says how to enable the webhook."""
    stage.answers = [problem(409)]

    done = run(stage, *arguments)

    assert isinstance(done.exception, CommandError)
    assert "batchway webhooks update w1 --enable" in done.exception.next_step


# --- The webhook of `listen` ---------------------------------------------------------------------


def test_the_webhook_lives_as_long_as_the_block(stage: Stage) -> None:
    """The webhook is deleted however the block ends."""
    stage.answers = [answer(WEBHOOK), Answer(204, b"")]

    with (
        Connection(stage.url, "key") as connection,
        pytest.raises(BrokenPipeError),
        create_temporary_webhook(connection, "http://127.0.0.1:9000/", ""),
    ):
        raise BrokenPipeError

    assert [("POST", "/3.0/batch-webhooks"), ("DELETE", "/3.0/batch-webhooks/0f3a9c21d4")] == [
        (request.method, request.path) for request in stage.received
    ]
    assert "http://127.0.0.1:9000/" == bodies(stage)[0]["url"]


@pytest.mark.parametrize("failure", [problem(500), problem(401), Answer(HANG_UP), problem(429)])
def test_a_webhook_that_cannot_be_deleted_is_named(stage: Stage, failure: Answer) -> None:
    """The error says how to delete the webhook, and comes without many retries."""
    stage.answers = [answer(WEBHOOK), failure]
    waits: list[float] = []

    with (
        Connection(stage.url, "key", sleep=waits.append) as connection,
        pytest.raises(CommandError, match="0f3a9c21d4 may still exist") as caught,
        create_temporary_webhook(connection, "http://127.0.0.1:9000/", ""),
    ):
        pass

    assert "Delete it: batchway webhooks delete 0f3a9c21d4" == caught.value.next_step
    assert sum(waits) <= sum(FIRST_WAITS_SECONDS)


def test_a_webhook_that_is_already_deleted_is_no_error(stage: Stage) -> None:
    """A 404 for the deletion is not an error."""
    stage.answers = [answer(WEBHOOK), problem(404)]

    with (
        Connection(stage.url, "key") as connection,
        create_temporary_webhook(connection, "http://127.0.0.1:9000/", ""),
    ):
        pass

    assert 2 == len(stage.received)


@pytest.mark.parametrize(
    ("public_url", "expected"),
    [
        ("", ["BATCHWAY_EGRESS_ALLOW=127.0.0.0/8", "--public-url"]),
        ("https://tunnel.example.com/", ["must answer GET with 200", "http://127.0.0.1:9000/"]),
    ],
)
def test_a_refused_registration_says_what_to_set(
    stage: Stage, public_url: str, expected: list[str]
) -> None:
    """The error names the setting for a private address, or where the public URL must lead."""
    stage.answers = [refused("url")]

    with (
        Connection(stage.url, "key") as connection,
        pytest.raises(CommandError) as caught,
        create_temporary_webhook(connection, "http://127.0.0.1:9000/", public_url),
    ):
        pass

    assert [] == [
        expected_item for expected_item in expected if expected_item not in caught.value.next_step
    ]
    assert 1 == len(stage.received)
