"""A minimal pipeline that does the same work as a batch of additions, and nothing else.

It has one process, and no server, engine, steps or further checks. It decodes typed values, checks
as little as possible, inserts 10,000 rows per statement into the same tables under the same
settings of SQLite, renders answers from a prepared text, and writes one .tar.gz with a file for
each operation. It is the limit that `add member` is compared with.

    .venv/bin/python benchmarks/limit.py --operations 100000 --rounds 5
"""

import argparse
import gc
import hashlib
import json
import os
import re
import sqlite3
import statistics
import struct
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from isal import isal_zlib
from operations import add, make_body_pieces

from batchway.audience.members.body import make_member_links
from batchway.contract.links import Links
from batchway.database_setup import migrate_database
from batchway.kit import ustar
from batchway.settings import Settings
from batchway.store.database import SQLITE_PRAGMAS

_ROWS_AT_ONCE = 10_000
_NOW = 1_790_000_000_000_000
_ISO = "2026-09-21T13:33:20+00:00"
_ADDRESS = re.compile(r"[A-Za-z0-9._+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")
_STATUSES = frozenset({"subscribed", "unsubscribed", "cleaned", "pending", "transactional"})
_HASH = "0" * 31 + "h"
_LIST_ID = "0123456789"

_UPSERT = """
    INSERT INTO members (
        id, account_id, list_id, subscriber_hash, email_address, unique_email_id, status,
        email_type, merge_fields, language, vip, latitude, longitude, ip_signup, timestamp_signup,
        ip_opt, timestamp_opt, source, unsubscribe_reason, last_changed, revision
    ) VALUES (?, 1, 1, ?, ?, ?, ?, 'html', ?, '', 0, 0.0, 0.0, '', NULL, '', ?, 'API - Generic',
              '', ?, 0)
    ON CONFLICT (list_id, subscriber_hash) DO UPDATE SET
        status = excluded.status, merge_fields = excluded.merge_fields,
        last_changed = excluded.last_changed, revision = members.revision + 1
    """
_TAG = """
    INSERT INTO list_segment_members (member_id, list_segment_id, account_id, added_at)
    VALUES (?, ?, 1, ?) ON CONFLICT DO NOTHING
    """
_NEW_TAG = """
    INSERT INTO list_segments (
        id, account_id, list_id, name, name_key, type, created_at, updated_at
    ) VALUES (?, 1, 1, ?, ?, 'static', ?, ?)
    """


class _Operation(msgspec.Struct, gc=False):
    method: str
    path: str
    body: str
    operation_id: str


class _Request(msgspec.Struct):
    operations: list[_Operation]


class _Body(msgspec.Struct, gc=False):
    email_address: str
    status: str
    merge_fields: dict[str, str]
    tags: list[str] = []


request_decoder = msgspec.json.Decoder(_Request)
_body = msgspec.json.Decoder(_Body)
_quote = msgspec.json.Encoder().encode


def main() -> None:
    """Print the speed of all rounds."""
    options = _options()
    body = b"".join(make_body_pieces(add(_LIST_ID, index) for index in range(options.operations)))
    rates = [options.operations / measure_seconds(body) for _ in range(options.rounds)]
    print(f"{statistics.median(rates):,.0f} operations/s  ({min(rates):,.0f} to {max(rates):,.0f})")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def measure_seconds(body: bytes) -> float:
    """Return how long the minimal pipeline takes for the body of a batch, with a new database."""
    with tempfile.TemporaryDirectory(prefix="batchway-limit-") as name:
        folder = Path(name)
        settings = Settings(data_dir=folder)
        migrate_database(settings)
        connection = _connection(folder)
        gc.collect()
        gc.disable()
        try:
            begin = time.perf_counter()
            count = _run(connection, body, folder / "results.tar.gz")
            taken = time.perf_counter() - begin
        finally:
            gc.enable()
        _check(connection, folder / "results.tar.gz", count)
        connection.close()
        return taken


def make_rows(body: bytes) -> Iterator[tuple[list[Any], list[Any]]]:
    """Yield the rows of members and of their tags, for one statement at a time."""
    tags: dict[str, int] = {}
    operations = request_decoder.decode(body).operations
    for first in range(0, len(operations), _ROWS_AT_ONCE):
        rows, pairs, _ = _work_out(operations[first : first + _ROWS_AT_ONCE], first + 1, tags)
        yield rows, pairs


def _connection(folder: Path) -> sqlite3.Connection:
    path = folder / "batchway.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in SQLITE_PRAGMAS:
        connection.execute(pragma)
    return connection


def _run(connection: sqlite3.Connection, body: bytes, path: Path) -> int:
    archive = _Archive(path)
    tags: dict[str, int] = {}
    operations = request_decoder.decode(body).operations
    for first in range(0, len(operations), _ROWS_AT_ONCE):
        some = operations[first : first + _ROWS_AT_ONCE]
        rows, pairs, answers = _work_out(some, first + 1, tags)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_UPSERT, rows)
        connection.executemany(_TAG, pairs)
        connection.execute("COMMIT")
        archive.add(answers)
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_NEW_TAG, [(key, name, name, _NOW, _NOW) for name, key in tags.items()])
    connection.execute("COMMIT")
    archive.finish()
    return len(operations)


