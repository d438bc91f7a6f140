"""Any input of a client is answered or refused, and never causes an internal error."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from batchway.contract.fields import select_fields
from batchway.contract.problems import Refused
from batchway.contract.response import Response
from batchway.kit.json_text import quote_json
from batchway.model.operation import METHODS, Operation, pack_operations, unpack_operations
from batchway.result_archive.files import encode_result
from batchway.surfaces.mailchimp.authentication import ApiKeyAuthenticator
from tests.batch_bodies import read_batch
from tests.properties.calls import Call
from tests.properties.conftest import Places
from tests.properties.world import NOW, Answered, World

_EXAMPLES = settings().max_examples

# Texts with what databases, JSON and URLs dislike; surrogates stand alone only in escapes.
texts = st.one_of(
    st.text(max_size=8),
    st.text('\0%<>"\\/@.,:;& +-aé\u2028\U0001f41d', max_size=12),
    st.sampled_from(["ann@example.com", "subscribed", "VIP", "2026-01-01", "1", "true", "٣"]),
)
numbers = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**400, 1e308, -0.0]),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
_NAMES = (
    *("email_address", "status", "status_if_new", "merge_fields", "tags", "email_type", "vip"),
    *("language", "location", "latitude", "longitude", "ip_signup", "timestamp_opt", "interests"),
    *("members", "update_existing", "sync_tags", "name", "type", "tag", "options", "choices"),
    *("required", "default_value", "display_order", "contact", "campaign_defaults", "FNAME"),
)


def near(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return any value, or an object with some names of body fields."""
    inner = st.dictionaries(st.sampled_from(_NAMES), value, max_size=4)
    deeper = st.dictionaries(st.sampled_from(_NAMES), inner | st.lists(inner, max_size=2) | value)
    return value | inner | deeper


