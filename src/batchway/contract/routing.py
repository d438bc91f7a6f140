"""The route table: which handler answers a method on a path template."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import unquote

from batchway import limits
from batchway.contract.description import Described
from batchway.contract.problems import method_not_allowed, nested_too_deep, not_found

H = TypeVar("H")

_CACHED_CHARACTERS_MAX = 100  # of a path; longer ones are rarely the same
_METHOD_ORDER = ("GET", "POST", "PUT", "PATCH", "DELETE")


class _Node(Generic[H]):
    """One segment of the templates; `name` is that of its `{variable}` child."""

    __slots__ = ("fixed", "handlers", "name", "variable")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node[H]] = {}
        self.variable: _Node[H] | None = None
        self.name = ""
        self.handlers: dict[str, H] = {}


class RouteTable(Generic[H]):
    """Templates such as `/lists/{list_id}/members`, matched a segment at a time."""

    def __init__(self) -> None:
        self._root: _Node[H] = _Node()
        # Thousands of operations of a batch often have the same path.
        self._find_cached = lru_cache(maxsize=1_000)(self._find_node)
        self.routes: list[tuple[str, str, H]] = []
        self._descriptions: dict[tuple[str, str], Described] = {}

    def add(
        self, method: str, template: str, handler: H, described: Described | None = None
    ) -> None:
        """Answer `method` on `template` with `handler`; each pair once."""
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

    def described(self, method: str, template: str) -> Described | None:
        """How a route was described when it was added."""
        return self._descriptions.get((method, template))

    def match(self, method: str, path: str) -> tuple[H, Mapping[str, str]]:
        """The handler and the path's variables; raises 404, 405 or 414."""
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
                if "\0" in values[node.name]:  # names nothing, and PostgreSQL would refuse it
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
        message = f"{segment} is called {{{node.name}}} in another template"
        raise ValueError(message)
    return node.variable


def _find_handler(node: _Node[H], method: str) -> H:
    if not node.handlers:
        raise not_found()
    handler = node.handlers.get(method)
    if handler is None:
        raise method_not_allowed(each for each in _METHOD_ORDER if each in node.handlers)
    return handler
