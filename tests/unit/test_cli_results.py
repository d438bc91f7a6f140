"""Reading and summing up a result archive that may be damaged or malicious."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchway.cli import results
from batchway.cli.connection import Connection
from batchway.cli.results import (
    Result,
    Tally,
    download_archive,
    normalize_reason,
    read_results,
    unpack_archive,
)
from batchway.cli.terminal import CommandError
from batchway.surfaces.mailchimp.bodies.batches import BatchBody

OK = [{"status_code": 200, "operation_id": "1", "response": "{}"}]


def archive(*files: tuple[str, bytes]) -> io.BytesIO:
    """Write a .tar.gz of these files into a folder, as some servers do."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file


def entry(name: str, found: object = OK) -> tuple[str, bytes]:
    """Return a file with JSON."""
    return name, json.dumps(found).encode()


def errored(operation_id: str | None, detail: str, **problem: object) -> Result:
    """Return a failed result."""
    body = {"title": "Member Exists", "detail": detail, "status": 400, **problem}
    return Result(400, operation_id, json.dumps(body))


def test_every_result_of_every_file_is_read() -> None:
    """A file may have one result, several or none, or be empty."""
    two = [*OK, {"status_code": 404, "operation_id": None, "response": "{}", "more": 1}]
    found = archive(entry("./a.json"), ("./b.json", b" \n"), entry("c.json", []), entry("d", two))

    expected = [(200, "1"), (200, "1"), (404, None)]
    assert expected == [(result.status_code, result.operation_id) for result in read_results(found)]


def damaged_archives() -> Iterator[bytes]:
    """Archives that are damaged in different ways."""
    whole = archive(entry("a.json"), entry("b.json", OK * 100)).getvalue()
    yield b""
    yield b"not an archive"
    yield whole[: len(whole) // 2]
    yield whole[:-8] + bytes(8)
    yield gzip.compress(gzip.decompress(whole) + bytes(2_000_000))
    yield gzip.compress(b"\xff" * 512)


@pytest.mark.parametrize("damaged", [*damaged_archives()], ids=len)
def test_a_damaged_archive_is_an_error(damaged: bytes) -> None:
    """A part of an archive is never taken for all of it."""
    with pytest.raises(CommandError, match="archive"):
        list(read_results(io.BytesIO(damaged)))


@pytest.mark.parametrize("content", [b"{}", b"[1]", b"\xff", b'[{"status_code": "200"}]'])
def test_a_file_of_something_else_is_an_error(content: bytes) -> None:
    """The error has the name of the file, with control characters escaped."""
    with pytest.raises(CommandError, match=r"a\\x1b\.json in the archive is not a list of results"):
        list(read_results(archive(("a\x1b.json", content))))


def test_an_archive_without_bounds_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is larger than the limit is refused before its content is read."""
    monkeypatch.setattr(results, "ENTRY_BYTES_MAX", 1_000)

    with pytest.raises(CommandError, match="too large"):
        list(read_results(archive(("a.json", b"[]" + b" " * 1_000))))


def test_unpacking_never_leaves_the_folder(tmp_path: Path) -> None:
    """Paths, links and devices in an archive are not followed; two files with one name are kept."""
    folder = tmp_path / "out"
    folder.mkdir()
    outside = tmp_path / "outside.json"
    outside.write_text("precious")
    (folder / "b.json").symlink_to(outside)
    found = archive(
        entry("../outside.json"),
        entry(str(outside)),
        entry("./a.json"),
        entry("a.json", []),
        entry("b.json"),
    )

    assert 5 == unpack_archive(found, folder)
    names = ["a.json", "b.json", "file-00000001.json", "file-00000002.json", "file-00000004.json"]
    assert names == sorted(path.name for path in folder.iterdir())
    assert "precious" == outside.read_text()
    assert OK == json.loads((folder / "b.json").read_text())


def test_links_in_an_archive_are_skipped(tmp_path: Path) -> None:
    """Only files are written."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        link = tarfile.TarInfo("a.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    assert 0 == unpack_archive(file, tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_equal_failures_are_counted_together(capsys: pytest.CaptureFixture[str]) -> None:
    """Addresses in the text make no difference; a sample and the first ids are shown."""
    tally = Tally()
    for number in range(5):
        tally.add(errored(str(number), f"c{number}@example.com is already a list member."))
    tally.add(errored(None, "Broken.", errors=[{"field": "LTV", "message": "A number, please."}]))
    tally.add(Result(204, "9", "{}"))

    tally.print_failures()

    assert (1, 6) == (tally.succeeded_count, tally.errored_count)
    expected = (
        "       5 x 400 Member Exists: c0@example.com is already a list member.\n"
        "           operation_id 0, 1, 2, …\n"
        "       1 x 400 Member Exists: Broken. (LTV: A number, please.)\n"
    )
    assert expected == capsys.readouterr().out


def test_a_missing_result_is_noticed() -> None:
    """An archive that ends too early is recognised by the number of results."""
    tally = Tally()
    tally.add(Result(200, "1", "{}"))

    tally.check_complete(BatchBody("b1", "finished", 1, 1, 0))
    with pytest.raises(CommandError, match="holds 1 results, but batch b1 has 2 operations"):
        tally.check_complete(BatchBody("b1", "finished", 2, 2, 0))


def test_failures_of_too_many_kinds_share_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary stays short, and its counts are right."""
    monkeypatch.setattr(results, "FAILURE_GROUPS_MAX", 2)
    tally = Tally()
    for number in range(10):
        tally.add(errored(None, f"Reason {number}."))

    assert [1, 1, 8] == [failure.count for failure in tally.failures.values()]
    assert 10 == tally.errored_count


@pytest.mark.parametrize("response", ["", "null", "[]", "<html>"])
def test_a_failure_without_a_problem_is_shown_as_it_is(response: str) -> None:
    """The response of a target may have any form."""
    tally = Tally()
    tally.add(Result(502, "1", response))

    assert [f"502 {response}"] == [failure.sample for failure in tally.failures.values()]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Ann@Example.com is here.", "{address} is here."),
        ("The address 'a..b@x' and a@b, too", "The address '{address}' and {address} too"),
        ("No address.", "No address."),
    ],
)
def test_addresses_are_taken_out_of_a_reason(reason: str, expected: str) -> None:
    """Malformed addresses are removed as well."""
    assert expected == normalize_reason(reason)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (BatchBody("b1", "started", 2, 1, 0), "not finished; it is started"),
        (BatchBody("b1", "finished", 0, 0, 0), "it was empty"),
        (BatchBody("b1", "finished", 2, 2, 0), "seven days"),
    ],
)
def test_a_batch_without_an_archive_says_why(batch: BatchBody, message: str) -> None:
    """No request is sent."""
    connection = Connection("http://127.0.0.1:1", "")

    with connection, pytest.raises(CommandError, match=message):
        download_archive(connection, batch, io.BytesIO())