def likely(body: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Return a valid body with some values changed."""
    changes = st.dictionaries(st.sampled_from(_NAMES), near(values), max_size=3)
    return changes.map(lambda changed: {**body, **changed})


def _escaped(text: str) -> str:
    """Return the JSON text with each bee replaced by half of a surrogate pair."""
    return text.replace("\\ud83d\\udc1d", "\\ud83d")


_RIGHT: tuple[dict[str, Any], ...] = (
    {"email_address": "new@example.com", "status": "subscribed"},
    {"members": [{"email_address": "new@example.com", "status": "subscribed"}]},
    {"tags": [{"name": "VIP", "status": "active"}]},
    {"name": "Field", "type": "text"},
    {"name": "Choice", "type": "radio", "options": {"choices": ["x"]}},
)
bodies = st.one_of(
    st.none(),
    st.sampled_from(_RIGHT).flatmap(likely).map(json.dumps).map(_escaped),
    near(values).map(json.dumps).map(_escaped),
    st.text(max_size=10),
    st.text('{}[]",:01e-null\\u', max_size=20),
)
segments = st.one_of(
    st.sampled_from(["<A>", "<A>", "lists", "members", "tags", "merge-fields", "ann@example.com"]),
    st.sampled_from(["1", "<A:ann>", "actions", "delete-permanent", "%00", "%ff", "%F0%9F"]),
    texts.filter(lambda text: "?" not in text),
)
paths = st.one_of(
    st.lists(segments, max_size=6).map(lambda parts: "/" + "/".join(parts)),
    st.builds("/lists/<A>/members/{}".format, segments),
    st.builds("/lists/<A>/members/{}/tags".format, segments),
    st.builds("/lists/<A>/merge-fields/{}".format, segments),
    st.sampled_from(["/lists/<A>/members", "/lists/<A>", "/lists", "/lists/<A>/merge-fields"]),
)
_PARAMS = (
    *("fields", "exclude_fields", "count", "offset", "status", "sort_field", "sort_dir", "email"),
    *("since_last_changed", "before_timestamp_opt", "unsubscribed_since", "unique_email_id"),
    *("since_date_created", "email_type", "type", "required", "skip_merge_validation"),
)
params = st.dictionaries(st.sampled_from(_PARAMS), texts, max_size=2)
calls = st.lists(
    st.builds(Call, st.just("member"), st.sampled_from(METHODS), paths, params, bodies), max_size=8
)


@settings(max_examples=_EXAMPLES // 2)
@given(calls, st.booleans())
def test_any_calls_on_sqlite(sqlite_places: Places, calls: list[Call], is_crowded: bool) -> None:
    """Every call, alone or in a chunk, has a JSON answer that is not a 500."""
    check_calls(sqlite_places, calls, is_crowded=is_crowded)


@settings(max_examples=_EXAMPLES // 4)
@given(calls, st.booleans())
def test_any_calls_on_postgres(
    postgres_places: Places, calls: list[Call], is_crowded: bool
) -> None:
    """The same holds on PostgreSQL, which refuses more texts and numbers."""
    check_calls(postgres_places, calls, is_crowded=is_crowded)


def check_calls(places: Places, calls: list[Call], *, is_crowded: bool) -> None:
    """Make the calls, alone and in a chunk, and check the answers."""
    alone, together = World(places[0]), World(places[1])
    for answered in alone.answer_alone(calls, NOW):
        check_answer(answered)
    for answered in together.answer_as_chunk(calls, NOW, is_crowded=is_crowded):
        check_answer(answered)
    alone.assert_sound()
    together.assert_sound()


def check_answer(answered: Answered) -> None:
    """Check that the answer has a documented status, and can be stored in an archive."""
    status, text = answered
    assert status in {200, 204, 400, 403, 404, 405, 414}, text
    assert isinstance(json.loads(text), dict)
    [result] = json.loads(encode_result(status, None, quote_json(text)).decode("ascii"))
    assert text == result["response"]


operations = st.fixed_dictionaries(
    {"method": st.sampled_from([*METHODS, "get", "", "TRACE"]) | values, "path": paths | values},
    optional={"params": params | values, "body": bodies | values, "operation_id": texts | values},
)

likely_operations = st.fixed_dictionaries(
    {
        "method": st.sampled_from(METHODS),
        "path": st.sampled_from(["/ping", "/lists", "/lists?count=1", "lists", "/"]),
        "body": texts,
        "operation_id": texts,
    }
)


@given(
    st.one_of(
        st.binary(max_size=30),
        near(values).map(lambda value: json.dumps(value).encode()),
        st.lists(operations | values, max_size=4).map(
            lambda given: _escaped(json.dumps({"operations": given})).encode()
        ),
    )
)
def test_any_batch(body: bytes) -> None:
    """A batch is refused, or its operations can be stored and named in an archive."""
    try:
        found = read_batch(body)
    except Refused as refused:
        assert refused.problem.status in {400, 413}  # noqa: PT017 - one of two right answers
        return
    assert found == unpack_operations(pack_operations(found)[0])
    for operation in found:
        encode_result(200, operation.operation_id, quote_json("{}")).decode("ascii")


@given(st.lists(operations | likely_operations, min_size=1, max_size=4))
def test_operation_among_others(some: list[dict[str, Any]]) -> None:
    """An operation is read the same beside one that needs the slower reader."""
    unusual = {"method": "GET", "path": "/"}

    assert _read_outcome([*some, unusual]) == _read_outcome(
        some, more=[Operation("GET", "/", {}, None, None)]
    )


def _read_outcome(some: list[dict[str, Any]], more: Sequence[Operation] = ()) -> object:
    try:
        found = read_batch(_escaped(json.dumps({"operations": some})).encode())
    except Refused as refused:
        return refused.problem
    return [*found, *more]


headers = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.builds(
        "{} {}".format,
        st.sampled_from(["Basic", "basic", "BEARER", "OAuth", "apikey", "Digest"]),
        st.one_of(
            st.text(max_size=20),
            st.binary(max_size=20).map(lambda raw: base64.b64encode(raw).decode()),
            st.binary(max_size=20).map(lambda raw: base64.urlsafe_b64encode(raw).decode()),
        ),
    ),
)


@given(headers, st.sampled_from(METHODS), st.dictionaries(st.just("apikey"), texts))
def test_any_key(
    sqlite_places: Places, header: str | None, method: str, params: dict[str, str]
) -> None:
    """An unknown key is a 401, in any form."""
    try:
        ApiKeyAuthenticator(sqlite_places[0].app.database).authenticate(header, method, params)
    except Refused as refused:
        assert 401 == refused.problem.status  # noqa: PT017 - what is to be shown
    else:
        raise AssertionError


names = st.sampled_from(["a", "b", "c", ""])
trees = st.recursive(
    st.integers(0, 2) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(names, trees, max_size=3)
selections = st.lists(st.lists(names, min_size=1, max_size=4).map(".".join), min_size=1, max_size=4)


@given(objects, selections)
def test_fields_against_an_oracle(body: dict[str, Any], chosen: list[str]) -> None:
    """`fields` keeps, and `exclude_fields` removes, what a simple implementation does."""
    ways = [tuple(path.split(".")) for path in chosen if path]
    text = ",".join(chosen)
    kept = select_fields(Response(200, body), {"fields": text}).body
    left = select_fields(Response(200, body), {"exclude_fields": text}).body

    if ways:
        assert _keep_paths(body, ways, ()) == kept
        assert _remove_paths(body, ways, ()) == left
    assert _remove_paths(body, ways, ()) == left


def _keep_paths(value: Any, ways: list[tuple[str, ...]], here: tuple[str, ...]) -> Any:
    if any(here[: len(way)] == way for way in ways):
        return value
    if isinstance(value, list):
        return [_keep_paths(item, ways, here) for item in value if isinstance(item, list | dict)]
    return {
        name: _keep_paths(item, ways, (*here, name))
        for name, item in value.items()
        if _is_shown(item, ways, (*here, name))
    }


def _is_shown(value: Any, ways: list[tuple[str, ...]], here: tuple[str, ...]) -> bool:
    leads_to_it = any(here[: len(way)] == way for way in ways)
    leads_through_it = any(way[: len(here)] == here for way in ways)
    return leads_to_it or (leads_through_it and isinstance(value, list | dict))


def _remove_paths(value: Any, ways: list[tuple[str, ...]], here: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_remove_paths(item, ways, here) for item in value]
    if isinstance(value, dict):
        return {
            name: _remove_paths(item, ways, (*here, name))
            for name, item in value.items()
            if (*here, name) not in ways
        }
    return value
