"""The tags of a list, as a set of calls needs them: known by name, made where they are missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from batchway.audience.keys import NextKey
from batchway.audience.list_collection import ListCollection, ListScope
from batchway.audience.tags.rows import Tag, find_tags, insert_tags
from batchway.errors import Stale
from batchway.kit.clock import Microseconds


class TagSet(ListCollection):
    """The tags that the calls name. Names differ by more than case."""

    def __init__(self, next_key: NextKey, now: Microseconds) -> None:
        self._next_key = next_key
        self._now = now
        self._wanted: set[str] = set()  # names in lower case
        self._by_name: dict[str, Tag] = {}
        self._new: list[Tag] = []
        self._of_new_members: dict[tuple[str, ...], tuple[Tag, ...]] = {}

    def want(self, names: Iterable[str]) -> None:
        """Say that the tags with these names are needed."""
        self._wanted.update(name.lower() for name in names)

    def load(self, scope: ListScope) -> None:
        """Read the tags that exist."""
        if self._wanted:
            self._by_name = find_tags(scope, self._wanted)
            self._wanted = set()

    def get_for_new_member(self, names: tuple[str, ...]) -> tuple[Tag, ...]:
        """Return the tags of a new member. Many members come with the same ones."""
        tags = self._of_new_members.get(names)
        if tags is None:
            tags = self._of_new_members[names] = self.add_to((), names)
        return tags

    def add_to(self, present: tuple[Tag, ...], names: tuple[str, ...]) -> tuple[Tag, ...]:
        """Return the tags that are `present` and those named; tags that do not exist are made."""
        if not names:
            return present
        missing = {name.lower(): name for name in names}
        for tag in present:
            missing.pop(tag.name.lower(), None)
        if not missing:
            return present
        added = [self._get_or_make(*each) for each in missing.items()]
        return tuple(sorted((*present, *added), key=_get_id))

    def _get_or_make(self, lower_name: str, name: str) -> Tag:
        tag = self._by_name.get(lower_name)
        if tag is None:
            tag = Tag(self._next_key("list_segments"), name, self._now)
            self._by_name[lower_name] = tag
            self._new.append(tag)
        # All that a set of calls adds has the same time, so that one value serves all members.
        if tag.added_at != self._now:
            tag = self._by_name[lower_name] = msgspec.structs.replace(tag, added_at=self._now)
        return tag

    @property
    def has_changes(self) -> bool:
        """Whether tags were made."""
        return bool(self._new)

    def make_row_changes(self, now: Microseconds) -> "TagRowChanges":
        """Return the new tags, in the order of the index, so that no two writers wait in a ring."""
        return TagRowChanges(sorted(self._new, key=lambda tag: tag.name.lower()), now)


@dataclass(frozen=True)
class TagRowChanges:
    """New tags of a list."""

    new: Sequence[Tag]
    now: Microseconds
    excludes_writers: bool = False

    def write(self, scope: ListScope) -> None:
        """Insert the tags; raises Stale if another writer has made one of them meanwhile."""
        if insert_tags(scope, self.new, self.now) != len(self.new):
            raise Stale


def _get_id(tag: Tag) -> int:
    return tag.id
