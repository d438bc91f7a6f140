"""Which target answers a path."""

import pytest

from batchway.model.operation import Operation
from batchway.targets.table import ROOT, Mount, TargetTable
from tests.scripted_target import ScriptedTarget


def make_table(*prefixes: str) -> TargetTable:
    """Return a table of targets that are named after their prefixes."""
    return TargetTable([Mount(prefix, prefix, ScriptedTarget()) for prefix in prefixes])


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/", "/"),
        ("", "/"),
        ("/lists/1", "/"),
        ("/echo", "/echo"),
        ("/echo/", "/echo"),
        ("//echo//x", "/echo"),
        ("/echo/deep/x", "/echo/deep"),
        ("/echo/deeper", "/echo"),
        ("/echoes", "/"),
        ("/Echo", "/"),
        ("/x/echo", "/"),
    ],
)
def test_longest_prefix_wins(path: str, prefix: str) -> None:
    """Prefixes are compared by whole segments; empty segments do not count."""
    assert prefix == make_table(ROOT, "/echo", "/echo/deep").find(path).name


def test_names_of_operations() -> None:
    """Each target that answers at least one of the operations is named once."""
    operations = [Operation("GET", path, {}, None, None) for path in ("/echo/1", "/echo/2", "/x")]

    assert {"/echo", ROOT} == make_table(ROOT, "/echo").find_names(operations)
    assert {ROOT} == make_table(ROOT).find_names(operations)


@pytest.mark.parametrize("prefixes", [("/echo",), (ROOT, "/echo", "/echo/"), ()])
def test_wrong_tables_are_refused(prefixes: tuple[str, ...]) -> None:
    """Each path must have one target, and each prefix one meaning."""
    with pytest.raises(ValueError, match="target"):
        make_table(*prefixes)


def test_two_targets_of_one_name_are_refused() -> None:
    """Two targets with one name are refused, because batches store the name."""
    with pytest.raises(ValueError, match="same name"):
        TargetTable([Mount(ROOT, "one", ScriptedTarget()), Mount("/x", "one", ScriptedTarget())])
