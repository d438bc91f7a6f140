"""The parameters `fields` and `exclude_fields`: keep or drop dotted paths of a reply.

A path goes through arrays: `lists.name` selects the name of every list.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from batchway.contract.problems import bad_request, invalid_field
from batchway.contract.response import Response, encode
from batchway.contract.stream import Stream

_Tree = dict[str, Any]


def select_fields(response: Response, params: Mapping[str, str]) -> Response:
    """Return the response with only the fields that the client selected.

    Errors, streams and empty replies are returned unchanged. Unknown paths are ignored.
    """
    if not params:
        return response
    keep, drop = params.get("fields", ""), params.get("exclude_fields", "")
    is_stream = isinstance(response.body, Stream)
    if not (keep or drop) or response.body is None or is_stream or response.status >= 300:  # noqa: PLR2004
        return response
    body = msgspec.json.decode(encode(response.body))
    tree = _parse_paths(keep or drop)
    chosen = _keep_fields(body, tree) if keep else _drop_fields(body, tree)
    return msgspec.structs.replace(response, body=chosen)


def check_params(params: Mapping[str, str]) -> None:
    """Reject parameters that are wrong in every call, before the call has any effect."""
    if not params:
        return
    if params.get("fields") and params.get("exclude_fields"):
        detail = "The fields and exclude_fields parameters cannot be used together."
        raise bad_request(detail)
    for name, value in params.items():
        if "\0" in value:  # PostgreSQL rejects NUL in text
            raise invalid_field(name, "This value should not contain NUL characters.")


def _parse_paths(paths: str) -> _Tree:
    """Parse `a,b.c` into `{a: {}, b: {c: {}}}`. An empty branch selects everything below it."""
    tree: _Tree = {}
    for path in filter(None, (each.strip() for each in paths.split(","))):
        _add_path(tree, path.split("."))
    return tree


def _add_path(tree: _Tree, names: list[str]) -> None:
    *parents, last = names
    for name in parents:
        if name in tree and not tree[name]:
            return  # the whole branch is selected already
        tree = tree.setdefault(name, {})
    tree[last] = {}


def _keep_fields(value: Any, tree: _Tree) -> Any:  # noqa: ANN401 - any JSON
    if not tree:
        return value
    if isinstance(value, list):
        return [_keep_fields(each, tree) for each in value if _may_contain(each, tree)]
    return {
        name: _keep_fields(each, tree[name])
        for name, each in value.items()
        if name in tree and _may_contain(each, tree[name])
    }


def _may_contain(value: Any, tree: _Tree) -> bool:  # noqa: ANN401 - any JSON
    """Whether a value can have the fields that a tree selects; a text or a number has none."""
    return not tree or isinstance(value, dict | list)


def _drop_fields(value: Any, tree: _Tree) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, list):
        return [_drop_fields(each, tree) for each in value]
    if isinstance(value, dict):
        return {
            name: _drop_fields(each, tree.get(name, {}))
            for name, each in value.items()
            if name not in tree or tree[name]
        }
    return value
