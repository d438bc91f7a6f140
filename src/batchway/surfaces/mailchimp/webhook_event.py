"""The body of a batch webhook: a form with bracketed keys, such as `data[id]`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from batchway.contract.links import Links
from batchway.contract.result_links import ResultLinks
from batchway.kit.clock import Microseconds, format_iso, format_plain
from batchway.model.batch import Batch
from batchway.surfaces.mailchimp.batch_body import build_batch_body, build_batch_links
from batchway.surfaces.mailchimp.bodies.batches import BatchBody

FINISHED = "batch_operation_completed"
TEST = "test"

_NO_BATCH = "0000000000"


@dataclass(frozen=True)
class MailchimpEvents:
    """Renders the events that batch webhooks receive.

    `base_url` is the base of the links in a test event. Other events use that of their batch.
    """

    result_links: ResultLinks
    base_url: str
    content_type: str = "application/x-www-form-urlencoded"

    def render_finished(self, batch: Batch, fired_at: Microseconds) -> bytes:
        """Render the event of a finished batch, with a new link to its results."""
        body = build_batch_body(batch, Links(batch.base_url), self.result_links)
        return render_event(FINISHED, fired_at, body)

    def render_test(self, fired_at: Microseconds) -> bytes:
        """Render a test event. It has the keys of a real event, for a batch that does not exist."""
        return render_event(TEST, fired_at, build_test_batch(Links(self.base_url), fired_at))


def render_event(event_type: str, fired_at: Microseconds, body: BatchBody) -> bytes:
    """Render an event. Spaces are percent-encoded as well, because parsers disagree about `+`."""
    pairs = [
        ("type", event_type),
        ("fired_at", format_plain(fired_at)),
        *_flatten("data", msgspec.to_builtins(body)),
    ]
    return "&".join(f"{_quote(key)}={_quote(value)}" for key, value in pairs).encode("ascii")


def build_test_batch(links: Links, fired_at: Microseconds) -> BatchBody:
    """Return the batch of a test event: a finished one that does not exist."""
    moment = format_iso(fired_at)
    return BatchBody(
        id=_NO_BATCH,
        status="finished",
        total_operations=0,
        finished_operations=0,
        errored_operations=0,
        submitted_at=moment,
        completed_at=moment,
        response_body_url="",
        links=build_batch_links(links, _NO_BATCH),
    )


def _flatten(name: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flatten(f"{name}[{key}]", each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _flatten(f"{name}[{index}]", each)
    else:
        yield name, str(value)


def _quote(text: str) -> str:
    return quote(text, safe="")
