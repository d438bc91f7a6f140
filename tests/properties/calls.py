"""Random calls on two lists with few addresses, tags and merge fields.

In a path, `<A>` and `<B>` are the lists, and `<A:ann>` is the contact id of a member that exists at
the beginning.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal
from urllib.parse import quote

from hypothesis import strategies as st

from batchway.kit.ids import compute_subscriber_hash

Kind = Literal["member", "read", "write", "unread", "barred"]
Body = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One call. `kind` says what its order depends on.

    `member`: a call on members or their tags. `read`: any other read. `write`: any other change.
    `unread`: a call that no handler sees. `barred`: a call that only a batch refuses.
    """

    kind: Kind
    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    has_query_in_path: bool = False


PEOPLE = ("ann", "bob", "cid", "dee", "eve", "fay", "gus")
# Who plays these is chosen for all calls at once.
_ROLES = tuple(f"<{number}>" for number in range(6))
ADDRESSES = (
    *_ROLES,
    *_ROLES,
    "Ann@Example.com",
    "FAY@EXAMPLE.COM",
    "josé@example.com",
    "JOSÉ@EXAMPLE.COM",
    "İpek@example.com",  # its lower case is longer
    '"a b"@example.com',
)
ODD_ADDRESSES = ("", " ", "nobody", "a..b@example.com", " fay@example.com ", None, 5, ["x"])
TAGS = ("VIP", "VIP", "vip", "old", "old", "new", "Été", "ÉTÉ")
ODD_TAGS = (" vip ", "", "x" * 101, "x" * 100, "nul\0", 5, None)
STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
ODD_STATUSES = ("archived", "Subscribed", "", None, 1)
UNKNOWN_LIST = "0000000000"
UNKNOWN_HASH = "f" * 32
BAD_BODIES = ('{"email_address": ', "[]", "null", "", None, '"text"', "5", "{}", "[" * 2_000, "\0")


