"""Builds the OpenAPI document from route tables and the descriptions of their routes."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from batchway.contract.description import CallDescription, Parameter, describe_path_variable
from batchway.contract.problems import Problem
from batchway.contract.routing import RouteTable
from batchway.contract.version import API_PREFIX
from batchway.openapi.schemas import Schema, Schemas

# A table, and the group of its calls in the documentation unless their descriptions have a tag.
TitledTable = tuple[str, RouteTable[Any]]

JSON = "application/json"
PROBLEM = "application/problem+json"

_VARIABLE = re.compile(r"\{(\w+)\}")
_NOT_A_WORD = re.compile(r"\W+")
_STATUSES_OF_EVERY_CALL = (400, 401, 429, 500, 503, 504)

_PROBLEMS = {
    400: ("BadRequest", "The request is wrong. `errors` lists the wrong fields, if there are any."),
    401: ("Unauthorized", "The API key is missing, unknown or revoked."),
    403: ("Forbidden", "The account may not do this."),
    404: ("NotFound", "The resource does not exist in this account."),
    405: (
        "MethodNotAllowed",
        "The resource does not have this method. `Allow` lists those that it has.",
    ),
    409: ("Conflict", "The request conflicts with the current state of the resource."),
    413: ("TooLarge", "The body is larger than the limit."),
    415: ("UnsupportedMediaType", "The content encoding of the body is not supported."),
    422: ("InvalidMethodOverride", "`X-HTTP-Method-Override` does not name PUT, PATCH or DELETE."),
    429: ("TooManyRequests", "Too many requests at once. `Retry-After` says when to try again."),
    500: ("InternalError", "An unexpected error of the server."),
    503: ("Unavailable", "The server cannot accept the request now. Try again later."),
    504: ("TimedOut", "The call took too long. It may still take effect."),
}
_HEADERS = {
    405: ("Allow", "The methods that this resource has, separated by commas."),
    429: ("Retry-After", "Seconds to wait before the next try."),
    503: ("Retry-After", "Seconds to wait before the next try."),
}

_DESCRIPTION = """\
Send thousands of API calls in one request: POST them to `/batches`, poll the status, and download
one archive of the results. Every operation of a batch can also be called alone.

Every call needs an API key: as the password of HTTP Basic with any user name, or as a Bearer token.
Times are UTC in ISO 8601; an unknown time is an empty string. Errors are answered with a problem
document (RFC 9457). Every reply has an `X-Request-Id`.

