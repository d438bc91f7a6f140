"""Renders the page at `/docs` from the OpenAPI document. All texts of the document are escaped."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

import msgspec

from batchway.contract.version import API_PREFIX
from batchway.surfaces.documentation_assets import SCRIPT, STYLE
from batchway.surfaces.documentation_curl import build_curl_command

_JSON = "application/json"
_METHODS = ("get", "post", "put", "patch", "delete")
_DEPTH_MAX = 4  # of nested objects
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class _Call:
    """One call of the document."""

    document: dict[str, Any]
    method: str
    path: str
    operation: dict[str, Any]

    @property
    def id(self) -> str:
        """The anchor of the call on the page."""
        return str(self.operation["operationId"]).replace("_", "-")


@dataclass(frozen=True)
class _Field:
    """One line of a table of fields."""

    name: str
    kind: str
    description: str
    is_required: bool = False


def render_page(document: dict[str, Any]) -> str:
    """Render the page. It loads nothing from elsewhere."""
    calls = list(_list_calls(document))
    info = document["info"]
    groups = [
        (tag["name"], [call for call in calls if tag["name"] in call.operation["tags"]])
        for tag in document["tags"]
    ]
    return _PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        style=STYLE,
        script=SCRIPT,
        description="".join(
            f"<p>{_render_prose(each)}</p>" for each in info["description"].split("\n\n")
        ),
        base=escape(_find_base_url(document)),
        problems=_render_problems(document),
        links="".join(f'<a href="#{_build_anchor(tag)}">{escape(tag)}</a>' for tag, _ in groups),
        groups="".join(_render_group(tag, found) for tag, found in groups),
        count=len(calls),
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}: every call</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#calls">Skip to the calls</a>
<header>
<h1>{title} <small>{version}</small></h1>
{description}
<details class="start"><summary>How to try a call</summary>
<p>The examples read the address and the key from the environment, as the command line does:</p>
<pre><code>export BATCHWAY_URL=<span id="base">{base}</span>
export BATCHWAY_API_KEY=your-key</code></pre>
<p>For programs, the same is at <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>
</details>
<details class="start"><summary>Problems</summary>
<table><tbody>{problems}</tbody></table>
</details>
</header>
<div class="bar">
<label for="search">Search</label>
<input id="search" type="search" placeholder="path, field or word" autocomplete="off"
 spellcheck="false">
<output id="found" for="search">{count} calls</output>
<nav aria-label="Groups of calls">{links}</nav>
</div>
<main id="calls">{groups}
<p id="none" hidden>No call contains all of these words.</p>
</main>
<script>{script}</script>
</body>
</html>
"""


def _list_calls(document: dict[str, Any]) -> Iterator[_Call]:
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                yield _Call(document, method.upper(), path, operations[method])


def _find_base_url(document: dict[str, Any]) -> str:
    """Find the address for the examples. The script replaces it by the one that the reader uses."""
    base = str(document["servers"][0]["url"]).removesuffix(API_PREFIX)
    return base or "http://127.0.0.1:8080"


def _render_problems(document: dict[str, Any]) -> str:
    replies = {
        status: reply
        for call in _list_calls(document)
        for status, reply in call.operation["responses"].items()
        if "$ref" in reply
    }
    return "".join(
        f"<tr><th scope=row>{escape(status)}</th>"
        f"<td>{_render_prose(_resolve_reference(document, reply)['description'])}</td></tr>"
        for status, reply in sorted(replies.items())
    )


def _render_group(tag: str, calls: Iterable[_Call]) -> str:
    rendered = "".join(_render_call(call) for call in calls)
    return f'<section id="{_build_anchor(tag)}"><h2>{escape(tag)}</h2>{rendered}</section>'


def _render_call(call: _Call) -> str:
    operation = call.operation
    notes = operation.get("description", "")
    command = build_curl_command(call.method, call.path, operation)
    parts = (
        f"<p>{_render_prose(notes)}</p>" if notes else "",
        _render_table("Parameters", _list_parameters(operation)),
        _render_body(call),
        _render_replies(call),
        f"<h4>Example</h4><pre><code>{escape(command)}</code></pre>",
    )
    return (
        f'<details class="call" id="{escape(call.id)}"><summary>'
        f'<span class="method {call.method.lower()}">{escape(call.method)}</span> '
        f'<code class="path">{_render_path(call.path)}</code> '
        f"<span>{_render_prose(operation['summary'])}</span></summary>"
        f'<div class="body">{"".join(parts)}</div></details>'
    )


def _list_parameters(operation: dict[str, Any]) -> Iterator[_Field]:
    for each in operation.get("parameters", ()):
        kind = _describe_type(each["schema"])
        place = "" if each["in"] == "query" else f"in the {each['in']}, "
        yield _Field(each["name"], place + kind, each["description"], bool(each.get("required")))


