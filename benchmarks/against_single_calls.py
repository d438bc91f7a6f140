"""Times a batch against the same calls sent one by one over ten keep-alive connections.

Both go to the same server, in turns: each round sends new addresses to a new list. The figure
that matters is the ratio of the medians; absolute figures belong to the machine.

    .venv/bin/python benchmarks/against_single_calls.py --operations 100000 --rounds 3
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from rich.progress import track

KEY = f"{secrets.token_hex(16)}-us1"
CONNECTIONS = 10
POLL_SECONDS = 0.05


def main() -> None:
    """Run the rounds and print the table."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="batchway-bench-") as folder:
        process, url = _start(Path(folder), options)
        try:
            _compare(url, options)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=100_000, help="in each batch")
    parser.add_argument("--single-calls", type=int, default=5_000, help="sent one by one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--database-url", default="", help="PostgreSQL instead of SQLite")
    return parser.parse_args()


def _start(folder: Path, options: argparse.Namespace) -> tuple[subprocess.Popen[str], str]:
    variables = {
        "BATCHWAY_API_KEY": KEY,
        "BATCHWAY_DATA_DIR": str(folder),
        "BATCHWAY_DATABASE_URL": options.database_url,
        "BATCHWAY_SECRET_KEY": secrets.token_hex(32),
    }
    command = [sys.executable, "-m", "batchway"]
    environment = os.environ | variables
    if options.database_url:
        subprocess.run([*command, "migrate"], env=environment, check=True)
    process = subprocess.Popen(
        [*command, "serve", "--port", "0", "--workers", str(options.workers)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    url = process.stdout.readline().split()[-1].removesuffix("/3.0")
    _until(lambda: httpx.get(f"{url}/healthz").status_code == httpx.codes.OK)
    return process, url


def _compare(url: str, options: argparse.Namespace) -> None:
    batched, single, accepted = [], [], []
    for number in track(range(options.rounds), description="rounds"):
        accept, total = _time_batch(url, _operations(_new_list(url), number, options.operations))
        accepted.append(accept)
        batched.append(options.operations / total)
        calls = _operations(_new_list(url), number, options.single_calls)
        single.append(len(calls) / asyncio.run(_time_single(url, calls)))
    _row("one batch", batched)
    _row("one by one", single)
    print(f"accepting the POST: {statistics.median(accepted):.2f} s (median)")
    ratio = statistics.median(batched) / statistics.median(single)
    print(f"a batch is {ratio:.1f} times as fast")


def _row(name: str, rates: list[float]) -> None:
    middle = statistics.median(rates)
    print(f"{name:<11} {middle:>9,.0f} operations/s  ({min(rates):,.0f} to {max(rates):,.0f})")


def _new_list(url: str) -> str:
    contact = {"company": "Acme", "address1": "1 Main St", "city": "Springfield", "country": "US"}
    defaults = {"from_name": "A", "from_email": "a@example.com", "subject": "", "language": "en"}
    body = {
        "name": "Benchmark",
        "contact": contact,
        "permission_reminder": "You signed up.",
        "email_type_option": False,
        "campaign_defaults": defaults,
    }
    reply = httpx.post(f"{url}/3.0/lists", json=body, auth=("any", KEY)).raise_for_status()
    return str(reply.json()["id"])


def _operations(list_id: str, number: int, count: int) -> list[dict[str, str]]:
    return [
        {
            "method": "POST",
            "path": f"/lists/{list_id}/members",
            "operation_id": f"crm-{index}",
            "body": json.dumps(
                {
                    "email_address": f"contact-{number}-{index}@example.com",
                    "status": "subscribed",
                    "merge_fields": {"FNAME": f"First {index}", "LNAME": f"Last {index}"},
                    "tags": ["newsletter", f"group-{index % 20}"],
                }
            ),
        }
        for index in range(count)
    ]


def _time_batch(url: str, operations: list[dict[str, str]]) -> tuple[float, float]:
    """Seconds until the POST is answered, and until the batch is finished."""
    body = json.dumps({"operations": operations}).encode()
    with httpx.Client(auth=("any", KEY), timeout=600) as client:
        begin = time.perf_counter()
        batch = client.post(f"{url}/3.0/batches", content=body).raise_for_status().json()
        accepted = time.perf_counter() - begin
        path = f"{url}/3.0/batches/{batch['id']}"
        _until(lambda: client.get(path).json()["status"] == "finished")
        total = time.perf_counter() - begin
        last = client.get(path).json()
    assert last["finished_operations"] == len(operations)
    assert last["errored_operations"] == 0
    return accepted, total


async def _time_single(url: str, calls: list[dict[str, str]]) -> float:
    """Seconds for the same calls, ten at a time; raw sockets, so that the client costs little."""
    requests = iter([_request(url, call) for call in calls])
    begin = time.perf_counter()
    await asyncio.gather(*(_send(url, requests) for _ in range(CONNECTIONS)))
    return time.perf_counter() - begin


async def _send(url: str, requests: object) -> None:
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    for request in requests:  # type: ignore[attr-defined]
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(
            line.split(b":")[1]
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(int(length))
    writer.close()


def _request(url: str, call: dict[str, str]) -> bytes:
    body = call["body"].encode()
    head = (
        f"{call['method']} /3.0{call['path']} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _until(condition: Callable[[], bool]) -> None:
    while True:
        try:
            if condition():
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
