"""Readers of result archives in five languages find the expected results.

They count results, not files: the number of results in a file is a setting.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.programs import document_of, need, need_node_modules, output_of
from tests.contract.shared_servers import running_server
from tests.scenario import Operation, Server, add_member

READERS = Path(__file__).parent / "readers"
PREPARED = 120  # members that are there before the batch
FIRST_READ, FIRST_REMOVED, FIRST_TAGGED = 0, 60, 100  # what each run of them is for
PAGED = 2_500  # members of a list that is read by pages
ODD_ID = "odd \"quoted\" \\ / 'id' \u2028 é 😀"


@dataclass(frozen=True)
class Reading:
    """What a reader finds in an archive."""

    results: int
    status_sum: int
    operation_ids: frozenset[str | None]

    @classmethod
    def of(cls, results: Iterable[tuple[int, str | None]]) -> "Reading":
        """From status codes and operation_ids."""
        found = list(results)
        return cls(
            len(found),
            sum(code for code, _ in found),
            frozenset(operation_id for _, operation_id in found),
        )


@dataclass(frozen=True)
class Archive:
    """A downloaded archive, and its expected content."""

    path: Path
    files: int
    wanted: Reading


Reader = Callable[[Path], tuple[int, Reading]]  # the number of files, and what is in them


# --- The archives --------------------------------------------------------------------------------


def make_mixed_operations(server: Server) -> Iterator[tuple[Operation, int]]:
    """Yield operations of every kind, each with its expected status code."""
    list_id = _list_with_members(server, PREPARED)
    path = f"/lists/{list_id}/members"
    for number in range(150):
        yield add_member(list_id, f"new{number}@example.com", f"add-{number}"), 200
    for number in range(FIRST_READ, FIRST_REMOVED):
        yield _operation("GET", f"{path}/m{number}@example.com", f"get-{number}"), 200
    for number in range(FIRST_REMOVED, FIRST_TAGGED):
        yield _operation("DELETE", f"{path}/m{number}@example.com", f"delete-{number}"), 204
    tags = {"tags": [{"name": "été 😀", "status": "active"}]}
    for number in range(FIRST_TAGGED, PREPARED):
        yield _operation("POST", f"{path}/m{number}@example.com/tags", f"tag-{number}", tags), 204
    for number in range(30):
        yield _operation("GET", f"/nowhere/{number}", f"lost-{number}"), 404
        yield _operation("POST", path, f"bad-{number}", {"email_address": "é@"}), 400
    yield _operation("GET", "/ping", ODD_ID), 200
    yield _operation("GET", "/ping", None), 200


def make_many_operations(server: Server) -> Iterator[tuple[Operation, int]]:
    """Yield more operations than one chunk has."""
    list_id = server.new_list()
    for number in range(5_500):
        yield add_member(list_id, f"m{number}@example.com", f"add-{number}"), 200
    for number in range(700):
        yield _operation("GET", "/nowhere", f"lost-{number}"), 404


def make_writes(server: Server) -> Iterator[tuple[Operation, int]]:
    """Yield operations without GETs."""
    return (
        expected for expected in make_mixed_operations(server) if expected[0]["method"] != "GET"
    )


Contents = Callable[[Server], Iterator[tuple[Operation, int]]]


@pytest.fixture(scope="session")
def archive(
    request: pytest.FixtureRequest,
    sqlite_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Archive:
    """An archive with a file for each operation, created once for all readers."""
    contents: Contents = request.param
    return _run(sqlite_server, contents, tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def paged_archive(sqlite_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive with several results of one operation: the pages of a list."""
    list_id = _list_with_members(sqlite_server, PAGED)
    pages = _operation("GET", f"/lists/{list_id}/members", "pages")
    batch_id = sqlite_server.submit([pages, _operation("GET", "/ping", "ping")])
    path = _download(sqlite_server, batch_id, tmp_path_factory.mktemp("paged"))
    wanted = Reading(4, 4 * 200, frozenset({"pages", "ping"}))
    return Archive(path, 4, wanted)


@pytest.fixture(scope="session")
def gathered_archives(tmp_path_factory: pytest.TempPathFactory) -> dict[Contents, Archive]:
    """Archives of a server that puts results other than those of GETs into one file."""
    folder = tmp_path_factory.mktemp("gathered")
    with running_server(folder, BATCHWAY_RESULT_FILES="per-batch") as server:
        return {
            make: _run(server, make, folder)
            for make in (make_mixed_operations, make_many_operations, make_writes)
        }


@pytest.fixture
def gathered_archive(
    request: pytest.FixtureRequest, gathered_archives: dict[Contents, Archive]
) -> Archive:
    """One of these archives."""
    return gathered_archives[request.param]


def _run(server: Server, contents: Contents, folder: Path) -> Archive:
    """Run a batch and download its archive."""
    operations, codes = zip(*contents(server), strict=True)
    path = _download(server, server.submit(operations), folder)
    ids = [operation.get("operation_id") for operation in operations]
    gets = sum(operation["method"] == "GET" for operation in operations)
    is_gathered = server.variables.get("BATCHWAY_RESULT_FILES") == "per-batch"
    files = gets + 1 if is_gathered else len(operations)
    return Archive(path, files, Reading.of(zip(codes, ids, strict=True)))


def _download(server: Server, batch_id: str, folder: Path) -> Path:
    path = folder / f"{batch_id}.tar.gz"
    path.write_bytes(server.download_archive(batch_id))
    return path


