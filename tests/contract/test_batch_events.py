"""The progress of a batch, as a stream of events or as one reply."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import httpx

from batchway.kit.clock import SECOND
from batchway.lifecycle.cancel import cancel_batch
from batchway.limits import Limits
from batchway.model.batch import Batch
from batchway.store import leases
from tests.contract.asgi_client import AsgiClient
from tests.contract.shared_servers import (
    Api,
    check_problem,
    create_account,
    execute_sql,
    insert_batches,
)
from tests.faults.batch_monitor import STATUSES
from tests.scenario import NOWHERE, PING, wait_until
from tests.step_runner import LARGE, StepRunner
from tests.steps import execute, finalize, split

JSON = {"Accept": "application/json"}
KEYS = [
    "id",
    "status",
    "total_operations",
    "finished_operations",
    "errored_operations",
    "operations_per_second",
    "estimated_end",
    "waiting_for",
    "retry_of",
]

Event = tuple[str, dict[str, Any]]  # name and data


# --- A stream ------------------------------------------------------------------------------------


def test_from_the_beginning_to_the_end(own_api: Api) -> None:
    """Progress only increases, and the stream ends with the event `finished`."""
    batch_id = own_api.submit(*[PING] * 9_000, *[NOWHERE] * 9_000)

    with _open_stream(own_api, batch_id) as reply:
        assert "text/event-stream" in reply.headers["content-type"]
        assert "no-cache" == reply.headers["cache-control"]
        events = list(_read_events(reply))

    names = [name for name, _ in events]
    assert names == ["progress"] * (len(events) - 1) + ["finished"]
    looks = [data for _, data in events]
    assert all(list(look) == KEYS for look in looks)
    assert {batch_id} == {look["id"] for look in looks}
    assert looks == sorted(
        looks, key=lambda look: (STATUSES.index(look["status"]), look["finished_operations"])
    )
    last = looks[-1]
    assert ("finished", 18_000, 18_000, 9_000) == tuple(last[key] for key in KEYS[1:5])
    assert ("", "", "") == tuple(last[key] for key in KEYS[6:])
    assert last["operations_per_second"] > 0


def test_a_finished_batch(own_api: Api) -> None:
    """The stream of a finished batch has one event."""
    batch_id = own_api.wait_until_finished(own_api.submit(PING))["id"]

    with _open_stream(own_api, batch_id) as reply:
        [(name, data)] = _read_events(reply)

    assert ("finished", "finished", 1) == (name, data["status"], data["finished_operations"])


def test_the_first_event_is_the_state_now(own_api: Api) -> None:
    """The first event is the current state; each change is one event, also the deletion."""
    batch_id = insert_batches(own_api, "started")

    with _open_stream(own_api, batch_id) as reply:
        events = _read_events(reply)
        name, data = next(events)
        assert ("progress", "started", 0) == (name, data["status"], data["finished_operations"])

        statement = "UPDATE batches SET finished_operations = 1 WHERE public_id = :id"
        execute_sql(own_api.server, statement, id=batch_id)
        name, data = next(events)
        assert ("progress", 1) == (name, data["finished_operations"])

        own_api.call_ok("DELETE", f"/batches/{batch_id}")
        assert [("deleted", {})] == list(events)


def test_a_stream_ends_in_time(runner: StepRunner) -> None:
    """A stream ends after its maximum duration; comments keep an idle connection open."""
    batch = runner.submit([PING])
    runner.set_limits(
        event_poll_seconds=0.01, event_silence_seconds_max=0, event_stream_seconds_max=0.5
    )

    body = AsgiClient(runner.app.asgi()).call("GET", f"/batches/{batch.public_id}/events").text

    first, *others = body.split("\n\n")[:-1]
    assert first.startswith('event: progress\ndata: {"id":')
    assert {": still here"} == set(others)


def test_as_many_streams_as_may_be(own_api: Api) -> None:
    """A stream above the limit is refused until one ends; other calls and keys still work."""
    batch_id = insert_batches(own_api, "started")
    most = Limits.event_streams_per_key_max
    other = Api(replace(own_api.server, key=create_account(own_api.server)), own_api.http)
    theirs = insert_batches(other, "started")

    with ExitStack() as last, ExitStack() as streams:
        for number in range(most):
            stack = last if number == 0 else streams
            assert 200 == stack.enter_context(_open_stream(own_api, batch_id)).status_code
        with _open_stream(own_api, batch_id) as refused:
            refused.read()
            check_problem(refused, 429, "Too Many Requests")
            assert int(refused.headers["retry-after"]) > 0
        assert 429 == _get_events(own_api, batch_id).status_code
        assert 200 == own_api.call("GET", f"/batches/{batch_id}").status_code
        assert 200 == _get_events(other, theirs).status_code
        last.close()
        wait_until(
            lambda: _get_events(own_api, batch_id).status_code == 200, "a place is free again"
        )
    own_api.call_ok("DELETE", f"/batches/{batch_id}")
    other.call_ok("DELETE", f"/batches/{theirs}")


# --- One reply ------------------------------------------------------------------------------------


def test_one_reply(runner: StepRunner, client: AsgiClient) -> None:
    """The reply has counters, rate, estimated end, and what the batch waits for."""
    batch = runner.submit([*[NOWHERE] * 5_000, *[PING] * 1_000])
    _add_lease(runner)

    first = _get_progress(client, batch)
    assert KEYS == list(first)
    assert [batch.public_id, "pending", LARGE, 0, 0, None, ""] == list(first.values())[:7]
    assert "A worker will begin it." == first["waiting_for"]
    split(runner.parts, batch.id)
    assert "2 of 2 chunks are to be executed." == _get_progress(client, batch)["waiting_for"]
    execute(runner.parts, batch.id, 0)
    runner.clock.now += 10_000_000

    half = _get_progress(client, batch)
    assert ["started", LARGE, 5_000, 5_000, 500.0] == list(half.values())[1:6]
    assert "2026-11-23T12:00:12+00:00" == half["estimated_end"]
    assert "1 of 2 chunks are to be executed." == half["waiting_for"]
    execute(runner.parts, batch.id, 1)
    assert "The results are being compiled." == _get_progress(client, batch)["waiting_for"]
    finalize(runner.parts, batch.id)
    runner.clock.now += 3_600_000_000

    last = _get_progress(client, batch)
    assert ["finished", LARGE, LARGE, 5_000, 600.0, "", ""] == list(last.values())[1:8]


def test_what_a_batch_waits_for(runner: StepRunner, client: AsgiClient) -> None:
    """The reply names what the batch waits for: a worker, its turn, or the end of a cancel."""
    batch = runner.submit([PING])
    assert _get_progress(client, batch)["waiting_for"].startswith("No worker is ready;")
    _add_lease(runner)
    most = Limits.running_batches_per_account_max
    running = [runner.submit([PING] * 501) for _ in range(most)]
    for waiting in (*running, batch):
        split(runner.parts, waiting.id)

    held = f"{most} batches of this account are running, at most {most} may."
    assert held == _get_progress(client, batch)["waiting_for"]
    assert cancel_batch(runner.parts, batch.account_id, running[0].public_id)
    assert "being recorded as cancelled" in _get_progress(client, running[0])["waiting_for"]


# --- Helpers --------------------------------------------------------------------------------------


@contextmanager
def _open_stream(api: Api, batch_id: str) -> Iterator[httpx.Response]:
    url = f"{api.server.url}/3.0/batches/{batch_id}/events"
    with api.http.stream("GET", url, auth=("any", api.server.key)) as reply:
        yield reply


def _read_events(reply: httpx.Response) -> Iterator[Event]:
    """Yield each event as it arrives, without comments."""
    name = ""
    for line in reply.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def _get_events(api: Api, batch_id: str) -> httpx.Response:
    url = f"{api.server.url}/3.0/batches/{batch_id}/events"
    return api.http.get(url, auth=("any", api.server.key), headers=JSON)


def _get_progress(client: AsgiClient, batch: Batch) -> dict[str, Any]:
    reply = client.call("GET", f"/batches/{batch.public_id}/events", headers=JSON)
    assert 200 == reply.status_code, reply.text
    found: dict[str, Any] = reply.json()
    return found


def _add_lease(runner: StepRunner) -> None:
    """Add the lease of a worker that is ready."""
    with runner.parts.database.write() as connection:
        leases.renew(connection, "worker", is_ready=True, seconds=leases.LASTS_MAX / SECOND)
