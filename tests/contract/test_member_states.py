"""The states of a member and their transitions, in single calls and in operations of a batch."""

from dataclasses import dataclass
from hashlib import md5
from typing import Any

import pytest

from tests.contract.shared_servers import Api, CallSender, execute_sql

ANN = "Ann@example.com"
BOB = "bob@example.com"
NOT_FOUND = "Resource Not Found"
COMPLIANCE = (
    f"{ANN} is in a compliance state due to unsubscribe, bounce, or compliance review and cannot "
    "be subscribed."
)
FORGOTTEN = (
    f"{ANN} was permanently deleted and cannot be re-imported. The contact must re-subscribe to "
    "get back on the list."
)
EXISTS = f"{ANN} is already a list member. Use PUT to insert or update list members."
CANNOT_ARCHIVE = (
    "This list member cannot be removed. Can not archive a contact that is bounced, pending or "
    "archived"
)


def hash_address(address: str) -> str:
    """Return the hash that names a member in a path."""
    return md5(address.lower().encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class MemberList:
    """A list, with calls that set the state of a member."""

    api: Api
    path: str

    def add(self, address: str = ANN, status: str = "subscribed", **more: Any) -> Any:
        """Add a member."""
        body = {"email_address": address, "status": status, **more}
        return self.api.call_ok("POST", self.path, body)

    def make_path(self, address: str = ANN) -> str:
        """Return the path of a member."""
        return f"{self.path}/{hash_address(address)}"

    def get(self, address: str = ANN) -> Any:
        """Return a member, or None if there is none."""
        reply = self.api.call("GET", self.make_path(address))
        return reply.json() if reply.status_code == 200 else None

    def set_state(self, state: str, address: str = ANN) -> Any:
        """Bring a member into a state, and return it."""
        if state in {"none", "forgotten"}:
            if state == "forgotten":
                self.add(address)
                self.api.call_ok("POST", f"{self.make_path(address)}/actions/delete-permanent")
            return None
        status = state if state in _STATUSES else "subscribed"
        self.add(address, status, tags=["kept"], merge_fields={"FNAME": "Ann"})
        if state == "archived":
            self.api.call_ok("DELETE", self.make_path(address))
        if state == "self-unsubscribed":
            self._unsubscribe_herself()
        return self.get(address)

    def _unsubscribe_herself(self) -> None:
        """Unsubscribe as the link in a campaign does. No call can do this."""
        statement = """
            UPDATE members SET status = 'unsubscribed', unsubscribe_reason = 'No longer interested'
            WHERE subscriber_hash = :hash AND list_id =
                (SELECT id FROM lists WHERE public_id = :list_id)
        """
        list_id = self.path.split("/")[2]
        execute_sql(self.api.server, statement, hash=hash_address(ANN), list_id=list_id)


@pytest.fixture
def members(api: Api) -> MemberList:
    """The members of a new list."""
    return MemberList(api, f"/lists/{api.new_list()}/members")


_STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
PRESENT = [*_STATUSES, "self-unsubscribed"]


# --- POST ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", _STATUSES)
def test_add(members: MemberList, send: CallSender, status: str) -> None:
    """A new contact has the status of its body."""
    code, member = send("POST", members.path, {"email_address": ANN, "status": status})

    assert (200, ANN, status) == (code, member["email_address"], member["status"])
    assert hash_address(ANN) == member["id"]
    assert (status == "subscribed") == bool(member["timestamp_opt"])
    assert member == members.get()


@pytest.mark.parametrize("state", PRESENT)
def test_add_who_is_there(members: MemberList, send: CallSender, state: str) -> None:
    """An existing contact is not added again, whatever the case of the address."""
    before = members.set_state(state)

    code, problem = send("POST", members.path, {"email_address": ANN, "status": "subscribed"})
    again, _ = send("POST", members.path, {"email_address": ANN.upper(), "status": "pending"})

    assert (400, 400) == (code, again)
    assert ("Member Exists", EXISTS) == (problem["title"], problem["detail"])
    assert before == members.get()


def test_add_who_was_archived(members: MemberList, send: CallSender) -> None:
    """An archived contact is restored, with its tags and a new opt-in time."""
    before = members.set_state("archived")
    opted_in = "UPDATE members SET timestamp_opt = 1000000 WHERE subscriber_hash = :hash"
    execute_sql(members.api.server, opted_in, hash=hash_address(ANN))

    code, member = send("POST", members.path, {"email_address": ANN, "status": "subscribed"})

    assert (200, "subscribed") == (code, member["status"])
    for same in ("id", "contact_id", "web_id", "unique_email_id", "tags", "merge_fields"):
        assert before[same] == member[same]
    assert ["kept"] == [tag["name"] for tag in member["tags"]]
    assert member["timestamp_opt"] == member["last_changed"]
    assert member == members.get()


def test_add_who_was_forgotten(members: MemberList, send: CallSender) -> None:
    """A contact that was deleted permanently cannot be added with any status."""
    members.set_state("forgotten")
    for status in ("subscribed", "pending", "unsubscribed"):
        code, problem = send("POST", members.path, {"email_address": ANN, "status": status})

        assert (400, "Forgotten Email Not Subscribed") == (code, problem["title"])
        assert FORGOTTEN == problem["detail"]
    assert members.get() is None


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "", "Required fields were not provided: email_address, status"),
        ({"email_address": ANN}, "", "Required fields were not provided: status"),
        ({"status": "subscribed"}, "", "Required fields were not provided: email_address"),
        (
            {"email_address": None, "status": "subscribed"},
            "email_address",
            "Schema describes string, NULL found instead",
        ),
        (
            {"email_address": " ", "status": "subscribed"},
            "email_address",
            "This value should not be blank.",
        ),
        (
            {"email_address": ANN, "status": "archived"},
            "status",
            "Value should be one of subscribed, unsubscribed, cleaned, pending, transactional.",
        ),
    ],
)
def test_add_needs(
    members: MemberList, send: CallSender, body: dict[str, Any], field: str, message: str
) -> None:
    """Address and status are required, and the status must be a known one."""
    code, problem = send("POST", members.path, body)

    assert (400, "Invalid Resource") == (code, problem["title"])
    assert [{"field": field, "message": message}] == problem["errors"]
    assert members.get() is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_malformed_addresses(members: MemberList, send: CallSender, method: str) -> None:
    """The error of a malformed address names no field."""
    members.add(BOB)
    path = members.path if method == "POST" else members.make_path(BOB)
    malformed = ("ann", "ann@", "@example.com", "a..b@example.com", "a b@c.de", "a@b", ".a@b.co")

    answers = send.many(
        [
            (method, path, {"email_address": address, "status": "subscribed"})
            for address in malformed
        ]
    )

    for address, (code, problem) in zip(malformed, answers, strict=True):
        assert (400, "Invalid Resource") == (code, problem["title"]), address
        assert "Please provide a valid email address." == problem["detail"]
        assert "errors" not in problem


