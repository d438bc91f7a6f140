"""Tags of a member: static segments of the list, by name."""

from typing import Literal

import msgspec

from batchway.audience import member_changes
from batchway.audience.member_calls import MemberCall, OnMembers, tag_name
from batchway.audience.working_set import Needs, WorkingSet
from batchway.contract.description import ON_PAGE, Described
from batchway.contract.links import Link
from batchway.contract.paging import Page, page
from batchway.contract.request import Caller, Request
from batchway.contract.response import NO_CONTENT, Response
from batchway.contract.validation import decode
from batchway.kit.clock import format_iso
from batchway.limits import tag_name_characters_max

_PATH = "/lists/{list_id}/members/{subscriber_hash}/tags"


class _Change(msgspec.Struct):
    name: str
    status: Literal["active", "inactive"]


class _Changes(msgspec.Struct):
    tags: list[_Change]
    is_syncing: bool = False


class _Tag(msgspec.Struct):
    id: int
    name: str
    date_added: str


class _Tags(msgspec.Struct, rename={"links": "_links"}):
    tags: list[_Tag]
    total_items: int
    links: list[Link]


_changes = msgspec.json.Decoder(_Changes)


class UpdateTags(msgspec.Struct, frozen=True, gc=False):
    """Add and remove tags."""

    list_id: str
    key: str
    active: tuple[str, ...]
    inactive: tuple[str, ...]

    def want(self, needs: Needs) -> None:
        """The member, and the tags to be added."""
        needs.member(self.key)
        needs.tag_names.update(self.active)

    def apply(self, working: WorkingSet) -> Response:
        """204, even if nothing has changed."""
        audience = working.list(self.list_id)
        member = audience.get(self.key)
        member_changes.set_tags(working, audience, member, self.active, self.inactive)
        return NO_CONTENT


class GetTags(msgspec.Struct, frozen=True, gc=False):
    """One page of a member's tags."""

    list_id: str
    key: str
    page: Page

    def want(self, needs: Needs) -> None:
        """The member."""
        needs.member(self.key)

    def apply(self, working: WorkingSet) -> Response:
        """200 with the tags, oldest first."""
        audience = working.list(self.list_id)
        member = audience.get(self.key)
        first = self.page.offset
        shown = member.tags[first : first + self.page.count]
        parent = f"/lists/{audience.public_id}/members/{member.subscriber_hash}"
        links = working.caller.links.collection(
            "Lists/Members/Tags", parent, f"{parent}/tags", create=True
        )
        tags = [_Tag(tag.id, tag.name, format_iso(tag.added_at)) for tag in shown]
        return Response(200, _Tags(tags, len(member.tags), links))


def _read_update(request: Request, _caller: Caller) -> MemberCall:
    changes = decode(_changes, request.body).tags
    last = {tag_name(each.name): each.status for each in changes}
    return UpdateTags(
        request.path_params["list_id"],
        request.path_params["subscriber_hash"],
        tuple(name for name, status in last.items() if status == "active"),
        tuple(name for name, status in last.items() if status == "inactive"),
    )


def _read_get(request: Request, _caller: Caller) -> MemberCall:
    values = request.path_params
    return GetTags(values["list_id"], values["subscriber_hash"], page(request.params))


ROUTES = (
    (
        "GET",
        _PATH,
        OnMembers(_read_get, items="tags"),
        Described("The tags of a member, oldest first.", query=ON_PAGE, reply=_Tags, tag="Tags"),
    ),
    (
        "POST",
        _PATH,
        OnMembers(_read_update),
        Described(
            "Add tags to a member, and take tags away.",
            notes="An active tag that the list does not have is made.",
            body=_Changes,
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
