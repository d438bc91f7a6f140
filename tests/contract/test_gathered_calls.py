"""Single calls that wait at the same time are answered together, as if each were alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import Connection, event

from batchway import limits
from batchway.audience.calls import find_set
from batchway.contract.request import Request
from batchway.kit.ids import compute_subscriber_hash
from batchway.store.database import Database
from tests.contract.asgi_client import AsgiClient
from tests.contract.shared_servers import check_problem
from tests.step_runner import StepRunner

COUNT = 20
assert limits.gathered_calls_max > COUNT

Call = tuple[str, str, object]


@pytest.fixture
def client(runner: StepRunner) -> AsgiClient:
    """The app of the step runner, on each database in turn."""
    runner.set_limits(requests_per_key_max=limits.gathered_calls_max)
    made = AsgiClient(runner.app.asgi())
    call_ok(made, [make_addition(runner, "first")])  # reserves the keys of more rows than it needs
    return made


def call_ok(client: AsgiClient, calls: list[Call]) -> list[httpx.Response]:
    """Send calls at the same time; all of them succeed."""
    replies = client.call_at_once(calls)
    assert {200} == {reply.status_code for reply in replies}, [reply.text for reply in replies]
    return replies


@contextmanager
def counted_commits(database: Database) -> Iterator[list[Connection]]:
    """Collect the connections that commit within the block."""
    commits: list[Connection] = []

    def count(connection: Connection) -> None:
        commits.append(connection)

    event.listen(database.engine, "commit", count)
    yield commits
    event.remove(database.engine, "commit", count)


def make_address(name: object) -> str:
    """Return an address."""
    return f"{name}@example.com"


def make_addition(runner: StepRunner, name: object) -> Call:
    """Return a call that adds a member."""
    body = {"email_address": make_address(name), "status": "subscribed"}
    return "POST", f"/lists/{runner.list_id}/members", body


def make_path(runner: StepRunner, name: object) -> str:
    """Return the path of a member."""
    return f"/lists/{runner.list_id}/members/{compute_subscriber_hash(make_address(name))}"


# --- Changes --------------------------------------------------------------------------------------


def test_changes_share_a_transaction(runner: StepRunner, client: AsgiClient) -> None:
    """Calls that add members are one transaction; each gets its own reply."""
    with counted_commits(runner.app.database) as commits:
        replies = call_ok(client, [make_addition(runner, number) for number in range(COUNT)])

    assert 1 == len(commits)
    addresses = [make_address(number) for number in range(COUNT)]
    assert addresses == [reply.json()["email_address"] for reply in replies]
    assert COUNT + 1 == runner.count_members()
    assert COUNT == len({reply.json()["web_id"] for reply in replies})


def test_a_call_that_fails_disturbs_no_other(runner: StepRunner, client: AsgiClient) -> None:
    """Wrong calls get their own errors; the others take effect."""
    replies = client.call_at_once(
        [
            make_addition(runner, 1),
            make_addition(runner, "not an address"),
            make_addition(runner, 1),
            ("PATCH", make_path(runner, "nobody"), {"status": "unsubscribed"}),
            ("POST", "/lists/0000000000/members", {"email_address": make_address(2)}),
            make_addition(runner, 3),
        ]
    )

    assert [200, 400, 400, 404, 404, 200] == [reply.status_code for reply in replies]
    check_problem(replies[1], 400, "Invalid Resource")
    check_problem(replies[2], 400, "Member Exists")
    assert 5 == len({reply.headers["x-request-id"] for reply in replies[:5]})
    assert 3 == runner.count_members()


def test_changes_of_one_member_keep_their_order(runner: StepRunner, client: AsgiClient) -> None:
    """Each reply shows the change of its own call, and the last call wins."""
    names = [f"Ann {number}" for number in range(COUNT)]
    calls: list[Call] = [
        ("PATCH", make_path(runner, "first"), {"merge_fields": {"FNAME": name}}) for name in names
    ]

    with counted_commits(runner.app.database) as commits:
        replies = call_ok(client, calls)

    assert 1 == len(commits)
    assert names == [reply.json()["merge_fields"]["FNAME"] for reply in replies]
    [stored] = call_ok(client, [("GET", make_path(runner, "first"), None)])
    assert names[-1] == stored.json()["merge_fields"]["FNAME"]


def test_another_process_adds_the_same_member(
    runner: StepRunner, client: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a set cannot be written as planned, it is answered within a transaction."""
    other = AsgiClient(runner.app.asgi())
    write = runner.app.database.write
    is_first = True

    @contextmanager
    def write_after_another() -> Iterator[Connection]:
        nonlocal is_first
        if is_first:
            is_first = False
            assert 200 == other.call("POST", path, json=body).status_code
        with write() as connection:
            yield connection

    _, path, body = make_addition(runner, 1)
    monkeypatch.setattr(runner.app.database, "write", write_after_another)
    replies = client.call_at_once([make_addition(runner, number) for number in range(3)])

    assert [200, 400, 200] == [reply.status_code for reply in replies]
    check_problem(replies[1], 400, "Member Exists")
    assert 4 == runner.count_members()