# --- PUT -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["status", "status_if_new"])
@pytest.mark.parametrize("status", _STATUSES)
def test_upsert_adds(members: MemberList, send: CallSender, field: str, status: str) -> None:
    """`status` or `status_if_new` is the status of a new contact."""
    code, member = send("PUT", members.make_path(), {"email_address": ANN, field: status})

    assert (200, status, hash_address(ANN)) == (code, member["status"], member["id"])
    assert member == members.get()


def test_upsert_with_both_statuses(members: MemberList, send: CallSender) -> None:
    """`status` has precedence over `status_if_new`."""
    body = {"email_address": ANN, "status": "pending", "status_if_new": "subscribed"}

    _, member = send("PUT", members.make_path(), body)

    assert "pending" == member["status"]


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ({"status": "subscribed"}, "email_address"),
        ({"email_address": ANN}, "status_if_new"),
        ({}, "email_address"),
    ],
)
def test_upsert_needs(members: MemberList, send: CallSender, body: Any, missing: str) -> None:
    """A new contact needs the same fields as in a POST."""
    code, problem = send("PUT", members.make_path(), body)

    message = f"Required fields were not provided: {missing}"
    assert (400, [{"field": "", "message": message}]) == (code, problem["errors"])


@pytest.mark.parametrize("key", [hash_address(BOB), "0" * 32, BOB])
def test_upsert_under_another_hash(members: MemberList, send: CallSender, key: str) -> None:
    """The new contact has the hash of its address, and not the hash of the path."""
    path = f"{members.path}/{key}"

    code, member = send("PUT", path, {"email_address": ANN, "status_if_new": "subscribed"})

    assert (200, hash_address(ANN)) == (code, member["id"])
    assert member == members.get()
    assert 404 == members.api.call("GET", path).status_code


@pytest.mark.parametrize("state", PRESENT)
def test_upsert_under_another_hash_who_is_there(
    members: MemberList, send: CallSender, state: str
) -> None:
    """An address that another contact has is refused."""
    before = members.set_state(state)

    body = {"email_address": ANN, "status": "pending"}
    code, problem = send("PUT", members.make_path(BOB), body)

    assert (400, "Member Exists", EXISTS) == (code, problem["title"], problem["detail"])
    assert before == members.get()


