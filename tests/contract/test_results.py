"""The archive of a batch: who may download it, and how programs read it."""

import gzip
import io
import json
import subprocess
import tarfile
import zlib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from batchway.kit.clock import SECOND, system_clock
from batchway.kit.signing import Signer
from tests.clients.programs import need
from tests.contract.shared_servers import Api, read_raw_results
from tests.scenario import PING, SECRET_KEY, add_member, wait_until

# How many results there are, as a program that knows nothing of ours reads the archive.
NODE_READER = """
const archive = require("zlib").gunzipSync(require("fs").readFileSync(0));
const text = (from, to) => archive.toString("latin1", from, to).split("\\0", 1)[0];
let count = 0;
for (let at = 0; archive[at] !== 0;) {
  if (text(at + 257, at + 262) !== "ustar" || text(at + 156, at + 157) !== "0") throw "no file";
  const size = parseInt(text(at + 124, at + 136), 8);
  for (const entry of JSON.parse(archive.toString("utf8", at + 512, at + 512 + size))) {
    JSON.parse(entry.response);
    count += 1;
  }
  at += 512 + Math.ceil(size / 512) * 512;
}
console.log(count);
"""


@pytest.fixture
def batch_id(api: Api) -> str:
    """A finished batch with results of every kind."""
    list_id = api.new_list()
    member = f"/lists/{list_id}/members/ann@example.com"
    batch_id = api.submit(
        add_member(list_id, "ann@example.com", "1", merge_fields={"FNAME": "Ånn \U0001f600 \\/"}),
        add_member(list_id, "ann@example.com", "2"),
        {"method": "GET", "path": f"{member}/tags", "operation_id": "\u00fc\U0001f600"},
        {"method": "POST", "path": f"{member}/tags", "body": '{"tags":[]}'},
        {"method": "DELETE", "path": member, "operation_id": ""},
        {"method": "GET", "path": "/nowhere"},
    )
    api.wait_until_finished(batch_id)
    return batch_id


# --- Links ---------------------------------------------------------------------------------------


def test_link_needs_no_key(api: Api, batch_id: str) -> None:
    """A link is absolute, has one token in its query, and needs no key."""
    url = api.get_link(batch_id)

    parts = urlsplit(url)
    [(name, [token])] = parse_qs(parts.query).items()
    assert api.server.url == f"{parts.scheme}://{parts.netloc}"
    assert f"/results/{batch_id}-response.tar.gz" == parts.path
    assert "t" == name
    assert not set("&+%=?/") & set(token)
    assert 200 == httpx.get(url).status_code
    assert 200 == api.http.get(url, headers={"Authorization": "Bearer wrong"}).status_code


def test_reply_of_a_link(api: Api, batch_id: str) -> None:
    """The gzip file has no content encoding, which clients would undo."""
    url = api.get_link(batch_id)
    reply = api.http.get(url, headers={"Accept-Encoding": "gzip, br, deflate"})
    head = api.http.head(url)

    assert "content-encoding" not in reply.headers
    assert "application/gzip" == reply.headers["content-type"]
    assert str(len(reply.content)) == reply.headers["content-length"]
    assert b"\x1f\x8b" == reply.content[:2]
    assert (200, reply.headers["content-length"]) == (
        head.status_code,
        head.headers["content-length"],
    )


def test_each_look_gives_a_fresh_link(api: Api, batch_id: str) -> None:
    """A later reply has another link, and the older one stays valid."""
    first = api.get_link(batch_id)
    wait_until(lambda: api.get_link(batch_id) != first, "a later look gives another link")
    later = api.get_link(batch_id)

    assert [200, 200] == [api.http.get(url).status_code for url in (first, later)]


def test_link_lasts_ten_minutes(api: Api, batch_id: str) -> None:
    """A signed link is accepted until it expires, for its batch only."""
    url = api.get_link(batch_id).partition("?")[0]
    signer = Signer((SECRET_KEY.encode(),))

    def status(seconds: int, subject: str = f"results:{batch_id}") -> tuple[int, str]:
        token = signer.sign(subject, system_clock() + seconds * SECOND)
        reply = api.http.get(f"{url}?t={token}")
        return reply.status_code, reply.text if reply.status_code != 200 else ""

    assert (200, "") == status(60)
    assert 403 == status(-1)[0]
    assert "has expired" in status(-1)[1]
    assert 403 == status(60, "results:0123456789")[0]
    assert 403 == status(60, batch_id)[0]


def test_token_says_ten_minutes(api: Api, batch_id: str) -> None:
    """A link is valid for ten minutes."""
    before = system_clock()
    token = api.get_link(batch_id).partition("?t=")[2]
    signer, subject = Signer((SECRET_KEY.encode(),)), f"results:{batch_id}"

    assert "valid" == signer.verify(token, subject, before + 599 * SECOND).value
    assert "expired" == signer.verify(token, subject, system_clock() + 600 * SECOND).value


def test_tampered_links(api: Api, batch_id: str) -> None:
    """A changed token is refused."""
    url, _, token = api.get_link(batch_id).partition("?t=")
    first, other = ("B" if token[0] != "B" else "C"), ("A" if token[10] != "A" else "B")
    tampered = ["", token[:-1], first + token[1:], token + "A", token * 2, "A" * len(token), "\0"]
    tampered += [token[:10] + other + token[11:], f"{token}.", f" {token}"]

    for wrong_token in tampered:
        assert 403 == api.http.get(url, params={"t": wrong_token}).status_code, wrong_token
    assert 403 == api.http.get(url).status_code
    assert 200 == api.http.get(url, params={"t": token}).status_code


