"""Tests that each rule of test_architecture.py can fail, and accepts what is right."""

from collections.abc import Callable, Iterator

import pytest

from tests.architecture import Module
from tests.test_architecture import (
    BROAD_EXCEPT_REASONS,
    FILE_LINES_MAX,
    FILE_LINES_MEDIAN_MAX,
    FUNCTION_LINES_MAX,
    FUNCTION_LINES_MEDIAN_MAX,
    find_broad_excepts,
    find_cycles,
    find_empty_names,
    find_family_leaks,
    find_local_imports,
    find_long_files,
    find_long_functions,
    find_misplaced_libraries,
    find_over_budget,
    find_stray_sql,
    find_unlisted_modules,
    find_unscoped_sql,
    find_wrong_imports,
)

Check = Callable[[list[Module]], list[str]]


def make_bad_snippets() -> Iterator[tuple[Check, str, str]]:
    """Yield code that a rule must refuse, as (rule, name of the module, source)."""
    yield find_unlisted_modules, "newcomer", ""
    yield find_wrong_imports, "kit.clock", "from batchway import limits"
    yield find_wrong_imports, "model.batch", "import batchway.store.database"
    yield find_wrong_imports, "audience.members", "from batchway.store import batches"
    yield find_wrong_imports, "targets.base", "from batchway.targets.builtin import BuiltinTarget"
    yield find_wrong_imports, "lifecycle.split", "def f():\n    import batchway.engine"
    yield find_wrong_imports, "cli.watch", "from batchway.app import build"
    yield find_cycles, "kit.ids", "import batchway.kit.ids"
    yield find_local_imports, "kit.clock", "def f():\n    import json"
    yield (
        find_local_imports,
        "kit.clock",
        "class C:\n    async def f(self):\n        from os import path",
    )
    yield find_family_leaks, "lifecycle.execute", "from batchway.targets import builtin"
    yield find_family_leaks, "targets.asgi", "from batchway.targets.builtin import BuiltinTarget"
    yield find_misplaced_libraries, "lifecycle.split", "from dbos import DBOS"
    yield find_misplaced_libraries, "contract.problems", "import starlette.responses as responses"
    yield find_stray_sql, "lifecycle.split", 'run("SELECT id FROM batches")'
    yield find_stray_sql, "surfaces.mailchimp.batch_calls", 'run(f"""\n    DELETE FROM {table}""")'
    yield (
        find_stray_sql,
        "surfaces.mailchimp.batch_calls",
        'run("UPDATE batches " + "SET status = 1")',
    )
    yield find_unscoped_sql, "store.batches", 'run("SELECT account_id FROM batches")'
    yield find_unscoped_sql, "store.batches", 'run("UPDATE batches SET n = 1 WHERE id = :id")'
    yield find_unscoped_sql, "audience.tags", 'run(f"INSERT INTO tags ({COLUMNS}) VALUES (:id)")'
    yield find_unscoped_sql, "store.batches", 'run("DELETE FROM batches -- no account:\\n")'
    yield find_broad_excepts, "lifecycle.split", "try: f()\nexcept: pass"
    yield find_broad_excepts, "lifecycle.split", "try: f()\nexcept (OSError, Exception): pass"
    yield find_broad_excepts, "lifecycle.split", "try: f()\nexcept BaseException as e: raise"
    yield find_empty_names, "kit.utils", ""
    yield find_long_functions, "kit.clock", "def f():\n" + "    pass\n" * FUNCTION_LINES_MAX
    yield find_long_files, "kit.clock", "\n" * (FILE_LINES_MAX + 1)
    yield (
        find_over_budget,
        "kit.clock",
        "def f():\n" + "    pass\n" * FUNCTION_LINES_MEDIAN_MAX,
    )
    yield find_over_budget, "kit.clock", "\n" * (FILE_LINES_MEDIAN_MAX + 1)


def make_good_snippets() -> Iterator[tuple[Check, str, str]]:
    """Yield similar code that the rule must accept."""
    yield find_wrong_imports, "audience.members", "from batchway.store.database import run"
    yield find_wrong_imports, "lifecycle.execute", "from batchway.targets import base"
    yield find_wrong_imports, "surfaces.root", "from batchway import __version__"
    yield find_wrong_imports, "app", "from batchway.targets.builtin import BuiltinTarget"
    yield find_cycles, "store.a", "if TYPE_CHECKING:\n    from batchway.store.a import Row"
    yield find_local_imports, "kit.clock", "class C:\n    import json"
    yield (
        find_family_leaks,
        "targets.builtin.rounds",
        "from batchway.targets.builtin.plan import Plan",
    )
    yield find_misplaced_libraries, "engine", "import dbos"
    yield find_stray_sql, "surfaces.mailchimp.batch_calls", 'route("DELETE", "/batches/{id}")'
    yield find_stray_sql, "contract.problems", '"UPDATE is not a method."'
    yield find_unscoped_sql, "store.ids", 'run("SELECT 1")'
    yield (
        find_unscoped_sql,
        "store.batches",
        'run("SELECT id FROM b WHERE b.account_id = :account_id")',
    )
    yield (
        find_unscoped_sql,
        "store.batches",
        'run("SELECT id FROM b -- no account: sweep sees all")',
    )
    yield find_unscoped_sql, "store.batches", 'run("SELECT value FROM json_each(:values)")'
    yield find_broad_excepts, "engine.workflows", "try: f()\nexcept Exception: pass"
    yield find_long_functions, "kit.clock", "def f():\n" + "    pass\n" * (FUNCTION_LINES_MAX - 1)
    yield find_long_files, "kit.clock", "\n" * FILE_LINES_MAX
    yield find_over_budget, "kit.clock", "\n" * FILE_LINES_MEDIAN_MAX


@pytest.mark.parametrize(("check", "name", "source"), list(make_bad_snippets()))
def test_a_rule_can_fail(check: Check, name: str, source: str) -> None:
    """A snippet that breaks the rule is reported once, with the file and what to do."""
    problems = check([Module.parse(name, source)])

    assert 1 == len(problems)
    assert "snippet" in problems[0]
    assert ": " in problems[0]


@pytest.mark.parametrize(("check", "name", "source"), list(make_good_snippets()))
def test_a_rule_lets_pass_what_is_right(check: Check, name: str, source: str) -> None:
    """A snippet that does not break the rule is not reported."""
    assert [] == check([Module.parse(name, source)])


def test_a_cycle_over_two_files_is_found() -> None:
    """Two modules that import each other are reported, whatever form their imports have."""
    one = Module.parse("store.a", "from batchway.store import b")
    other = Module.parse("store.b", "from batchway.store.a import find")

    assert 1 == len(find_cycles([one, other]))


def test_a_reason_that_is_no_longer_needed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module without a broad `except` must not have a reason for one."""
    monkeypatch.setitem(BROAD_EXCEPT_REASONS, "kit.clock", "a reason")

    assert 1 == len(find_broad_excepts([Module.parse("kit.clock", "x = 1")]))
