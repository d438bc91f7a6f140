"""Prints why operations failed, grouped by reason."""

from collections.abc import Iterable

from batchway.cli.terminal import print_table
from batchway.surfaces.mailchimp.bodies.batches import ErrorGroup, ErrorSample

_COLUMNS = ("count", "status code", "title", "field", "message", "operations", "such as")


def print_error_groups(groups: Iterable[ErrorGroup]) -> None:
    """Print the groups as a table. Prints nothing if there are none."""
    rows = [_build_row(group) for group in groups]
    if rows:
        print_table(_COLUMNS, rows)


def _build_row(group: ErrorGroup) -> tuple[object, ...]:
    return (
        group.count,
        group.status_code,
        group.title,
        group.field,
        group.message,
        ", ".join(map(_name_operation, group.samples)),
        group.samples[0].path if group.samples else "",
    )


def _name_operation(sample: ErrorSample) -> str:
    """Return the operation_id or, if there is none, the position in the batch."""
    return f"number {sample.position}" if sample.operation_id is None else sample.operation_id
