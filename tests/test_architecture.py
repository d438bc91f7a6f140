"""Is the house as CONTRIBUTING.md describes it? Each rule reads the source, and says what to do.

First the rules as data, then one test a rule, then the rules, then the proof that each can fail.
"""

import ast
import re
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from math import ceil

import pytest

from tests.architecture import (
    Module,
    count_lines,
    find_functions,
    find_imports,
    find_longest_prefix,
    find_own_imports,
    find_statements,
    is_migration,
    list_other_modules,
    list_package_modules,
)

# Part of the house → the parts that it may import. The longest name that fits is a module's part.
MAY_IMPORT = {
    "errors": "",
    "limits": "",
    "settable_limits": "limits",
    "kit": "",
    "model": "kit limits",
    "settings": "kit model errors limits settable_limits",
    "contract": "kit model archives.base errors limits",
    "store": "kit model errors limits",
    "result_archive": "kit model limits",
    "formats": "kit model limits result_archive",
    "observers": "",
    "archives": "kit model errors limits",
    "results": "kit model store archives.base formats.base errors limits",
    "targets": "",
    "targets.base": "kit model contract errors limits",
    "targets.table": "model targets.base",
    "targets.builtin": "kit model contract store.database store.ids errors limits targets.base "
    "audience",
    "audience": "kit model contract store.database errors limits",
    "lifecycle": "kit model contract.request contract.links store results result_archive "
    "archives.base formats.base observers.base targets.base targets.table errors limits settings",
    "engine": "kit model store errors limits",
    "openapi": "contract limits",
    "surfaces": "kit model contract openapi store results lifecycle archives.base targets.table "
    "errors limits settable_limits settings surfaces.mailchimp.bodies",
    "installation": "kit store archives.base errors",
    "database_setup": "kit audience.schema engine settings store.database store.migrate "
    "installation archives",
    "app": "*",
    "processes": "app kit limits settings",
    # The command line reads what the surface writes.
    "surfaces.mailchimp.bodies": "contract.links",
    "cli": "cli kit contract.version model.batch model.webhook surfaces.mailchimp.bodies errors "
    "limits settings",
    **dict.fromkeys(
        # The operator's commands; all others use only what any caller of the API can use.
        [
            *["cli.serve", "cli.worker", "cli.migrate", "cli.accounts"],
            *["cli.keys", "cli.api_keys"],
        ],
        "cli kit model errors limits settings app database_setup store processes",
    ),
    "__main__": "cli",
    "__init__": "",
}

# A library → the parts that may know it.
LIBRARY_PARTS = {
    "dbos": "engine",
    "starlette": "surfaces app processes.api",
    "uvicorn": "processes.api",
    "alembic": "store audience.migrations",
    "httpx": "cli",
    "httpcore": "kit.egress",
    "cryptography": "kit.sealing",
    "anyio": "surfaces",
    "setproctitle": "kit.forks",
    "rich": "cli",
    "typer": "cli",
}

FAMILIES = ("archives", "formats", "observers", "targets")  # `base.py` is the contract
SURFACES = ("surfaces.mailchimp",)  # members of a family, too: a folder each
SHARED_BODIES = ("surfaces.mailchimp.bodies",)  # what a surface writes and the command line reads
NOT_MEMBERS = ("base", "table")
WIRING = ("app", "database_setup")  # only these name the other modules of a family
SQL_PARTS = ("store", "audience", "engine")
BROAD_EXCEPT_PARTS = ("engine", "app")
# Elsewhere `except Exception` needs a reason: module → why.
BROAD_EXCEPT_REASONS = {
    "surfaces.mailchimp.calls": "the edge of HTTP: a mistake of ours is a 500 and a log line",
    "audience.calls": "a mistake of ours in one call is a 500 for that call and nobody else",
    "lifecycle.pack": "a result that cannot be rendered is a 500 for its operation alone",
    "archives.disk": "removes its temporary file, whatever ended the writing, and raises again",
}
# A library that may be absent is imported where it is used: library → why.
OPTIONAL_LIBRARIES: dict[str, str] = {}
EMPTY_NAMES = ("utils", "common", "helpers", "manager", "service", "handler")

FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN_MAX = 10
FUNCTION_LINES_P95_MAX = 40
FILE_LINES_MAX = 500
FILE_LINES_MEDIAN_MAX = 150
FILE_LINES_P95_MAX = 400


# --- The rules -----------------------------------------------------------------------------------


def test_every_module_has_a_place() -> None:
    """A new part of the house is entered in the table before anything is built on it."""
    check_none(find_unlisted_modules(list_package_modules()))


def test_imports_go_one_way() -> None:
    """The direction of imports is the direction of knowledge."""
    check_none(find_wrong_imports(list_package_modules()))


def test_no_import_cycles() -> None:
    """Every module can be understood, and loaded, before those that use it."""
    check_none(find_cycles(list_package_modules()))


def test_no_imports_inside_functions() -> None:
    """What a file needs stands at its top, but for libraries that may be absent."""
    check_none(find_local_imports(list_package_modules()))


def test_only_app_names_members_of_families() -> None:
    """A target or an archive is added by one file and one line in `app.py`."""
    check_none(find_family_leaks(list_package_modules()))


def test_libraries_stay_behind_their_doors() -> None:
    """The engine, the web framework and the terminal can each be replaced in one place."""
    check_none(find_misplaced_libraries(list_package_modules()))


def test_sql_stands_in_the_open() -> None:
    """Whoever reviews the statements finds them in the store, the audience, the engine."""
    check_none(find_stray_sql(list_package_modules()))


def test_every_statement_names_the_account() -> None:
    """No query can reach another account's rows by forgetting to say whose it wants."""
    check_none(find_unscoped_sql(list_package_modules()))


def test_broad_excepts_are_few_and_reasoned() -> None:
    """Whoever catches everything says why; elsewhere a bug is seen."""
    check_none(find_broad_excepts(list_package_modules()))


def test_file_names_say_something() -> None:
    """A file is found by guessing its name."""
    check_none(find_empty_names(list_package_modules()))


def test_functions_fit_on_a_screen() -> None:
    """A reader follows one control flow without scrolling."""
    check_none(find_long_functions([*list_package_modules(), *list_other_modules()]))


def test_files_can_be_read_in_one_sitting() -> None:
    """A file holds one subject."""
    check_none(find_long_files([*list_package_modules(), *list_other_modules()]))


def test_the_house_keeps_its_budget() -> None:
    """Most functions and files stay far below the limits."""
    check_none(find_exceeded_budgets(list_package_modules()))


def check_none(problems: list[str]) -> None:
    """Fail with every problem in full; a comparison of lists would cut them short."""
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


# --- The rules themselves ----------------------------------------------------------------------


def find_unlisted_modules(modules: list[Module]) -> list[str]:
    """Modules that no row of the table covers."""
    return [
        f"{module.path}: enter {module.name} in MAY_IMPORT, with what it may import"
        for module in modules
        if _get_part(module) is None
    ]


def find_wrong_imports(modules: list[Module]) -> list[str]:
    """Imports of our own that the table does not allow."""
    return [
        f"{module.path}:{imported.line}: {part} may not import {target}: "
        "move what both need down, or let the caller pass it in"
        for module in modules
        if (part := _get_part(module))
        for imported, target in find_own_imports(module)
        if not _may_import(part, target)
    ]


def _get_part(module: Module) -> str | None:
    return find_longest_prefix(module.name, MAY_IMPORT)


def _may_import(part: str, target: str) -> bool:
    home = find_longest_prefix(target, MAY_IMPORT)
    allowed = MAY_IMPORT[part].split()
    # Without a home it is a name of the package itself, such as its version.
    return (
        home in (part, None) or "*" in allowed or find_longest_prefix(target, allowed) is not None
    )


