"""Conventions of every call under /3.0: bodies, methods, headers and paths."""

import gzip
import json
import re

import httpx
import pytest

from batchway.limits import Limits
from tests.audience import NEW_LIST
from tests.contract.shared_servers import (
    JSON,
    Api,
    check_problem,
    get_field_errors,
    make_member,
    send_raw_request,
)
from tests.scenario import KEY, Server

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def server(sqlite_server: Server) -> Server:
    """A server on one database, which makes no difference here. See also test_queries.py."""
    return sqlite_server


NOBODY = "0" * 32
DEEP = "/lists" + "/a" * 40


# --- Replies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ping", "/", "", "/lists", "/batches"])
def test_success(api: Api, path: str) -> None:
    """A success is JSON with a new request id."""
    first, second = api.call("GET", path), api.call("GET", path)

    assert [200, 200] == [first.status_code, second.status_code]
    assert JSON == first.headers["content-type"]
    assert UUID.fullmatch(first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_no_content(api: Api) -> None:
    """A 204 has no body and no length, but a content type."""
    reply = api.call("DELETE", f"/lists/{api.new_list()}")

    assert (204, b"") == (reply.status_code, reply.content)
    assert "content-length" not in reply.headers
    assert JSON == reply.headers["content-type"]
    assert UUID.fullmatch(reply.headers["x-request-id"])


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/nowhere", 404, "Resource Not Found"),
        ("GET", "/lists/0123456789", 404, "Resource Not Found"),
        ("GET", "/batches/0123456789", 404, "Resource Not Found"),
        ("GET", "/batches/0123456789/x", 404, "Resource Not Found"),
        ("DELETE", "/batches/0123456789", 404, "Resource Not Found"),
        ("PATCH", f"/lists/0123456789/members/{NOBODY}", 404, "Resource Not Found"),
        ("DELETE", "/ping", 405, "Method Not Allowed"),
        ("PATCH", "/batches", 405, "Method Not Allowed"),
        ("PUT", "/batches/0123456789", 405, "Method Not Allowed"),
        ("OPTIONS", "/lists", 405, "Method Not Allowed"),
        ("PROPFIND", "/lists", 405, "Method Not Allowed"),
        ("GET", DEEP, 414, "Resource Nesting Too Deep"),
        ("GET", "/batches" + "/a" * 40, 414, "Resource Nesting Too Deep"),
    ],
)
def test_errors(api: Api, method: str, path: str, status: int, title: str) -> None:
    """Every error is a problem document of the same form."""
    check_problem(api.call(method, path), status, title)


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/ping", "GET"),
        ("/lists", "GET, POST"),
        ("/lists/0123456789", "GET, POST, PATCH, DELETE"),
        (f"/lists/0123456789/members/{NOBODY}", "GET, PUT, PATCH, DELETE"),
        (f"/lists/0123456789/members/{NOBODY}/tags", "GET, POST"),
        (f"/lists/0123456789/members/{NOBODY}/actions/delete-permanent", "POST"),
        ("/lists/0123456789/merge-fields/1", "GET, PATCH, DELETE"),
        ("/batches", "GET, POST"),
        ("/batches/0123456789", "GET, DELETE"),
    ],
)
def test_allowed_methods(api: Api, path: str, allow: str) -> None:
    """A 405 lists the allowed methods."""
    reply = api.call("OPTIONS", path)

    detail = check_problem(reply, 405, "Method Not Allowed")["detail"]
    assert allow == reply.headers["allow"]
    assert "See the Allow header for this resource's available methods." in detail


def test_head(api: Api) -> None:
    """HEAD is a GET without its body."""
    head, get = api.call("HEAD", "/ping"), api.call("GET", "/ping")

    assert (200, b"") == (head.status_code, head.content)
    for name in ("content-type", "content-length"):
        assert get.headers[name] == head.headers[name]
    assert 404 == api.call("HEAD", "/nowhere").status_code


def test_slashes_mean_nothing(api: Api) -> None:
    """Trailing and doubled slashes are ignored."""
    list_id = api.new_list()
    wanted = api.call_ok("GET", f"/lists/{list_id}")

    for path in (f"/lists/{list_id}/", f"//lists//{list_id}", f"/lists/{list_id}//"):
        assert wanted == api.call_ok("GET", path)
    assert api.call_ok("GET", "/batches/") == api.call_ok("GET", "/batches")


