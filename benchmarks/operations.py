"""The operations that benchmarks send: the same for every contestant, made in pieces."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Operation = dict[str, Any]

PIECE = 1_000  # operations made and sent at a time


def contact(index: int, prefix: str = "contact") -> dict[str, Any]:
    """What is said of one contact."""
    return {
        "email_address": f"{prefix}-{index}@example.com",
        "status": "subscribed",
        "merge_fields": {"FNAME": f"First {index}", "LNAME": f"Last {index}"},
        "tags": ["newsletter", f"group-{index % 20}"],
    }


def add(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Add a member."""
    return _operation("POST", f"/lists/{list_id}/members", index, contact(index, prefix))


def upsert(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Add a member, or change the one that is there."""
    body = {
        "email_address": f"{prefix}-{index}@example.com",
        "status_if_new": "subscribed",
        "merge_fields": {"FNAME": f"New {index}", "LNAME": f"Name {index}"},
    }
    return _operation("PUT", _member(list_id, index, prefix), index, body)


def update(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Change a member that is there."""
    body = {"merge_fields": {"FNAME": f"Changed {index}"}}
    return _operation("PATCH", _member(list_id, index, prefix), index, body)


def tag(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Put a member into one tag, and take it out of another."""
    body = {
        "tags": [
            {"name": f"group-{(index + 1) % 20}", "status": "active"},
            {"name": f"group-{index % 20}", "status": "inactive"},
        ]
    }
    return _operation("POST", f"{_member(list_id, index, prefix)}/tags", index, body)


def archive(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Take a member out of the audience."""
    return _operation("DELETE", _member(list_id, index, prefix), index, None)


def mixed(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Adds, upserts, updates, tags, archives and reads; one in twenty fails.

    Of each ten consecutive contacts the first five are new, and the others were there before
    (`add` has put them there); the caller shuffles.
    """
    if index % 20 == 0:
        body = contact(index, prefix) | {"email_address": "not an address"}
        return _operation("POST", f"/lists/{list_id}/members", index, body)
    if index % 10 < 5:
        return add(list_id, index, prefix)
    kinds: list[Callable[[str, int, str], Operation]] = [upsert, update, tag, archive, read]
    return kinds[index % 5](list_id, index, prefix)


def read(list_id: str, index: int, prefix: str = "contact") -> Operation:
    """Get one member."""
    return _operation("GET", _member(list_id, index, prefix), index, None)


def rename(list_id: str, index: int) -> Operation:
    """Change the name of a list."""
    return _operation("PATCH", f"/lists/{list_id}", index, {"name": f"List {index}"})


def body_of(operations: Iterable[Operation]) -> Iterator[bytes]:
    """The body of the POST that sends them as a batch, in pieces."""
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
    """What names a member in a path; the address has no capitals."""
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()


def _member(list_id: str, index: int, prefix: str) -> str:
    return f"/lists/{list_id}/members/{subscriber_hash(f'{prefix}-{index}@example.com')}"


def _operation(method: str, path: str, index: int, body: dict[str, Any] | None) -> Operation:
    operation: Operation = {"method": method, "path": path, "operation_id": f"crm-{index}"}
    return operation if body is None else operation | {"body": json.dumps(body)}
