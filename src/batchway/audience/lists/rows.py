"""The rows of lists: how they are stored, found, locked and changed."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection

from batchway.audience.list_collection import ListScope
from batchway.audience.members.member import ARCHIVED, STATUSES
from batchway.contract.problems import not_found
from batchway.contract.response import encode
from batchway.kit import ids
from batchway.kit.clock import Microseconds
from batchway.store.database import bind_values, run, sql_for_share, sql_for_update, sql_in


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """The sender that the footer of a list's campaigns names."""

    company: str
    address1: str
    address2: str = ""
    city: str
    state: str = ""
    zip: str = ""
    country: str
    phone: str = ""


class CampaignDefaults(msgspec.Struct, frozen=True):
    """The values that a new campaign to the list begins with."""

    from_name: str
    from_email: str
    subject: str
    language: str


class OwnerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a list that its owner may choose, except its name."""

    contact: Contact
    permission_reminder: str
    use_archive_bar: bool = False
    campaign_defaults: CampaignDefaults
    notify_on_subscribe: str = ""
    notify_on_unsubscribe: str = ""
    email_type_option: bool
    visibility: Literal["pub", "prv"] = "pub"
    double_optin: bool = False
    marketing_permissions: bool = False


class NewList(OwnerSettings, frozen=True, kw_only=True):
    """The body of `POST /lists`."""

    name: str


class ListSettings(OwnerSettings, frozen=True, kw_only=True):
    """The content of the column `settings`. `merge_id_last` prevents that a merge id is reused."""

    merge_id_last: int


class ListRow(msgspec.Struct, frozen=True):
    """A row of `lists`. `revision` grows when its settings or merge fields change."""

    id: int
    public_id: str
    name: str
    settings: ListSettings
    created_at: Microseconds
    revision: int


COLUMNS = "lists.id, lists.public_id, lists.name, lists.settings, lists.created_at, lists.revision"

_settings = msgspec.json.Decoder(ListSettings)


def insert_list(  # noqa: PLR0913 - the columns of one row
    connection: Connection,
    account_id: int,
    name: str,
    settings: ListSettings,
    now: Microseconds,
    make_id: Callable[[], str] = ids.new_public_id,
) -> int:
    """Store a new list with its counters; return its key."""
    list_id = None
    while list_id is None:  # if the public id is taken, try another one
        list_id = run(
            connection,
            """
            INSERT INTO lists (account_id, public_id, name, settings, created_at)
            VALUES (:account_id, :public_id, :name, :settings, :now)
            ON CONFLICT (public_id) DO NOTHING
            RETURNING id
            """,
            account_id=account_id,
            public_id=make_id(),
            name=name,
            settings=encode(settings).decode(),
            now=now,
        ).scalar_one_or_none()
    run(
        connection,
        "INSERT INTO list_stats (account_id, list_id) VALUES (:account_id, :list_id)",
        account_id=account_id,
        list_id=list_id,
    )
    return int(list_id)


def parse_row(  # noqa: PLR0913 - the columns of one row
    key: int, public_id: str, name: str, settings: str, created_at: Microseconds, revision: int
) -> ListRow:
    """Return the row with these COLUMNS."""
    return ListRow(key, public_id, name, _settings.decode(settings), created_at, revision)


def find_list(connection: Connection, account_id: int, public_id: str, lock: str = "") -> ListRow:
    """Return a list of the account; raises 404. `lock` is `sql_for_update(…)` before a change."""
    row = run(
        connection,
        f"""
        SELECT {COLUMNS} FROM lists
        WHERE lists.account_id = :account_id AND lists.public_id = :public_id
        {lock}
        """,
        account_id=account_id,
        public_id=public_id,
    ).one_or_none()
    if row is None:
        raise not_found()
    return parse_row(*row)


def touch_list(connection: Connection, account_id: int, list_id: int) -> None:
    """Make all plans stale that are based on the settings and the merge fields of the list.

    Call it first in the transaction that changes one of them.
    """
    run(
        connection,
        """
        UPDATE lists SET revision = revision + 1
        WHERE account_id = :account_id AND id = :list_id
        """,
        account_id=account_id,
        list_id=list_id,
    )


def save_list(
    connection: Connection, account_id: int, list_id: int, name: str, settings: ListSettings
) -> None:
    """Store a list's name and settings, and make plans stale as `touch_list` does."""
    run(
        connection,
        """
        UPDATE lists SET name = :name, settings = :settings, revision = revision + 1
        WHERE account_id = :account_id AND id = :list_id
        """,
        account_id=account_id,
        list_id=list_id,
        name=name,
        settings=encode(settings).decode(),
    )


def find_revisions(
    connection: Connection, account_id: int, public_ids: Iterable[str], lock: str
) -> Sequence[Any]:
    """Return the keys, public ids and revisions of those of the lists that the account has."""
    return run(
        connection,
        f"""
        SELECT id, public_id, revision FROM lists
        WHERE account_id = :account_id AND public_id {sql_in(connection, "public_ids")}
        ORDER BY id {lock}
        """,
        account_id=account_id,
        public_ids=bind_values(connection, public_ids),
    ).all()


def lock_revisions(
    connection: Connection, account_id: int, list_ids: Iterable[int], *, exclusive: bool
) -> dict[int, int]:
    """Return the revisions of lists by key, locked against changes until the commit.

    Writers of members share the lock, unless one of them needs it `exclusive`.
    """
    lock = sql_for_update(connection) if exclusive else sql_for_share(connection)
    rows = run(
        connection,
        f"""
        SELECT id, revision FROM lists
        WHERE account_id = :account_id AND id {sql_in(connection, "ids")}
        ORDER BY id {lock}
        """,
        account_id=account_id,
        ids=bind_values(connection, list_ids),
    )
    return {row.id: row.revision for row in rows}


def add_to_list_counts(
    scope: ListScope,
    counts: Mapping[str, int],
    entered_statuses: Collection[str],
    now: Microseconds,
) -> None:
    """Update the counters of a list, and the times at which a member last entered a status."""
    sums = ", ".join(f"{name} = {name} + :{name}" for name in counts)
    run(
        scope.connection,
        f"""
        UPDATE list_stats SET {sums},
            last_subscribed_at =
                CASE WHEN :has_subscribed THEN :now ELSE last_subscribed_at END,
            last_unsubscribed_at =
                CASE WHEN :has_unsubscribed THEN :now ELSE last_unsubscribed_at END
        WHERE list_id = :list_id AND account_id = :account_id
        """,
        list_id=scope.list_id,
        account_id=scope.account_id,
        now=now,
        has_subscribed="subscribed" in entered_statuses,
        has_unsubscribed="unsubscribed" in entered_statuses,
        **counts,
    )


def count_members(scope: ListScope, status: str | None) -> int:
    """Return how many members a list has, with one status or with any, from its counters."""
    statuses = (*STATUSES, ARCHIVED) if status is None else (status,)
    sums = " + ".join(f"{name}_count" for name in statuses)
    return int(
        run(
            scope.connection,
            f"""
            SELECT {sums} FROM list_stats
            WHERE account_id = :account_id AND list_id = :list_id
            """,
            account_id=scope.account_id,
            list_id=scope.list_id,
        ).scalar_one()
    )


def list_owner_settings(settings: OwnerSettings) -> dict[str, Any]:
    """Return the settings that the owner may choose, by name."""
    return {name: getattr(settings, name) for name in OwnerSettings.__struct_fields__}
