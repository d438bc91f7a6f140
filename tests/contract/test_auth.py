"""All forms in which clients send an API key, and the errors for missing and wrong keys."""

import base64
from collections.abc import Mapping

import httpx
import pytest

from tests.contract.shared_servers import Api, check_problem
from tests.scenario import KEY, Server


@pytest.fixture
def server(sqlite_server: Server) -> Server:
    """A server on one database: keys are looked up in both alike (test_isolation.py)."""
    return sqlite_server


WRONG = "f" * 32 + "-us1"
# Its base64 has both characters that the URL-safe alphabet writes otherwise.
ODD_USER = "~>>~~?"


def make_basic_header(user: str, key: str, *, is_url_safe: bool = False) -> dict[str, str]:
    """Return a Basic header."""
    raw = f"{user}:{key}".encode()
    encoded = base64.urlsafe_b64encode(raw) if is_url_safe else base64.b64encode(raw)
    return {"Authorization": f"Basic {encoded.decode()}"}


def get_ping_status(
    server: Server, http: httpx.Client, headers: Mapping[str, str], query: str = ""
) -> int:
    """Return the status of a ping."""
    return http.get(f"{server.url}/3.0/ping{query}", headers=headers).status_code


@pytest.mark.parametrize("user", ["user", "any", "anystring", "apikey", "", "a b", ODD_USER])
@pytest.mark.parametrize("is_url_safe", [False, True])
def test_basic_with_any_user_name(
    server: Server, http: httpx.Client, user: str, is_url_safe: bool
) -> None:
    """Basic authentication accepts any user name, in both alphabets of base64."""
    assert 200 == get_ping_status(
        server, http, make_basic_header(user, KEY, is_url_safe=is_url_safe)
    )


def test_the_odd_user_name_has_odd_characters() -> None:
    """ODD_USER differs in the two alphabets of base64, as the test above needs."""
    ordinary, url_safe = (
        make_basic_header(ODD_USER, KEY),
        make_basic_header(ODD_USER, KEY, is_url_safe=True),
    )

    assert {"+", "/"} <= set(ordinary["Authorization"])
    assert {"-", "_"} <= set(url_safe["Authorization"])


def test_basic_without_padding(server: Server, http: httpx.Client) -> None:
    """Base64 without padding is accepted."""
    header = make_basic_header("user", KEY)["Authorization"]
    assert header.endswith("=")

    assert 200 == get_ping_status(server, http, {"Authorization": header.rstrip("=")})


@pytest.mark.parametrize(
    "scheme", ["Bearer", "bearer", "OAuth", "oauth", "apikey", "APIKEY", "Bearer  "]
)
def test_key_after_a_scheme(server: Server, http: httpx.Client, scheme: str) -> None:
    """The key is accepted after these schemes, in any case."""
    assert 200 == get_ping_status(server, http, {"Authorization": f"{scheme} {KEY}"})


def test_key_in_the_query_of_a_get(server: Server, http: httpx.Client) -> None:
    """A key in the query is accepted for GET and HEAD only."""
    url = f"{server.url}/3.0/lists?apikey={KEY}"

    assert 200 == http.get(url).status_code
    assert 200 == http.head(url).status_code
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        check_problem(http.request(method, url), 401, "API Key Missing")


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (make_basic_header("any", KEY), f"?apikey={WRONG}"),
        ({"Authorization": f"Bearer {KEY}"}, f"?apikey={WRONG}"),
        (make_basic_header("any", WRONG), f"?apikey={KEY}"),
    ],
)
def test_keys_that_conflict(
    server: Server, http: httpx.Client, headers: Mapping[str, str], query: str
) -> None:
    """Two different keys are refused, even if one of them is right."""
    reply = http.get(f"{server.url}/3.0/ping{query}", headers=headers)

    check_problem(reply, 401, "API Key Invalid")
    assert 200 == get_ping_status(server, http, make_basic_header("any", KEY), f"?apikey={KEY}")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Bearer"},
        make_basic_header("any", ""),
        make_basic_header(KEY, ""),  # the key is the password
    ],
)
@pytest.mark.parametrize("path", ["/ping", "/", "/batches", "/nowhere", "/lists/0123456789"])
def test_no_key(server: Server, http: httpx.Client, headers: Mapping[str, str], path: str) -> None:
    """Without a key, every path answers 401."""
    document = check_problem(
        http.get(f"{server.url}/3.0{path}", headers=headers), 401, "API Key Missing"
    )

    assert "Your request did not include an API key." == document["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        make_basic_header("any", WRONG),
        make_basic_header("any", KEY.upper()),
        make_basic_header("any", KEY + "x"),
        make_basic_header("any", KEY.removesuffix("-us1")),
        {"Authorization": f"Bearer {WRONG}"},
        {"Authorization": f"Digest {KEY}"},
        {"Authorization": KEY},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe\xfd").decode()},
        {"Authorization": f"Bearer {KEY[:-1]}\u00e9"},
        {"Authorization": "Bearer " + "a" * 10_000},
    ],
)
def test_wrong_key(server: Server, http: httpx.Client, headers: Mapping[str, str]) -> None:
    """A key that is unknown, or cannot be read, is invalid."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    document = check_problem(
        http.get(f"{server.url}/3.0/ping", headers=raw), 401, "API Key Invalid"
    )

    detail = "Your API key may be invalid, or you've attempted to access the wrong datacenter."
    assert detail == document["detail"]


def test_refused_calls_have_no_effect(api: Api) -> None:
    """A call without a valid key has no effect."""
    before = api.call_ok("GET", "/lists")["total_items"]

    reply = api.http.post(f"{api.server.url}/3.0/lists", json={"name": "x"})

    check_problem(reply, 401, "API Key Missing")
    assert "Basic" in reply.headers["www-authenticate"]
    assert before == api.call_ok("GET", "/lists")["total_items"]