def _render_body(call: _Call) -> str:
    body = call.operation.get("requestBody")
    if body is None:
        return ""
    types = [each for each in body["content"] if each != _JSON]
    also = f"<p>Also accepted: {', '.join(f'<code>{escape(each)}</code>' for each in types)}</p>"
    fields = _list_fields(call.document, body["content"][_JSON]["schema"])
    return _render_table("Body", fields) + (also if types else "")


def _render_replies(call: _Call) -> str:
    success, *problems = call.operation["responses"].items()
    status, reply = success
    content = reply.get("content", {})
    rendered = f"<h4>Reply</h4><p><b>{escape(status)}</b> "
    rendered += ", ".join(f"<code>{escape(each)}</code>" for each in content) or "without a body"
    rendered += f". Problems: {', '.join(escape(each) for each, _ in problems)}.</p>"
    if _JSON in content:
        fields = _list_reply_fields(call.document, content[_JSON]["schema"])
        tables = [_render_table(*each) for each in fields]
        rendered += f"<details><summary>Fields of the reply</summary>{''.join(tables)}</details>"
    return rendered


def _list_reply_fields(
    document: dict[str, Any], schema: dict[str, Any]
) -> Iterator[tuple[str, Iterable[_Field]]]:
    """List the fields of a reply. If there are several replies, each has its title."""
    for each in schema.get("anyOf", ()):
        yield _resolve_reference(document, each)["title"], _list_fields(document, each)
    yield "", _list_fields(document, schema)  # empty if there are several replies


def _render_table(title: str, fields: Iterable[_Field]) -> str:
    rows = "".join(_render_row(each) for each in fields)
    heading = f"<h4>{escape(title)}</h4>" if title else ""
    return f'{heading}<div class="wide"><table><tbody>{rows}</tbody></table></div>' if rows else ""


def _render_row(field: _Field) -> str:
    required = ' <b class="required">required</b>' if field.is_required else ""
    return (
        f"<tr><th scope=row><code>{escape(field.name)}</code>{required}</th>"
        f"<td><span class=kind>{escape(field.kind)}</span> "
        f"{_render_prose(field.description)}</td></tr>"
    )


def _list_fields(
    document: dict[str, Any], schema: dict[str, Any], within: str = "", depth: int = 0
) -> Iterator[_Field]:
    """List the fields of an object, required ones first, and those of nested objects as paths."""
    found = _resolve_reference(document, schema)
    required = found.get("required", ())
    fields = sorted(found.get("properties", {}).items(), key=lambda field: field[0] not in required)
    for name, field in fields:
        path = f"{within}{name}"
        is_required = name in required
        yield _Field(path, _describe_type(field), field.get("description", ""), is_required)
        value, mark = _find_value_schema(field)
        if "$ref" in value and depth < _DEPTH_MAX and name != "_links":
            yield from _list_fields(document, value, f"{path}{mark}.", depth + 1)


def _resolve_reference(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    _, _, kind, name = reference.split("/")
    resolved: dict[str, Any] = document["components"][kind][name]
    return resolved


def _find_value_schema(schema: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the schema of a field's value, and `[]` if the field is an array of such values."""
    first: dict[str, Any] = schema.get("anyOf", [schema])[0]
    return (first["items"], "[]") if "items" in first else (first, "")


def _describe_type(schema: dict[str, Any]) -> str:
    """Describe the type of a field in a few words."""
    if "type" not in schema and "anyOf" in schema:
        return " or ".join(dict.fromkeys(_describe_type(each) for each in schema["anyOf"]))
    if "$ref" in schema:
        return "object"
    choices = schema.get("enum")
    kind = " | ".join(map(str, choices)) if choices else schema.get("type", "any")
    if "items" in schema:
        kind = f"array of {_describe_type(schema['items'])}s"
    return ", ".join([kind, *_describe_bounds(schema)])


def _describe_bounds(schema: dict[str, Any]) -> Iterator[str]:
    if "format" in schema:
        yield str(schema["format"])
    if "minimum" in schema:
        yield f"from {schema['minimum']}"
    if "maximum" in schema:
        yield f"to {schema['maximum']}"
    if "default" in schema:
        yield f"default {msgspec.json.encode(schema['default']).decode()}"


def _render_path(path: str) -> str:
    """Allow line breaks after each slash of a path."""
    return escape(path).replace("/", "/<wbr>")


def _build_anchor(text: str) -> str:
    return "group-" + re.sub(r"\W+", "-", text).lower()


def _render_prose(text: str) -> str:
    """Render a text in which `code` is marked with backticks."""
    return _CODE.sub(r"<code>\1</code>", escape(text))
