"""Builds a curl command as the example of a call."""

import re
import shlex
from typing import Any

import msgspec

from batchway.contract.version import API_PREFIX

_JSON = "application/json"
_VARIABLE = re.compile(r"\{(\w+)\}")


def build_curl_command(method: str, path: str, operation: dict[str, Any]) -> str:
    """Build a curl command for a call of an OpenAPI document, with the document's examples."""
    parameters = operation.get("parameters", ())
    examples = {each["name"]: str(each.get("example", "1")) for each in parameters}
    filled = _VARIABLE.sub(lambda variable: examples[variable[1]], path)
    lines = ["curl" + (f" -X {method}" if method not in {"GET", "POST"} else "")]
    lines[0] += ' -u "any:$BATCHWAY_API_KEY"'
    content = operation.get("requestBody", {}).get("content", {}).get(_JSON, {})
    if "example" in content:
        body = msgspec.json.encode(content["example"]).decode()
        lines += [f"-H 'Content-Type: {_JSON}'", f"-d {shlex.quote(body)}"]
    elif method == "POST":
        lines += ["-d ''"]
    lines += [f'"$BATCHWAY_URL{API_PREFIX}{filled}"']
    return " \\\n  ".join(lines)
