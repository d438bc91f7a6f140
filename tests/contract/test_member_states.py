"""The member state machine: each row, by a call of its own and by an operation of a batch."""

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


def hashed(address: str) -> str:
    """The name of a member in a path."""
    return md5(address.lower().encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Audience:
    """A list in which Ann is brought into a state by calls of their own."""

    api: Api
    path: str

    def add(self, address: str = ANN, status: str = "subscribed", **more: Any) -> Any:
        """Add a member."""
        body = {"email_address": address, "status": status, **more}
        return self.api.call_ok("POST", self.path, body)

    def one(self, address: str = ANN) -> str:
        """The path of a member."""
        return f"{self.path}/{hashed(address)}"

    def get(self, address: str = ANN) -> Any:
        """A member, or None."""
        reply = self.api.call("GET", self.one(address))
        return reply.json() if reply.status_code == 200 else None

    def bring(self, state: str, address: str = ANN) -> Any:
        """Bring Ann, or another one, into a state; what there is of her then."""
        if state in {"none", "forgotten"}:
            if state == "forgotten":
                self.add(address)
                self.api.call_ok("POST", f"{self.one(address)}/actions/delete-permanent")
            return None
        status = state if state in _STATUSES else "subscribed"
        self.add(address, status, tags=["kept"], merge_fields={"FNAME": "Ann"})
        if state == "archived":
            self.api.call_ok("DELETE", self.one(address))
        if state == "self-unsubscribed":
            self._unsubscribe_herself()
        return self.get(address)

    def _unsubscribe_herself(self) -> None:
        """No call can do this: it needs a campaign's unsubscribe link."""
        statement = """
            UPDATE members SET status = 'unsubscribed', unsubscribe_reason = 'No longer interested'
            WHERE subscriber_hash = :hash AND list_id =
                (SELECT id FROM lists WHERE public_id = :list_id)
        """
        list_id = self.path.split("/")[2]
        execute_sql(self.api.server, statement, hash=hashed(ANN), list_id=list_id)


@pytest.fixture
def audience(api: Api) -> Audience:
    """A new list."""
    return Audience(api, f"/lists/{api.new_list()}/members")


_STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
PRESENT = [*_STATUSES, "self-unsubscribed"]


# --- POST ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", _STATUSES)
def test_add(audience: Audience, send: CallSender, status: str) -> None:
    """A new contact gets the status that it is given."""
    code, member = send("POST", audience.path, {"email_address": ANN, "status": status})

    assert (200, ANN, status) == (code, member["email_address"], member["status"])
    assert hashed(ANN) == member["id"]
    assert (status == "subscribed") == bool(member["timestamp_opt"])
    assert member == audience.get()


@pytest.mark.parametrize("state", PRESENT)
def test_add_who_is_there(audience: Audience, send: CallSender, state: str) -> None:
    """Nobody is added twice, whatever the case of the address."""
    before = audience.bring(state)

    code, problem = send("POST", audience.path, {"email_address": ANN, "status": "subscribed"})
    again, _ = send("POST", audience.path, {"email_address": ANN.upper(), "status": "pending"})

    assert (400, 400) == (code, again)
    assert ("Member Exists", EXISTS) == (problem["title"], problem["detail"])
    assert before == audience.get()


def test_add_who_was_archived(audience: Audience, send: CallSender) -> None:
    """The same contact comes back, with its tags and a new time of consent."""
    before = audience.bring("archived")
    opted_in = "UPDATE members SET timestamp_opt = 1000000 WHERE subscriber_hash = :hash"
    execute_sql(audience.api.server, opted_in, hash=hashed(ANN))

    code, member = send("POST", audience.path, {"email_address": ANN, "status": "subscribed"})

    assert (200, "subscribed") == (code, member["status"])
    for same in ("id", "contact_id", "web_id", "unique_email_id", "tags", "merge_fields"):
        assert before[same] == member[same]
    assert ["kept"] == [tag["name"] for tag in member["tags"]]
    assert member["timestamp_opt"] == member["last_changed"]
    assert member == audience.get()


def test_add_who_was_forgotten(audience: Audience, send: CallSender) -> None:
    """Who was deleted for good stays away, in whatever status."""
    audience.bring("forgotten")
    for status in ("subscribed", "pending", "unsubscribed"):
        code, problem = send("POST", audience.path, {"email_address": ANN, "status": status})

        assert (400, "Forgotten Email Not Subscribed") == (code, problem["title"])
        assert FORGOTTEN == problem["detail"]
    assert audience.get() is None


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
    audience: Audience, send: CallSender, body: dict[str, Any], field: str, message: str
) -> None:
    """Address and status are required, and the status is not any word."""
    code, problem = send("POST", audience.path, body)

    assert (400, "Invalid Resource") == (code, problem["title"])
    assert [{"field": field, "message": message}] == problem["errors"]
    assert audience.get() is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_malformed_addresses(audience: Audience, send: CallSender, method: str) -> None:
    """They are told without naming a field."""
    audience.add(BOB)
    path = audience.path if method == "POST" else audience.one(BOB)
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
def test_upsert_adds(audience: Audience, send: CallSender, field: str, status: str) -> None:
    """Either status makes a new contact."""
    code, member = send("PUT", audience.one(), {"email_address": ANN, field: status})

    assert (200, status, hashed(ANN)) == (code, member["status"], member["id"])
    assert member == audience.get()


