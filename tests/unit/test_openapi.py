"""The OpenAPI document and the page that is made from it."""

import shlex
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from batchway.audience.routes import make_route_table
from batchway.contract.description import ON_PAGE, CallDescription, Parameter
from batchway.contract.routing import RouteTable
from batchway.openapi.document import build_document
from batchway.surfaces.documentation_curl import build_curl_command
from batchway.surfaces.documentation_page import render_page
from batchway.surfaces.mailchimp.routes import make_routes

NOTHING: Any = None  # nobody calls the handlers here


class Colour(msgspec.Struct):
    """A struct of bodies and replies."""

    name: str
    red: int = 0
    mixed_from: "list[Colour] | None" = None


class Palette(msgspec.Struct, rename={"links": "_links"}):
    """A struct of replies only."""

    colours: list[Colour]
    links: msgspec.Raw


def described(**calls: CallDescription | None) -> dict[str, Any]:
    """Build the document of a table with these methods of `/colours/{colour_id}`."""
    routes: RouteTable[str] = RouteTable()
    for method, description in calls.items():
        routes.add(method, "/colours/{colour_id}", method, description)
    return build_document([("Colours", routes)], "1.2.3")


def operation(method: str, description: CallDescription | None) -> Any:
    """Return one call of such a document."""
    return described(**{method: description})["paths"]["/colours/{colour_id}"][method.lower()]


def every_call() -> dict[str, Any]:
    """Build the document of all calls of this server."""
    own = make_routes(NOTHING, NOTHING, NOTHING, NOTHING)
    return build_document([("Audience", make_route_table()), ("Batches", own)], "1.2.3")


def test_the_document_of_every_call_is_openapi() -> None:
    """The document is valid OpenAPI 3.1, and its examples and defaults match their schemas."""
    validate(every_call())


def test_every_route_is_described() -> None:
    """The document contains every route, each with a summary."""
    paths = every_call()["paths"]
    own = make_routes(NOTHING, NOTHING, NOTHING, NOTHING)
    for method, template, _ in (*make_route_table().routes, *own.routes):
        found = paths[template][method.lower()]

        assert found["summary"].endswith(".")
        assert next(iter(found["responses"])) in {"200", "204"}, f"{method} {template}"


def test_operation_ids_are_unique() -> None:
    """Operation ids are unique, because generated clients use them as names of functions."""
    found = [
        operation["operationId"]
        for path in every_call()["paths"].values()
        for operation in path.values()
    ]

    assert len(found) == len(set(found))
    assert "put_lists_list_id_members_subscriber_hash" in found


def test_a_route_without_a_description() -> None:
    """A route without a description is listed, with 2XX instead of a status."""
    found = operation("GET", None)

    assert ["2XX", "400", "401", "404", "429", "500", "503", "504"] == list(found["responses"])


@pytest.mark.parametrize(
    ("method", "description", "statuses"),
    [
        ("GET", CallDescription("Look.", reply=Colour), ["200"]),
        ("DELETE", CallDescription("Drop.", errors=(405,)), ["204", "405"]),
        ("POST", CallDescription("Mix.", body=Colour, reply=Colour), ["200", "413", "415", "422"]),
        ("PATCH", CallDescription("Change.", body=Colour, status=200), ["200", "413", "415"]),
    ],
)
def test_replies(method: str, description: CallDescription, statuses: list[str]) -> None:
    """The replies are those of every call, of the method, and of the call itself."""
    everywhere = ["400", "401", "404", "429", "500", "503", "504"]

    assert sorted(statuses + everywhere) == sorted(operation(method, description)["responses"])


def test_a_reply_may_lack_any_field() -> None:
    """A reply requires no field, and a body requires the fields without a default."""
    found = described(POST=CallDescription("Mix.", body=Colour, reply=Palette))
    schemas = found["components"]["schemas"]

    assert "required" not in schemas["Palette"]
    assert "required" not in schemas["Colour"]
    assert ["name"] == schemas["ColourInput"]["required"]
    items = schemas["ColourInput"]["properties"]["mixed_from"]["anyOf"][0]["items"]
    assert {"$ref": "#/components/schemas/ColourInput"} == items
    assert found["paths"]["/colours/{colour_id}"]["post"]["requestBody"]["required"]


def test_a_call_with_several_replies() -> None:
    """A call with several replies has a schema that allows each of them."""
    found = described(GET=CallDescription("Look.", reply=Palette, other_replies=(Colour,)))

    [_, content] = found["paths"]["/colours/{colour_id}"]["get"]["responses"]["200"].values()
    names = [f"#/components/schemas/{name}" for name in ("Palette", "Colour")]
    assert {"anyOf": [{"$ref": name} for name in names]} == content["application/json"]["schema"]
    assert {"Palette", "Colour"} <= {*found["components"]["schemas"]}


def test_replies_of_the_calls_on_batches() -> None:
    """A validation has its own reply, and a call that accepts a body lists a 415."""
    paths = every_call()["paths"]

    [_, content] = paths["/batches"]["post"]["responses"]["200"].values()
    schemas = content["application/json"]["schema"]["anyOf"]
    assert ["BatchBody", "Validation"] == [schema["$ref"].rpartition("/")[2] for schema in schemas]
    actions = "/batches/{batch_id}/actions"
    assert {"409", "415", "503"} <= {*paths[f"{actions}/retry"]["post"]["responses"]}
    assert "415" in paths[f"{actions}/cancel"]["post"]["responses"]


