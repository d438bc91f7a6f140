"""`GET /batches/{batch_id}/events`: the progress of a batch as server-sent events. An extension."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial

from anyio import current_time, sleep

from batchway.contract.description import CallDescription
from batchway.contract.links import Links
from batchway.contract.request import Request
from batchway.contract.response import Response, encode
from batchway.contract.stream import EVENTS, Stream, accepts
from batchway.kit.clock import SECOND, Microseconds, format_iso
from batchway.lifecycle.parts import Parts
from batchway.limits import Limits
from batchway.model.account import Identity
from batchway.model.batch import Batch, Status
from batchway.store import admission, batches, chunks, leases
from batchway.surfaces.mailchimp.batch_calls import TAG, find_batch
from batchway.surfaces.mailchimp.bodies.batches import BatchProgress
from batchway.surfaces.mailchimp.route import CountedAs, Route
from batchway.surfaces.threads import run_in_thread


@dataclass(frozen=True)
class _Sample:
    """A batch at a moment, or None if it was deleted."""

    at: Microseconds
    batch: Batch | None
    waiting_for: str = ""
    retry_of: str = ""


@dataclass(frozen=True)
class BatchProgressCalls:
    """Answers the call on the progress of a batch."""

    parts: Parts

    def routes(self) -> tuple[Route, ...]:
        """Return the route of this call."""
        return (
            Route(
                "GET",
                "/batches/{batch_id}/events",
                self.get,
                CallDescription(
                    "The progress of a batch, as server-sent events.",
                    reply=BatchProgress,
                    reply_types=(EVENTS,),
                    notes="An extension. With `Accept: application/json`, the progress now.",
                    tag=TAG,
                ),
                counted_as=CountedAs.EVENT_STREAM,
            ),
        )

    def get(self, request: Request, identity: Identity, _links: Links) -> Response:
        """Answer with a stream that ends with the batch, or with the progress now, as JSON."""
        batch = find_batch(self.parts, request, identity)
        take_sample = partial(self._take_sample, identity.account.id, batch.public_id)
        if accepts(request.headers.get("accept", ""), "application/json"):
            sample = take_sample()
            return Response(200, _build_progress(sample.batch or batch, sample, None))
        return Response(200, Stream(EVENTS, _stream_events(take_sample, self.parts.limits)))

    def _take_sample(self, account_id: int, public_id: str) -> _Sample:
        now = self.parts.clock()
        with self.parts.database.read() as connection:
            batch = batches.find(connection, account_id, public_id, self.parts.get_results_since())
            if batch is None:
                return _Sample(now, None)
            retried = batch.retry_of and batches.get(connection, batch.retry_of)
            sample = _Sample(now, batch, retry_of=retried.public_id if retried else "")
            running = admission.count_running(connection, account_id)
            is_any_ready = leases.is_any_ready(connection)
            reason = chunks.find_reason(connection, batch)
        running_max = self.parts.limits.running_batches_per_account_max
        described = _describe_wait(batch, running, running_max, is_any_ready=is_any_ready)
        waiting_for = f"{described} {reason}" if reason else described
        return replace(sample, waiting_for=waiting_for)


async def _stream_events(
    take_sample: Callable[[], _Sample], limits: Limits
) -> AsyncIterator[bytes]:
    """Yield an event for each change, and comments that keep a silent connection open."""
    ends_at = current_time() + limits.event_stream_seconds_max
    earlier: list[_Sample] = []
    silent_since = current_time()
    while current_time() < ends_at:
        sample = await run_in_thread(take_sample)
        if sample.batch is None:
            yield b"event: deleted\ndata: {}\n\n"
            return
        data = encode(_build_progress(sample.batch, sample, earlier[0] if earlier else None))
        is_finished = sample.batch.status is Status.FINISHED
        if is_finished or _has_changed(sample, earlier):
            name = b"finished" if is_finished else b"progress"
            yield b"event: %b\ndata: %b\n\n" % (name, data)
            silent_since = current_time()
        elif current_time() - silent_since > limits.event_silence_seconds_max:
            yield b": still here\n\n"
            silent_since = current_time()
        if is_finished:
            return
        earlier = [*earlier, sample][-_SAMPLES_KEPT:]
        await sleep(limits.event_poll_seconds)


_SAMPLES_KEPT = 20  # the rate is measured from the first of them to the last


def _has_changed(sample: _Sample, earlier: list[_Sample]) -> bool:
    return not earlier or (sample.batch, sample.waiting_for) != (
        earlier[-1].batch,
        earlier[-1].waiting_for,
    )


def _build_progress(batch: Batch, sample: _Sample, since: _Sample | None) -> BatchProgress:
    rate = _compute_rate(batch, sample, since)
    left = batch.total_operations - batch.finished_operations
    is_running = batch.status is Status.STARTED
    end = sample.at + int(left / rate * SECOND) if rate and is_running else None
    return BatchProgress(
        id=batch.public_id,
        status=batch.status,
        total_operations=batch.total_operations,
        finished_operations=batch.finished_operations,
        errored_operations=batch.errored_operations,
        operations_per_second=rate,
        estimated_end=format_iso(end),
        waiting_for=sample.waiting_for,
        retry_of=sample.retry_of,
    )


def _compute_rate(batch: Batch, sample: _Sample, since: _Sample | None) -> float | None:
    """Return the operations per second since an earlier sample, or else since the batch began."""
    done, began_at, ended_at = batch.finished_operations, batch.began_at, sample.at
    if batch.completed_at is not None:
        ended_at = batch.completed_at
    elif since is not None and since.batch is not None and since.batch.finished_operations < done:
        done, began_at = done - since.batch.finished_operations, since.at
    if began_at is None or ended_at <= began_at:
        return None
    return round(done * SECOND / (ended_at - began_at), 1)


def _describe_wait(batch: Batch, running: int, running_max: int, *, is_any_ready: bool) -> str:
    """Describe in a sentence what must happen before the batch is finished."""
    if batch.status is Status.FINISHED:
        return ""
    if not is_any_ready:
        return "No worker is ready; one starts with `batchway serve` or `batchway worker`."
    if batch.status is Status.PENDING:
        held = f"{running} batches of this account are running, at most {running_max} may."
        return held if batch.is_held else "A worker will begin it."
    if batch.is_cancelling and batch.status is not Status.FINALIZING:
        return "What was not done is being recorded as cancelled."
    chunks = f"{batch.chunks_left} of {batch.chunk_count} chunks are to be executed."
    return chunks if batch.chunks_left else "The results are being compiled."
