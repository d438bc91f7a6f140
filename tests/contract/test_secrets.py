"""Keys are stored as hashes and secrets are sealed: neither is in a log, database or archive."""

import gc
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from urllib.parse import parse_qs

import httpx
from sqlalchemy import Connection, inspect, text

from batchway.kit.sealing import Sealer
from batchway.lifecycle.deliver import SECRET_PURPOSE
from tests.contract.shared_servers import Api, open_tables
from tests.receiver import Receiver, Reply
from tests.scenario import KEY, PING, SECRET_KEY, Server, add_member, wait_until
from tests.step_runner import StepRunner, open_step_runner
from tests.steps import execute, finalize, split

WRONG = "badbadbadbadbadbadbadbadbadbadba-us1"
_HARMLESS = "canary-of-a-member"
_COMPRESSED = {"batch_inputs": zlib.MAX_WBITS, "segment_data": -zlib.MAX_WBITS}  # raw deflate
_USER_DATA = "canary-user:canary-password"
_URL_PART = "token=canary-of-a-webhook"  # stored, because it is part of the address


def test_keys_and_links_leave_no_trace(api: Api) -> None:
    """After calls with right and wrong keys, no key is stored or in a reply."""
    token, replies = _send_calls_with_keys(api)

    found = dict(_read_everything(api.server))

    assert found
    assert {400, 401, 403, 404} <= {reply.status_code for reply in replies}
    for secret in (KEY, WRONG, SECRET_KEY, token):
        assert [] == _find_places(secret, found)
        assert [] == [reply.text for reply in replies if secret in reply.text]
    digest = hashlib.sha256(KEY.encode()).digest()
    assert any(digest in content or digest.hex().encode() in content for content in found.values())


def test_what_is_kept_can_be_searched(tmp_path: Path, database_url: str) -> None:
    """A text that is not secret is found in each place, also in compressed ones."""
    server = Server(tmp_path, database_url)
    with open_step_runner(server) as runner:
        batch = runner.submit([add_member(runner.list_id, f"{_HARMLESS}@example.com")])
        split(runner.parts, batch.id)
        execute(runner.parts, batch.id, 0)
        before = dict(_read_everything(server))
        finalize(runner.parts, batch.id)
        after = dict(_read_everything(server))

    assert {"batch_inputs, inflated", "segment_data, inflated"} <= {
        *_find_places(_HARMLESS, before)
    }
    assert any(name.endswith(".tar.gz, inflated") for name in _find_places(_HARMLESS, after))


def test_secrets_of_webhooks_leave_no_trace(own_api: Api, receiver: Receiver) -> None:
    """Secrets are sealed; URLs and links to results are in no log.

    The test has accepted, refused and unanswered events, and valid and invalid calls.
    """
    secrets, replies = _send_webhook_calls(own_api, receiver)
    bodies = [delivery.body.decode() for delivery in receiver.deliveries()]
    links = [link for body in bodies for link in parse_qs(body).get("data[response_body_url]", [])]
    tokens = [link.partition("?t=")[2] for link in links]

    kept = dict(_read_everything(own_api.server))

    assert tokens
    for secret in (*secrets, *tokens, _USER_DATA, SECRET_KEY):
        assert secret
        assert [] == _find_places(secret, kept)
        assert [] == [reply for reply in replies if secret in reply]
        assert [] == [body for body in bodies if secret in body and secret not in tokens]
    assert _URL_PART in own_api.call_ok("GET", "/batch-webhooks")["webhooks"][0]["url"]
    logs = {name: content for name, content in kept.items() if name.endswith(".log")}
    assert logs
    assert [] == _find_places(_URL_PART, logs)
    with open_tables(own_api.server) as connection:
        query = text("SELECT secret FROM batch_webhooks ORDER BY id DESC LIMIT 1")
        sealed = bytes(connection.execute(query).scalar_one())
    sealer = Sealer((SECRET_KEY.encode(),))
    assert secrets[-1] == sealer.open(sealed, SECRET_PURPOSE)


def test_idempotency_keys_leave_no_trace(own_api: Api) -> None:
    """Only a hash of the key is stored, and no reply has the key."""
    key = "canary-of-an-idempotency-key"
    replies = [
        _submit_once(own_api, key, operations) for operations in ([PING], [PING, PING], [], [5])
    ]
    own_api.wait_until_finished(json.loads(replies[0])["id"])
    own_api.call_ok("DELETE", f"/batches/{json.loads(replies[0])['id']}")
    replies.append(_submit_once(own_api, key, [PING]))
    replies.append(_submit_once(own_api, key * 20, [PING]))

    kept = dict(_read_everything(own_api.server))

    assert [] == [reply for reply in replies if key in reply]
    assert [] == _find_places(key, kept)
    assert hashlib.sha256(key.encode()).digest() in kept["idempotency_keys"]


def test_no_object_of_an_app_shows_a_secret(runner: StepRunner) -> None:
    """No object of an app has the secret key in its `repr`."""
    app = runner.app
    roots = [app, app.asgi(), app.worker()]

    shown = [type(found).__name__ for found in _find_reachable(roots) if SECRET_KEY in repr(found)]

    assert [] == shown