def test_upsert_with_both_statuses(audience: Audience, send: CallSender) -> None:
    """`status` comes before `status_if_new`."""
    body = {"email_address": ANN, "status": "pending", "status_if_new": "subscribed"}

    _, member = send("PUT", audience.one(), body)

    assert "pending" == member["status"]


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ({"status": "subscribed"}, "email_address"),
        ({"email_address": ANN}, "status_if_new"),
        ({}, "email_address"),
    ],
)
def test_upsert_needs(audience: Audience, send: CallSender, body: Any, missing: str) -> None:
    """For a new contact, what a new contact needs."""
    code, problem = send("PUT", audience.one(), body)

    message = f"Required fields were not provided: {missing}"
    assert (400, [{"field": "", "message": message}]) == (code, problem["errors"])


@pytest.mark.parametrize("key", [hashed(BOB), "0" * 32, BOB])
def test_upsert_under_another_hash(audience: Audience, send: CallSender, key: str) -> None:
    """The new contact is found under its own hash, the path's hash stays empty."""
    path = f"{audience.path}/{key}"

    code, member = send("PUT", path, {"email_address": ANN, "status_if_new": "subscribed"})

    assert (200, hashed(ANN)) == (code, member["id"])
    assert member == audience.get()
    assert 404 == audience.api.call("GET", path).status_code


@pytest.mark.parametrize("state", PRESENT)
def test_upsert_under_another_hash_who_is_there(
    audience: Audience, send: CallSender, state: str
) -> None:
    """The address is taken."""
    before = audience.bring(state)

    body = {"email_address": ANN, "status": "pending"}
    code, problem = send("PUT", audience.one(BOB), body)

    assert (400, "Member Exists", EXISTS) == (code, problem["title"], problem["detail"])
    assert before == audience.get()


def test_upsert_who_was_forgotten(audience: Audience, send: CallSender) -> None:
    """As for POST."""
    audience.bring("forgotten")

    code, problem = send("PUT", audience.one(), {"email_address": ANN, "status_if_new": "pending"})

    assert (400, FORGOTTEN) == (code, problem["detail"])
    assert audience.get() is None


@pytest.mark.parametrize("state", [*PRESENT, "archived"])
@pytest.mark.parametrize("body", [{}, {"email_address": ANN, "status_if_new": "pending"}])
def test_upsert_keeps_the_status(
    audience: Audience, send: CallSender, state: str, body: Any
) -> None:
    """Without `status` it stays as it was; `status_if_new` is for new ones."""
    before = audience.bring(state)

    code, member = send("PUT", audience.one(), {**body, "language": "uk"})

    assert (200, before["status"], "uk") == (code, member["status"], member["language"])
    assert before["web_id"] == member["web_id"]