def rarely(odd: Sequence[Any], valid: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return mostly valid values, and sometimes odd ones."""
    # Not at an end of the range, which would come up far more often.
    return st.integers(0, 30).flatmap(lambda n: st.sampled_from(odd) if n == 17 else valid)


def choose(*values: Any, odd: Sequence[Any] = ()) -> st.SearchStrategy[Any]:
    """Return one of the values, and rarely an odd one."""
    valid = st.sampled_from(values)
    return rarely(odd, valid) if odd else valid


# --- What stands in bodies -----------------------------------------------------------------------

_merge_fields = st.fixed_dictionaries(
    {},
    optional={
        "FNAME": choose("Ann", "Bea", "", "Zoë", odd=(5, True, None, ["x"], "x" * 256, "nul\0")),
        "fname": choose("Cleo", ""),
        "LTV": choose(12, 1.5, "7", "", odd=("much", 1e308, None, {})),
        "NEED": choose("here", "here", "", odd=(None, 0)),
        "EXTRA": choose("more", ""),
        "BIRTHDAY": choose("02/29", "", odd=("31/12", "13/13")),
        "ADDRESS": choose(
            {"addr1": "1 Hive", "city": "Kyiv", "state": "K", "zip": "01001"},
            "1 Hive  Kyiv  K  01001",
            odd=({"addr1": "1 Hive"}, {"addr1": None}, [1], "1 Hive"),
        ),
        "UNKNOWN": choose("dropped"),
    },
)
_details = st.fixed_dictionaries(
    {},
    optional={
        "merge_fields": rarely(([], [1], None, "x"), _merge_fields),
        "email_type": choose("html", "text", "", odd=("HTML", 1)),
        "language": choose("en", "", odd=("nul\0", 5)),
        "vip": choose(True, False, odd=(None, "yes", 1)),
        "location": choose(
            {"latitude": 1.5, "longitude": -2},
            {"latitude": "1.5", "longitude": ""},
            {},
            odd=({"latitude": 91}, {"latitude": "x"}, [], None),
        ),
        "ip_signup": choose("10.0.0.1", "", odd=("::1", "300.0.0.1")),
        "timestamp_signup": choose("2020-01-02T03:04:05Z", "", odd=("soon", "9999-12-31")),
        "ip_opt": choose("::1", odd=("x",)),
        "timestamp_opt": choose("2021-01-02 03:04:05", "", odd=("0001-01-01",)),
        "interests": choose({}, [], odd=({"0123456789": True}, [1])),
        "marketing_permissions": choose([], odd=([{}],)),
        "surprise": choose(1),
    },
)
_tags = st.lists(choose(*TAGS, odd=ODD_TAGS), max_size=3)
_addresses = choose(*ADDRESSES, odd=ODD_ADDRESSES)
_statuses = choose(*STATUSES, odd=ODD_STATUSES)


def _with(strategy: st.SearchStrategy[Body], optional: Mapping[str, Any]) -> Any:
    more = st.fixed_dictionaries({}, optional=dict(optional))
    return st.tuples(more, strategy).map(lambda both: both[0] | both[1])


_needs = choose({"NEED": "here"}, {"NEED": "here", "LTV": 3}, {})
_add_bodies = _with(
    st.fixed_dictionaries({"email_address": _addresses, "status": _statuses}),
    {"tags": rarely(("VIP", None, {}), _tags), "merge_fields": _needs},
)
_new_members = st.tuples(_details, _add_bodies).map(lambda both: both[0] | both[1])
_upsert_bodies = _with(
    _details,
    {
        "email_address": _addresses,
        "status_if_new": rarely((None,), _statuses),
        "status": _statuses,
        "tags": rarely(("VIP", None), _tags),
    },
)
_update_bodies = st.one_of(
    _details,
    _with(_details, {"status": _statuses}),
    _with(_details, {"email_address": _addresses, "status": _statuses}),
)
_tag_changes = st.fixed_dictionaries(
    {
        "tags": st.lists(
            st.fixed_dictionaries(
                {
                    "name": choose(*TAGS, odd=ODD_TAGS),
                    "status": choose("active", "inactive", odd=("on",)),
                }
            ),
            max_size=4,
        )
    },
    optional={"is_syncing": choose(True, odd=("x",))},
)
_subscriptions = st.fixed_dictionaries(
    {"members": st.lists(rarely(({}, [], None), _new_members), max_size=4)},
    optional={"update_existing": st.booleans(), "sync_tags": choose(True, None, odd=("x",))},
)
_fields = st.fixed_dictionaries(
    {
        "name": choose("Extra", odd=("", "x" * 1_001, None)),
        "type": choose("text", "number", odd=("blob",)),
    },
    optional={
        "tag": choose("EXTRA", "", "extra", odd=("FNAME", "no tag")),
        "required": st.booleans(),
        "default_value": choose("", "9", odd=("x",)),
        "display_order": choose(1, 3, odd=(-1, "x")),
        "options": choose({}, {"size": 30}, odd=({"size": 0}, [])),
    },
)
_field_changes = st.fixed_dictionaries(
    {},
    optional={
        "name": choose("Renamed", odd=("", 5)),
        "required": st.booleans(),
        "default_value": choose("", "4", odd=("x",)),
        "tag": choose("GIVEN", "FNAME", odd=("EMAIL",)),
        "type": choose("number", odd=("blob",)),
    },
)
_list_changes = st.fixed_dictionaries(
    {},
    optional={
        "name": choose("Renamed", odd=("", None)),
        "contact": choose({"city": "Lviv"}, {"country": "PL"}, odd=({"city": None}, "x")),
        "email_type_option": st.booleans(),
        "visibility": choose("prv", odd=("all",)),
    },
)


# --- Where, with which parameters ----------------------------------------------------------------

_lists = choose("<A>", "<A>", "<A>", "<B>", odd=(UNKNOWN_LIST, "<A>x", "%00"))
_HASHES = tuple(f"<hash {role}>" for role in _ROLES)
_keys = rarely(
    (UNKNOWN_HASH, "x", "%00", "%ff", "ann@example.com%20"),
    st.one_of(
        st.sampled_from(_HASHES),
        st.sampled_from(_HASHES),
        st.sampled_from(_HASHES),
        st.sampled_from(ADDRESSES).map(lambda address: quote(address, safe="<>")),
        choose(
            compute_subscriber_hash("ann@example.com").upper(),
            "Fay@example.com",
            "bob%40example.com",
        ),
        choose(
            compute_subscriber_hash("josé@example.com"), "<A:ann>", "<A:bob>", "<A:dee>", "<B:ann>"
        ),
    ),
)
_merge_ids = choose("1", "6", "7", odd=("0", "06", "x", "9" * 30))
_selections = {
    "fields": choose("email_address,status,tags", "members.email_address,total_items", "nope,id"),
    "exclude_fields": choose("_links", "_links,members._links,tags"),
}
_member_params = rarely(
    ({"fields": "id", "exclude_fields": "_links"}, {"x": "\0"}),
    st.one_of(
        st.just({}),
        st.just({}),
        st.fixed_dictionaries(
            {},
            optional={
                "skip_merge_validation": choose("true", "1", "no"),
                "skip_duplicate_check": choose("true", "false"),
            }
            | _selections,
        ),
    ),
)
_collection_params = st.fixed_dictionaries(
    {},
    optional={
        "count": choose("1", "2", "1000", "", odd=("-1", "x")),
        "offset": choose("0", "1", "99", odd=("x",)),
        "status": choose(*STATUSES, "archived", odd=("on",)),
        "vip_only": choose("true", "0"),
        "since_last_changed": choose("2026-11-23T12:00:00+00:00", "2000-01-01", odd=("soon",)),
        "sort_field": choose("last_changed", "timestamp_opt", odd=("email",)),
        "sort_dir": choose("ASC", "desc", odd=("up",)),
        "email": choose("ann@example.com", "JOSÉ@example.com"),
        "include_total_contacts": choose("true"),
        "required": choose("true", "false"),
    }
    | _selections,
)


@st.composite
def _calls(  # noqa: PLR0913 - what a call is made of
    draw: st.DrawFn,
    kind: Kind,
    method: str,
    template: str,
    bodies: st.SearchStrategy[Any] | None = None,
    params: st.SearchStrategy[Any] = _member_params,
) -> Call:
    path = template.format(list=draw(_lists), key=draw(_keys), merge_id=draw(_merge_ids))
    given = draw(params)
    if kind != "barred" and _is_refused(path, given):
        kind = "unread"
    body = draw(_texts(bodies))
    return Call(kind, method, path, given, body, draw(st.booleans()))


def _is_refused(path: str, params: Mapping[str, str]) -> bool:
    """Return whether a call is refused before its handler."""
    both = params.get("fields") and params.get("exclude_fields")
    return bool(both) or "%00" in path or any("\0" in value for value in params.values())


def _texts(bodies: st.SearchStrategy[Any] | None) -> st.SearchStrategy[str | None]:
    return st.none() if bodies is None else rarely(BAD_BODIES, bodies.map(json.dumps))


_MEMBERS = "/lists/{list}/members"
_MEMBER = "/lists/{list}/members/{key}"
_FIELDS = "/lists/{list}/merge-fields"
_FIELD = "/lists/{list}/merge-fields/{merge_id}"

_ON_MEMBERS = [
    _calls("member", "POST", _MEMBERS, _new_members),
    _calls("member", "PUT", _MEMBER, _upsert_bodies),
    _calls("member", "PATCH", _MEMBER, _update_bodies),
    _calls("member", "POST", f"{_MEMBER}/tags", _tag_changes),
    _calls("member", "GET", _MEMBER),
    _calls("member", "DELETE", _MEMBER),
    _calls("member", "POST", f"{_MEMBER}/actions/delete-permanent"),
    _calls("member", "GET", f"{_MEMBER}/tags", params=_collection_params),
    _calls("member", "POST", "/lists/{list}", _subscriptions),
]
_reads = st.one_of(
    _calls("read", "GET", _MEMBERS, params=_collection_params),
    _calls("read", "GET", "/lists", params=_collection_params),
    _calls("read", "GET", "/lists/{list}", params=_collection_params),
    _calls("read", "GET", _FIELDS, params=_collection_params),
    _calls("read", "GET", _FIELD),
    _calls("read", "GET", "/"),
    _calls("read", "GET", "/ping"),
)


def _new_list(name: str) -> Body:
    contact = {"company": "Bees", "address1": "1 Hive", "city": "Kyiv", "country": "UA"}
    texts = {"from_name": "Ann", "from_email": "ann@example.com", "subject": "", "language": "en"}
    return {
        "name": name,
        "contact": contact,
        "permission_reminder": "You asked for it.",
        "campaign_defaults": texts,
        "email_type_option": True,
    }


NEW_LIST = _new_list("Readers")
_writes = st.one_of(
    _calls("write", "POST", _FIELDS, _fields),
    _calls("write", "PATCH", _FIELD, _field_changes),
    _calls("write", "DELETE", _FIELD),
    _calls("write", "PATCH", "/lists/{list}", _list_changes),
    _calls("write", "POST", "/lists", choose(NEW_LIST, NEW_LIST | {"name": ""}, {})),
)
_deletions = _calls("write", "DELETE", "/lists/{list}")
_elsewhere = st.one_of(
    _calls("unread", "DELETE", _MEMBERS),
    _calls("unread", "PUT", "/lists", _list_changes),
    _calls("unread", "GET", f"{_MEMBER}/nowhere"),
    _calls("unread", "GET", "/nowhere"),
    _calls("unread", "GET", "/limits"),
    _calls("unread", "GET", "/x" * 13),
    _calls("barred", "GET", "/batches"),
    _calls("barred", "POST", "/batches/0123456789/actions/retry"),
    _calls("barred", "GET", "/batch-webhooks"),
    _calls("barred", "POST", "//batch-webhooks/x"),
    _calls("barred", "DELETE", "https://example.com/3.0/lists/{list}"),
    _calls("barred", "DELETE", "/lists/x/../{list}"),
)


_ELSE = [_reads] * 5 + [_writes] * 3 + [_elsewhere] * 2
_casts = st.one_of(
    st.sampled_from(PEOPLE).map(lambda one: [one] * len(_ROLES)),
    st.lists(st.sampled_from(PEOPLE), min_size=len(_ROLES), max_size=len(_ROLES)),
)
_kinds = st.one_of(
    st.just(_ON_MEMBERS),
    st.lists(st.sampled_from(_ON_MEMBERS), min_size=1, max_size=3),
)


@st.composite
def sequences(draw: st.DrawFn) -> list[Call]:
    """Return one to forty calls.

    Often most of them are of the same few kinds and on the same few contacts, so that they affect
    each other.
    """
    kinds = draw(_kinds)
    # Two thirds on members; lists are rarely deleted, as nothing is left to be done then.
    others = [*_ELSE * len(kinds), _deletions]
    one = st.sampled_from(kinds * 10 + others + kinds * 10).flatmap(lambda calls: calls)
    # Four short lists are longer on average than a single one.
    part = st.lists(one, max_size=10)
    calls = [*chain(*(draw(part) for _ in range(4)))] or [draw(one)]
    cast = draw(_casts)
    return [_assign_people(call, cast) for call in calls]


def _assign_people(call: Call, cast: Sequence[str]) -> Call:
    path, body = call.path, call.body
    for role, person in zip(_ROLES, cast, strict=True):
        address = f"{person}@example.com"
        path = path.replace(f"<hash {role}>", compute_subscriber_hash(address)).replace(
            role, address
        )
        body = body and body.replace(role, address)
    return replace(call, path=path, body=body)
