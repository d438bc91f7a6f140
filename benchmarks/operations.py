"""The operations that benchmarks send. They are the same for every contestant."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Operation = dict[str, Any]

PIECE = 1_000  # operations made and sent at a time


def make_contact(index: int, prefix: str = "contact") -> dict[str, Any]:
    """Return the fields of one contact."""
    return {
        "email_address": f"{prefix}-{index}@example.com",
        "status": "subscribed",
        "merge_fields": {"FNAME": f"First {index}", "LNAME": f"Last {index}"},
        "tags": ["newsletter", f"group-{index % 20}"],
    }


def add(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Return an operation that adds a member."""
    return _operation("POST", f"/lists/{list_id}/members", index, make_contact(index, prefix))


def upsert(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Return an operation that adds or updates a member."""
    body = {
        "email_address": f"{prefix}-{index}@example.com",
        "status_if_new": "subscribed",
        "merge_fields": {"FNAME": f"New {index}", "LNAME": f"Name {index}"},
    }
    return _operation("PUT", _member(list_id, index, prefix), index, body)


def update(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Return an operation that updates a member."""
    body = {"merge_fields": {"FNAME": f"Changed {index}"}}
    return _operation("PATCH", _member(list_id, index, prefix), index, body)


def tag(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Return an operation that adds one tag to a member, and removes another."""
    body = {
        "tags": [
            {"name": f"group-{(index + 1) % 20}", "status": "active"},
            {"name": f"group-{index % 20}", "status": "inactive"},
        ]
    }
    return _operation("POST", f"{_member(list_id, index, prefix)}/tags", index, body)


def archive(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Return an operation that archives a member."""
    return _operation("DELETE", _member(list_id, index, prefix), index, None)


def mixed(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Return an addition, upsert, update, tag change, archiving or read; one in twenty fails.

    Of each ten consecutive contacts the first five are new, and the others must exist. The caller
    shuffles the operations.
    """
    if index % 20 == 0:
        body = make_contact(index, prefix) | {"email_address": "not an address"}
        return _operation("POST", f"/lists/{list_id}/members", index, body)
    if index % 10 < 5:
        return add(list_id, index, prefix)
    kinds: list[Callable[[str, int, str], Operation]] = [upsert, update, tag, archive, read]
    return kinds[index % 5](list_id, index, prefix)


def read(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Return an operation that reads a member."""
    return _operation("GET", _member(list_id, index, prefix), index, None)


def rename(list_id: str, index: int) -> Operation:
    """Return an operation that changes the name of a list."""
    return _operation("PATCH", f"/lists/{list_id}", index, {"name": f"List {index}"})


def make_body_pieces(operations: Iterable[Operation]) -> Iterator[bytes]:
    """Yield the body of a batch in pieces."""
    waiting: list[bytes] = []
    opening = b'{"operations":['
    for operation in operations:
        waiting.append(json.dumps(operation).encode())
        if len(waiting) == PIECE:
            yield opening + b",".join(waiting)
            opening, waiting = b",", []
    if waiting:
        yield opening + b",".join(waiting)
        opening = b""
    yield (opening if opening != b"," else b"") + b"]}"


def subscriber_hash(address: str) -> str:
    """Return the name of a member in a path. The address must be in lower case."""
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()


def _member(list_id: str, index: int, prefix: str) -> str:
    return f"/lists/{list_id}/members/{subscriber_hash(f'{prefix}-{index}@example.com')}"


def _operation(method: str, path: str, index: int, body: dict[str, Any] | None) -> Operation:
    operation: Operation = {"method": method, "path": path, "operation_id": f"crm-{index}"}
    return operation if body is None else operation | {"body": json.dumps(body)}
