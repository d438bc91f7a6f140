"""Batches whose results show whether an operation took effect twice, or never.

`MixedWorkload` has groups of ten operations. A group is within one chunk, so that its order is
kept. The response and the effect of each operation are known:

- A member is added twice: 200, then 400. If the first addition ran twice, it would be a 400.
- A member is upserted, updated and tagged.
- A member is added and gets another address. A second run would find that address taken.
- An existing member is archived. A second run would be a 405.
- An existing member is deleted permanently. A second run would be a 404.
- The last operation is invalid, or reads.

A chunk without calls that are answered one by one (reads, changes of lists) is planned before its
transaction; any other chunk is answered within it. Large batches have chunks of both kinds.
"""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from batchway.kit.ids import compute_subscriber_hash
from batchway.limits import Limits
from tests.scenario import Operation, Result, Server, add_member, check_invariants

GROUP_OPERATION_COUNT = 10


@dataclass(frozen=True)
class MixedWorkload:
    """The groups of one batch on one list. `name` makes its addresses unique."""

    list_id: str
    name: str
    group_count: int

    def prepare(self, server: Server) -> None:
        """Add the members that the operations require."""
        operations = [
            add_member(self.list_id, self._address(kind, number))
            for number in range(self.group_count)
            for kind in ("archived", "forgotten")
        ]
        server.wait_until_finished(server.submit(operations))

    def operations(self) -> list[Operation]:
        """Return the operations, each with an id that contains its position."""
        return [
            operation | {"operation_id": f"{self.name}-{position}"}
            for position, (operation, _) in enumerate(self._expected())
        ]

    def check(self, server: Server, batch_id: str) -> None:
        """Check that each operation took effect once, and that its one result says so."""
        results = check_invariants(server, batch_id, self.operations())
        wanted = [status_code for _, status_code in self._expected()]
        wrong = {
            result.operation_id: (status_code, result)
            for status_code, result in zip(wanted, results, strict=True)
            if status_code != result.status_code
        }
        assert {} == dict(list(wrong.items())[:10])
        self._check_members(server, results)
        self._check_stats(server)
        self._check_lists(server, results)

    def _check_members(self, server: Server, results: list[Result]) -> None:
        """Check that the members of the list match the results."""
        members = [member for member in server.get_members(self.list_id) if self._is_ours(member)]
        held = [(member["email_address"], member["status"]) for member in members]

        assert Counter(self._members_after()) == Counter(held)
        assert self._tags_after() == _tags(members)
        reported = {
            result.response["web_id"] for result in results if "email_address" in result.response
        }
        archived = {member["web_id"] for member in members if member["status"] == "archived"}
        assert reported == {member["web_id"] for member in members} - archived

    def _check_stats(self, server: Server) -> None:
        """Check that the list's counters, which are updated in increments, match its members."""
        statuses = Counter(member["status"] for member in server.get_members(self.list_id))
        stats = server.get(f"/lists/{self.list_id}")["stats"]

        assert (statuses["subscribed"], statuses["unsubscribed"]) == (
            stats["member_count"],
            stats["unsubscribe_count"],
        )

    def _check_lists(self, server: Server, results: list[Result]) -> None:
        """Check that the list was created once. Names of lists are not unique."""
        made = server.get("/lists", count=1000)["lists"]
        reported = {
            result.response["id"] for result in results if "permission_reminder" in result.response
        }

        assert reported == {webhook["id"] for webhook in made if webhook["name"] == self.name}

    def _expected(self) -> list[tuple[Operation, int]]:
        return [
            expected
            for number in range(self.group_count)
            for expected in [
                *self._make_member_operations(number),
                self._make_last_operation(number),
            ]
        ]

    def _make_member_operations(self, number: int) -> list[tuple[Operation, int]]:
        new, upserted, moving, moved, archived, forgotten = (
            self._address(kind, number)
            for kind in ("new", "upserted", "moving", "moved", "archived", "forgotten")
        )
        fields = {"FNAME": f"Ann {number}"}
        tags = [{"name": self.name, "status": "active"}, {"name": "none", "status": "inactive"}]
        return [
            (add_member(self.list_id, new, merge_fields=fields), 200),
            (add_member(self.list_id, new), 400),
            (
                self._make_member_operation(
                    "PUT", upserted, email_address=upserted, status_if_new="subscribed"
                ),
                200,
            ),
            (
                self._make_member_operation(
                    "PATCH", upserted, status="unsubscribed", merge_fields=fields
                ),
                200,
            ),
            (self._make_member_operation("POST", upserted, "/tags", tags=tags), 204),
            (add_member(self.list_id, moving), 200),
            (self._make_member_operation("PATCH", moving, email_address=moved), 200),
            (self._make_member_operation("DELETE", archived), 204),
            (self._make_member_operation("POST", forgotten, "/actions/delete-permanent"), 204),
        ]

    def _make_last_operation(self, number: int) -> tuple[Operation, int]:
        """Return an invalid operation, or one answered alone if the chunk may have such calls."""
        member = f"/lists/{self.list_id}/members"
        new = compute_subscriber_hash(self._address("new", number))
        bad: list[tuple[Operation, int]] = [
            (add_member(self.list_id, "not an address"), 400),
            ({"method": "POST", "path": member, "body": '{"status": "subscribed"}'}, 400),
            ({"method": "POST", "path": member, "body": "{"}, 400),
            ({"method": "GET", "path": "/no-such-resource"}, 404),
            ({"method": "POST", "path": "/batches", "body": "{}"}, 400),
            ({"method": "PATCH", "path": f"{member}/nobody", "body": "{}"}, 404),
        ]
        alone: list[tuple[Operation, int]] = [
            ({"method": "GET", "path": f"{member}/{new}"}, 200),
            ({"method": "GET", "path": "/ping"}, 200),
            ({"method": "GET", "path": f"{member}/nobody"}, 404),
        ]
        if number == self.group_count - 1:
            return add_list(self.name), 200
        kinds = bad + alone if self._is_mixed(number) else bad
        return kinds[number % len(kinds)]

    def _is_mixed(self, number: int) -> bool:
        chunk = number * GROUP_OPERATION_COUNT // Limits.chunk_operations_max
        is_small = self.group_count * GROUP_OPERATION_COUNT <= Limits.small_batch_operations_max
        return is_small or chunk % 2 == 1

    def _make_member_operation(
        self, method: str, address: str, below: str = "", **body: Any
    ) -> Operation:
        path = f"/lists/{self.list_id}/members/{compute_subscriber_hash(address)}{below}"
        operation: Operation = {"method": method, "path": path}
        return operation | {"body": json.dumps(body)} if body else operation

    def _address(self, kind: str, number: int) -> str:
        return f"{self.name}.{kind}.{number}@example.com"

    def _is_ours(self, member: dict[str, Any]) -> bool:
        return str(member["email_address"]).startswith(f"{self.name}.")

    def _members_after(self) -> list[tuple[str, str]]:
        after = {
            "new": "subscribed",
            "upserted": "unsubscribed",
            "moved": "subscribed",
            "archived": "archived",
        }
        return [
            (self._address(kind, number), status)
            for number in range(self.group_count)
            for kind, status in after.items()
        ]

    def _tags_after(self) -> Counter[tuple[str, str]]:
        return Counter(
            (self._address("upserted", number), self.name) for number in range(self.group_count)
        )


