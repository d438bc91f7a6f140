"""Row 15: how long a write waits while a batch changes lists, which needs the lock."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import bodies
import operations
from measuring import MILLISECONDS, Line, Run, largest_at_most
from running import Running, warm_server

_MEMBERS = 1_000
_PAUSE_SECONDS = 0.005
_MILLISECONDS = 1_000
_LIST_CHANGES_PER_MEMBER = 10  # a change of a list takes about as long as ten of a member


def waiting_writes(run: Run) -> list[Line]:
    """Measure row 15. A round's value is the longest time of a PUT of a member."""
    values = run.alternate(
        {
            "lists": lambda: _measure_longest_wait(
                lambda list_id: _make_list_changes(list_id, run.many // _LIST_CHANGES_PER_MEMBER)
            ),
            "members": lambda: _measure_longest_wait(
                lambda list_id: bodies.make_body("add", run.many, list_id)
            ),
        }
    )
    what = "the longest PUT of a member while a batch changes lists and members in turns"
    aim = largest_at_most(250, MILLISECONDS)
    return [
        Line(what, MILLISECONDS, values["lists"], "while one adds members", values["members"], aim)
    ]


def _measure_longest_wait(make_body: Callable[[str], bytes]) -> float:
    with warm_server() as server:
        list_id = server.new_list()
        server.add_all(_MEMBERS, list_id, "there")
        batch_id = server.submit(make_body(server.new_list()))
        finished = threading.Event()

        def wait() -> None:
            server.wait_until_finished(batch_id, server.new_client(), every=0.05)
            finished.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        longest = max(_write(server, list_id, finished))
        waiting.join()
    return longest * _MILLISECONDS


def _write(server: Running, list_id: str, finished: threading.Event) -> Iterator[float]:
    """Update members one by one until the batch is finished; yield the seconds of each call."""
    client = server.new_client()
    for index in itertools.count():
        call = operations.upsert(list_id, index % _MEMBERS, "there")
        begin = time.perf_counter()
        client.send(call["method"], call["path"], call["body"].encode())
        yield time.perf_counter() - begin
        if finished.is_set():
            return
        time.sleep(_PAUSE_SECONDS)


def _make_list_changes(list_id: str, count: int) -> bytes:
    """Return the body of a batch in which half of the operations rename a list."""
    made = (
        operations.rename(list_id, index) if index % 2 else operations.add(list_id, index)
        for index in range(count)
    )
    return b"".join(operations.make_body_pieces(made))
