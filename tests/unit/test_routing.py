"""Which handler answers a path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway import limits
from batchway.contract.problems import Refused
from batchway.contract.routing import RouteTable


@pytest.fixture
def routes() -> RouteTable[str]:
    """Return a table like the real one, whose handlers are their names."""
    table: RouteTable[str] = RouteTable()
    for method, template in (
        ("GET", "/"),
        ("GET", "/lists"),
        ("POST", "/lists"),
        ("DELETE", "/lists/{list_id}"),
        ("GET", "/lists/{list_id}"),
        ("GET", "/lists/{list_id}/members/{subscriber_hash}"),
        ("PUT", "/lists/{list_id}/members/{subscriber_hash}"),
        ("POST", "/lists/{list_id}/members/{subscriber_hash}/actions/delete-permanent"),
        ("GET", "/ping"),
    ):
        table.add(method, template, f"{method} {template}")
    return table


def refused(routes: RouteTable[str], method: str, path: str) -> Refused:
    """Return the problem that a path is rejected with."""
    with pytest.raises(Refused) as caught:
        routes.match(method, path)
    return caught.value


@pytest.mark.parametrize(
    ("method", "path", "handler", "values"),
    [
        ("GET", "/", "GET /", {}),
        ("GET", "", "GET /", {}),
        ("GET", "/lists", "GET /lists", {}),
        ("GET", "/lists/", "GET /lists", {}),
        ("GET", "lists", "GET /lists", {}),
        ("GET", "//lists//", "GET /lists", {}),
        ("POST", "/lists", "POST /lists", {}),
        ("GET", "/lists/ab12", "GET /lists/{list_id}", {"list_id": "ab12"}),
        ("GET", "/lists/members", "GET /lists/{list_id}", {"list_id": "members"}),
        ("GET", "/lists/%7Bx%7D", "GET /lists/{list_id}", {"list_id": "{x}"}),
        (
            "PUT",
            "/lists/1/members/ann%40example.com",
            "PUT /lists/{list_id}/members/{subscriber_hash}",
            {"list_id": "1", "subscriber_hash": "ann@example.com"},
        ),
        (
            "GET",
            "/lists/1/members/a%2Fb+c",
            "GET /lists/{list_id}/members/{subscriber_hash}",
            {"list_id": "1", "subscriber_hash": "a/b+c"},
        ),
        (
            "POST",
            "/lists/1/members/2/actions/delete-permanent",
            "POST /lists/{list_id}/members/{subscriber_hash}/actions/delete-permanent",
            {"list_id": "1", "subscriber_hash": "2"},
        ),
    ],
)
def test_a_path_is_matched(
    routes: RouteTable[str], method: str, path: str, handler: str, values: dict[str, str]
) -> None:
    """Variables of a path are decoded once, and additional slashes are ignored."""
    assert (handler, values) == routes.match(method, path)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/Lists",
        "/%6Cists",
        "/lists/1/nothing",
        "/lists/1/members",
        "/lists/1/members/2/actions",
        "/ping/pong",
        "/lists/%00",
        "/lists/a\0b",
        "/..",
        "/{list_id}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "BREW"])
def test_an_unknown_path(routes: RouteTable[str], method: str, path: str) -> None:
    """An unknown path is a 404 with any method; so is a path that is only the prefix of others."""
    assert 404 == refused(routes, method, path).problem.status


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/lists", "GET, POST"),
        ("POST", "/lists/1", "GET, DELETE"),
        ("DELETE", "/lists/1/members/2", "GET, PUT"),
        ("POST", "/ping", "GET"),
        ("get", "/ping", "GET"),
        ("", "/ping", "GET"),
    ],
)
def test_a_wrong_method(routes: RouteTable[str], method: str, path: str, allow: str) -> None:
    """A wrong method is a 405 that lists the allowed methods in a fixed order."""
    refusal = refused(routes, method, path)

    assert 405 == refusal.problem.status
    assert (("Allow", allow),) == refusal.headers


def test_a_path_with_too_many_segments(routes: RouteTable[str]) -> None:
    """A path with one segment more than the limit is a 414, before anything is looked up."""
    deepest = "/x" * limits.path_segments_max

    assert 404 == refused(routes, "GET", deepest).problem.status
    assert 414 == refused(routes, "GET", deepest + "/x").problem.status
    assert 414 == refused(routes, "GET", "/x" * 100_000).problem.status


def test_a_second_handler_raises(routes: RouteTable[str]) -> None:
    """A second handler for the same route raises an error, because one of them would be ignored."""
    with pytest.raises(ValueError, match="has two handlers"):
        routes.add("GET", "/lists/{list_id}", "another")


def test_routes_are_listed_as_they_were_added(routes: RouteTable[str]) -> None:
    """Routes are listed in the order in which they were added."""
    assert ("GET", "/", "GET /") == routes.routes[0]
    assert ("GET", "/ping", "GET /ping") == routes.routes[-1]


def test_two_names_for_one_variable_raise(routes: RouteTable[str]) -> None:
    """Two names for one variable raise an error, because one handler would not find its own."""
    with pytest.raises(ValueError, match="list_id"):
        routes.add("GET", "/lists/{audience_id}/activity", "activity")


@given(st.lists(st.text(min_size=1).filter(lambda text: "/" not in text), max_size=5))
def test_any_path(segments: list[str]) -> None:
    """Any path has a handler or is rejected, and its variables are decoded exactly once."""
    table: RouteTable[str] = RouteTable()
    table.add("GET", "/{a}/x/{b}", "handler")
    try:
        _, values = table.match("GET", "/".join(segments))
    except Refused as refusal:
        assert refusal.problem.status in {404, 414}  # noqa: PT017 - one of two right answers
    else:
        assert (3, "x") == (len(segments), segments[1])
        assert {"a", "b"} == set(values)
