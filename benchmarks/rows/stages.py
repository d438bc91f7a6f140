"""Rows 10 and 11: accepting and finalizing the batch of row 1."""

import time

import bodies
import limit
from measuring import (
    SECONDS,
    Contestants,
    Line,
    Run,
    Together,
    Values,
    median_at_most,
    ratio_at_most,
)
from rows.adding import ACCEPTING_SECONDS, FINALIZING_SECONDS, one_worker

_PER = 100_000  # the aim of finalizing is for so many operations
_DECODING = "msgspec's typed decode of the same bytes"


def _finalizing(run: Run, values: Values) -> list[Line]:
    most = 0.5 * max(1, run.operations / _PER)
    return [
        Line(
            f"from the last of {run.operations:,} operations to `finished`",
            SECONDS,
            values[FINALIZING_SECONDS],
            aim=median_at_most(most, SECONDS),
            note="Seen by a client that asks every 20 ms.",
        )
    ]


def _accepting_contestants(run: Run) -> Contestants:
    return {**one_worker(run), _DECODING: lambda: _decoding_seconds(run.operations)}


def _decoding_seconds(count: int) -> float:
    body = bodies.make_body("add", count, bodies.LIST_ID)
    begin = time.perf_counter()
    decoded = len(limit.request_decoder.decode(body).operations)
    taken = time.perf_counter() - begin
    assert decoded == count
    return taken


def _accepting(run: Run, values: Values) -> list[Line]:
    return [
        Line(
            f"POST of {run.operations:,} operations until its answer",
            SECONDS,
            values[ACCEPTING_SECONDS],
            _DECODING,
            values[_DECODING],
            ratio_at_most(5),
        )
    ]


FINALIZING = Together("finalizing", one_worker, _finalizing)
ACCEPTING = Together("accepting", _accepting_contestants, _accepting)