Batchway is compatible with the Mailchimp Marketing API 3.0, and is independent of Mailchimp."""


class _Call(msgspec.Struct, frozen=True):
    method: str
    template: str
    tag: str
    described: CallDescription
    is_described: bool


def build_document(
    tables: Iterable[TitledTable], version: str, base_url: str = ""
) -> dict[str, Any]:
    """Build the document for all routes of the tables, in their order.

    Without a `base_url`, the server URL is relative to the address of the document.
    """
    calls = [call for title, table in tables for call in _list_calls(title, table)]
    schemas = Schemas()
    problem = schemas.add_problem(Problem)
    paths: dict[str, dict[str, Any]] = {}
    for call, reply, body in _add_schemas(schemas, calls):
        operation = _build_operation(call, reply, body)
        paths.setdefault(call.template, {})[call.method.lower()] = operation
    statuses = sorted({status for call in calls for status in _list_error_statuses(call)})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Batchway",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": f"{base_url}{API_PREFIX}"}],
        "security": [{"basic": []}, {"bearer": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(call.tag for call in calls)],
        "paths": paths,
        "components": {
            "securitySchemes": _SECURITY,
            "responses": {
                _PROBLEMS[each][0]: _build_problem_response(each, problem) for each in statuses
            },
            "schemas": schemas.components,
        },
    }


_SECURITY = {
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The API key as the password, with any user name.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "The API key as the token."},
}


def _list_calls(title: str, table: RouteTable[Any]) -> Iterable[_Call]:
    for method, template, _ in table.routes:
        described = table.find_description(method, template)
        known = described or CallDescription("Not described yet.")
        yield _Call(method, template, known.tag or title, known, described is not None)


def _add_schemas(
    schemas: Schemas, calls: Sequence[_Call]
) -> Iterable[tuple[_Call, Schema | None, Schema | None]]:
    """Add the schemas of all calls, and yield each call with those of its reply and its body.

    Replies are added first, so that a struct that is used in replies and bodies keeps its own name
    as a reply, and gets a suffix as a body.
    """
    all_described = [call.described for call in calls]
    replies = schemas.add_replies(reply for each in all_described for reply in each.replies)
    whole, partial = (
        [each.body for each in all_described if each.body and each.is_body_partial is is_partial]
        for is_partial in (False, True)
    )
    bodies, changes = schemas.add_bodies(whole), schemas.add_changes(partial)
    for call in calls:
        described = call.described
        reply = _combine_replies([replies[each] for each in described.replies])
        body = None
        if described.body:
            schema = (changes if described.is_body_partial else bodies)[described.body]
            schemas.add_details(schema, described.body_details)
            body = _build_body(described, schema, is_required=schemas.has_required_fields(schema))
        yield call, reply, body


def _combine_replies(schemas: Sequence[Schema]) -> Schema | None:
    """Use `anyOf`, because no field is required in a reply, so that one body can match several."""
    return {"anyOf": list(schemas)} if len(schemas) > 1 else next(iter(schemas), None)


def _build_body(described: CallDescription, schema: Schema, *, is_required: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": schema}
    if described.body_example is not None:
        content["example"] = described.body_example
    others = {each: {"schema": {"type": "string"}} for each in described.body_types}
    return {"required": is_required, "content": {JSON: content} | others}


def _build_operation(call: _Call, reply: Schema | None, body: Schema | None) -> dict[str, Any]:
    described = call.described
    variables = [describe_path_variable(each) for each in _VARIABLE.findall(call.template)]
    parameters = [
        *(_build_parameter(each, "path") for each in variables),
        *(_build_parameter(each, "query") for each in described.query),
        *(_build_parameter(each, "header") for each in described.headers),
    ]
    return {
        "operationId": _NOT_A_WORD.sub("_", f"{call.method.lower()}{call.template}").strip("_"),
        "summary": described.summary,
        **({"description": described.notes} if described.notes else {}),
        "tags": [call.tag],
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": body} if body else {}),
        "responses": _build_responses(call, reply),
    }


def _build_parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    schema: Schema = {"type": parameter.kind}
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    if parameter.format:
        schema["format"] = parameter.format
    bounds = {"minimum": parameter.minimum, "maximum": parameter.maximum}
    schema |= {key: bound for key, bound in bounds.items() if bound is not None}
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": place,
        "description": parameter.description,
        **({"required": True} if place == "path" else {}),
        "schema": schema,
        **({} if parameter.example is None else {"example": parameter.example}),
    }


def _build_responses(call: _Call, reply: Schema | None) -> dict[str, Any]:
    described = call.described
    success: dict[str, Any] = {"description": "Done. The reply has no body."}
    if reply is not None:
        others: dict[str, Any] = {each: {} for each in described.reply_types}
        success = {"description": "Done.", "content": {JSON: {"schema": reply}} | others}
    problems = {
        str(status): {"$ref": f"#/components/responses/{_PROBLEMS[status][0]}"}
        for status in _list_error_statuses(call)
    }
    status = str(described.reply_status) if call.is_described else "2XX"
    return {status: success, **problems}


def _list_error_statuses(call: _Call) -> list[int]:
    """List the statuses of the problems that a call can be answered with."""
    found = {*_STATUSES_OF_EVERY_CALL, *call.described.errors}
    if "{" in call.template:
        found.add(404)
    if call.method == "POST":
        found.add(422)
    if call.method in {"POST", "PUT", "PATCH"}:
        found |= {413, 415}
    return sorted(found)


def _build_problem_response(status: int, schema: Schema) -> dict[str, Any]:
    _, description = _PROBLEMS[status]
    response: dict[str, Any] = {"description": description}
    if status in _HEADERS:
        name, meaning = _HEADERS[status]
        response["headers"] = {name: {"description": meaning, "schema": {"type": "string"}}}
    return response | {"content": {PROBLEM: {"schema": schema}}}
