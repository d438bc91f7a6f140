"""The tags of a list that a set of calls needs, by name; missing ones are created."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from batchway.audience.keys import TakeKey
from batchway.audience.list_collection import ListCollection, ListScope
from batchway.audience.tags.rows import Tag, find_tags, insert_tags
from batchway.errors import Stale
from batchway.kit.clock import Microseconds


class TagSet(ListCollection):
    """The tags that the calls name. The case of names is ignored."""

    def __init__(self, take_key: TakeKey, now: Microseconds) -> None:
        self._take_key = take_key
        self._now = now
        self._wanted: set[str] = set()  # names in lower case
        self._by_name: dict[str, Tag] = {}
        self._new: list[Tag] = []
        self._of_new_members: dict[tuple[str, ...], tuple[Tag, ...]] = {}

    def want(self, names: Iterable[str]) -> None:
        """Note that a call needs the tags with these names."""
        self._wanted.update(name.lower() for name in names)

    def load(self, scope: ListScope) -> None:
        """Read the tags that exist."""
        if self._wanted:
            self._by_name = find_tags(scope, self._wanted)
            self._wanted = set()

    def get_for_new_member(self, names: tuple[str, ...]) -> tuple[Tag, ...]:
        """Return the tags of a new member; cached, because many members have the same tags."""
        tags = self._of_new_members.get(names)
        if tags is None:
            tags = self._of_new_members[names] = self.add_to((), names)
        return tags

    def add_to(self, present: tuple[Tag, ...], names: tuple[str, ...]) -> tuple[Tag, ...]:
        """Return the `present` tags and those with these names, which are created if missing."""
        if not names:
            return present
        missing = {name.lower(): name for name in names}
        for tag in present:
            missing.pop(tag.name.lower(), None)
        if not missing:
            return present
        added = [self._get_or_create(lower_name, name) for lower_name, name in missing.items()]
        return tuple(sorted((*present, *added), key=_get_id))

    def _get_or_create(self, lower_name: str, name: str) -> Tag:
        tag = self._by_name.get(lower_name)
        if tag is None:
            tag = Tag(self._take_key("list_segments"), name, self._now)
            self._by_name[lower_name] = tag
            self._new.append(tag)
        # All tags that a set of calls adds have the same time: one value is used for all members.
        if tag.added_at != self._now:
            tag = self._by_name[lower_name] = msgspec.structs.replace(tag, added_at=self._now)
        return tag

    @property
    def has_changes(self) -> bool:
        """Whether tags were created."""
        return bool(self._new)

    def make_row_changes(self, now: Microseconds) -> "TagRowChanges":
        """Return the new tags in the order of the index, so that two writers cannot deadlock."""
        return TagRowChanges(sorted(self._new, key=lambda tag: tag.name.lower()), now)


@dataclass(frozen=True)
class TagRowChanges:
    """New tags of a list."""

    new: Sequence[Tag]
    now: Microseconds
    excludes_writers: bool = False

    def write(self, scope: ListScope) -> None:
        """Insert the tags; raises Stale if another writer has created one of them meanwhile."""
        if insert_tags(scope, self.new, self.now) != len(self.new):
            raise Stale


def _get_id(tag: Tag) -> int:
    return tag.id