def test_a_body_of_changes_requires_nothing() -> None:
    """A body of changes requires nothing and shows no defaults, as absent fields do not change."""
    found = described(
        PUT=CallDescription("Make.", body=Colour),
        PATCH=CallDescription("Change.", body=Colour, is_body_partial=True),
    )
    schemas = found["components"]["schemas"]

    assert ["name"] == schemas["Colour"]["required"]
    assert 0 == schemas["Colour"]["properties"]["red"]["default"]
    assert "required" not in schemas["ColourChanges"]
    assert {"type": "integer"} == schemas["ColourChanges"]["properties"]["red"]
    assert not found["paths"]["/colours/{colour_id}"]["patch"]["requestBody"]["required"]


def test_links_that_are_encoded_in_advance() -> None:
    """Links that are encoded in advance have the schema of links."""
    schemas = described(GET=CallDescription("Look.", reply=Palette))["components"]["schemas"]

    links = {"type": "array", "items": {"$ref": "#/components/schemas/Link"}}
    assert links == schemas["Palette"]["properties"]["_links"]


def test_details_are_added_to_fields() -> None:
    """Details are added by path, also to fields that may be null and to elements of arrays."""
    details: dict[str, dict[str, Any]] = {
        "red": {"maximum": 255},
        "mixed_from": {"description": "Two.", "maxItems": 2},
        "mixed_from.name": {"minLength": 1},
    }
    found = described(PUT=CallDescription("Make.", body=Colour, body_details=details))
    fields = found["components"]["schemas"]["Colour"]["properties"]

    assert 255 == fields["red"]["maximum"]
    assert "Two." == fields["mixed_from"]["description"]
    assert 2 == fields["mixed_from"]["anyOf"][0]["maxItems"]
    assert 1 == fields["name"]["minLength"]


def test_parameters() -> None:
    """Parameters of the path, the query string and the headers have this order and their limits."""
    header = Parameter(name="Accept", description="What.", choices=("a", "b"), example="a")
    found = operation(
        "GET", CallDescription("Look.", query=ON_PAGE, headers=(header,), reply=Colour)
    )

    names = [(parameter["in"], parameter["name"]) for parameter in found["parameters"]]
    assert [
        ("path", "colour_id"),
        ("query", "count"),
        ("query", "offset"),
        ("query", "fields"),
        ("query", "exclude_fields"),
        ("header", "Accept"),
    ] == names
    assert [True] + [None] * 5 == [parameter.get("required") for parameter in found["parameters"]]
    count = {"type": "integer", "minimum": 0, "maximum": 1000, "default": 10}
    assert count == found["parameters"][1]["schema"]
    assert {"type": "string", "enum": ["a", "b"]} == found["parameters"][-1]["schema"]


def test_two_structs_cannot_have_one_name() -> None:
    """Two structs with one name raise an error, because one would replace the other."""
    other = msgspec.defstruct("Colour", [("green", int)])
    one, two = CallDescription("Look.", reply=Colour), CallDescription("Mix.", reply=other)

    with pytest.raises(ValueError, match="have the same title Colour"):
        described(GET=one, POST=two)


def test_the_page_shows_every_call() -> None:
    """The page shows every call with its path, and loads nothing from elsewhere."""
    whole = every_call()
    shown = render_page(whole)

    for path, operations in whole["paths"].items():
        assert path.replace("/", "/<wbr>") in shown
        for operation in operations.values():
            assert f'id="{operation["operationId"].replace("_", "-")}"' in shown
    assert "<code>checked_operations</code>" in shown  # of a reply that is not the usual one
    assert " src=" not in shown
    assert "@import" not in shown


def test_the_page_escapes_what_it_shows() -> None:
    """Descriptions are escaped, and only `code` in backticks is marked up."""
    evil = "<script>alert('1')</script> & `x<y`"
    parameter = Parameter(name="<b>", description=evil, choices=("<i>",), example="<u>")
    body = {"name": "<em>it's</em>"}
    shown = render_page(
        described(
            POST=CallDescription(
                evil, query=(parameter,), body=Colour, body_example=body, notes=evil, tag="<h1>"
            )
        )
    )

    assert "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt; &amp; <code>x&lt;y</code>" in shown
    for tag in ("<script>alert", "<b>&", "<i>", "<u>", "<em>", '"<h1>'):
        assert tag not in shown


@pytest.mark.parametrize(
    ("method", "description", "words"),
    [
        ("GET", CallDescription("Look.", reply=Colour), []),
        ("DELETE", CallDescription("Drop."), ["-X", "DELETE"]),
        ("POST", CallDescription("Mix."), ["-d", ""]),
        (
            "PATCH",
            CallDescription("Change.", body=Colour, body_example={"name": "it's"}),
            ["-X", "PATCH", "-H", "Content-Type: application/json", "-d", '{"name":"it\'s"}'],
        ),
    ],
)
def test_curl(method: str, description: CallDescription, words: list[str]) -> None:
    """A shell parses the example correctly, whatever the body contains."""
    line = build_curl_command(method, "/colours/{colour_id}", operation(method, description))

    found = shlex.split(line.replace("\\\n", ""))
    assert ["curl", "-u", "any:$BATCHWAY_API_KEY", "$BATCHWAY_URL/3.0/colours/1"] == [
        word for word in found if word not in words
    ]
    assert words == [word for word in found if word in words]