def _find_reachable(roots: Iterable[object]) -> Iterator[object]:
    """Yield our objects that the roots reference, directly or through others."""
    waiting, seen = list(roots), set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if type(found).__module__.startswith("batchway"):
            yield found
        if isinstance(found, FunctionType):  # not its module, which holds everything
            waiting += [cell.cell_contents for cell in found.__closure__ or ()]
        elif not isinstance(found, type | ModuleType):
            waiting += gc.get_referents(found)


def _find_places(secret: str, kept: Mapping[str, bytes]) -> list[str]:
    forms = (secret.encode(), secret.encode().hex().encode())
    return [name for name, content in kept.items() if any(form in content for form in forms)]


def _submit_once(api: Api, key: str, operations: list[Any]) -> str:
    return api.http.post(
        f"{api.server.url}/3.0/batches",
        auth=("any", api.server.key),
        headers={"Idempotency-Key": key},
        json={"operations": operations},
    ).text


def _send_webhook_calls(api: Api, receiver: Receiver) -> tuple[list[str], list[str]]:
    """Return the secrets that were shown, and the replies that must not have them."""
    refused = f"http://{_USER_DATA}@127.0.0.1:{receiver.port}/hook"
    made = api.call_ok("POST", "/batch-webhooks", {"url": f"{receiver.url}?{_URL_PART}"})
    path = f"/batch-webhooks/{made['id']}"
    replies = [
        api.call("POST", "/batch-webhooks", {"url": refused}).text,
        api.call("PATCH", path, {"url": refused}).text,
        api.call("PATCH", path, {"url": 5}).text,
        api.call("GET", path).text,
        api.call("GET", "/batch-webhooks").text,
    ]
    rotated = api.call_ok("POST", f"{path}/actions/rotate-secret")
    receiver.script(Reply(500, body=b"no"), Reply(behaviour="close"), Reply(410))
    for count in (1, 2, 3, 4):  # the last one is not sent: a 410 has disabled the webhook
        api.wait_until_finished(api.submit(PING))
        if count < 4:
            receiver.wait_for(count)
    wait_until(lambda: not api.call_ok("GET", path)["enabled"], "the webhook is disabled")
    replies += [
        api.call("GET", f"{path}/deliveries").text,
        api.call("PATCH", path, {"enabled": True}).text,
        api.call("POST", f"{path}/actions/test").text,
    ]
    receiver.wait_for(4)
    return [made["signing_secret"], rotated["signing_secret"]], replies


def _send_calls_with_keys(api: Api) -> tuple[str, list[httpx.Response]]:
    """Send keys in all places; return the token of a used link, and the replies."""
    url, http = f"{api.server.url}/3.0", api.http
    replies = [
        http.get(f"{url}/lists?apikey={KEY}"),
        http.get(f"{url}/nowhere?apikey={KEY}"),
        http.post(f"{url}/lists?apikey={KEY}", json={}),
        http.post(f"{url}/lists", auth=(WRONG, KEY), json={}),
        http.request("GET", f"{url}/lists/%00?apikey={KEY}", content=json.dumps({"a": 1})),
    ]
    for scheme in ("Bearer", "OAuth", "apikey", "Digest"):
        for key in (KEY, WRONG):
            headers = {"Authorization": f"{scheme} {key}"}
            replies.append(http.get(f"{url}/ping?apikey={WRONG}", headers=headers))
            replies.append(http.get(f"{url}/ping", headers=headers))
    list_id = api.new_list()
    batch_id = api.submit(
        add_member(list_id, "ann@example.com"),
        {"method": "GET", "path": "/", "operation_id": "x"},
        {"method": "GET", "path": "/nowhere"},
    )
    api.wait_until_finished(batch_id)
    address = api.get_link(batch_id)
    assert 200 == http.get(address).status_code
    replies.append(http.get(f"{address}x"))
    return address.partition("?t=")[2], replies


def _read_everything(server: Server) -> Iterator[tuple[str, bytes]]:
    """Yield files, log and rows of a server; compressed ones also inflated."""
    for path in _find_files(server.folder):
        content = path.read_bytes()
        yield str(path), content
        if path.suffix == ".gz":
            yield f"{path}, inflated", gzip.decompress(content)
    with open_tables(server) as connection:
        inspector = inspect(connection)
        schemas = {inspector.default_schema_name, "dbos"} & {None, *inspector.get_schema_names()}
        for schema in schemas:
            for table in inspector.get_table_names(schema):
                yield table, _read_table(connection, f'"{schema}"."{table}"')
        for table, window_bits in _COMPRESSED.items():
            yield f"{table}, inflated", _inflate_table(connection, table, window_bits)


def _inflate_table(connection: Connection, table: str, window_bits: int) -> bytes:
    rows = connection.execute(text(f"SELECT data FROM {table}")).scalars()
    return b"\n".join(zlib.decompressobj(window_bits).decompress(row) for row in rows)


def _read_table(connection: Connection, table: str) -> bytes:
    rows = connection.execute(text(f"SELECT * FROM {table}")).all()
    values = [
        value if isinstance(value, bytes | memoryview) else str(value).encode()
        for row in rows
        for value in row
    ]
    return b"\n".join(bytes(value) for value in values)


def _find_files(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.rglob("*") if path.is_file())
