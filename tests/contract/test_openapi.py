"""Calls every route of the OpenAPI document; each reply must be a documented one.

Schemathesis generates valid and invalid arguments, the same in each run.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.contract.shared_servers import Api, check_problem
from tests.receiver import Receiver, open_receiver
from tests.scenario import wait_until

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
MODES = {
    schemathesis.GenerationMode.POSITIVE: 8,  # examples of each call
    schemathesis.GenerationMode.NEGATIVE: 4,
}
JSON = "application/json"
# What a reply need not have, though no `fields` are asked for.
OPTIONAL = {
    "BatchWebhookBody": {"signing_secret"},
    "Link": {"targetSchema", "schema"},
    "ListStats": {"total_contacts"},
    "MemberBody": {"unsubscribe_reason"},
    "Options": {"default_country", "phone_format", "date_format", "choices", "size"},
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with open_receiver() as receiver:
        yield receiver


def test_the_document_is_openapi(own_api: Api) -> None:
    """The document is valid OpenAPI 3.1, and needs no key."""
    reply = own_api.http.get(f"{own_api.server.url}/openapi.json")

    assert "application/json; charset=utf-8" == reply.headers["content-type"]
    assert "3.1.0" == reply.json()["openapi"]
    validate(reply.json())


def test_every_example_works(own_api: Api, receiver: Receiver, subtests: pytest.Subtests) -> None:
    """The reply to each example has exactly the documented fields."""
    document = own_api.http.get(f"{own_api.server.url}/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            with subtests.test(f"{method.upper()} {path}"):
                known = make_ids(own_api, receiver, path)
                body = make_example_body(operation, receiver)
                reply = own_api.call(method.upper(), path.format_map(known), body)
                assert next(iter(operation["responses"])) == str(reply.status_code), reply.text
                if reply.headers.get("content-type", "").startswith(JSON) and reply.content:
                    success = operation["responses"][str(reply.status_code)]
                    check_all_fields(document, success["content"][JSON]["schema"], reply.json())


def make_example_body(operation: Any, receiver: Receiver) -> Any:
    """Return the body of the documentation's example, with a URL that answers."""
    content = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
    body = content.get("example")
    return body | {"url": receiver.url} if body and "url" in body else body


def check_all_fields(document: Any, schema: Any, body: Any) -> None:
    """Check that a body has exactly the fields of its schema, except optional ones."""
    schemas = {
        name: close_schema(component, OPTIONAL.get(name, set()))
        for name, component in document["components"]["schemas"].items()
    }
    validator = jsonschema_rs.validator_for(schema | {"components": {"schemas": schemas}})

    assert [] == [str(error) for error in validator.iter_errors(body)]


def close_schema(schema: Any, optional: set[str]) -> Any:
    """Return the schema of an object that requires its fields and allows no others."""
    if "properties" not in schema:
        return schema
    required = [name for name in schema["properties"] if name not in optional]
    return schema | {"required": required, "additionalProperties": False}


@pytest.mark.parametrize("name", ["%0A", "a%0Ab", "a%0A", "%00", "%FF", "%2F", "%F0%9F%90%9D"])
def test_any_id_is_looked_for(own_api: Api, name: str) -> None:
    """An id with unusual characters gets a documented 404."""
    check_problem(own_api.call("GET", f"/lists/{name}"), 404, "Resource Not Found")


def test_every_call_answers_as_documented(
    own_api: Api, receiver: Receiver, subtests: pytest.Subtests
) -> None:
    """No reply is a 5xx, or has an undocumented status or body."""
    schema = schemathesis.openapi.from_url(f"{own_api.server.url}/openapi.json")
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        with subtests.test(f"{operation.method.upper()} {operation.path}"):
            try_calls(own_api, operation, make_ids(own_api, receiver, operation.path))


def try_calls(api: Api, operation: Any, known: Mapping[str, str]) -> None:
    """Try one route with many arguments. Three of four calls have ids of existing resources."""
    for mode, examples in MODES.items():

        @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode), luck=st.integers(0, 3))
        def try_one(case: Any, luck: int) -> None:
            if luck:
                case.path_parameters |= {
                    name: known.get(name, value) for name, value in case.path_parameters.items()
                }
            headers = {"Authorization": f"Bearer {api.server.key}"}
            case.call_and_validate(headers=headers, checks=CHECKS, timeout=60)

        try_one()


def make_ids(api: Api, receiver: Receiver, path: str) -> dict[str, str]:
    """Create the resources of a path, and return their ids."""
    ids: dict[str, str] = {}
    if "{list_id}" in path:
        member = {"email_address": "member@example.com", "status": "subscribed"}
        ids |= {"list_id": api.new_list(), "subscriber_hash": "member@example.com", "merge_id": "1"}
        api.call_ok("POST", f"/lists/{ids['list_id']}/members", member)
    if "{batch_id}" in path:
        failing = {"method": "GET", "path": "/nothing"}
        ids |= {
            "batch_id": api.submit({"method": "GET", "path": "/ping"}, failing),
            "position": "1",
        }
        api.wait_until_finished(ids["batch_id"])
    if "{batch_webhook_id}" in path:
        webhook = api.call_ok("POST", "/batch-webhooks", {"url": receiver.url})["id"]
        ids["batch_webhook_id"] = webhook
        if "{delivery_id}" in path:
            test = api.call_ok("POST", f"/batch-webhooks/{webhook}/actions/test")["id"]
            one = f"/batch-webhooks/{webhook}/deliveries/{test}"
            wait_until(
                lambda: api.call_ok("GET", one)["state"] != "pending", "the test event arrives"
            )
            ids["delivery_id"] = test
    return ids
