"""Keys are stored as hashes, and are in no log, database or archive as they are."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import inspect, text

from tests.contract.running import Api, tables
from tests.scenario import KEY, SECRET_KEY, Server, add_member

WRONG = "badbadbadbadbadbadbadbadbadbadba-us1"


def test_keys_and_links_leave_no_trace(api: Api) -> None:
    """After calls of all kinds with right and wrong keys."""
    tokens = _make_noise(api)

    found = dict(_everything_kept(api.server))

    assert found
    for secret in (KEY, WRONG, SECRET_KEY, *tokens):
        forms = (secret.encode(), secret.encode().hex().encode())
        for name, content in found.items():
            assert not any(form in content for form in forms), f"{secret} in {name}"
    digest = hashlib.sha256(KEY.encode()).digest()
    assert any(digest in each or digest.hex().encode() in each for each in found.values())


def _make_noise(api: Api) -> list[str]:
    """Calls with keys wherever a key may stand; the tokens of the links that were used."""
    url, http = f"{api.server.url}/3.0", api.http
    http.get(f"{url}/lists?apikey={KEY}")
    http.get(f"{url}/nowhere?apikey={KEY}")
    http.post(f"{url}/lists?apikey={KEY}", json={})
    for scheme in ("Bearer", "OAuth", "apikey", "Digest"):
        for key in (KEY, WRONG):
            http.get(f"{url}/ping?apikey={WRONG}", headers={"Authorization": f"{scheme} {key}"})
            http.get(f"{url}/ping", headers={"Authorization": f"{scheme} {key}"})
    http.request("GET", f"{url}/lists/%00?apikey={KEY}", content=json.dumps({"a": 1}))
    list_id = api.new_list()
    batch_id = api.submit(
        add_member(list_id, "ann@example.com"),
        {"method": "GET", "path": "/", "operation_id": "x"},
        {"method": "GET", "path": "/nowhere"},
    )
    api.finished(batch_id)
    address = api.link(batch_id)
    assert 200 == http.get(address).status_code
    assert 403 == http.get(f"{address}x").status_code
    return [address.partition("?t=")[2]]


def _everything_kept(server: Server) -> Iterator[tuple[str, bytes]]:
    """Files, log and rows of a server."""
    for path in _files(server.folder):
        yield str(path), path.read_bytes()
    with tables(server) as connection:
        for table in inspect(connection).get_table_names():
            rows = connection.execute(text(f'SELECT * FROM "{table}"')).all()
            plain = [
                value if isinstance(value, bytes | memoryview) else str(value).encode()
                for row in rows
                for value in row
            ]
            yield table, b"\n".join(bytes(value) for value in plain)


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.rglob("*") if path.is_file())
