"""Writes the reference pages that are generated from the code: settings, limits, commands.

    .venv/bin/python docs/generate.py

`tests/test_docs.py` fails if a page differs from what this writes.
"""

import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import typer.main
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from batchway import limits
from batchway.cli.main import build_app
from batchway.limits import Limits
from batchway.settable_limits import SETTABLE
from batchway.settings import Settings

REFERENCE = Path(__file__).parent / "reference"

Row = Sequence[str]

_MADE = "<!-- Made by docs/generate.py from the code. Change the code, then run it again. -->\n"
_SETTINGS = """# Settings

A setting can be given in several places. The first of these that has it is used:

1. the option of a command, where it has one ([commands](commands.md));
2. the environment variable;
3. the TOML file that the environment variable `BATCHWAY_CONFIG` names;
4. the default.

Settings are read once, when a process starts. All mistakes are reported together, each with its
name; see [errors](errors.md#starting). Secrets are never printed.

In the file, the settings are at the top level:

```toml
data_dir = "/srv/batchway"
workers = 2
public_url = "https://batch.example.com"
```
"""
_LIMITS = """# Limits

Everything has a bound, in [`limits.py`](../../src/batchway/limits.py). The end of a name is its
unit.

An operator can change those marked *settable*, with the setting [`limits`](settings.md):
`BATCHWAY_LIMITS='{"pending_batches_per_account_max": 1000}'`, or in the file

```toml
[limits]
pending_batches_per_account_max = 1000
```

The others have one value. `GET /3.0/limits` shows a client the limits that it can meet, and how
much of them is used ([API](api.md#limits)).

What is under way *at once* for a key or an account is counted by each process alone: with several
`serve` on one PostgreSQL, `requests_per_key_max`, `event_streams_per_key_max` and the checks of
URLs hold for each API process. Attempts to deliver are counted by each worker. What an account may
have in all, such as pending batches, is counted in the database.
"""
_COMMANDS = """# Commands

After `make demo`, the command is `.venv/bin/batchway`. `batchway COMMAND --help` shows the same as
this page. Each option can also be given as the environment variable beside it.

`serve`, `worker`, `migrate`, `accounts` and `keys` are for the operator: they use the database.
All other commands are clients: they use HTTP and an API key, and run on any machine.

A command exits with 0 if it succeeds, with 1 if it fails, and with 2 if it is called wrongly. An
error says what went wrong and what to do next.
"""

_SECTION = re.compile(r" *# (?P<title>.+)")
_LIMIT = re.compile(r" *(?P<name>[a-z_]+)(?:: [^=]+)? = .+?(?:  # (?P<why>.+))?")
_UNITS = (
    ("seconds", "s"),
    ("days", "days"),
    ("characters", "characters"),
)
_KIB = 1024
_MIB = 1024 * _KIB
_PLACES = {int: "N", Path: "PATH", str: "TEXT"}


def render_pages() -> dict[Path, str]:
    """Return the text of each generated page, by its path."""
    return {
        REFERENCE / "settings.md": render_settings(),
        REFERENCE / "limits.md": render_limits(),
        REFERENCE / "commands.md": render_commands(),
    }


def render_settings() -> str:
    """Render all settings with their variables, defaults and meanings."""
    rows = [
        (
            f"`{name}`",
            f"`BATCHWAY_{name.upper()}`",
            "`false`" if field.default is False else _format_code(_get_default(field)),
            _describe_setting(field),
        )
        for name, field in Settings.model_fields.items()
    ]
    table = _render_table(("setting", "environment variable", "default", "meaning"), rows)
    return f"{_MADE}{_SETTINGS}\n{table}"


def _get_default(field: FieldInfo) -> Any:
    return None if field.default is PydanticUndefined else field.default


def _describe_setting(field: FieldInfo) -> str:
    least = next((each.ge for each in field.metadata if hasattr(each, "ge")), None)
    most = next((each.le for each in field.metadata if hasattr(each, "le")), None)
    bounds = "" if least is None or most is None else f" {least} to {most}."
    return f"{field.description}{bounds}"


