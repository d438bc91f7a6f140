"""The body of the limits and of an account's use of them."""

import msgspec

from batchway.contract.links import Link


class Usage(msgspec.Struct, frozen=True):
    """What an account has in progress."""

    pending_batches: int = 0
    running_batches: int = 0
    undelivered_events: int = 0
    batch_webhooks: int = 0


class LimitsBody(msgspec.Struct, frozen=True, rename={"links": "_links"}):
    """Limits by name (the units are in the names), and what counts against them."""

    limits: dict[str, float]
    usage: Usage
    links: list[Link] = []