def _work_out(
    operations: Sequence[_Operation], first_id: int, tags: dict[str, int]
) -> tuple[list[Any], list[Any], list[bytes]]:
    rows: list[Any] = []
    pairs: list[Any] = []
    answers: list[bytes] = []
    for key, operation in enumerate(operations, first_id):
        given = _body.decode(operation.body)
        address = given.email_address
        if not _ADDRESS.fullmatch(address) or given.status not in _STATUSES:
            raise ValueError(address)
        lowered = address.lower().encode()
        hashed = hashlib.md5(lowered, usedforsecurity=False).hexdigest()
        short = hashlib.blake2b(lowered, digest_size=5).hexdigest()
        merge_fields = {"1": given.merge_fields["FNAME"], "2": given.merge_fields["LNAME"]}
        stored = _quote(merge_fields).decode()
        rows.append((key, hashed, address, short, given.status, stored, _NOW, _NOW))
        shown = []
        for name in given.tags:
            tag = tags.setdefault(name, len(tags) + 1)
            pairs.append((key, tag, _NOW))
            shown.append(f'{{"id":{tag},"name":{_quote(name).decode()}}}')
        answers.append(_answer(operation.operation_id, key, hashed, short, given, ",".join(shown)))
    rows.sort(key=lambda row: row[1])  # in the order of the index, as it is faster
    return rows, pairs, answers


def _answer(  # noqa: PLR0913 - all that is in it
    operation_id: str, key: int, hashed: str, short: str, given: _Body, tags: str
) -> bytes:
    """Return the file of one result. The text around the values was quoted in advance."""
    first_name, last_name = given.merge_fields["FNAME"], given.merge_fields["LNAME"]
    values = (
        f'{{"id":"{hashed}","email_address":{_quote(given.email_address).decode()},'
        f'"unique_email_id":"{short}","contact_id":"{key:032x}",'
        f'"full_name":{_quote(f"{first_name} {last_name}").decode()},"web_id":{key},'
        f'"email_type":"html","status":"{given.status}","consents_to_one_to_one_messaging":true,'
        f'"merge_fields":{{"FNAME":{_quote(first_name).decode()},'
        f'"LNAME":{_quote(last_name).decode()},"ADDRESS":"","PHONE":""}},'
    )
    details = f'"tags_count":{len(given.tags)},"tags":[{tags}],"list_id":"{_LIST_ID}","_links":'
    quoted = _quote(values)[1:-1] + _MIDDLE + _quote(details)[1:-1] + _links(hashed)
    return b'[{"status_code":200,"operation_id":"%b","response":"%b}"}]' % (
        operation_id.encode(),
        quoted,
    )


_MIDDLE = _quote(
    f'"stats":{{"avg_open_rate":0,"avg_click_rate":0}},"ip_signup":"","timestamp_signup":"",'
    f'"ip_opt":"","timestamp_opt":"{_ISO}","member_rating":2,"last_changed":"{_ISO}",'
    f'"language":"","vip":false,"email_client":"","location":{{"latitude":0,"longitude":0,'
    f'"gmtoff":0,"dstoff":0,"country_code":"","timezone":""}},"source":"API - Generic",'
)[1:-1]
_LINKS = _quote(
    _quote(make_member_links(Links("http://127.0.0.1:8080"), _LIST_ID, _HASH)).decode()
)[1:-1]


def _links(hashed: str) -> bytes:
    return _LINKS.replace(_HASH.encode(), hashed.encode())


class _Archive:
    """One gzip member that is compressed while it grows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._file.write(b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff")
        self._compressor = isal_zlib.compressobj(2, wbits=-15)
        self._crc32 = self._size = self._count = 0

    def add(self, answers: Sequence[bytes]) -> None:
        for first in range(0, len(answers), 50):
            entries = [
                ustar.make_entry(f"{self._count + number:010x}.json", answer, _NOW // 1_000_000)
                for number, answer in enumerate(answers[first : first + 50], first)
            ]
            self._write(b"".join(entries))
        self._count += len(answers)

    def finish(self) -> None:
        self._write(ustar.END_OF_ARCHIVE)
        self._file.write(self._compressor.flush())
        self._file.write(struct.pack("<II", self._crc32, self._size % 2**32))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _write(self, raw: bytes) -> None:
        self._crc32 = isal_zlib.crc32(raw, self._crc32)
        self._size += len(raw)
        self._file.write(self._compressor.compress(raw))


def _check(connection: sqlite3.Connection, archive: Path, count: int) -> None:
    """Check that the pipeline has done its work."""
    assert connection.execute("SELECT count(*) FROM members").fetchone() == (count,)
    with tarfile.open(archive) as files:
        entry = files.next()
        assert entry is not None
        content = files.extractfile(entry)
        assert content is not None
        [result] = json.load(content)
    assert json.loads(result["response"])["email_address"] == "contact-0@example.com"


if __name__ == "__main__":
    main()