def render_limits() -> str:
    """Render all limits with their values and reasons, by the sections of the source."""
    assert limits.__file__
    sections: dict[str, list[Row]] = {}
    title = ""
    for line in Path(limits.__file__).read_text().splitlines():
        if found := _SECTION.fullmatch(line):
            title = found["title"]
        elif found := _LIMIT.fullmatch(line):
            name = found["name"]
            value = getattr(Limits, name) if hasattr(Limits, name) else getattr(limits, name)
            settable = "*settable*" if name in SETTABLE else ""
            note = "; ".join(filter(None, (found["why"], settable)))
            sections.setdefault(title, []).append((f"`{name}`", _format_value(name, value), note))
    parts = [
        f"{_MADE}{_LIMITS}",
        *(_render_section(title, rows) for title, rows in sections.items()),
    ]
    return "\n".join(parts)


def _render_section(title: str, rows: Sequence[Row]) -> str:
    return f"## {title}\n\n{_render_table(('limit', 'value', 'note'), rows)}"


def _format_value(name: str, value: float | tuple[float, ...]) -> str:
    if isinstance(value, tuple):
        return ", ".join(_format_value(name, each) for each in value)
    if "_bytes" in name:
        return _format_size(int(value))
    unit = next((unit for word, unit in _UNITS if word in name), "")
    number = int(value) if value == int(value) else value
    return f"{number:,} {unit}".strip()


def _format_size(count: int) -> str:
    for size, unit in ((_MIB, "MiB"), (_KIB, "KiB")):
        if count % size == 0:
            return f"{count // size:,} {unit}"
    return f"{count:,} bytes"


def render_commands() -> str:
    """Render all commands with their usage, arguments, options and examples."""
    top = typer.main.get_command(build_app())
    return "\n".join([f"{_MADE}{_COMMANDS}", *_render_commands(top, "batchway")])


def _render_commands(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _render_commands(command, f"{path} {name}")
        else:
            yield _render_command(command, f"{path} {name}")


def _render_command(command: Any, path: str) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join([path, *(_format_placeholder(each) for each in arguments), "[OPTIONS]"])
    parts = [f"## {path}\n", f"`{usage}`\n", f"{command.help}\n"]
    if arguments:
        rows = [(f"`{_format_placeholder(each)}`", each.help) for each in arguments]
        parts.append(_render_table(("argument", "meaning"), rows))
    if options:
        parts.append(
            _render_table(
                ("option", "environment variable", "default", "meaning"),
                [_build_option_row(each) for each in options],
            )
        )
    return "\n".join([*parts, _render_examples(command.epilog)])


def _build_option_row(option: Any) -> Row:
    place = "" if option.is_flag else f" {_format_placeholder(option)}"
    names = ", ".join(f"`{name}{place}`" for name in option.opts)
    return names, f"`{option.envvar}`", _format_default(option), option.help


def _format_default(option: Any) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    if option.default is None:  # the setting has the default
        return _format_code(_get_default(Settings.model_fields[option.name]))
    return _format_code(option.default)


def _format_placeholder(parameter: Any) -> str:
    """Return the word that stands for the value in the usage."""
    if parameter.metavar:
        return str(parameter.metavar)
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, types.UnionType):
        kind = get_args(kind)[0]
    return _PLACES[kind]


def _format_code(value: Any) -> str:
    if value is None or value == "" or value is False or isinstance(value, SecretStr):
        return ""
    return f"`{value}`"


def _render_examples(epilog: str) -> str:
    lines = [line.strip() for line in epilog.splitlines()]
    commands = [line for line in lines if line and not line.startswith("Example")]
    return "```sh\n" + "\n".join(commands) + "\n```\n"


def _render_table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_escape_cell(each) for each in line)} |\n" for line in lines)


def _escape_cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the pages."""
    for path, text in render_pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
