"""Hands settings on to child processes, as environment variables."""

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from batchway.settings import Settings


def build_environment(settings: Settings) -> dict[str, str]:
    """A variable for each setting; a process that loads them has the same settings.

    The list comes from the settings' fields, so that a new setting reaches the children as well.
    """
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    return {
        f"BATCHWAY_{name.upper()}": _render_value(value)
        for name, value in values.items()
        if value is not None
    }


def _render_value(value: Any) -> str:  # noqa: ANN401 - any setting
    match value:
        case SecretStr():
            return value.get_secret_value()
        case bool():
            return str(value).lower()
        case Path():
            return str(value.resolve())  # a child may run in another folder
        case tuple():
            return ",".join(map(str, value))
        case dict():
            return json.dumps(value)
        case _:
            return str(value)
