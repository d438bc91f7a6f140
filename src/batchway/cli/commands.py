"""Adds commands to the command line. Commands can share groups of options."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any

import typer

Command = Callable[..., None]


def add_command(group: typer.Typer, name: str, command: Command, *examples: str) -> None:
    """Add a command and its examples to a group of commands."""
    title = "Examples:" if len(examples) > 1 else "Example:"
    epilog = "\n\n".join([title, *(f"  {example}" for example in examples)])
    group.command(name, epilog=epilog)(expand_option_groups(command))


def expand_option_groups(command: Command) -> Command:
    """Return the command with the options of its option groups, instead of the groups.

    An option group is a parameter whose type is a dataclass. Each of its fields is an option.
    """
    parameters = inspect.signature(command).parameters
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if is_dataclass(parameter.annotation)
    }
    options = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in parameters.items()
        for option in (
            inspect.signature(groups[name]).parameters.values() if name in groups else [parameter]
        )
    ]

    @wraps(command)
    def run_command(**values: Any) -> None:  # noqa: ANN401 - whatever the options are
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    run_command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return run_command