# --- Bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
        "application/vnd.api+json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "nonsense",
        None,
    ],
)
def test_json_whatever_the_content_type(
    api: Api, http: httpx.Client, content_type: str | None
) -> None:
    """A body is read as JSON whatever its content type is."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    content = json.dumps(NEW_LIST | {"name": "Größe=1&x"}).encode()

    reply = http.post(
        f"{api.server.url}/3.0/lists", content=content, headers=headers, auth=("", KEY)
    )

    assert (200, "Größe=1&x") == (reply.status_code, reply.json()["name"])


@pytest.mark.parametrize("body", [b"{}", b"null", b"", b"  ", b"[]", b"no JSON", b'"x"'])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_bodies_that_mean_nothing(api: Api, method: str, body: bytes) -> None:
    """The body of a GET or DELETE is ignored: some clients always send one."""
    path = f"/lists/{api.new_list()}"

    assert (200 if method == "GET" else 204) == api.call(method, path, body).status_code


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"{}", "br"),
        (b"{}", "gzip"),
        (gzip.compress(b"{}")[:-1], "gzip"),
        (b" " * (Limits.call_body_bytes_max + 1), "identity"),
    ],
    ids=["br", "no gzip", "half of a gzip", "too large"],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_bodies_that_could_not_be_read(api: Api, method: str, body: bytes, encoding: str) -> None:
    """An invalid body of a GET or DELETE is ignored, and the connection stays open."""
    path = f"/lists/{api.new_list()}"
    url, auth = f"{api.server.url}/3.0{path}", ("any", api.server.key)

    for _ in range(2):
        headers = {"Content-Encoding": encoding}
        reply = api.http.request(method, url, auth=auth, content=body, headers=headers)
        expected = {"GET": [200], "DELETE": [204, 404]}[method]
        assert reply.status_code in expected, reply.text


@pytest.mark.parametrize("body", [b"null", b"", b"{}", b" null\n"])
def test_post_without_arguments(api: Api, body: bytes) -> None:
    """`null`, an empty body and `{}` are the same."""
    path = f"/lists/{api.new_list()}/members"
    made = api.call_ok("POST", path, make_member("ann@example.com"))

    forgotten = api.call("POST", f"{path}/{made['id']}/actions/delete-permanent", body)
    empty = api.call("POST", path, body)

    assert 204 == forgotten.status_code
    assert [("", "Required fields were not provided: email_address, status")] == get_field_errors(
        check_problem(empty, 400, "Invalid Resource")
    )


@pytest.mark.parametrize(
    "body", [b"{", b"{'a': 1}", b"\xff\xfe", b'{"a":1}x', b"a=1", b'{"a":' * 100_000]
)
@pytest.mark.parametrize("path", ["/lists", "/batches", "/lists/{list_id}/members"])
def test_body_that_is_no_json(api: Api, path: str, body: bytes) -> None:
    """A body that is not JSON gets the parser's message."""
    reply = api.call("POST", path.format(list_id=api.new_list()), body)

    check_problem(reply, 400, "JSON Parse Exception")


@pytest.mark.parametrize(
    ("body", "found"),
    [(b"[]", "array"), (b"5", "integer"), (b'"x"', "string"), (b"true", "boolean")],
)
@pytest.mark.parametrize("path", ["/lists", "/batches", "/lists/{list_id}/members"])
def test_body_that_is_no_object(api: Api, path: str, body: bytes, found: str) -> None:
    """A body that is not an object gets Mailchimp's message."""
    reply = api.call("POST", path.format(list_id=api.new_list()), body)

    assert [("", f"Schema describes object, {found} found instead")] == get_field_errors(
        check_problem(reply, 400, "Invalid Resource")
    )


@pytest.mark.parametrize("method", ["PATCH", "patch", "PUT", "DELETE"])
def test_method_override(api: Api, http: httpx.Client, method: str) -> None:
    """A POST can replace methods that a proxy does not forward."""
    path = f"/lists/{api.new_list()}/members"
    made = api.call_ok("POST", path, make_member("ann@example.com"))

    reply = http.post(
        f"{api.server.url}/3.0{path}/{made['id']}",
        json={"language": "uk"},
        headers={"X-HTTP-Method-Override": method},
        auth=("", KEY),
    )

    now = api.call_ok("GET", f"{path}/{made['id']}")
    if method == "DELETE":
        assert (204, "archived") == (reply.status_code, now["status"])
    else:
        assert (200, "uk") == (reply.status_code, now["language"])


@pytest.mark.parametrize(
    ("method", "override"),
    [("GET", "PATCH"), ("PUT", "DELETE"), ("DELETE", "DELETE"), ("POST", "GET"), ("POST", "x")],
)
def test_wrong_method_override(api: Api, http: httpx.Client, method: str, override: str) -> None:
    """Only a POST can override its method, and only with these three."""
    list_id = api.new_list()

    reply = http.request(
        method,
        f"{api.server.url}/3.0/lists/{list_id}",
        headers={"X-HTTP-Method-Override": override},
        auth=("", KEY),
    )

    check_problem(reply, 422, "InvalidMethodOverride")
    assert list_id == api.call_ok("GET", f"/lists/{list_id}")["id"]


# --- Unusual requests -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["example.com", "127.0.0.1:1", "[::1]", "[", "a b", "", "\u00e9", "a" * 5_000, "a:b:c"]
)
def test_unknown_hosts(server: Server, host: str) -> None:
    """The server answers for any host name."""
    status, _ = send_raw_request(server, "GET", "/3.0/lists", {"Host": host})

    assert status in {200, 400}


@pytest.mark.parametrize(
    "target",
    [
        "/", "/3.1/ping", "/3.0x", "/30/ping", "/healthz/", "/healthz?x=%00", "//3.0/ping", "*",
        "/results/", "/results/x", "/results/0123456789-response.tar.gz", "/results/%00?t=%00",
        "/results/0123456789-response.tar.gz?t=%00", "/results/0123456789-response.tar.gz?t=%ff",
        "/results/..%2f..%2fbatchway.db-response.tar.gz?t=x", "http://example.com/3.0/ping",
        "/\u00e9", "/3.0/lists/\u00e9?\u00fc=\u00fc", "/3.0/lists/ ", "/3.0/lists#x",
    ],
)  # fmt: skip
def test_nothing_odd_is_our_fault(server: Server, target: str) -> None:
    """No unusual target is a 5xx, also outside of /3.0."""
    status, body = send_raw_request(server, "GET", target, {})

    assert 200 <= status < 500, body


def test_body_over_the_limit(server: Server) -> None:
    """A body whose length is too large is refused before it is sent."""
    status, body = send_raw_request(server, "POST", "/3.0/batches", {"Content-Length": str(10**12)})

    assert 413 == status
    assert "Send it in several requests." in json.loads(body)["detail"]
