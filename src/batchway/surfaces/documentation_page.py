"""The page at `/docs`, made from the OpenAPI document. All that comes from there is escaped."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

import msgspec

from batchway.contract.version import API_PREFIX
from batchway.surfaces.documentation_assets import SCRIPT, STYLE
from batchway.surfaces.documentation_curl import curl

_JSON = "application/json"
_METHODS = ("get", "post", "put", "patch", "delete")
_DEPTH_MAX = 4  # of fields within fields
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
        """Its place on the page."""
        return str(self.operation["operationId"]).replace("_", "-")


@dataclass(frozen=True)
class _Field:
    """One line of a table of fields."""

    name: str
    kind: str
    description: str
    is_required: bool = False


def page(document: dict[str, Any]) -> str:
    """The whole page; nothing is loaded from elsewhere."""
    calls = list(_calls(document))
    info = document["info"]
    groups = [
        (tag["name"], [call for call in calls if tag["name"] in call.operation["tags"]])
        for tag in document["tags"]
    ]
    return _PAGE.format(
        title=_text(info["title"]),
        version=_text(info["version"]),
        style=STYLE,
        script=SCRIPT,
        description="".join(f"<p>{_prose(each)}</p>" for each in info["description"].split("\n\n")),
        base=_text(_base(document)),
        problems=_problems(document),
        links="".join(f'<a href="#{_slug(tag)}">{_text(tag)}</a>' for tag, _ in groups),
        groups="".join(_group(tag, found) for tag, found in groups),
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
<a class="skip" href="#calls">To the calls</a>
<header>
<h1>{title} <small>{version}</small></h1>
{description}
<details class="start"><summary>How to try a call</summary>
<p>The examples take the address and the key from the environment, as the command line does:</p>
<pre><code>export BATCHWAY_URL=<span id="base">{base}</span>
export BATCHWAY_API_KEY=your-key</code></pre>
<p>A program reads the same at <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>
</details>
<details class="start"><summary>Problems that calls are answered with</summary>
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
<p id="none" hidden>No call has all of these words.</p>
</main>
<script>{script}</script>
</body>
</html>
"""


def _calls(document: dict[str, Any]) -> Iterator[_Call]:
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                yield _Call(document, method.upper(), path, operations[method])


def _base(document: dict[str, Any]) -> str:
    """The address that the calls stand under. The script shows the one that the reader uses."""
    base = str(document["servers"][0]["url"]).removesuffix(API_PREFIX)
    return base or "http://127.0.0.1:8080"


def _problems(document: dict[str, Any]) -> str:
    statuses = {
        status: reply["$ref"]
        for call in _calls(document)
        for status, reply in call.operation["responses"].items()
        if "$ref" in reply
    }
    return "".join(
        f"<tr><th scope=row>{_text(status)}</th>"
        f"<td>{_prose(_resolved(document, {'$ref': statuses[status]})['description'])}</td></tr>"
        for status in sorted(statuses)
    )


def _group(tag: str, calls: Iterable[_Call]) -> str:
    shown = "".join(_shown(call) for call in calls)
    return f'<section id="{_slug(tag)}"><h2>{_text(tag)}</h2>{shown}</section>'


def _shown(call: _Call) -> str:
    operation = call.operation
    notes = operation.get("description", "")
    parts = (
        f"<p>{_prose(notes)}</p>" if notes else "",
        _table("Parameters", _parameters(operation)),
        _body(call),
        _replies(call),
        f"<h4>Example</h4><pre><code>{_text(curl(call.method, call.path, operation))}</code></pre>",
    )
    return (
        f'<details class="call" id="{_text(call.id)}"><summary>'
        f'<span class="method {call.method.lower()}">{_text(call.method)}</span> '
        f'<code class="path">{_path(call.path)}</code> '
        f"<span>{_prose(operation['summary'])}</span></summary>"
        f'<div class="body">{"".join(parts)}</div></details>'
    )


def _parameters(operation: dict[str, Any]) -> Iterator[_Field]:
    for each in operation.get("parameters", ()):
        kind = _kind(each["schema"])
        place = "" if each["in"] == "query" else f"in the {each['in']}, "
        yield _Field(each["name"], place + kind, each["description"], bool(each.get("required")))