# --- PUT and PATCH of who is there ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_free_changes_of_status(audience: Audience, send: CallSender, method: str) -> None:
    """Any status may follow these, also `subscribed` after unsubscribing through the API."""
    states = ("subscribed", "unsubscribed", "pending", "transactional", "archived")
    statuses = ("subscribed", "unsubscribed", "cleaned", "pending")
    pairs = {f"{a}.{b}@example.com": (a, b) for a in states for b in statuses}
    before = {who: audience.bring(state, who) for who, (state, _) in pairs.items()}

    answers = send.many(
        [(method, audience.one(who), {"status": status}) for who, (_, status) in pairs.items()]
    )

    for (who, (_, status)), (code, member) in zip(pairs.items(), answers, strict=True):
        assert (200, status) == (code, member["status"]), who
        for same in ("id", "contact_id", "web_id", "tags", "merge_fields"):
            assert before[who][same] == member[same], who
        assert member == audience.get(who)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("state", ["cleaned", "self-unsubscribed"])
def test_compliance_state(audience: Audience, send: CallSender, method: str, state: str) -> None:
    """Who bounced or left by own wish is asked first: `pending` is the way back."""
    before = audience.bring(state)

    code, problem = send(method, audience.one(), {"status": "subscribed"})

    assert (400, "Member In Compliance State") == (code, problem["title"])
    assert COMPLIANCE == problem["detail"]
    assert before == audience.get()
    code, member = send(method, audience.one(), {"status": "pending"})
    assert (200, "pending") == (code, member["status"])


