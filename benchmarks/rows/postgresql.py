"""Row 7: PostgreSQL, compared with the same rows inserted by psycopg as fast as possible."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import bodies
import limit
import psycopg
from measuring import RATE, Line, Run, busy_cores, ratio_at_least
from postgres import new_database, running_postgres
from running import warm_server

_LIMIT = "psycopg: COPY into a temporary table, INSERT … SELECT … ON CONFLICT, 10,000 rows at once"
_MEMBERS = (
    "id, subscriber_hash, email_address, unique_email_id, status, merge_fields, timestamp_opt, "
    "last_changed"
)
_PAIRS = "member_id, list_segment_id, added_at"
_TEMPORARY = f"""
    CREATE TEMPORARY TABLE incoming AS SELECT {_MEMBERS} FROM members WITH NO DATA;
    CREATE TEMPORARY TABLE pairs AS SELECT {_PAIRS} FROM list_segment_members WITH NO DATA
    """
_UPSERT = f"""
    INSERT INTO members (
        {_MEMBERS}, account_id, list_id, email_type, language, vip, latitude, longitude, ip_signup,
        ip_opt, source, unsubscribe_reason, revision
    ) SELECT {_MEMBERS}, 1, 1, 'html', '', false, 0, 0, '', '', 'API - Generic', '', 0
    FROM incoming
    ON CONFLICT (list_id, subscriber_hash) DO UPDATE SET
        status = excluded.status, merge_fields = excluded.merge_fields,
        last_changed = excluded.last_changed, revision = members.revision + 1
    """
_TAG = f"""
    INSERT INTO list_segment_members ({_PAIRS}, account_id) SELECT {_PAIRS}, 1 FROM pairs
    ON CONFLICT DO NOTHING
    """


def postgresql(run: Run) -> list[Line]:
    """Measure row 7."""
    rows = list(limit.make_rows(bodies.make_body("add", run.operations, "0123456789")))
    busy: dict[int, list[list[float]]] = {1: [], 2: []}
    with running_postgres() as url:
        rates = run.alternate(
            {
                "one worker": lambda: _batch_rate(url, run.operations, 1, busy),
                "two workers": lambda: _batch_rate(url, run.operations, 2, busy),
                "psycopg": lambda: run.operations / _copy_rows(url, rows),
            }
        )
    against = rates["psycopg"]
    aim = ratio_at_least(0.5)
    one, two = rates["one worker"], rates["two workers"]
    what = f"add {run.operations:,}, PostgreSQL"
    return [
        Line(f"{what}, one worker", RATE, one, _LIMIT, against, aim, _describe_busy_cores(busy[1])),
        Line(
            f"{what}, two workers", RATE, two, _LIMIT, against, None, _describe_busy_cores(busy[2])
        ),
    ]


def _describe_busy_cores(rounds: list[list[float]]) -> str:
    """Return how busy each core was, as the median of the rounds."""
    cores = [sorted(values)[len(values) // 2] for values in zip(*rounds, strict=True)]
    return f"cores busy: {', '.join(f'{core:.0f} %' for core in cores)}."


def _batch_rate(
    postgres: str, count: int, workers: int, busy: dict[int, list[list[float]]]
) -> float:
    with (
        new_database(postgres) as url,
        warm_server(workers=workers, database_url=url) as server,
    ):
        body = bodies.make_body("add", count, server.new_list())
        with busy_cores() as cores:
            taken = server.time_batch(body, count).finished
    busy[workers].append(cores)
    return count / taken


def _copy_rows(postgres: str, chunks: Sequence[tuple[list[Any], list[Any]]]) -> float:
    """Return the seconds for all rows in the tables of Batchway, one transaction per chunk."""
    with new_database(postgres) as url:
        _migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in _TEMPORARY.split(";"):
                connection.execute(statement.encode())
            begin = time.perf_counter()
            for members, pairs in chunks:
                with connection.transaction(), connection.cursor() as cursor:
                    _insert_rows(cursor, "incoming", members, _UPSERT)
                    _insert_rows(cursor, "pairs", pairs, _TAG)
            taken = time.perf_counter() - begin
            expected = sum(len(members) for members, _ in chunks)
            assert connection.execute("SELECT count(*) FROM members").fetchone() == (expected,)
    return taken


def _insert_rows(cursor: psycopg.Cursor[Any], table: str, rows: list[Any], statement: str) -> None:
    with cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)
    cursor.execute(statement.encode())
    cursor.execute(f"TRUNCATE {table}".encode())


def _migrate(url: str) -> None:
    environment = os.environ | {
        "BATCHWAY_DATABASE_URL": url,
        "BATCHWAY_SECRET_KEY": secrets.token_hex(32),
    }
    command = [sys.executable, "-m", "batchway", "migrate"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
