"""The response body of a list."""

from typing import Literal

import msgspec

from batchway.audience.lists.rows import CampaignDefaults, Contact, ListRow, list_owner_settings
from batchway.contract.links import Link, Links
from batchway.kit.clock import Microseconds, format_iso


class ListCounts(msgspec.Struct, frozen=True):
    """The counters of a list, in the order of the columns that they are read from."""

    subscribed: int
    unsubscribed: int
    cleaned: int
    pending: int
    transactional: int
    archived: int
    last_subscribed_at: Microseconds | None
    last_unsubscribed_at: Microseconds | None
    merge_fields: int

    @property
    def contacts(self) -> int:
        """The number of contacts that count: cleaned, pending and archived ones do not."""
        return self.subscribed + self.unsubscribed + self.transactional


class ListStats(msgspec.Struct, frozen=True, kw_only=True):
    """The statistics of a list, as the API shows them."""

    member_count: int
    total_contacts: int | msgspec.UnsetType
    unsubscribe_count: int
    cleaned_count: int
    member_count_since_send: int
    unsubscribe_count_since_send: int
    cleaned_count_since_send: int
    campaign_count: int = 0
    campaign_last_sent: str = ""
    merge_field_count: int
    avg_sub_rate: int = 0
    avg_unsub_rate: int = 0
    target_sub_rate: int = 0
    open_rate: int = 0
    click_rate: int = 0
    last_sub_date: str
    last_unsub_date: str


class ListBody(msgspec.Struct, frozen=True, kw_only=True):
    """A list as the API shows it; the key order is the contract's."""

    id: str
    web_id: int
    name: str
    contact: Contact
    permission_reminder: str
    use_archive_bar: bool
    campaign_defaults: CampaignDefaults
    notify_on_subscribe: str
    notify_on_unsubscribe: str
    date_created: str
    list_rating: int = 0
    email_type_option: bool
    subscribe_url_short: str
    subscribe_url_long: str
    beamer_address: str
    visibility: Literal["pub", "prv"]
    double_optin: bool
    has_welcome: bool = False
    marketing_permissions: bool
    modules: tuple[str, ...] = ()
    stats: ListStats
    links: list[Link] = msgspec.field(name="_links")


def render_list(
    links: Links, row: ListRow, counts: ListCounts, *, shows_contacts: bool
) -> ListBody:
    """Return the list as the API shows it; `total_contacts` only if it `shows_contacts`."""
    return ListBody(
        id=row.public_id,
        web_id=row.id,
        name=row.name,
        date_created=format_iso(row.created_at),
        subscribe_url_short=f"{links.base}/s/{row.public_id}",
        subscribe_url_long=f"{links.base}/subscribe?id={row.public_id}",
        beamer_address=f"{row.public_id}@inbound.{links.host}",
        stats=_render_stats(counts, shows_contacts=shows_contacts),
        links=_render_links(links, row.public_id),
        **list_owner_settings(row.settings),
    )


def _render_stats(counts: ListCounts, *, shows_contacts: bool) -> ListStats:
    # No campaign was ever sent to the list: the counts since the last one are those of all time.
    return ListStats(
        member_count=counts.subscribed,
        total_contacts=counts.contacts if shows_contacts else msgspec.UNSET,
        unsubscribe_count=counts.unsubscribed,
        cleaned_count=counts.cleaned,
        member_count_since_send=counts.subscribed,
        unsubscribe_count_since_send=counts.unsubscribed,
        cleaned_count_since_send=counts.cleaned,
        merge_field_count=counts.merge_fields,
        last_sub_date=format_iso(counts.last_subscribed_at),
        last_unsub_date=format_iso(counts.last_unsubscribed_at),
    )


def _render_links(links: Links, public_id: str) -> list[Link]:
    path = f"/lists/{public_id}"
    own = links.build_object_links("Lists", "/lists", path, methods=("PATCH", "DELETE"))
    return [
        *own,
        links.build_link(
            "batch-sub-members",
            "POST",
            path,
            "Definitions/Lists/BatchPOST-Response.json",
            "Definitions/Lists/BatchPOST.json",
        ),
        _link_collection(links, "members", "Members", path),
        _link_collection(links, "merge-fields", "MergeFields", path),
    ]


def _link_collection(links: Links, name: str, definition: str, parent: str) -> Link:
    return links.build_link(
        name,
        "GET",
        f"{parent}/{name}",
        f"Definitions/Lists/{definition}/CollectionResponse.json",
        f"Paths/Lists/{definition}/Collection.json",
    )
