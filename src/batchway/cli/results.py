"""Downloads a result archive, reads it as untrusted data, and summarizes it."""

import gzip
import io
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from batchway.cli.connection import Connection
from batchway.cli.following import is_finished
from batchway.cli.refusals import SHOWN_CHARACTERS_MAX, ProblemDocument
from batchway.cli.terminal import CommandError, print_text, printable
from batchway.surfaces.mailchimp.bodies.batches import BatchBody

ENTRIES_MAX = 10_000_000
ENTRY_BYTES_MAX = 256 * 1024 * 1024
TRAILING_BYTES_MAX = 1024 * 1024  # the padding at the end of a tar file
FAILURE_GROUPS_MAX = 100
SAMPLE_IDS_MAX = 3

_BLANK = b" \t\r\n\0"
_SAFE_NAME = re.compile(r"[0-9A-Za-z_-]{1,100}\.json")
# It matches only whole words, so that a long text without an address is not tried at each letter.
_ADDRESS = re.compile(r"(?<![^\s\"'<>])[^\s\"'<>@]*+@[^\s\"'<>]*+")


class Result(msgspec.Struct, frozen=True):
    """The result of one operation in the archive; `response` is JSON text."""

    status_code: int
    operation_id: str | int | None
    response: str

    @property
    def is_errored(self) -> bool:
        """Whether the operation failed: its status code is not 2xx."""
        return not 200 <= self.status_code <= 299  # noqa: PLR2004 - HTTP's own


def download_archive(connection: Connection, batch: BatchBody, file: IO[bytes]) -> None:
    """Download the archive of a finished batch into the file.

    The batch must be recent, because its link expires.
    """
    if not is_finished(batch):
        message = f"Batch {batch.id} is not finished; it is {batch.status}."
        raise CommandError(message, f"Wait for it: batchway batches watch {batch.id}")
    if not batch.response_body_url:
        reason = "results are kept for seven days" if batch.total_operations else "it was empty"
        message = f"Batch {batch.id} has no results: {reason}."
        raise CommandError(message)
    connection.download(batch.response_body_url, file)


def read_files(archive: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file in a .tar.gz. Nothing is extracted to the disk."""
    archive.seek(0)
    try:
        yield from _read_entries(archive)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        message = f"The archive is damaged: {error}"
        raise CommandError(message, "Download it again.") from None


def read_results(archive: IO[bytes]) -> Iterator[Result]:
    """Yield every result in the archive, in no particular order."""
    for name, content in read_files(archive):
        if not content.strip(_BLANK):
            continue  # the contract allows empty files
        try:
            yield from msgspec.json.decode(content, type=list[Result])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = f"{printable(name)} in the archive is not a list of results: {error}"
            raise CommandError(message) from None


def unpack_archive(archive: IO[bytes], folder: Path) -> int:
    """Write each file of the archive into the folder, and return their number.

    A name from the archive is used only if it is a simple file name, and never as a path.
    """
    taken: set[str] = set()
    for number, (name, content) in enumerate(read_files(archive), start=1):
        own_name = name.removeprefix("./")
        if not _SAFE_NAME.fullmatch(own_name) or own_name in taken:
            own_name = f"file-{number:08}.json"
        taken.add(own_name)
        replace_file(folder / own_name, io.BytesIO(content))
    return len(taken)


def replace_file(path: Path, content: IO[bytes]) -> None:
    """Write the complete file or nothing. An existing link is replaced, never followed."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with part.open("xb") as file:
        shutil.copyfileobj(content, file)
    part.replace(path)


@dataclass
class Failures:
    """Failures with the same reason: a sample, their number, and the first operation_ids."""

    sample: str
    count: int = 0
    operation_ids: list[str] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one failure."""
        self.count += 1
        if result.operation_id is not None and len(self.operation_ids) < SAMPLE_IDS_MAX:
            self.operation_ids.append(str(result.operation_id))


@dataclass
class Tally:
    """How many operations succeeded, and how many failed, by reason."""

    succeeded_count: int = 0
    errored_count: int = 0
    failures: dict[str, Failures] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Count one result."""
        if not result.is_errored:
            self.succeeded_count += 1
            return
        self.errored_count += 1
        reason = describe_failure(result)
        key = normalize_reason(reason)
        if key not in self.failures and len(self.failures) >= FAILURE_GROUPS_MAX:
            key = reason = "other failures"
        self.failures.setdefault(key, Failures(reason)).add(result)

    def check_complete(self, batch: BatchBody) -> None:
        """Raise a CommandError unless every operation of the batch was counted."""
        count = self.succeeded_count + self.errored_count
        if count != batch.total_operations:
            message = (
                f"The archive holds {count} results, "
                f"but batch {batch.id} has {batch.total_operations} operations."
            )
            raise CommandError(message, f"Try again: batchway batches results {batch.id}")

    def print_failures(self) -> None:
        """Print the failures, the most frequent first."""
        for each in sorted(self.failures.values(), key=lambda group: -group.count):
            print_text(f"  {each.count:>6} x {printable(each.sample)}")
            if each.operation_ids:
                ids = ", ".join(printable(name) for name in each.operation_ids)
                more = ", …" if each.count > len(each.operation_ids) else ""
                print_text(f"           operation_id {ids}{more}", style="dim")


def describe_failure(result: Result) -> str:
    """Describe why an operation failed: status code, title, detail and field errors."""
    try:
        problem = msgspec.json.decode(result.response, type=ProblemDocument)
    except msgspec.DecodeError:
        return f"{result.status_code} {result.response}"[:SHOWN_CHARACTERS_MAX]
    return f"{result.status_code} {problem}"[:SHOWN_CHARACTERS_MAX]


def normalize_reason(reason: str) -> str:
    """Replace the e-mail addresses in a reason, so that failures can be grouped by it."""
    return _ADDRESS.sub("{address}", reason)


def _read_entries(archive: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    with gzip.open(archive) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
        count = 0
        while (entry := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined] # or all headers of a large archive stay in memory
            count += 1
            if count > ENTRIES_MAX or entry.size > ENTRY_BYTES_MAX:
                message = f"The archive is too large to read here, at {printable(entry.name)}."
                raise CommandError(message)
            if entry.isfile() and (content := tar.extractfile(entry)) is not None:
                yield entry.name, content.read()
        _read_to_the_end(plain)


def _read_to_the_end(plain: gzip.GzipFile) -> None:
    """Read the rest of the file, because gzip checks its checksum at the end."""
    trailing = len(plain.read(TRAILING_BYTES_MAX + 1))
    if trailing > TRAILING_BYTES_MAX:
        message = "The archive is damaged: there is other data after its end."
        raise CommandError(message)
