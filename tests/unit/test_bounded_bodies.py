"""No body, and no field of a body, needs much more memory than its bytes.

The cases are made from the types of the bodies in the route table, so that a new field is tested.
"""

import json
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import msgspec
import pytest

from batchway import limits
from batchway.audience.calls import read_calls
from batchway.audience.routes import make_route_table
from batchway.audience.settings import AudienceSettings
from batchway.audience.transaction import answer_within
from batchway.contract.links import Links
from batchway.contract.problems import Refused
from batchway.contract.request import Caller, Request
from batchway.contract.response import Response, encode_body
from batchway.contract.validation import has_many_tokens
from batchway.surfaces.mailchimp.bodies.batch_webhooks import BatchWebhookChanges, NewBatchWebhook
from batchway.surfaces.mailchimp.webhook_url_checks import check_form
from tests.audience import BASE, NOON, Audience

_MB = 1024 * 1024
_LONG = "é" * 100_000
_MANY = 20_000
_REPLY_BYTES_MAX = 20_000
_SETTINGS = AudienceSettings()
_ROUTES = make_route_table()
_MEMBER = {"email_address": "ann@bees.org", "status": "subscribed"}
_TYPES_OF_OPTIONS = {"choices": "dropdown", "date_format": "date", "phone_format": "phone"}
_keys = count(1)

Path = tuple[str, ...]


def _find_bodies() -> Iterator[tuple[str, str, type, Mapping[str, Any]]]:
    for method, template, _ in _ROUTES.routes:
        described = _ROUTES.find_description(method, template)
        if described is not None and described.body is not None:
            yield method, template, described.body, dict(described.body_example or {})


