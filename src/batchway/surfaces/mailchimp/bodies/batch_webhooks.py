"""The bodies of batch webhooks and of the deliveries to them."""

import msgspec

from batchway.contract.links import Link


class BatchWebhookBody(msgspec.Struct, frozen=True, rename={"links": "_links"}, kw_only=True):
    """A batch webhook. A secret is in the reply of the call that created it, and in no other."""

    id: str
    url: str
    enabled: bool
    signing_enabled: bool
    signing_secret: str | msgspec.UnsetType = msgspec.UNSET
    links: list[Link] = []


class BatchWebhookList(msgspec.Struct, frozen=True, rename={"links": "_links"}):
    """A page of batch webhooks."""

    webhooks: list[BatchWebhookBody]
    total_items: int
    links: list[Link] = []


class NewBatchWebhook(msgspec.Struct, frozen=True):
    """The request that adds a batch webhook."""

    url: str
    enabled: bool = True
    signing_enabled: bool = True


class BatchWebhookChanges(msgspec.Struct, frozen=True):
    """The request that changes a batch webhook."""

    url: str | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    signing_enabled: bool | msgspec.UnsetType = msgspec.UNSET


class AttemptBody(msgspec.Struct, frozen=True):
    """One request of a delivery. Without a status code, the reason says why there was no reply."""

    number: int
    attempted_at: str
    duration_ms: int
    status_code: int | None
    reason: str = ""
    answer_start: str = ""


class DeliveryBody(msgspec.Struct, frozen=True, rename={"links": "_links"}):
    """One event for one batch webhook."""

    id: str
    type: str
    batch_id: str
    state: str
    fired_at: str
    attempt_count: int
    next_attempt_at: str
    attempts: list[AttemptBody] = []
    links: list[Link] = []


class DeliveryList(msgspec.Struct, frozen=True, rename={"links": "_links"}):
    """A page of deliveries, and the state of the batch webhook."""

    deliveries: list[DeliveryBody]
    total_items: int
    failing_since: str = ""
    disabled_reason: str = ""
    links: list[Link] = []


class Since(msgspec.Struct, frozen=True):
    """The time since which failed deliveries are sent again."""

    since: str


class Recovered(msgspec.Struct, frozen=True):
    """The number of deliveries that are sent again."""

    recovered: int
