"""An account: the owner of API keys, batches, webhooks and lists."""

from dataclasses import dataclass

from batchway.kit.clock import Microseconds


@dataclass(frozen=True, slots=True)
class Account:
    """One row of `accounts`. Every query on behalf of a client names its `id`."""

    id: int
    name: str
    created_at: Microseconds


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One row of `api_keys`. The key itself is not stored; `hint` is a few of its characters."""

    id: int
    account_id: int
    label: str
    hint: str
    created_at: Microseconds
    revoked_at: Microseconds | None


@dataclass(frozen=True, slots=True)
class Identity:
    """The account and the API key of a request, and the network address that it came from."""

    account: Account
    api_key_id: int
    client_address: str = ""
