"""`fields` and `exclude_fields`."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.contract.fields import check_params, select_fields
from batchway.contract.problems import Refused, not_found
from batchway.contract.response import NO_CONTENT, Response, build_error_response, encode

BODY: dict[str, Any] = {
    "id": "1",
    "name": "Readers",
    "stats": {"member_count": 2, "rates": {"open": 1}},
    "members": [
        {"id": "a", "email_address": "ann@x.com", "location": {"latitude": 1}},
        {"id": "b", "email_address": "bea@x.com", "tags": []},
    ],
    "modules": [],
    "total_items": 2,
    "_links": [{"rel": "self", "href": "/"}],
}


def chosen(**params: str) -> Any:
    """Return the body that remains."""
    return json.loads(encode(select_fields(Response(200, BODY), params).body))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("name", {"name": "Readers"}),
        ("total_items,name", {"name": "Readers", "total_items": 2}),
        (" name , , id ", {"id": "1", "name": "Readers"}),
        ("stats.member_count", {"stats": {"member_count": 2}}),
        ("stats.rates.open", {"stats": {"rates": {"open": 1}}}),
        ("stats,stats.member_count", {"stats": BODY["stats"]}),
        ("stats.member_count,stats", {"stats": BODY["stats"]}),
        ("stats.rates.open,stats.member_count", {"stats": BODY["stats"]}),
        ("members.id", {"members": [{"id": "a"}, {"id": "b"}]}),
        ("members.location.latitude", {"members": [{"location": {"latitude": 1}}, {}]}),
        ("modules.x", {"modules": []}),
        ("nothing,stats.nothing", {"stats": {}}),
        ("nothing", {}),
        ("Name", {}),
        ("_links.rel", {"_links": [{"rel": "self"}]}),
    ],
)
def test_only_selected_fields_are_kept(fields: str, expected: object) -> None:
    """Selected paths go through arrays, unknown ones match nothing, the body's order remains."""
    found = chosen(fields=fields)

    assert expected == found
    assert json.dumps(expected) == json.dumps(found)


@pytest.mark.parametrize(
    ("exclude_fields", "missing"),
    [
        ("name", ["name"]),
        ("name,stats", ["name", "stats"]),
        ("stats.rates", ["stats.rates"]),
        ("stats.rates,stats", ["stats"]),
        ("stats,stats.rates", ["stats"]),
        ("_links,members.email_address", ["_links", "members.email_address"]),
        ("members.location.latitude", ["members.location.latitude"]),
        ("email_address", []),
        ("stats.member_count.x,name.x,modules.x", []),
        (",", []),
    ],
)
def test_excluded_fields_are_dropped(exclude_fields: str, missing: list[str]) -> None:
    """Excluded paths are removed, all others remain, and unknown paths change nothing."""
    expected = json.loads(json.dumps(BODY))
    for path in missing:
        drop(expected, path.split("."))

    assert expected == chosen(exclude_fields=exclude_fields)


def drop(value: Any, names: list[str]) -> None:
    """Delete a path that exists in one of the objects."""
    for item in value if isinstance(value, list) else [value]:
        if len(names) > 1:
            drop(item.get(names[0], []), names[1:])
        else:
            item.pop(names[0], None)


@pytest.mark.parametrize("params", [{}, {"fields": ""}, {"fields": "", "exclude_fields": ""}])
def test_no_selection_keeps_everything(params: dict[str, str]) -> None:
    """Without a selection the same response is returned, not a copy."""
    response = Response(200, BODY)

    assert response is select_fields(response, params)


def test_a_path_through_a_plain_value_matches_nothing() -> None:
    """A path below a text or a number matches nothing."""
    assert {} == chosen(fields="name.x,total_items.y")


def test_problems_stay_whole() -> None:
    """A selection of fields does not change a problem document."""
    problem = build_error_response(not_found())

    assert problem is select_fields(problem, {"fields": "name"})
    assert NO_CONTENT is select_fields(NO_CONTENT, {"fields": "name"})


def test_headers_stay() -> None:
    """A selection of fields does not change the headers."""
    response = Response(200, BODY, (("X-A", "1"),))

    assert (("X-A", "1"),) == select_fields(response, {"fields": "id"}).headers


def test_both_parameters_are_refused() -> None:
    """`fields` and `exclude_fields` together are rejected before the call has any effect."""
    with pytest.raises(Refused) as refused:
        check_params({"fields": "a", "exclude_fields": "b"})

    assert 400 == refused.value.problem.status


def test_a_nul_is_refused() -> None:
    """A NUL in any parameter is rejected by name, because PostgreSQL cannot store it."""
    with pytest.raises(Refused) as refused:
        check_params({"count": "1", "email": "a\0"})

    assert refused.value.problem.errors
    assert ["email"] == [error.field for error in refused.value.problem.errors]


@pytest.mark.parametrize("params", [{}, {"fields": "a"}, {"fields": "a", "exclude_fields": ""}])
def test_one_parameter_is_enough(params: dict[str, str]) -> None:
    """An empty parameter counts as absent."""
    check_params(params)


names = st.sampled_from("abc")
objects = st.dictionaries(
    names,
    st.recursive(
        st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=12,
    ),
)
paths = st.lists(st.lists(names, min_size=1, max_size=3).map(".".join), min_size=1, max_size=4)


@given(objects, paths)
def test_choosing_twice_is_choosing_once(body: dict[str, Any], some: list[str]) -> None:
    """A second selection changes nothing, and an excluded field cannot be selected afterwards."""
    asked = {"fields": ",".join(some)}
    excluded = {"exclude_fields": ",".join(some)}
    kept = select_fields(Response(200, body), asked)
    rest = select_fields(Response(200, body), excluded)

    assert kept == select_fields(kept, asked)
    assert rest == select_fields(rest, excluded)
    assert {} == leaves(select_fields(rest, asked).body) or any("." in path for path in some)
    assert leaves(body).keys() >= leaves(kept.body).keys() | leaves(rest.body).keys()


def leaves(value: object, path: str = "") -> dict[str, object]:
    """Return each plain value by its path, with indexes for arrays."""
    found: dict[str, object] = {}
    if isinstance(value, dict):
        for name, item in value.items():
            found |= leaves(item, f"{path}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found |= leaves(item, f"{path}[{number}]")
    else:
        found[path] = value
    return found
