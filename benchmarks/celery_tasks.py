"""What one would write with Celery: a task that adds members, with or without their answers.

It runs in the contestants' environment, which has Celery and none of Batchway. The worker imports
it; as a program it waits for a line of input, and then sends the operations of a batch's body:

    python benchmarks/celery_tasks.py body.json 1000 no-answers
"""

import hashlib
import json
import os
import re
import sqlite3
import sys
import tarfile
import time
from functools import cache
from pathlib import Path

from celery import Celery, chord

_redis = os.environ["BENCH_REDIS"]
app = Celery("benchmark", broker=f"redis+socket://{_redis}", backend=f"redis+socket://{_redis}")
app.conf.update(
    worker_prefetch_multiplier=16,
    task_serializer="json",
    broker_connection_retry_on_startup=True,
)

_ADDRESS = re.compile(r"[A-Za-z0-9._+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")
_STATUSES = {"subscribed", "unsubscribed", "cleaned", "pending", "transactional"}
_known_tags: set[str] = set()

_UPSERT = """
    INSERT INTO members (
        account_id, list_id, subscriber_hash, email_address, unique_email_id, status, email_type,
        merge_fields, language, vip, latitude, longitude, ip_signup, timestamp_signup, ip_opt,
        timestamp_opt, source, unsubscribe_reason, last_changed, revision
    ) VALUES (1, 1, ?, ?, ?, ?, 'html', ?, '', 0, 0.0, 0.0, '', NULL, '', ?, 'API', '', ?, 0)
    ON CONFLICT (list_id, subscriber_hash) DO UPDATE SET
        status = excluded.status, merge_fields = excluded.merge_fields,
        last_changed = excluded.last_changed, revision = members.revision + 1
    """
_NEW_TAG = """
    INSERT INTO list_segments (
        account_id, list_id, name, name_key, type, created_at, updated_at
    ) VALUES (1, 1, ?, ?, 'static', ?, ?) ON CONFLICT DO NOTHING
    """
_TAG = """
    INSERT INTO list_segment_members (member_id, list_segment_id, account_id, added_at)
    SELECT members.id, list_segments.id, 1, ? FROM members, list_segments
    WHERE members.list_id = 1 AND members.subscriber_hash = ?
        AND list_segments.list_id = 1 AND list_segments.name_key = ?
    ON CONFLICT DO NOTHING
    """


@app.task(name="add", ignore_result=True)
def add(operation: dict[str, str]) -> None:
    """Add one member."""
    _write([operation])


@app.task(name="add_many", ignore_result=True)
def add_many(operations: list[dict[str, str]]) -> None:
    """Add many members."""
    _write(operations)


@app.task(name="add_and_answer")
def add_and_answer(operations: list[dict[str, str]], folder: str, number: int) -> None:
    """Add many members, and write a file with an answer for each."""
    _write(operations)
    content = json.dumps([_answer(operation) for operation in operations])
    (Path(folder) / f"{number:06}.json").write_text(content)


@app.task(name="collect", ignore_result=True)
def collect(folder: str) -> None:
    """Make one archive of all answers."""
    unfinished = Path(folder) / "unfinished"
    with tarfile.open(unfinished, "w:gz", compresslevel=1) as archive:
        for path in sorted(Path(folder).glob("*.json")):
            archive.add(path, path.name)
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    unfinished.rename(Path(folder) / "results.tar.gz")


def _write(operations: list[dict[str, str]]) -> None:
    """Decode and check operations, and write all of them in one transaction."""
    now = time.time_ns() // 1_000
    members, tags, names = [], [], set()
    for operation in operations:
        body = json.loads(operation["body"])
        address = body["email_address"]
        if not _ADDRESS.fullmatch(address) or body["status"] not in _STATUSES:
            raise ValueError(address)
        hashed = _hash(address)
        fields = json.dumps(
            {"1": body["merge_fields"]["FNAME"], "2": body["merge_fields"]["LNAME"]}
        )
        members.append((hashed, address, hashed[:10], body["status"], fields, now, now))
        tags.extend((now, hashed, name) for name in body["tags"])
        names.update(body["tags"])
    new = names - _known_tags
    connection = _connection()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_UPSERT, members)
    connection.executemany(_NEW_TAG, [(name, name, now, now) for name in new])
    connection.executemany(_TAG, tags)
    connection.execute("COMMIT")
    _known_tags.update(new)


@cache
def _connection() -> sqlite3.Connection:
    """Return the connection of this process, with the settings of Batchway."""
    connection = sqlite3.connect(os.environ["BENCH_DATABASE"], isolation_level=None)
    for pragma in json.loads(os.environ["BENCH_PRAGMAS"]):
        connection.execute(pragma)
    return connection


def _answer(operation: dict[str, str]) -> dict[str, object]:
    """Return the answer of Batchway, without values that only the database has."""
    body = json.loads(operation["body"])
    hashed = _hash(body["email_address"])
    fields = body["merge_fields"]
    member = {
        "id": hashed,
        "email_address": body["email_address"],
        "unique_email_id": hashed[:10],
        "full_name": f"{fields['FNAME']} {fields['LNAME']}",
        "status": body["status"],
        "merge_fields": fields | {"ADDRESS": "", "PHONE": ""},
        "tags_count": len(body["tags"]),
        "tags": [{"name": name} for name in body["tags"]],
        **_UNCHANGED,
    }
    links = os.environ["BENCH_LINKS"].replace("HASH", hashed)
    response = f'{json.dumps(member)[:-1]}, "_links": {links}}}'
    return {"status_code": 200, "operation_id": operation["operation_id"], "response": response}


_UNCHANGED = {
    "email_type": "html",
    "consents_to_one_to_one_messaging": True,
    "stats": {"avg_open_rate": 0, "avg_click_rate": 0},
    "ip_signup": "",
    "timestamp_signup": "",
    "ip_opt": "",
    "timestamp_opt": "2026-01-01T00:00:00+00:00",
    "member_rating": 2,
    "last_changed": "2026-01-01T00:00:00+00:00",
    "language": "",
    "vip": False,
    "email_client": "",
    "location": {"latitude": 0, "longitude": 0, "gmtoff": 0, "dstoff": 0, "country_code": ""},
    "source": "API",
}


def _hash(address: str) -> str:
    return hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest()


def _send(path: Path, per_task: int, *, with_answers: bool) -> None:
    operations = json.loads(path.read_bytes())["operations"]
    parts = [operations[first : first + per_task] for first in range(0, len(operations), per_task)]
    with app.producer_pool.acquire(block=True) as producer:
        print("ready", flush=True)
        sys.stdin.readline()
        if with_answers:
            folder = str(path.parent)
            answered = [add_and_answer.s(part, folder, n) for n, part in enumerate(parts)]
            chord(answered)(collect.si(folder))
            return
        for part in parts:
            if per_task == 1:
                add.apply_async((part[0],), producer=producer)
            else:
                add_many.apply_async((part,), producer=producer)


if __name__ == "__main__":
    _send(Path(sys.argv[1]), int(sys.argv[2]), with_answers=sys.argv[3] == "answers")