def _find_open_fields(kind: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield each field below a type that may hold a text, or any number of values."""
    types = msgspec.inspect
    match kind:
        case types.StrType():
            yield path, "text"
        case types.AnyType():
            yield from ((path, what) for what in ("text", "list", "object"))
        case types.ListType(item_type=item) | types.VarTupleType(item_type=item):
            yield path, "list"
            yield from _find_open_fields(item, (*path, "[]"))
        case types.DictType(value_type=value):
            yield path, "object"
            yield from _find_open_fields(value, (*path, "FNAME"))
        case types.StructType(fields=fields):
            for field in fields:
                yield from _find_open_fields(field.type, (*path, field.encode_name))
        case types.UnionType(types=members):
            for member in members:
                yield from _find_open_fields(member, path)


_CASES = [
    pytest.param(method, template, example, path, what, id=f"{method}-{template}-{path}-{what}")
    for method, template, body, example in _find_bodies()
    for path, what in _find_open_fields(msgspec.inspect.type_info(body))
]


def _make_value(what: str, example: object) -> object:
    if what == "text":
        return _LONG
    if what == "list":
        return [example] * _MANY
    return {f"key{number}": _LONG[:10] for number in range(_MANY)}


def _put(value: Any, path: Path, what: str) -> Any:
    """Return a copy of a body with a value at a path that is far too large."""
    if not path:
        item = value[0] if isinstance(value, list) and value else "text"
        return _make_value(what, item)
    name, rest = path[0], path[1:]
    if name == "[]":
        items = value if isinstance(value, list) and value else [None]
        return [_put(items[0], rest, what), *items[1:]]
    fields = dict(value) if isinstance(value, dict) else {}
    return fields | {name: _put(fields.get(name), rest, what)}


@pytest.fixture
def api(quick: Audience) -> Audience:
    """An empty audience: both databases give the same memory to the process."""
    return quick


def _answer(api: Audience, *requests: Request) -> list[Response]:
    caller = Caller(1, "Bees", NOON, Links(BASE))
    with api.database.write() as connection:
        return answer_within(connection, _SETTINGS, caller, requests, lambda _table: next(_keys))


def _call(api: Audience, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    raw = json.dumps(body, ensure_ascii=False).encode()
    [response] = _answer(api, Request(method, path, {}, raw))
    return response.status, encode_body(response)


@pytest.mark.parametrize(("method", "template", "example", "path", "what"), _CASES)
def test_no_field_stores_or_shows_a_value_of_any_size(  # noqa: PLR0913 - one case
    api: Audience, method: str, template: str, example: dict[str, Any], path: Path, what: str
) -> None:
    """A field with a text of 100,000 characters or 20,000 values is refused, or it is ignored."""
    list_id = api.new_list()
    members = f"/lists/{list_id}/members"
    assert 200 == _call(api, "POST", members, _MEMBER | {"email_address": "bob@bees.org"})[0]
    field = {"name": "City", "type": "text", "tag": "CITY"}
    merge_id = json.loads(_call(api, "POST", f"/lists/{list_id}/merge-fields", field)[1])[
        "merge_id"
    ]
    called = template.format(list_id=list_id, subscriber_hash="bob@bees.org", merge_id=merge_id)

    body = _put(example, path, what)
    if path[-1] in _TYPES_OF_OPTIONS:
        body["type"] = _TYPES_OF_OPTIONS[path[-1]]
    status, reply = _call(api, method, called, body)

    assert status in {200, 204, 400, 413}
    assert len(reply) < _REPLY_BYTES_MAX
    for shown in (members, f"/lists/{list_id}", f"/lists/{list_id}/merge-fields", "/lists"):
        assert len(_call(api, "GET", shown)[1]) < 2 * _REPLY_BYTES_MAX


@pytest.mark.parametrize("field", ["ip_signup", "ip_opt"])
def test_the_zone_of_an_address_has_a_length(api: Audience, field: str) -> None:
    """An IPv6 address may name a zone, but not one of any length."""
    members = f"/lists/{api.new_list()}/members"
    long = _MEMBER | {field: "fe80::1%" + "a" * limits.ip_address_characters_max}
    assert 400 == _call(api, "POST", members, long)[0]
    assert 200 == _call(api, "POST", members, _MEMBER | {field: "fe80::1%eth0"})[0]


def test_a_page_has_a_bound_in_bytes(api: Audience, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page ends early if its members have long values, and the pages together have them all."""
    monkeypatch.setattr(limits, "page_bytes_max", _MB // 2)
    list_id = api.new_list()
    for number in range(60):
        field = {"name": "Note", "type": "text", "tag": f"F{number}"}
        assert 200 == _call(api, "POST", f"/lists/{list_id}/merge-fields", field)[0]
    values = {f"F{number}": "é" * limits.merge_text_characters_max for number in range(60)}
    members = [
        {"email_address": f"ann{number}@bees.org", "status": "subscribed", "merge_fields": values}
        for number in range(70)
    ]
    for first in range(0, len(members), 35):
        part = {"members": members[first : first + 35]}
        assert 200 == _call(api, "POST", f"/lists/{list_id}", part)[0]

    sizes: list[int] = []
    following = None
    while not sizes or following is not None:
        path = f"/lists/{list_id}/members"
        page = Request("GET", path, {}, is_paged=True, continuation=following)
        [response] = _answer(api, page)
        assert len(encode_body(response)) < 5 * limits.page_bytes_max
        sizes.append(json.loads(encode_body(response))["returned_item_count"])
        following = response.continuation

    assert len(members) == sum(sizes)
    assert len(sizes) > 1


def test_the_walk_finds_the_open_fields() -> None:
    """The cases contain fields of every kind, at every depth."""
    found = {(template, path, what) for _, template, _, path, what in (c.values for c in _CASES)}
    assert ("/lists/{list_id}/members", ("language",), "text") in found
    assert ("/lists/{list_id}/members", ("tags", "[]"), "text") in found
    assert ("/lists/{list_id}", ("members", "[]", "ip_opt"), "text") in found
    assert ("/lists", ("contact", "company"), "text") in found
    assert len(found) > 80


def test_the_texts_of_batch_webhooks_have_a_length() -> None:
    """The URL is the only text of a batch webhook, and a long one is refused."""
    for body in (NewBatchWebhook, BatchWebhookChanges):
        fields = list(_find_open_fields(msgspec.inspect.type_info(body)))
        assert [(("url",), "text")] == fields
    with pytest.raises(Refused):
        check_form("https://bees.org/" + "a" * 100_000)


def _fill(start: bytes, item: bytes, end: bytes, size: int) -> bytes:
    return start + b",".join([item] * (size // (len(item) + 1))) + end


_BOMBS: dict[str, tuple[str, str, Callable[[int], bytes]]] = {
    "members": ("POST", "/lists/a", lambda size: _fill(b'{"members":[', b"{}", b"]}", size)),
    "unknown": ("POST", "/lists", lambda size: _fill(b'{"x":[', b"[]", b"]}", size)),
    "tags": ("POST", "/lists/a/members", lambda size: _fill(b'{"tags":[', b'""', b"]}", size)),
    "values": (
        "PUT",
        "/lists/a/members/b",
        lambda size: _fill(b'{"merge_fields":{"FNAME":[', b"1.5", b"]}}", size),
    ),
    "keys": (
        "PATCH",
        "/lists/a/merge-fields/1",
        lambda size: b"{%b}" % b",".join(b'"%x":1' % number for number in range(size // 10)),
    ),
    "escapes": (
        "POST",
        "/lists/a/members",
        lambda size: b'{"email_address":"%b"}' % (rb"\"," * (size // 3)),
    ),
    "address": (
        "POST",
        "/lists/a/members",
        lambda size: b'{"status":"subscribed","email_address":"a@%b"}' % (b"a." * (size // 2)),
    ),
    "wide": (
        "POST",
        "/lists/a/members",
        lambda size: (
            b'{"email_address":"ann@bees.org","status":"%b%b"}'
            % ("\U0001f41d".encode(), b"a" * size)
        ),
    ),
    "choice": (
        "POST",
        "/lists/a/members/b/tags",
        lambda size: b'{"tags":[{"name":"a","status":"%b"}]}' % (b" - at `$" * (size // 8)),
    ),
    "deep": ("POST", "/lists/a/members", lambda size: b'{"tags":' + b"[" * size),
}


def _measure_peak(read: Callable[[], object]) -> tuple[int, int]:
    """Return the bytes that a function needed at most, and those that it kept."""
    tracemalloc.start()
    try:
        result = read()
        del result
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak, kept


@pytest.mark.parametrize(("method", "path", "make"), _BOMBS.values(), ids=_BOMBS)
def test_reading_a_large_body_needs_at_most_eight_times_its_bytes(
    method: str, path: str, make: Callable[[int], bytes]
) -> None:
    """The largest bodies, made of the smallest values, are refused before they are decoded."""
    body = make(4 * _MB)
    request = Request(method, path, {}, body)

    peak, kept = _measure_peak(lambda: list(read_calls([request], _SETTINGS)))

    assert peak < 8 * len(body)
    assert kept < _MB


@pytest.mark.parametrize(("method", "path", "make"), _BOMBS.values(), ids=_BOMBS)
def test_the_largest_body_that_is_decoded_needs_bounded_memory(
    method: str, path: str, make: Callable[[int], bytes]
) -> None:
    """A body with as many values as are allowed needs less than 64 MB."""
    sizes = range(_MB, 0, -_MB // 32)
    size = next(size for size in sizes if not has_many_tokens(make(size), limits.body_tokens_max))
    request = Request(method, path, {}, make(size))

    peak, _ = _measure_peak(lambda: list(read_calls([request], _SETTINGS)))

    assert peak < 64 * _MB


def test_tokens_within_texts_do_not_count() -> None:
    """A text may contain any number of quotes, brackets and commas."""
    text = json.dumps({"a": '[{,"\\' * 1_000, "b": "\\" * 1_001, "c": [1, 2]}).encode()
    tokens = 1 + 3 + 2 + 2 + 1 + 1  # braces, keys, commas, texts, a bracket, a comma
    assert not has_many_tokens(text, tokens)
    assert has_many_tokens(text, tokens - 1)


def test_a_chunk_is_planned_in_parts_if_its_bodies_are_large(api: Audience) -> None:
    """A plan has at most 4 MB of bodies, so that the values of one chunk do not add up."""
    list_id = api.new_list()
    body = json.dumps(_MEMBER | {"x": "a" * (limits.planned_bytes_max // 4)}).encode()
    requests = [Request("POST", f"/lists/{list_id}/members", {}, body)] * 10

    responses = _answer(api, *requests)

    assert 3 == len(responses)
