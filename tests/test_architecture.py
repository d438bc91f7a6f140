"""Checks that the source has the structure that CONTRIBUTING.md describes.

The file has the data of the rules, a test for each rule, and the rules. That each rule can fail is
tested in test_architecture_rules.py.
"""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from math import ceil

import pytest

from tests.architecture import (
    Module,
    count_lines,
    find_functions,
    find_imports,
    find_own_imports,
    find_prefix,
    find_statements,
    is_migration,
    list_modules,
    list_other_modules,
)

# A part of the package → the parts that it may import. The longest prefix is the part of a module.
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
    "processes": "app kit limits processes settings",
    # The command line reads the bodies that the surface writes.
    "surfaces.mailchimp.bodies": "contract.links",
    "cli": "cli kit contract.version model.batch model.webhook surfaces.mailchimp.bodies errors "
    "limits settings",
    **dict.fromkeys(
        # Commands for operators. All other commands only call the API.
        [
            *["cli.serve", "cli.worker", "cli.migrate", "cli.accounts"],
            *["cli.keys", "cli.api_keys"],
        ],
        "cli kit model errors limits settings app database_setup store processes",
    ),
    "__main__": "cli",
    "__init__": "",
}

# A library → the parts that may import it.
LIBRARY_PARTS = {
    "dbos": "engine",
    "starlette": "surfaces app processes.api",
    "uvicorn": "processes",
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
SURFACES = ("surfaces.mailchimp",)  # members of a family that are folders
SHARED_BODIES = ("surfaces.mailchimp.bodies",)  # also read by the command line
NOT_MEMBERS = ("base", "table")
WIRING = ("app", "database_setup")  # only these may import the other modules of a family
SQL_PARTS = ("store", "audience", "engine")
BROAD_EXCEPT_PARTS = ("engine", "app")
# Elsewhere `except Exception` needs a reason: module → reason.
BROAD_EXCEPT_REASONS = {
    "surfaces.mailchimp.endpoint": "the edge of HTTP: a bug is a 500 and a log line",
    "surfaces.gathering": "each request of the set raises the error, as if it were alone",
    "audience.calls": "a bug in one call is a 500 for that call only",
    "lifecycle.pack": "a result that cannot be rendered is a 500 for its operation only",
    "archives.disk": "removes its temporary file after any error, and re-raises",
}
# An optional library is imported where it is used: library → reason.
OPTIONAL_LIBRARIES: dict[str, str] = {}
EMPTY_NAMES = ("utils", "common", "helpers", "manager", "service", "handler")

FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN_MAX = 10
FUNCTION_LINES_P95_MAX = 40
FILE_LINES_MAX = 500
FILE_LINES_MEDIAN_MAX = 150
FILE_LINES_P95_MAX = 400


# --- A test for each rule ------------------------------------------------------------------------


def test_every_module_has_a_place() -> None:
    """Every module has a row in MAY_IMPORT."""
    check_none(find_unlisted_modules(list_modules()))


def test_imports_go_one_way() -> None:
    """Modules import only the parts that MAY_IMPORT allows."""
    check_none(find_wrong_imports(list_modules()))


def test_no_import_cycles() -> None:
    """No module imports itself through others."""
    check_none(find_cycles(list_modules()))


def test_no_imports_inside_functions() -> None:
    """Imports are at the top of the file, except those of optional libraries."""
    check_none(find_local_imports(list_modules()))


def test_only_app_names_members_of_families() -> None:
    """Only `app.py` imports the members of a family."""
    check_none(find_family_leaks(list_modules()))


def test_libraries_stay_behind_their_doors() -> None:
    """The engine, the web framework and the terminal are each used in one part only."""
    check_none(find_misplaced_libraries(list_modules()))


def test_sql_stands_in_the_open() -> None:
    """SQL statements are in the store, the audience and the engine only."""
    check_none(find_stray_sql(list_modules()))


def test_every_statement_names_the_account() -> None:
    """Every statement selects rows by account, or says why it does not."""
    check_none(find_unscoped_sql(list_modules()))


def test_broad_excepts_are_few_and_reasoned() -> None:
    """An `except` clause that catches everything has a reason."""
    check_none(find_broad_excepts(list_modules()))


def test_file_names_say_something() -> None:
    """No file has a name without a meaning, such as utils."""
    check_none(find_empty_names(list_modules()))


def test_functions_fit_on_a_screen() -> None:
    """No function is longer than the limit."""
    check_none(find_long_functions([*list_modules(), *list_other_modules()]))


def test_files_can_be_read_in_one_sitting() -> None:
    """No file is longer than the limit."""
    check_none(find_long_files([*list_modules(), *list_other_modules()]))


def test_the_package_keeps_its_budget() -> None:
    """Most functions and files are far below the limits."""
    check_none(find_over_budget(list_modules()))


def check_none(problems: list[str]) -> None:
    """Fail with the full text of every problem. A comparison of lists would shorten it."""
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


# --- The rules themselves ----------------------------------------------------------------------


def find_unlisted_modules(modules: list[Module]) -> list[str]:
    """Find modules without a row in MAY_IMPORT."""
    return [
        f"{module.path}: enter {module.name} in MAY_IMPORT, with what it may import"
        for module in modules
        if _get_part(module) is None
    ]


def find_wrong_imports(modules: list[Module]) -> list[str]:
    """Find imports of our own modules that MAY_IMPORT does not allow."""
    return [
        f"{module.path}:{imported.line}: {part} may not import {target}: "
        "move what both need down, or let the caller pass it in"
        for module in modules
        if (part := _get_part(module))
        for imported, target in find_own_imports(module)
        if not _may_import(part, target)
    ]


def _get_part(module: Module) -> str | None:
    return find_prefix(module.name, MAY_IMPORT)


def _may_import(part: str, target: str) -> bool:
    target_part = find_prefix(target, MAY_IMPORT)
    allowed = MAY_IMPORT[part].split()
    # A target without a part is a name of the package itself, such as its version.
    return target_part in (part, None) or "*" in allowed or find_prefix(target, allowed) is not None


def find_cycles(modules: list[Module]) -> list[str]:
    """Find the first cycle of modules that import each other when they are loaded."""
    names = {module.name: module for module in modules}
    graph = {
        module.name: {
            found
            for imported, target in find_own_imports(module)
            if not imported.is_local
            and not imported.is_for_types
            and (found := find_prefix(target, names))
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
    """Find imports inside functions, except those of optional libraries."""
    return [
        f"{module.path}:{imported.line}: import {imported.target} at the top of the file; "
        "a library that may be absent goes into OPTIONAL_LIBRARIES, with the reason"
        for module in modules
        for imported in find_imports(module)
        if imported.is_local and imported.target.split(".")[0] not in OPTIONAL_LIBRARIES
    ]


def find_family_leaks(modules: list[Module]) -> list[str]:
    """Find imports of a family's member outside of `app.py` and the member itself."""
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
    if find_prefix(target, SURFACES):
        return find_prefix(target, SHARED_BODIES) is None
    family, _, rest = target.partition(".")
    return family in FAMILIES and bool(rest) and rest.split(".")[0] not in NOT_MEMBERS


def _get_member(name: str) -> list[str]:
    return name.split(".")[:2]


def find_misplaced_libraries(modules: list[Module]) -> list[str]:
    """Find imports of a library by a part that must not use it."""
    return [
        f"{module.path}:{imported.line}: {library} is for {LIBRARY_PARTS[library]} only: "
        "pass plain values instead"
        for module in modules
        for imported in find_imports(module)
        if (library := imported.target.split(".")[0]) in LIBRARY_PARTS
        and find_prefix(module.name, LIBRARY_PARTS[library].split()) is None
    ]


_TABLE = re.compile(r"\b(FROM|JOIN|INTO|UPDATE)\s+[\w{\"]+(?![\w(])")
_REASON = re.compile(r"-- no account: *\w")


def find_stray_sql(modules: list[Module]) -> list[str]:
    """Find SQL statements outside the parts that may have them."""
    return [
        f"{module.path}:{line}: move this statement into store/ or audience/, as a named function"
        for module in modules
        if find_prefix(module.name, SQL_PARTS) is None
        for line, _ in find_statements(module)
    ]


def find_unscoped_sql(modules: list[Module]) -> list[str]:
    """Find statements that neither select by account nor say why not."""
    return [
        f"{module.path}:{line}: put account_id into the WHERE (or the INSERT), "
        "or a comment into the SQL: -- no account: the reason"
        for module in modules
        if find_prefix(module.name, ("store", "audience")) and not is_migration(module)
        for line, text in find_statements(module)
        if _TABLE.search(text) and not _REASON.search(text) and not _is_scoped(text)
    ]


def _is_scoped(statement: str) -> bool:
    inserts = "INSERT" in statement
    deciding = statement if inserts else statement.partition("WHERE")[2]
    return "account_id" in deciding


def find_broad_excepts(modules: list[Module]) -> list[str]:
    """Find handlers that catch everything, and reasons without such a handler."""
    found = [
        (module, node)
        for module in modules
        if find_prefix(module.name, BROAD_EXCEPT_PARTS) is None
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
    """Find files with a name that says nothing."""
    return [
        f"{module.path}: name the file by what it holds, in the glossary's words"
        for module in modules
        if module.name.split(".")[-1].rstrip("s") in {name.rstrip("s") for name in EMPTY_NAMES}
    ]


def find_long_functions(modules: list[Module]) -> list[str]:
    """Find functions over the limit."""
    return [
        f"{module.path}:{node.lineno}: {node.name} has {count_lines(node)} lines, "
        f"{FUNCTION_LINES_MAX} may be: leave the decisions here and move plain work out"
        for module in modules
        for node in find_functions(module)
        if count_lines(node) > FUNCTION_LINES_MAX and not is_migration(module)
    ]


def find_long_files(modules: list[Module]) -> list[str]:
    """Find files over the limit."""
    return [
        f"{module.path}: has {module.line_count} lines, {FILE_LINES_MAX} may be: "
        "it holds two subjects, make it two files"
        for module in modules
        if module.line_count > FILE_LINES_MAX and not is_migration(module)
    ]


def find_over_budget(modules: list[Module]) -> list[str]:
    """Find medians and percentiles over their limits."""
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
