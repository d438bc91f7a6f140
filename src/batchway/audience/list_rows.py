"""The rows of lists: what is stored of one, and how it is found, locked and changed."""

from typing import Literal

import msgspec
from sqlalchemy import Connection

from batchway.contract.problems import not_found
from batchway.contract.response import encode
from batchway.kit.clock import Microseconds
from batchway.store.database import run


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """Who stands in the footer of a list's campaigns."""

    company: str
    address1: str
    address2: str = ""
    city: str
    state: str = ""
    zip: str = ""
    country: str
    phone: str = ""


class CampaignDefaults(msgspec.Struct, frozen=True):
    """What a new campaign to the list begins with."""

    from_name: str
    from_email: str
    subject: str
    language: str


class GivenSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a list that its owner may choose, but for its name."""

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


class NewList(GivenSettings, frozen=True, kw_only=True):
    """The body of `POST /lists`."""

    name: str


class ListSettings(GivenSettings, frozen=True, kw_only=True):
    """What the column `settings` holds: merge ids are never used again, so the last is kept."""

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


def list_row(  # noqa: PLR0913 - the columns of one row
    key: int, public_id: str, name: str, settings: str, created_at: Microseconds, revision: int
) -> ListRow:
    """The row with these COLUMNS."""
    return ListRow(key, public_id, name, _settings.decode(settings), created_at, revision)


def find_list(connection: Connection, account_id: int, public_id: str, lock: str = "") -> ListRow:
    """The account's list; raises 404. `lock` is `for_update(connection)` before any change."""
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
    return list_row(*row)


def touch_list(connection: Connection, account_id: int, list_id: int) -> None:
    """Make plans that rest on the list's settings and merge fields stale.

    Called before anything else that such a change writes, in its transaction.
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
    """Write a list's name and settings; does what `touch_list` does, too."""
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