@dataclass(frozen=True)
class PagedWorkload:
    """A batch with one GET that pages through a list, among operations that fail."""

    list_id: str
    operation_count: int
    member_count: int = 1_200  # two pages

    def prepare(self, server: Server) -> None:
        """Fill the list."""
        addresses = [f"paged.{number}@example.com" for number in range(self.member_count)]
        server.wait_until_finished(
            server.submit([add_member(self.list_id, address) for address in addresses])
        )

    def operations(self) -> list[Operation]:
        """Return the operations, with the GET in the middle."""
        others: list[Operation] = [
            {"method": "GET", "path": "/nowhere", "operation_id": str(number)}
            for number in range(self.operation_count)
        ]
        path = f"/lists/{self.list_id}/members"
        others[self.operation_count // 2] = {"method": "GET", "path": path, "operation_id": "all"}
        return others

    def check(self, server: Server, batch_id: str) -> None:
        """Check that each member is shown once, and each page is counted once."""
        batch, results = server.get_batch(batch_id), server.get_results(batch_id)
        pages = [result for result in results if result.operation_id == "all"]
        shown = [member["id"] for page in pages for member in page.response["members"]]

        assert [200, 200] == [page.status_code for page in pages]
        assert self.member_count == len(shown) == len(set(shown))
        assert [1_000, 200] == sorted(
            (page.response["returned_item_count"] for page in pages), reverse=True
        )
        others = [
            operation["operation_id"]
            for operation in self.operations()
            if operation["path"] == "/nowhere"
        ]
        assert sorted(others) == sorted(
            str(result.operation_id) for result in results if result.operation_id != "all"
        )
        total = self.operation_count + 1
        assert (total, total, total - 2) == tuple(
            batch[f"{counter}_operations"] for counter in ("total", "finished", "errored")
        )


def _tags(members: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter(
        (member["email_address"], tag["name"]) for member in members for tag in member["tags"]
    )


def add_list(name: str) -> Operation:
    """Return an operation that creates a list. Several lists can have the same name."""
    body = {
        "name": name,
        "contact": {"company": "Acme", "address1": "1 Main St", "city": "Bern", "country": "CH"},
        "permission_reminder": "You signed up with us.",
        "email_type_option": False,
        "campaign_defaults": {
            "from_name": "Acme",
            "from_email": "acme@example.com",
            "subject": "News",
            "language": "en",
        },
    }
    return {"method": "POST", "path": "/lists", "body": json.dumps(body)}