def test_upsert_who_was_forgotten(members: MemberList, send: CallSender) -> None:
    """A contact that was deleted permanently is refused as in a POST."""
    members.set_state("forgotten")

    code, problem = send(
        "PUT", members.make_path(), {"email_address": ANN, "status_if_new": "pending"}
    )

    assert (400, FORGOTTEN) == (code, problem["detail"])
    assert members.get() is None


@pytest.mark.parametrize("state", [*PRESENT, "archived"])
@pytest.mark.parametrize("body", [{}, {"email_address": ANN, "status_if_new": "pending"}])
def test_upsert_keeps_the_status(
    members: MemberList, send: CallSender, state: str, body: Any
) -> None:
    """Without `status` an existing contact keeps its status."""
    before = members.set_state(state)

    code, member = send("PUT", members.make_path(), {**body, "language": "uk"})

    assert (200, before["status"], "uk") == (code, member["status"], member["language"])
    assert before["web_id"] == member["web_id"]


# --- PUT and PATCH of an existing member ----------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_free_changes_of_status(members: MemberList, send: CallSender, method: str) -> None:
    """From these states, a contact can get any status, also `subscribed` after unsubscribing."""
    states = ("subscribed", "unsubscribed", "pending", "transactional", "archived")
    statuses = ("subscribed", "unsubscribed", "cleaned", "pending")
    pairs = {f"{a}.{b}@example.com": (a, b) for a in states for b in statuses}
    before = {who: members.set_state(state, who) for who, (state, _) in pairs.items()}

    answers = send.many(
        [(method, members.make_path(who), {"status": status}) for who, (_, status) in pairs.items()]
    )

    for (who, (_, status)), (code, member) in zip(pairs.items(), answers, strict=True):
        assert (200, status) == (code, member["status"]), who
        for same in ("id", "contact_id", "web_id", "tags", "merge_fields"):
            assert before[who][same] == member[same], who
        assert member == members.get(who)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("state", ["cleaned", "self-unsubscribed"])
def test_compliance_state(members: MemberList, send: CallSender, method: str, state: str) -> None:
    """A contact that bounced or unsubscribed itself can only become `pending`."""
    before = members.set_state(state)

    code, problem = send(method, members.make_path(), {"status": "subscribed"})

    assert (400, "Member In Compliance State") == (code, problem["title"])
    assert COMPLIANCE == problem["detail"]
    assert before == members.get()
    code, member = send(method, members.make_path(), {"status": "pending"})
    assert (200, "pending") == (code, member["status"])


def test_statuses_of_patch(members: MemberList, send: CallSender) -> None:
    """A PATCH cannot set the statuses `archived` and `transactional`."""
    before = members.set_state("subscribed")
    for status in ("archived", "transactional", "x", ""):
        code, problem = send("PATCH", members.make_path(), {"status": status})

        assert (400, "status") == (code, problem["errors"][0]["field"])
    assert before == members.get()


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("state", ["subscribed", "pending", "cleaned"])
def test_another_address(members: MemberList, send: CallSender, method: str, state: str) -> None:
    """A new address changes the hash and the address id; the contact stays the same."""
    before = members.set_state(state)

    code, member = send(method, members.make_path(), {"email_address": BOB})

    assert (200, BOB, hash_address(BOB)) == (code, member["email_address"], member["id"])
    for same in ("contact_id", "web_id", "status", "tags", "merge_fields"):
        assert before[same] == member[same]
    assert before["unique_email_id"] != member["unique_email_id"]
    assert (None, member) == (members.get(), members.get(BOB))


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_another_case(members: MemberList, send: CallSender, method: str) -> None:
    """Another case of the address changes only how it is shown."""
    before = members.set_state("subscribed")

    code, member = send(method, members.make_path(), {"email_address": ANN.lower()})

    assert (200, ANN.lower()) == (code, member["email_address"])
    for same in ("id", "contact_id", "web_id", "unique_email_id"):
        assert before[same] == member[same]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_address_of_another(members: MemberList, send: CallSender, method: str) -> None:
    """An address that another contact has is refused."""
    members.add(BOB)
    before = members.set_state("subscribed")

    code, problem = send(method, members.make_path(BOB), {"email_address": ANN})

    assert (400, "Member Exists", EXISTS) == (code, problem["title"], problem["detail"])
    assert before == members.get()
    assert BOB == members.get(BOB)["email_address"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_address_of_the_forgotten(members: MemberList, send: CallSender, method: str) -> None:
    """The address of a contact that was deleted permanently is refused."""
    members.set_state("forgotten")
    members.add(BOB)

    code, problem = send(method, members.make_path(BOB), {"email_address": ANN})

    assert (400, FORGOTTEN) == (code, problem["detail"])
    assert BOB == members.get(BOB)["email_address"]


@pytest.mark.parametrize("state", ["none", "forgotten"])
def test_nobody_there(members: MemberList, send: CallSender, state: str) -> None:
    """Calls on a missing contact are a 404."""
    members.set_state(state)
    one = members.make_path()
    for method, path, body in (
        ("GET", one, None),
        ("PATCH", one, {"status": "pending"}),
        ("DELETE", one, None),
        ("GET", f"{one}/tags", None),
        ("POST", f"{one}/tags", {"tags": []}),
        ("POST", f"{one}/actions/delete-permanent", None),
    ):
        code, problem = send(method, path, body)
        assert (404, NOT_FOUND) == (code, problem["title"]), (method, path)


# --- DELETE --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", ["subscribed", "unsubscribed", "transactional", "self-unsubscribed"]
)
def test_archive(members: MemberList, send: CallSender, state: str) -> None:
    """An archived contact keeps its ids, tags and merge fields."""
    before = members.set_state(state)

    assert (204, {}) == send("DELETE", members.make_path())

    member = members.get()
    assert "archived" == member["status"]
    for same in ("contact_id", "web_id", "tags", "merge_fields"):
        assert before[same] == member[same]


