"""The route table: finds the handler of a method and a path."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import unquote

from batchway import limits
from batchway.contract.description import CallDescription
from batchway.contract.problems import method_not_allowed, nested_too_deep, not_found

H = TypeVar("H")

_CACHED_CHARACTERS_MAX = 100  # of a path; longer paths rarely occur twice
_METHOD_ORDER = ("GET", "POST", "PUT", "PATCH", "DELETE")


class _Node(Generic[H]):
    """One segment of the path templates. `name` is the name of its `{variable}` child."""

    __slots__ = ("fixed", "handlers", "name", "variable")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node[H]] = {}
        self.variable: _Node[H] | None = None
        self.name = ""
        self.handlers: dict[str, H] = {}


class RouteTable(Generic[H]):
    """Routes with templates such as `/lists/{list_id}/members`, matched segment by segment."""

    def __init__(self) -> None:
        self._root: _Node[H] = _Node()
        # The operations of a batch often have the same path, thousands of times.
        self._find_cached = lru_cache(maxsize=1_000)(self._find_node)
        self.routes: list[tuple[str, str, H]] = []
        self._descriptions: dict[tuple[str, str], CallDescription] = {}

    def add(
        self, method: str, template: str, handler: H, described: CallDescription | None = None
    ) -> None:
        """Add a route. Raises ValueError if the method and template have a handler already."""
        node = self._root
        for segment in _split_path(template):
            node = _add_child(node, segment)
        if method in node.handlers:
            message = f"{method} {template} has two handlers"
            raise ValueError(message)
        node.handlers[method] = handler
        self.routes.append((method, template, handler))
        if described is not None:
            self._descriptions[method, template] = described

    def find_description(self, method: str, template: str) -> CallDescription | None:
        """Return the description of a route, if it has one."""
        return self._descriptions.get((method, template))

    def match(self, method: str, path: str) -> tuple[H, Mapping[str, str]]:
        """Return the handler and the variables of the path. Raises a 404, 405 or 414."""
        find = self._find_cached if len(path) <= _CACHED_CHARACTERS_MAX else self._find_node
        node, values = find(path)
        return _find_handler(node, method), values

    def _find_node(self, path: str) -> tuple[_Node[H], Mapping[str, str]]:
        node, values = self._root, {}
        segments = _split_path(path)
        if len(segments) > limits.path_segments_max:
            raise nested_too_deep()
        for segment in segments:
            child = node.fixed.get(segment)
            if child is None:
                child = node.variable
                if child is None:
                    raise not_found()
                values[node.name] = unquote(segment) if "%" in segment else segment
                if "\0" in values[node.name]:  # no id has a NUL, and PostgreSQL rejects it
                    raise not_found()
            node = child
        return node, values


def _split_path(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _add_child(node: _Node[H], segment: str) -> _Node[H]:
    if not segment.startswith("{"):
        return node.fixed.setdefault(segment, _Node())
    name = segment[1:-1]
    if node.variable is None:
        node.name, node.variable = name, _Node()
    if node.name != name:
        message = f"{segment} is named {{{node.name}}} in another template"
        raise ValueError(message)
    return node.variable


def _find_handler(node: _Node[H], method: str) -> H:
    if not node.handlers:
        raise not_found()
    handler = node.handlers.get(method)
    if handler is None:
        raise method_not_allowed(each for each in _METHOD_ORDER if each in node.handlers)
    return handler
