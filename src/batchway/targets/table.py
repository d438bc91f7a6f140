"""Which target answers which paths."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from batchway.model.operation import Operation
from batchway.targets.base import PlannedTarget, SendingTarget

ROOT = "/"


@dataclass(frozen=True, slots=True)
class Mount:
    """A target, and the prefix of the paths that it answers.

    `name` is stored with batches and chunks: it must not change while batches are unfinished.
    """

    prefix: str
    name: str
    target: PlannedTarget | SendingTarget


class TargetTable:
    """Finds the target of a path: the one whose prefix has the most segments of the path.

    A target gets the whole path, with its prefix. The table never changes.
    """

    def __init__(self, mounts: Iterable[Mount]) -> None:
        """Raise ValueError if a prefix or a name is not unique, or if no target has `/`."""
        mounts = tuple(mounts)
        self.by_name: Mapping[str, Mount] = {mount.name: mount for mount in mounts}
        self._by_prefix = {_split_path(mount.prefix): mount for mount in mounts}
        if min(len(self.by_name), len(self._by_prefix)) < len(mounts):
            message = "two targets have the same name or the same prefix"
            raise ValueError(message)
        if () not in self._by_prefix:
            message = f"no target answers {ROOT}, so some paths would have none"
            raise ValueError(message)
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)

    def find(self, path: str) -> Mount:
        """Return the mount that answers a path."""
        segments = _split_path(path)
        return next(
            mount
            for length in self._lengths
            if (mount := self._by_prefix.get(segments[:length])) is not None
        )

    def is_sending(self, name: str) -> bool:
        """Return whether the target with this stored name is configured and a sending target."""
        mount = self.by_name.get(name)
        return mount is not None and isinstance(mount.target, SendingTarget)

    def find_names(self, operations: Iterable[Operation]) -> set[str]:
        """Return the names of the targets that answer some of the operations."""
        if len(self.by_name) == 1:  # as in most installations; a batch may have a million paths
            return set(self.by_name)
        return {self.find(operation.path).name for operation in operations}


def _split_path(path: str) -> tuple[str, ...]:
    return tuple(segment for segment in path.split("/") if segment)