@pytest.mark.parametrize("state", ["archived", "pending", "cleaned"])
def test_archive_who_cannot_be(members: MemberList, send: CallSender, state: str) -> None:
    """Contacts in these states cannot be archived."""
    before = members.set_state(state)

    code, problem = send("DELETE", members.make_path())

    assert (405, "Method Not Allowed") == (code, problem["title"])
    assert CANNOT_ARCHIVE == problem["detail"]
    assert before == members.get()
    assert "GET, PUT" == members.api.call("DELETE", members.make_path()).headers["allow"]


@pytest.mark.parametrize("state", [*PRESENT, "archived"])
def test_delete_permanent(members: MemberList, send: CallSender, state: str) -> None:
    """A contact in any state can be deleted permanently."""
    members.set_state(state)

    assert (204, {}) == send("POST", f"{members.make_path()}/actions/delete-permanent")

    assert members.get() is None
    assert 0 == members.api.call_ok("GET", members.path)["total_items"]
    code, _ = send("POST", members.path, {"email_address": ANN, "status": "subscribed"})
    assert 400 == code


# --- The keys of a member -------------------------------------------------------------------------


def test_keys_of_a_member(members: MemberList, send: CallSender) -> None:
    """Hash, address and contact id name the same contact, in any case."""
    member = members.set_state("subscribed")
    keys = (member["id"], member["id"].upper(), ANN, ANN.upper(), member["contact_id"])

    for key in (*keys, ANN.replace("@", "%40")):
        assert (200, member) == send("GET", f"{members.path}/{key}")
    for key in (member["contact_id"], ANN):
        assert 204 == send("POST", f"{members.path}/{key}/tags", {"tags": []})[0]
        assert 200 == send("PATCH", f"{members.path}/{key}", {"vip": True})[0]
    assert 404 == send("GET", f"{members.path}/{member['web_id']}")[0]
    assert 404 == send("GET", f"{members.path}/{member['unique_email_id']}")[0]


def test_contact_in_another_list(members: MemberList, send: CallSender) -> None:
    """A contact id names no contact in another list."""
    member = members.set_state("subscribed")
    other = f"/lists/{members.api.new_list()}/members"

    assert 404 == send("GET", f"{other}/{member['contact_id']}")[0]
    assert 404 == send("GET", f"{other}/{member['id']}")[0]


def test_a_story_in_one_batch(members: MemberList) -> None:
    """Operations on one contact keep their order within a batch."""
    one, body = members.make_path(), f'{{"email_address":"{ANN}","status":"subscribed"}}'
    steps = (
        ("POST", members.path, body, 200),
        ("POST", members.path, body, 400),
        ("DELETE", one, None, 204),
        ("DELETE", one, None, 405),
        ("POST", members.path, body, 200),
        ("POST", f"{one}/tags", '{"tags":[{"name":"a","status":"active"}]}', 204),
        ("PATCH", one, f'{{"email_address":"{BOB}"}}', 200),
        ("GET", one, None, 404),
        ("PUT", members.make_path(BOB), '{"status":"cleaned"}', 200),
        ("PATCH", members.make_path(BOB), '{"status":"subscribed"}', 400),
        ("POST", f"{members.make_path(BOB)}/actions/delete-permanent", None, 204),
        ("POST", members.path, body.replace(ANN, BOB), 400),
        ("POST", members.path, body, 200),
    )
    operations = [{"method": method, "path": path, "body": text} for method, path, text, _ in steps]

    results = members.api.run_batch(*operations)

    assert [status for *_, status in steps] == [result.status_code for result in results]
    assert (None, []) == (members.get(BOB), members.get()["tags"])
