"""Every call of the OpenAPI document, with many arguments: nothing is answered that it does not say.

Schemathesis makes the arguments, right ones and wrong ones, the same in each run.
"""

from collections.abc import Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.contract.running import Api

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


def test_the_document_is_openapi(own_api: Api) -> None:
    """Tools that read OpenAPI 3.1 can read it, and it is no secret."""
    document = own_api.http.get(f"{own_api.server.url}/openapi.json")

    assert "application/json; charset=utf-8" == document.headers["content-type"]
    assert "3.1.0" == document.json()["openapi"]
    validate(document.json())


def test_every_call_answers_as_documented(own_api: Api, subtests: pytest.Subtests) -> None:
    """Whatever is sent, no reply is a fault of the server's or one that is not documented."""
    schema = schemathesis.openapi.from_url(f"{own_api.server.url}/openapi.json")
    for found in schema.get_all_operations():
        operation = found.ok()
        with subtests.test(f"{operation.method.upper()} {operation.path}"):
            check(own_api, operation, known_ids(own_api))


def check(api: Api, operation: Any, known: Mapping[str, str]) -> None:
    """Try one call; three of four times with the ids of things that are there."""
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


def known_ids(api: Api) -> dict[str, str]:
    """The ids of a list with a member, and of a batch that is finished: new ones each time."""
    list_id = api.new_list()
    member = {"email_address": "ann@example.com", "status": "subscribed"}
    api.done("POST", f"/lists/{list_id}/members", member)
    batch_id = api.submit({"method": "GET", "path": "/ping"}, {"method": "GET", "path": "/none"})
    api.finished(batch_id)
    return {
        "list_id": list_id,
        "subscriber_hash": "ann@example.com",
        "merge_id": "1",
        "batch_id": batch_id,
        "position": "1",
    }
