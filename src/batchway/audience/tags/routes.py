"""`…/members/{subscriber_hash}/tags`: the tags of a member."""

from typing import Literal

import msgspec

from batchway.audience.members import transitions
from batchway.audience.members.base import MemberCall, MemberHandler
from batchway.audience.members.calls import check_tag_count, read_tag_name
from batchway.audience.settings import AudienceSettings
from batchway.audience.working_set import ListSet
from batchway.contract.description import ON_PAGE, CallDescription
from batchway.contract.links import Link
from batchway.contract.paging import Page, parse_page
from batchway.contract.request import Request
from batchway.contract.response import NO_CONTENT, Response
from batchway.contract.validation import decode
from batchway.kit.clock import format_iso
from batchway.limits import tag_name_characters_max

_PATH = "/lists/{list_id}/members/{subscriber_hash}/tags"


class TagsChange(msgspec.Struct):
    """A tag that a member joins (`active`) or leaves (`inactive`)."""

    name: str
    status: Literal["active", "inactive"]


class TagsChanges(msgspec.Struct):
    """The body of a change of a member's tags."""

    tags: list[TagsChange]
    is_syncing: bool | None = False


class TagsTag(msgspec.Struct):
    """A tag of a member, as the API shows it."""

    id: int
    name: str
    date_added: str


class Tags(msgspec.Struct, rename={"links": "_links"}):
    """A page of the tags of a member."""

    tags: list[TagsTag]
    total_items: int
    links: list[Link]


_changes = msgspec.json.Decoder(TagsChanges)


class UpdateTags(msgspec.Struct, frozen=True, gc=False):
    """Adds tags to a member, and removes tags."""

    list_id: str
    key: str
    active: tuple[str, ...]
    inactive: tuple[str, ...]

    def want(self, list_set: ListSet) -> None:
        """Ask for the member, and for the tags to be added."""
        list_set.want_member(self.key)
        list_set.tags.want(self.active)

    def apply(self, list_set: ListSet) -> Response:
        """Return 204, even if nothing has changed."""
        member = list_set.members.get(self.key)
        transitions.set_tags(list_set, member, self.active, self.inactive)
        return NO_CONTENT

    @property
    def row_count(self) -> int:
        """One for the member, and one for each tag."""
        return 1 + len(self.active) + len(self.inactive)


class GetTags(msgspec.Struct, frozen=True, gc=False):
    """Reads one page of a member's tags."""

    list_id: str
    key: str
    page: Page

    def want(self, list_set: ListSet) -> None:
        """Ask for the member."""
        list_set.want_member(self.key)

    def apply(self, list_set: ListSet) -> Response:
        """Return the tags, oldest first."""
        member = list_set.members.get(self.key)
        first = self.page.offset
        shown = member.tags[first : first + self.page.count]
        parent = f"/lists/{list_set.public_id}/members/{member.subscriber_hash}"
        links = list_set.caller.links.build_collection_links(
            "Lists/Members/Tags", parent, f"{parent}/tags", create=True
        )
        tags = [TagsTag(tag.id, tag.name, format_iso(tag.added_at)) for tag in shown]
        return Response(200, Tags(tags, len(member.tags), links))

    @property
    def row_count(self) -> int:
        """0: nothing is written."""
        return 0


def _read_update(request: Request, _settings: AudienceSettings) -> MemberCall:
    changes = decode(_changes, request.body).tags
    check_tag_count(len(changes))
    last = {read_tag_name(change.name): change.status for change in changes}
    return UpdateTags(
        request.path_params["list_id"],
        request.path_params["subscriber_hash"],
        tuple(name for name, status in last.items() if status == "active"),
        tuple(name for name, status in last.items() if status == "inactive"),
    )


def _read_get(request: Request, _settings: AudienceSettings) -> MemberCall:
    values = request.path_params
    return GetTags(values["list_id"], values["subscriber_hash"], parse_page(request.params))


ROUTES = (
    (
        "GET",
        _PATH,
        MemberHandler(_read_get, items="tags"),
        CallDescription(
            "The tags of a member, oldest first.", query=ON_PAGE, reply=Tags, tag="Tags"
        ),
    ),
    (
        "POST",
        _PATH,
        MemberHandler(_read_update),
        CallDescription(
            "Add tags to a member, and remove tags.",
            notes="An active tag that the list does not have is created.",
            body=TagsChanges,
            body_details={"tags.name": {"minLength": 1, "maxLength": tag_name_characters_max}},
            body_example={
                "tags": [
                    {"name": "vip", "status": "active"},
                    {"name": "trial", "status": "inactive"},
                ]
            },
            tag="Tags",
        ),
    ),
)