def find_cycles(modules: list[Module]) -> list[str]:
    """The first ring of modules that import one another when they are loaded."""
    names = {module.name: module for module in modules}
    graph = {
        module.name: {
            found
            for imported, target in find_own_imports(module)
            if not imported.is_local
            and not imported.is_for_types
            and (found := find_longest_prefix(target, names))
        }
        for module in modules
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        ring = error.args[1]
        path = names[ring[0]].path
        return [f"{path}: imports itself by {' ← '.join(ring)}: move what they share down"]
    return []


def find_local_imports(modules: list[Module]) -> list[str]:
    """Imports inside functions, but for those of optional libraries."""
    return [
        f"{module.path}:{imported.line}: import {imported.target} at the top of the file; "
        "a library that may be absent goes into OPTIONAL_LIBRARIES, with the reason"
        for module in modules
        for imported in find_imports(module)
        if imported.is_local and imported.target.split(".")[0] not in OPTIONAL_LIBRARIES
    ]


def find_family_leaks(modules: list[Module]) -> list[str]:
    """Imports of a family's member by anyone but `app.py` and the member itself."""
    return [
        f"{module.path}:{imported.line}: do not name {target}: use the family's base, "
        "and let app.py pass the member in"
        for module in modules
        for imported, target in find_own_imports(module)
        if module.name not in WIRING
        and _is_member(target)
        and _get_member(target) != _get_member(module.name)
    ]


def _is_member(target: str) -> bool:
    if find_longest_prefix(target, SURFACES):
        return find_longest_prefix(target, SHARED_BODIES) is None
    family, _, rest = target.partition(".")
    return family in FAMILIES and bool(rest) and rest.split(".")[0] not in NOT_MEMBERS


def _get_member(name: str) -> list[str]:
    return name.split(".")[:2]


def find_misplaced_libraries(modules: list[Module]) -> list[str]:
    """Imports of a library by a part that should not know it."""
    return [
        f"{module.path}:{imported.line}: {library} is for {LIBRARY_PARTS[library]} only: "
        "pass plain values instead"
        for module in modules
        for imported in find_imports(module)
        if (library := imported.target.split(".")[0]) in LIBRARY_PARTS
        and find_longest_prefix(module.name, LIBRARY_PARTS[library].split()) is None
    ]


_TABLE = re.compile(r"\b(FROM|JOIN|INTO|UPDATE)\s+[\w{\"]+(?![\w(])")
_REASON = re.compile(r"-- no account: *\w")


def find_stray_sql(modules: list[Module]) -> list[str]:
    """SQL text outside the parts that may hold it."""
    return [
        f"{module.path}:{line}: move this statement into store/ or audience/, as a named function"
        for module in modules
        if find_longest_prefix(module.name, SQL_PARTS) is None
        for line, _ in find_statements(module)
    ]


def find_unscoped_sql(modules: list[Module]) -> list[str]:
    """Statements that touch a table and neither choose by account nor say why not."""
    return [
        f"{module.path}:{line}: put account_id into the WHERE (or the INSERT), "
        "or a comment into the SQL: -- no account: the reason"
        for module in modules
        if find_longest_prefix(module.name, ("store", "audience")) and not is_migration(module)
        for line, text in find_statements(module)
        if _TABLE.search(text) and not _REASON.search(text) and not _is_scoped(text)
    ]


def _is_scoped(statement: str) -> bool:
    inserts = "INSERT" in statement
    deciding = statement if inserts else statement.partition("WHERE")[2]
    return "account_id" in deciding


def find_broad_excepts(modules: list[Module]) -> list[str]:
    """Handlers that catch everything, and reasons without such a handler."""
    found = [
        (module, node)
        for module in modules
        if find_longest_prefix(module.name, BROAD_EXCEPT_PARTS) is None
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and _catches_all(node.type)
    ]
    named = {module.name for module, _ in found}
    return [
        f"{module.path}:{node.lineno}: name the errors that you expect, and let bugs be seen"
        for module, node in found
        if module.name not in BROAD_EXCEPT_REASONS
    ] + [
        f"{module.path}: nothing is caught here any more: remove it from BROAD_EXCEPT_REASONS"
        for module in modules
        if module.name in BROAD_EXCEPT_REASONS and module.name not in named
    ]


def _catches_all(caught: ast.expr | None) -> bool:
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(
        kind is None or ast.unparse(kind) in {"Exception", "BaseException"} for kind in kinds
    )


def find_empty_names(modules: list[Module]) -> list[str]:
    """Files whose name tells nothing."""
    return [
        f"{module.path}: name the file by what it holds, in the glossary's words"
        for module in modules
        if module.name.split(".")[-1].rstrip("s") in {name.rstrip("s") for name in EMPTY_NAMES}
    ]


def find_long_functions(modules: list[Module]) -> list[str]:
    """Functions over the limit."""
    return [
        f"{module.path}:{node.lineno}: {node.name} has {count_lines(node)} lines, "
        f"{FUNCTION_LINES_MAX} may be: leave the decisions here and move plain work out"
        for module in modules
        for node in find_functions(module)
        if count_lines(node) > FUNCTION_LINES_MAX and not is_migration(module)
    ]


def find_long_files(modules: list[Module]) -> list[str]:
    """Files over the limit."""
    return [
        f"{module.path}: has {module.line_count} lines, {FILE_LINES_MAX} may be: "
        "it holds two subjects, make it two files"
        for module in modules
        if module.line_count > FILE_LINES_MAX and not is_migration(module)
    ]


def find_exceeded_budgets(modules: list[Module]) -> list[str]:
    """Which of the four medians and percentiles are too large."""
    counted = [module for module in modules if not is_migration(module)]
    function_sizes = [count_lines(node) for module in counted for node in find_functions(module)]
    file_sizes = [module.line_count for module in counted]
    budget = [
        ("function", "median", 0.50, function_sizes, FUNCTION_LINES_MEDIAN_MAX),
        ("function", "95th percentile", 0.95, function_sizes, FUNCTION_LINES_P95_MAX),
        ("file", "median", 0.50, file_sizes, FILE_LINES_MEDIAN_MAX),
        ("file", "95th percentile", 0.95, file_sizes, FILE_LINES_P95_MAX),
    ]
    return [
        f"{modules[0].path} and the rest: the {name} of a {what} is {size} lines, "
        f"{most} may be: split the longest"
        for what, name, share, sizes, most in budget
        if (size := _percentile(sizes, share)) > most
    ]


def _percentile(sizes: list[int], share: float) -> int:
    return sorted(sizes)[ceil(share * len(sizes)) - 1] if sizes else 0


# --- The proof that each rule can fail -----------------------------------------------------------

Check = Callable[[list[Module]], list[str]]


def make_bad_snippets() -> Iterator[tuple[Check, str, str]]:
    """What each rule must refuse, as (rule, the module's name, its source)."""
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
    yield find_stray_sql, "surfaces.mailchimp.batches", 'run(f"""\n    DELETE FROM {table}""")'
    yield find_stray_sql, "surfaces.mailchimp.batches", 'run("UPDATE batches " + "SET status = 1")'
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
        find_exceeded_budgets,
        "kit.clock",
        "def f():\n" + "    pass\n" * FUNCTION_LINES_MEDIAN_MAX,
    )
    yield find_exceeded_budgets, "kit.clock", "\n" * (FILE_LINES_MEDIAN_MAX + 1)