def _body(call: _Call) -> str:
    body = call.operation.get("requestBody")
    if body is None:
        return ""
    types = [each for each in body["content"] if each != _JSON]
    also = f"<p>Also taken: {', '.join(f'<code>{_text(each)}</code>' for each in types)}</p>"
    fields = _fields(call.document, body["content"][_JSON]["schema"])
    return _table("Body", fields) + (also if types else "")


def _replies(call: _Call) -> str:
    success, *problems = call.operation["responses"].items()
    status, reply = success
    content = reply.get("content", {})
    shown = f"<h4>Reply</h4><p><b>{_text(status)}</b> "
    shown += ", ".join(f"<code>{_text(each)}</code>" for each in content) or "without a body"
    shown += f". Problems: {', '.join(_text(each) for each, _ in problems)}.</p>"
    if _JSON in content:
        tables = [_table(*each) for each in _reply_fields(call.document, content[_JSON]["schema"])]
        shown += f"<details><summary>Fields of the reply</summary>{''.join(tables)}</details>"
    return shown


def _reply_fields(
    document: dict[str, Any], schema: dict[str, Any]
) -> Iterator[tuple[str, Iterable[_Field]]]:
    """The fields of a reply; of several that there may be, each under its title."""
    for each in schema.get("anyOf", ()):
        yield _resolved(document, each)["title"], _fields(document, each)
    yield "", _fields(document, schema)  # none, if there are several


def _table(title: str, fields: Iterable[_Field]) -> str:
    rows = "".join(_row(each) for each in fields)
    heading = f"<h4>{_text(title)}</h4>" if title else ""
    return f'{heading}<div class="wide"><table><tbody>{rows}</tbody></table></div>' if rows else ""


def _row(field: _Field) -> str:
    required = ' <b class="required">required</b>' if field.is_required else ""
    return (
        f"<tr><th scope=row><code>{_text(field.name)}</code>{required}</th>"
        f"<td><span class=kind>{_text(field.kind)}</span> {_prose(field.description)}</td></tr>"
    )


def _fields(
    document: dict[str, Any], schema: dict[str, Any], within: str = "", depth: int = 0
) -> Iterator[_Field]:
    """Each field of an object, required ones first, and of the objects in it, as a dotted path."""
    found = _resolved(document, schema)
    required = found.get("required", ())
    fields = sorted(found.get("properties", {}).items(), key=lambda field: field[0] not in required)
    for name, field in fields:
        path = f"{within}{name}"
        is_required = name in required
        yield _Field(path, _kind(field), field.get("description", ""), is_required)
        value, mark = _value(field)
        if "$ref" in value and depth < _DEPTH_MAX and name != "_links":
            yield from _fields(document, value, f"{path}{mark}.", depth + 1)


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    _, _, kind, name = reference.split("/")
    resolved: dict[str, Any] = document["components"][kind][name]
    return resolved


def _value(schema: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What a field holds, if it holds anything, and `[]` if it holds many of it."""
    first: dict[str, Any] = schema.get("anyOf", [schema])[0]
    return (first["items"], "[]") if "items" in first else (first, "")


def _kind(schema: dict[str, Any]) -> str:
    """The type of a field in a few words."""
    if "type" not in schema and "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(each) for each in schema["anyOf"]))
    if "$ref" in schema:
        return "object"
    choices = schema.get("enum")
    kind = " | ".join(map(str, choices)) if choices else schema.get("type", "any")
    if "items" in schema:
        kind = f"array of {_kind(schema['items'])}s"
    return ", ".join([kind, *_bounds(schema)])


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    if "format" in schema:
        yield str(schema["format"])
    if "minimum" in schema:
        yield f"from {schema['minimum']}"
    if "maximum" in schema:
        yield f"to {schema['maximum']}"
    if "default" in schema:
        yield f"default {msgspec.json.encode(schema['default']).decode()}"


def _path(path: str) -> str:
    """Long paths may break at each slash."""
    return _text(path).replace("/", "/<wbr>")


def _slug(text: str) -> str:
    return "group-" + re.sub(r"\W+", "-", text).lower()


def _prose(text: str) -> str:
    """Text with `code` in it."""
    return _CODE.sub(r"<code>\1</code>", _text(text))


def _text(text: str) -> str:
    return escape(text)