def _list_with_members(server: Server, count: int) -> str:
    list_id = server.new_list()
    members = [_member(number) for number in range(count)]
    for first in range(0, count, 500):
        body = {"members": members[first : first + 500]}
        assert server.call("POST", f"/lists/{list_id}", json=body).status_code == 200
    return list_id


def _member(number: int) -> dict[str, str]:
    return {"email_address": f"m{number}@example.com", "status": "subscribed"}


def _operation(method: str, path: str, operation_id: str | None, body: Any = None) -> Operation:
    operation: Operation = {"method": method, "path": path}
    if operation_id is not None:
        operation["operation_id"] = operation_id
    return operation if body is None else operation | {"body": json.dumps(body)}


# --- The readers ---------------------------------------------------------------------------------


def gnu_tar(path: Path) -> tuple[int, Reading]:
    """GNU tar, which unpacks into a folder."""
    need("tar", "tar")
    folder = path.with_suffix(".unpacked")
    folder.mkdir(exist_ok=True)
    output_of("tar", "--extract", "--gzip", "--file", path, "--directory", folder)
    texts = [path.read_text(encoding="utf-8") for path in folder.iterdir()]
    return len(texts), _reading(texts)


def python_file(path: Path) -> tuple[int, Reading]:
    """Python's tarfile, on a file."""
    with tarfile.open(path, "r:gz") as tar:
        return _read_tar(tar)


def python_stream(path: Path) -> tuple[int, Reading]:
    """Python's tarfile, on a stream."""
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes()), mode="r|gz") as tar:
        return _read_tar(tar)


def node_zlib(path: Path) -> tuple[int, Reading]:
    """Node's zlib, and a tar reader in JavaScript."""
    need("node", "nodejs")
    return _by_program("node", READERS / "read.js", "zlib", path)


def node_tar(path: Path) -> tuple[int, Reading]:
    """The npm package `tar`."""
    need_node_modules()
    return _by_program("node", READERS / "read.js", "tar", path)


def php_phar(path: Path) -> tuple[int, Reading]:
    """PHP's PharData."""
    need("php", "php-cli")
    return _by_program("php", READERS / "read.php", "phar", path)


def php_gzdecode(path: Path) -> tuple[int, Reading]:
    """PHP's gzdecode, and a tar reader in PHP."""
    need("php", "php-cli")
    return _by_program("php", READERS / "read.php", "gzdecode", path)


def ruby(path: Path) -> tuple[int, Reading]:
    """Ruby's GzipReader and TarReader."""
    need("ruby", "ruby")
    return _by_program("ruby", READERS / "read.rb", path)


ALL = (gnu_tar, python_file, python_stream, node_zlib, node_tar, php_phar, php_gzdecode, ruby)


def _by_program(*command: str | Path) -> tuple[int, Reading]:
    seen = document_of(*command)
    ids = seen["operation_ids"]
    assert len(ids) == len(set(ids))
    return seen["files"], Reading(seen["results"], seen["status_sum"], frozenset(ids))


def _read_tar(tar: tarfile.TarFile) -> tuple[int, Reading]:
    texts = []
    for member in tar:
        file = tar.extractfile(member)
        assert file, f"{member.name} is no file"
        texts.append(file.read().decode())
    return len(texts), _reading(texts)


def _reading(texts: Iterable[str]) -> Reading:
    results = [result for text in texts for result in json.loads(text)]
    assert all(isinstance(json.loads(result["response"]), dict) for result in results)
    return Reading.of((result["status_code"], result["operation_id"]) for result in results)


# --- The tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("archive", [make_mixed_operations, make_many_operations], indirect=True)
@pytest.mark.parametrize("read", ALL)
def test_each_result_is_found(read: Reader, archive: Archive) -> None:
    """Each operation has a file with its id and status code, in one segment or several."""
    assert (archive.files, archive.wanted) == read(archive.path)


@pytest.mark.parametrize("read", ALL)
def test_each_page_is_found(read: Reader, paged_archive: Archive) -> None:
    """A GET without `count` has a file for each page, all with one id."""
    assert (paged_archive.files, paged_archive.wanted) == read(paged_archive.path)


def test_pages_hold_the_whole_collection(paged_archive: Archive) -> None:
    """Each page has its number of items, and all pages have all members."""
    with tarfile.open(paged_archive.path) as tar:
        files = [tar.extractfile(info) for info in tar]
        results = [result for file in files if file for result in json.load(file)]

    pages = [
        json.loads(result["response"]) for result in results if result["operation_id"] == "pages"
    ]
    assert [1_000, 1_000, 500] == [page["returned_item_count"] for page in pages]
    addresses = {member["email_address"] for page in pages for member in page["members"]}
    assert {_member(number)["email_address"] for number in range(PAGED)} == addresses


@pytest.mark.parametrize(
    "gathered_archive", [make_mixed_operations, make_many_operations], indirect=True
)
@pytest.mark.parametrize("read", ALL)
def test_gathered_results_are_found(read: Reader, gathered_archive: Archive) -> None:
    """With `per-batch` one file has all results except those of GETs."""
    assert (gathered_archive.files, gathered_archive.wanted) == read(gathered_archive.path)


@pytest.mark.parametrize("gathered_archive", [make_writes], indirect=True)
def test_gathered_results_are_one_document(gathered_archive: Archive) -> None:
    """A client that joins all files and parses them once gets all results."""
    need("tar", "tar")

    joined = output_of("tar", "--extract", "--gzip", "--to-stdout", "--file", gathered_archive.path)

    assert gathered_archive.wanted == _reading([joined])
