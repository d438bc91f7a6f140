"""Reads the source for test_architecture.py: modules, imports, functions, SQL statements."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "batchway"

Function = ast.FunctionDef | ast.AsyncFunctionDef

_STATEMENT = re.compile(
    r"\s*(SELECT\s|INSERT\s+(INTO|OR)\s|UPDATE\s+\S+\s+(AS\s+\S+\s+)?SET\b|DELETE\s+FROM\s"
    r"|WITH\s[^;]*\bAS\b)"
)


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    tree: ast.Module
    line_count: int
    path: str

    @classmethod
    def parse(cls, name: str, source: str, path: str = "snippet") -> "Module":
        """Parse the text of a file."""
        return cls(name, ast.parse(source), len(source.splitlines()), path)


@dataclass(frozen=True)
class Import:
    """One imported name with its path: `from a.b import c` is `a.b.c`."""

    target: str
    line: int
    is_local: bool
    is_for_types: bool


@cache
def list_modules() -> list[Module]:
    """Return all modules of the package."""
    return [_read(path, PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]


@cache
def list_other_modules() -> list[Module]:
    """Return all modules of the tests, examples and benchmarks."""
    folders = [ROOT / name for name in ("tests", "examples", "benchmarks")]
    return [_read(path, ROOT) for folder in folders for path in sorted(folder.rglob("*.py"))]


def _read(path: Path, base: Path) -> Module:
    parts = path.relative_to(base).with_suffix("").parts
    is_package = parts[-1] == "__init__" and len(parts) > 1
    name = ".".join(parts[:-1] if is_package else parts)
    return Module.parse(name, path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))


def find_own_imports(module: Module) -> Iterator[tuple[Import, str]]:
    """Yield the imports of our own modules, each with its name below the package."""
    for imported in find_imports(module):
        package, _, target = imported.target.partition(".")
        if package == "batchway":
            yield imported, target


def find_imports(module: Module) -> list[Import]:
    """Return all imported names of a module, also those inside functions."""
    reader = _ImportReader()
    reader.visit(module.tree)
    return reader.found


class _ImportReader(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[Import] = []
        self._functions = 0
        self._type_blocks = 0

    def visit_FunctionDef(self, node: Function) -> None:
        self._functions += 1
        self.generic_visit(node)
        self._functions -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast's name

    def visit_If(self, node: ast.If) -> None:
        is_for_types = ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        self._type_blocks += is_for_types
        self.generic_visit(node)
        self._type_blocks -= is_for_types

    def visit_Import(self, node: ast.Import) -> None:
        self._add(node.lineno, [alias.name for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._add(node.lineno, [f"{node.module}.{alias.name}" for alias in node.names])

    def _add(self, line: int, targets: Iterable[str]) -> None:
        for target in targets:
            self.found.append(Import(target, line, self._functions > 0, self._type_blocks > 0))


def find_functions(module: Module) -> Iterator[Function]:
    """Yield all functions and methods, also nested ones."""
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield node


def count_lines(node: Function) -> int:
    """Return the number of lines of a function, without its decorators."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def find_statements(module: Module) -> Iterator[tuple[int, str]]:
    """Yield each SQL statement with its line. `{…}` stands for an expression."""
    inner: set[ast.AST] = set()
    for node in ast.walk(module.tree):
        if node not in inner and (text := _text(node)) is not None:
            inner.update(ast.walk(node))
            if _STATEMENT.match(text):
                yield node.lineno, text  # type: ignore[attr-defined]  # every text has a line


def _text(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) or "" for value in values)
        case ast.FormattedValue(value=value):
            return f"{{{ast.unparse(value)}}}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = (_text(left), _text(right))
            return None if parts == (None, None) else "".join(part or "{…}" for part in parts)
    return None


def find_prefix(name: str, candidates: Iterable[str]) -> str | None:
    """Return the longest candidate that is `name` or a package above it."""
    fitting = [
        candidate
        for candidate in candidates
        if name == candidate or name.startswith(f"{candidate}.")
    ]
    return max(fitting, key=len, default=None)


def is_migration(module: Module) -> bool:
    """Return whether a module is a migration. Migrations never change, so rules skip them."""
    return ".migrations." in module.name