def test_more_rows_than_one_plan_has(
    runner: StepRunner, client: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set whose rows do not fit into one plan needs several, and every call is answered."""
    monkeypatch.setattr(limits, "planned_rows_max", 5)

    with counted_commits(runner.app.database) as commits:
        call_ok(client, [make_addition(runner, number) for number in range(COUNT)])

    assert 1 < len(commits) < COUNT
    assert COUNT + 1 == runner.count_members()


# --- What is answered alone -----------------------------------------------------------------------


def test_changes_of_lists_are_answered_alone(runner: StepRunner, client: AsgiClient) -> None:
    """A call on a list or a merge field has a transaction of its own."""
    calls: list[Call] = [
        ("PATCH", f"/lists/{runner.list_id}", {"name": f"List {number}"}) for number in range(3)
    ]

    with counted_commits(runner.app.database) as commits:
        replies = call_ok(client, calls)

    assert 3 == len(commits)
    assert {f"List {number}" for number in range(3)} == {reply.json()["name"] for reply in replies}


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "", None, "reads"),
        ("GET", "/members/m", None, "reads"),
        ("GET", "/members/m/tags", None, None),
        ("GET", "/members", None, None),
        ("GET", "/nowhere", None, None),
        ("PATCH", "", b"{}", None),
        ("POST", "/merge-fields", b"{}", None),
        ("POST", "/members", b"{}", "changes"),
        ("PUT", "/members/m", b"{}", "changes"),
        ("PATCH", "/members/m", b"{}", "changes"),
        ("DELETE", "/members/m", None, "changes"),
        ("POST", "/members/m/tags", b"{}", "changes"),
        ("POST", "", b"{}", "changes"),
        ("POST", "", b"x" * limits.gathered_body_bytes_max, "changes"),
        ("POST", "", b"x" * (limits.gathered_body_bytes_max + 1), None),
    ],
)
def test_which_calls_are_answered_together(
    method: str, path: str, body: bytes | None, expected: str | None
) -> None:
    """Quick reads and quick changes of members are; pages, lists and large bodies are not."""
    request = Request(method, f"/lists/0000000000{path}", {}, body)

    assert expected == find_set(request)


# --- Reads ----------------------------------------------------------------------------------------


def test_reads_beside_changes(runner: StepRunner, client: AsgiClient) -> None:
    """Reads get their replies while changes are made, each its own."""
    path = make_path(runner, "first")
    calls: list[Call] = [
        ("GET", path, None),
        ("PATCH", path, {"merge_fields": {"FNAME": "Ann"}}),
        ("GET", f"/lists/{runner.list_id}", None),
        ("GET", path, None),
    ]

    first, changed, shown, second = call_ok(client, calls)

    assert make_address("first") == first.json()["email_address"] == second.json()["email_address"]
    assert "Ann" == changed.json()["merge_fields"]["FNAME"]
    assert runner.list_id == shown.json()["id"]
