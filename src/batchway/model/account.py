"""An account: the owner of keys, batches and audiences."""

from dataclasses import dataclass

from batchway.kit.clock import Microseconds


@dataclass(frozen=True, slots=True)
class Account:
    """Every query is scoped by its `id`."""

    id: int
    name: str
    created_at: Microseconds


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key: never the key itself."""

    id: int
    account_id: int
    label: str
    hint: str
    created_at: Microseconds
    revoked_at: Microseconds | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from."""

    account: Account
    api_key_id: int