def make_good_snippets() -> Iterator[tuple[Check, str, str]]:
    """What looks alike, and is right."""
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
    yield find_stray_sql, "surfaces.mailchimp.batches", 'route("DELETE", "/batches/{id}")'
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
    yield find_exceeded_budgets, "kit.clock", "\n" * FILE_LINES_MEDIAN_MAX


@pytest.mark.parametrize(("check", "name", "source"), list(make_bad_snippets()))
def test_a_rule_can_fail(check: Check, name: str, source: str) -> None:
    """A snippet that breaks the rule is reported once, with the file and what to do."""
    problems = check([Module.parse(name, source)])

    assert 1 == len(problems)
    assert "snippet" in problems[0]
    assert ": " in problems[0]


@pytest.mark.parametrize(("check", "name", "source"), list(make_good_snippets()))
def test_a_rule_lets_pass_what_is_right(check: Check, name: str, source: str) -> None:
    """A snippet that only looks like a breach is not reported."""
    assert [] == check([Module.parse(name, source)])


def test_a_cycle_over_two_files_is_found() -> None:
    """Two modules that import each other are reported, however each writes its import."""
    one = Module.parse("store.a", "from batchway.store import b")
    other = Module.parse("store.b", "from batchway.store.a import find")

    assert 1 == len(find_cycles([one, other]))


def test_a_reason_that_is_no_longer_needed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of broad excepts holds no module that has none."""
    monkeypatch.setitem(BROAD_EXCEPT_REASONS, "kit.clock", "once upon a time")

    assert 1 == len(find_broad_excepts([Module.parse("kit.clock", "x = 1")]))