def test_statuses_of_patch(audience: Audience, send: CallSender) -> None:
    """Nobody is archived or made transactional by PATCH."""
    before = audience.bring("subscribed")
    for status in ("archived", "transactional", "x", ""):
        code, problem = send("PATCH", audience.one(), {"status": status})

        assert (400, "status") == (code, problem["errors"][0]["field"])
    assert before == audience.get()


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("state", ["subscribed", "pending", "cleaned"])
def test_another_address(audience: Audience, send: CallSender, method: str, state: str) -> None:
    """The contact moves: new hash and address id, the same contact."""
    before = audience.bring(state)

    code, member = send(method, audience.one(), {"email_address": BOB})

    assert (200, BOB, hashed(BOB)) == (code, member["email_address"], member["id"])
    for same in ("contact_id", "web_id", "status", "tags", "merge_fields"):
        assert before[same] == member[same]
    assert before["unique_email_id"] != member["unique_email_id"]
    assert (None, member) == (audience.get(), audience.get(BOB))


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_another_case(audience: Audience, send: CallSender, method: str) -> None:
    """The hash does not see it, the address is shown as it was given last."""
    before = audience.bring("subscribed")

    code, member = send(method, audience.one(), {"email_address": ANN.lower()})

    assert (200, ANN.lower()) == (code, member["email_address"])
    for same in ("id", "contact_id", "web_id", "unique_email_id"):
        assert before[same] == member[same]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_address_of_another(audience: Audience, send: CallSender, method: str) -> None:
    """Two contacts cannot share one address."""
    audience.add(BOB)
    before = audience.bring("subscribed")

    code, problem = send(method, audience.one(BOB), {"email_address": ANN})

    assert (400, "Member Exists", EXISTS) == (code, problem["title"], problem["detail"])
    assert before == audience.get()
    assert BOB == audience.get(BOB)["email_address"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_address_of_the_forgotten(audience: Audience, send: CallSender, method: str) -> None:
    """Nobody takes the place of who was deleted for good."""
    audience.bring("forgotten")
    audience.add(BOB)

    code, problem = send(method, audience.one(BOB), {"email_address": ANN})

    assert (400, FORGOTTEN) == (code, problem["detail"])
    assert BOB == audience.get(BOB)["email_address"]


@pytest.mark.parametrize("state", ["none", "forgotten"])
def test_nobody_there(audience: Audience, send: CallSender, state: str) -> None:
    """What needs somebody is a 404."""
    audience.bring(state)
    one = audience.one()
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
def test_archive(audience: Audience, send: CallSender, state: str) -> None:
    """The contact is kept with its tags, under another status."""
    before = audience.bring(state)

    assert (204, {}) == send("DELETE", audience.one())

    member = audience.get()
    assert "archived" == member["status"]
    for same in ("contact_id", "web_id", "tags", "merge_fields"):
        assert before[same] == member[same]


@pytest.mark.parametrize("state", ["archived", "pending", "cleaned"])
def test_archive_who_cannot_be(audience: Audience, send: CallSender, state: str) -> None:
    """The method is not for these."""
    before = audience.bring(state)

    code, problem = send("DELETE", audience.one())

    assert (405, "Method Not Allowed") == (code, problem["title"])
    assert CANNOT_ARCHIVE == problem["detail"]
    assert before == audience.get()
    assert "GET, PUT" == audience.api.call("DELETE", audience.one()).headers["allow"]


@pytest.mark.parametrize("state", [*PRESENT, "archived"])
def test_delete_permanent(audience: Audience, send: CallSender, state: str) -> None:
    """From any state, and then there is nobody."""
    audience.bring(state)

    assert (204, {}) == send("POST", f"{audience.one()}/actions/delete-permanent")

    assert audience.get() is None
    assert 0 == audience.api.call_ok("GET", audience.path)["total_items"]
    code, _ = send("POST", audience.path, {"email_address": ANN, "status": "subscribed"})
    assert 400 == code


# --- Who a path names ----------------------------------------------------------------------------


def test_keys_of_a_member(audience: Audience, send: CallSender) -> None:
    """Hash, address and contact id name the same contact, in any case."""
    member = audience.bring("subscribed")
    keys = (member["id"], member["id"].upper(), ANN, ANN.upper(), member["contact_id"])

    for key in (*keys, ANN.replace("@", "%40")):
        assert (200, member) == send("GET", f"{audience.path}/{key}")
    for key in (member["contact_id"], ANN):
        assert 204 == send("POST", f"{audience.path}/{key}/tags", {"tags": []})[0]
        assert 200 == send("PATCH", f"{audience.path}/{key}", {"vip": True})[0]
    assert 404 == send("GET", f"{audience.path}/{member['web_id']}")[0]
    assert 404 == send("GET", f"{audience.path}/{member['unique_email_id']}")[0]


def test_contact_in_another_list(audience: Audience, send: CallSender) -> None:
    """A contact id of one list names nobody in another one."""
    member = audience.bring("subscribed")
    other = f"/lists/{audience.api.new_list()}/members"

    assert 404 == send("GET", f"{other}/{member['contact_id']}")[0]
    assert 404 == send("GET", f"{other}/{member['id']}")[0]


def test_a_story_in_one_batch(audience: Audience) -> None:
    """Operations on one contact keep their order within a batch."""
    one, body = audience.one(), f'{{"email_address":"{ANN}","status":"subscribed"}}'
    steps = (
        ("POST", audience.path, body, 200),
        ("POST", audience.path, body, 400),
        ("DELETE", one, None, 204),
        ("DELETE", one, None, 405),
        ("POST", audience.path, body, 200),
        ("POST", f"{one}/tags", '{"tags":[{"name":"a","status":"active"}]}', 204),
        ("PATCH", one, f'{{"email_address":"{BOB}"}}', 200),
        ("GET", one, None, 404),
        ("PUT", audience.one(BOB), '{"status":"cleaned"}', 200),
        ("PATCH", audience.one(BOB), '{"status":"subscribed"}', 400),
        ("POST", f"{audience.one(BOB)}/actions/delete-permanent", None, 204),
        ("POST", audience.path, body.replace(ANN, BOB), 400),
        ("POST", audience.path, body, 200),
    )
    operations = [{"method": method, "path": path, "body": text} for method, path, text, _ in steps]

    results = audience.api.run_batch(*operations)

    assert [status for *_, status in steps] == [result.status_code for result in results]
    assert (None, []) == (audience.get(BOB), audience.get()["tags"])