def test_a_token_opens_one_archive(api: Api, batch_id: str) -> None:
    """A token is refused for another batch."""
    other = api.submit(PING)
    api.wait_until_finished(other)
    one, two = api.get_link(batch_id), api.get_link(other)

    assert 403 == api.http.get(one.replace(batch_id, other)).status_code
    assert 403 == api.http.get(two.replace(other, batch_id)).status_code


def test_link_of_a_deleted_batch(api: Api, batch_id: str) -> None:
    """The link of a deleted batch is a 404 at once."""
    url = api.get_link(batch_id)
    assert 200 == api.http.get(url).status_code

    api.call_ok("DELETE", f"/batches/{batch_id}")

    reply = api.http.get(url)
    assert (404, True) == (reply.status_code, "deleted" in reply.text)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_links_are_for_reading(api: Api, batch_id: str, method: str) -> None:
    """A link accepts GET and HEAD only."""
    url = api.get_link(batch_id)

    assert 405 == api.http.request(method, url).status_code
    assert 200 == api.http.get(url).status_code


# --- Archives ------------------------------------------------------------------------------------


def test_results(api: Api, batch_id: str) -> None:
    """Each result has three keys in order; its response is a string of JSON."""
    found = read_raw_results(api.server.download_archive(batch_id))

    assert {("status_code", "operation_id", "response")} == {tuple(entry) for entry in found}
    assert [200, 400, 200, 204, 204, 404] == [entry["status_code"] for entry in found]
    assert ["1", "2", "\u00fc\U0001f600", None, "", None] == [
        entry["operation_id"] for entry in found
    ]
    assert ["{}", "{}"] == [entry["response"] for entry in found[3:5]]
    responses = [json.loads(entry["response"]) for entry in found]
    assert "Ånn \U0001f600 \\/" == responses[0]["merge_fields"]["FNAME"]
    assert ("Member Exists", "") == (responses[1]["title"], responses[1]["instance"])
    assert ("Resource Not Found", "") == (responses[5]["title"], responses[5]["instance"])


def test_one_gzip_member(api: Api, batch_id: str) -> None:
    """An archive is one gzip member."""
    archive = api.server.download_archive(batch_id)
    reader = zlib.decompressobj(wbits=31)

    raw = reader.decompress(archive)

    assert reader.eof
    assert b"" == reader.unused_data
    assert raw == gzip.decompress(archive)
    assert raw.isascii()


def test_plain_ustar(api: Api, batch_id: str) -> None:
    """An archive has regular files only, with plain names and whole times."""
    raw = gzip.decompress(api.server.download_archive(batch_id))

    assert 0 == len(raw) % 512
    assert bytes(1024) == raw[-1024:]
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
        files = tar.getmembers()
        assert 6 == len({info.name for info in files})
        for info in files:
            header = raw[info.offset : info.offset + 512]
            assert (b"ustar\x0000", b"0") == (header[257:265], header[156:157])
            assert info.isreg()
            assert not info.pax_headers
            assert info.name.endswith(".json")
            assert int(info.name.removesuffix(".json"), 16) >= 0
            assert int(info.mtime) == info.mtime > 0
            file = tar.extractfile(info)
            assert file
            assert 1 == len(json.load(file))


def test_readers_agree(api: Api, batch_id: str, tmp_path: Path) -> None:
    """GNU tar and Python find the same results."""
    archive = api.server.download_archive(batch_id)

    listed = _run_program(archive, "tar", "--list", "--gzip", "--file=-").split()
    _run_program(archive, "tar", "--extract", "--gzip", "--file=-", f"--directory={tmp_path}")
    whole = _run_program(archive, "tar", "--extract", "--gzip", "--to-stdout", "--file=-")

    unpacked = [json.loads((tmp_path / name).read_text()) for name in listed]
    assert read_raw_results(archive) == [entry for file in unpacked for entry in file]
    assert 6 == whole.count('"status_code"')


def test_node_reads_it(api: Api, batch_id: str) -> None:
    """Node can read an archive with its standard library."""
    need("node", "nodejs")

    assert "6\n" == _run_program(
        api.server.download_archive(batch_id), "node", "--eval", NODE_READER
    )


def test_large_archive(api: Api) -> None:
    """Several chunks are one archive, in the order of the operations."""
    operations = [{"method": "GET", "path": "/ping", "operation_id": n} for n in range(12_000)]

    batch_id = api.submit(*operations)

    archive = api.server.download_archive(batch_id)
    assert [str(number) for number in range(12_000)] == [
        result["operation_id"] for result in read_raw_results(archive)
    ]
    reader = zlib.decompressobj(wbits=31)
    reader.decompress(archive)
    assert (True, b"") == (reader.eof, reader.unused_data)
    assert 12_000 == len(_run_program(archive, "tar", "--list", "--gzip", "--file=-").split())


def _run_program(archive: bytes, *command: str) -> str:
    return subprocess.run(command, input=archive, capture_output=True, check=True).stdout.decode()
