"""Refusals are values: nothing of a request that was refused stays in memory."""

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import pytest

from batchway.audience.planning import plan_requests
from batchway.audience.settings import AudienceSettings
from batchway.contract.links import Links
from batchway.contract.problems import Refused
from batchway.contract.request import Caller, Request
from batchway.limits import Limits
from batchway.surfaces.mailchimp.batch_reader import BatchReader
from tests.audience import BASE, NOON, Audience

_CALLER = Caller(1, "Bees", NOON, Links(BASE))
_CALLS = 2_500
_CHUNK_CALLS = 500
_KEPT_BYTES_MAX = 256 * 1024
_LONG = b"x" * 2_000
_OPERATION = b'{"operations":[{"method":"GET","path":"/ping","body":"'
_BODIES = {
    "not_json": b'{"' + _LONG,
    "an_array": b'["' + _LONG + b'"]',
    "wrong_types": b'{"email_address":1,"tags":2,"members":3,"b":"' + _LONG + b'"}',
    "missing_fields": b'{"other":"' + _LONG + b'"}',
    "wrong_address": b'{"email_address":"' + _LONG + b'","status":"subscribed"}',
    "wrong_status": b'{"email_address":"ann@bees.org","status":"' + _LONG + b'"}',
    "wrong_tag": b'{"email_address":"ann@bees.org","status":"subscribed","tags":["'
    + _LONG
    + b'"]}',
    "wrong_member": b'{"members":[{"email_address":"' + _LONG + b'","status":"subscribed"}]}',
    "wrong_values": b'{"email_address":"ann@bees.org","status":"subscribed",'
    b'"merge_fields":{"FNAME":"' + _LONG + b'"}}',
}


@pytest.fixture
def api(quick: Audience) -> Audience:
    """An empty audience: both databases give the same memory to the process."""
    return quick


@contextmanager
def keep_nothing() -> Iterator[None]:
    """Fail if the block leaves more memory in use than a few caches need."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < _KEPT_BYTES_MAX


@pytest.mark.parametrize("body", _BODIES.values(), ids=_BODIES)
def test_refused_calls_leave_nothing_in_memory(api: Audience, body: bytes) -> None:
    """Thousands of calls on members that are refused for one reason keep no memory."""
    list_path = f"/lists/{api.new_list()}"
    calls = [
        ("POST", list_path),
        ("POST", f"{list_path}/members"),
        ("PUT", f"{list_path}/members/{'a' * 32}"),
        ("PATCH", f"{list_path}/members/{'a' * 32}"),
        ("POST", f"{list_path}/members/{'a' * 32}/tags"),
    ]

    def plan(call_count: int) -> None:
        requests = [
            Request(*calls[number % len(calls)], {}, body[:]) for number in range(call_count)
        ]
        keys = count(1)
        plan_requests(
            api.database, AudienceSettings(), _CALLER, requests, lambda _table: next(keys)
        )

    plan(_CHUNK_CALLS)
    with keep_nothing():
        for _ in range(_CALLS // _CHUNK_CALLS):
            plan(_CHUNK_CALLS)


@pytest.mark.parametrize("path", ["/no/such", "/" + "a/" * 20, "/ping"])
def test_refused_paths_leave_nothing_in_memory(api: Audience, path: str) -> None:
    """Calls that no route answers keep no memory of their bodies."""

    def plan(call_count: int) -> None:
        requests = [Request("PUT", path, {}, _LONG) for _ in range(call_count)]
        plan_requests(api.database, AudienceSettings(), _CALLER, requests, lambda _table: 1)

    plan(_CHUNK_CALLS)
    with keep_nothing():
        for _ in range(_CALLS // _CHUNK_CALLS):
            plan(_CHUNK_CALLS)


@pytest.mark.parametrize("end", [b"]", b"", b",}", b"]} x", b"\xff]}"])
def test_a_refused_batch_is_freed_without_the_garbage_collector(end: bytes) -> None:
    """A body of a batch that is not valid needs no search for cycles to be freed."""
    body = _OPERATION + _LONG * 100 + b'"}' + end
    assert len(body) * 100 > 10 * _KEPT_BYTES_MAX  # if each were kept

    def read() -> None:
        reader = BatchReader(Limits(), is_lines=False)
        with suppress(Refused):
            for _ in reader.feed(body):
                pass
            for _ in reader.finish():
                pass

    read()
    gc.disable()
    try:
        with keep_nothing():
            for _ in range(100):
                read()
            kept_bytes, _ = tracemalloc.get_traced_memory()
            assert kept_bytes < _KEPT_BYTES_MAX
    finally:
        gc.enable()
