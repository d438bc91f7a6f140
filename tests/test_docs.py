"""Checks the documentation: transcripts run, links work, and tables match the code.

After a change of settings, limits or commands: `.venv/bin/python docs/generate.py`.
"""

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.routing import Route

from batchway import limits
from batchway.audience.routes import make_route_table
from batchway.contract.version import API_PREFIX
from batchway.limits import Limits
from batchway.model.batch import ChunkState, Status
from batchway.observers.base import FAULT_POINTS, Event
from batchway.settings import Settings
from batchway.surfaces.documentation import Documentation
from batchway.surfaces.health import Health
from batchway.surfaces.mailchimp.routes import make_routes
from batchway.surfaces.result_downloads import ResultDownloads
from batchway.surfaces.server import make_asgi_app
from tests.contract.shared_servers import create_account
from tests.postgres import Postgres
from tests.scenario import Server
from tests.transcripts import (
    ADDRESS,
    ROOT,
    START,
    Reader,
    find_commands,
    find_outputs,
    matches_output,
)

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
SOURCE = ROOT / "src" / "batchway"
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ADR_LINES = range(7, 31)


def make_test_id(path: Path) -> str:
    """Return the path of a page below the repository."""
    return str(path.relative_to(ROOT))


# --- Transcripts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [README, DOCS / "quickstart.md"], ids=make_test_id)
def test_transcripts_run(page: Path, tmp_path: Path) -> None:
    """The commands on the page print what it shows, and the server stops without an error."""
    shell = find_commands(page)
    reader = Reader(tmp_path)
    with reader.run_server(shell.pop(START)) as greeting:
        printed = {START: greeting} | reader.run_blocks(shell)

    for name, expected in find_outputs(page).items():
        assert matches_output(expected, printed[name]), f"{name} prints:\n{printed[name]}"


@pytest.fixture
def server(sqlite_server: Server) -> Server:
    """A running server, and an account without lists."""
    return replace(sqlite_server, key=create_account(sqlite_server))


def test_import_runs(server: Server, tmp_path: Path) -> None:
    """The commands on the page import the CSV file that it shows."""
    page = DOCS / "howto" / "import-a-csv.md"
    reader = Reader(tmp_path, {"BATCHWAY_API_KEY": server.key}, server.url, server.key)

    printed = reader.run_blocks(find_commands(page))

    for name, expected in find_outputs(page).items():
        assert matches_output(expected, printed[name]), f"{name} prints:\n{printed[name]}"


@pytest.mark.parametrize("name", ["mailchimp-marketing", "mailchimp-three"])
def test_clients_work_as_described(server: Server, name: str) -> None:
    """Unmodified Mailchimp clients reach the server with the lines on the page."""
    code = find_commands(DOCS / "howto" / "point-a-mailchimp-client.md")[name]
    code = code.replace(ADDRESS, server.url).replace("YOUR_API_KEY", server.key)

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert "Everything's Chimpy!\n" == done.stdout, done.stderr


def test_postgresql_runs(empty_postgres_url: str, tmp_path: Path) -> None:
    """The commands on the page migrate an empty database and start a server on it."""
    shell = find_commands(DOCS / "howto" / "run-on-postgresql.md")
    shell = {name: text.replace(_DATABASE, empty_postgres_url) for name, text in shell.items()}
    start = shell.pop(START)

    printed = Reader(tmp_path).run_blocks(shell)

    assert "The database is up to date.\n" == printed["migrate"]
    variables = {
        "BATCHWAY_DATABASE_URL": empty_postgres_url,
        "BATCHWAY_SECRET_KEY": (tmp_path / "secret.key").read_text().strip(),
    }
    reader = Reader(tmp_path, variables)
    with reader.run_server(start):
        Server(tmp_path, url=reader.url).wait_until_ready()


@pytest.fixture
def empty_postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of a PostgreSQL database that has not been migrated."""
    with postgres.empty_database() as url:
        yield url


_DATABASE = "postgresql://batchway:SECRET@db.example.com/batchway"


# --- Set-up, links, examples ---------------------------------------------------------------------


def test_two_commands_set_it_up() -> None:
    """The README asks for `make demo` and `make test`, in this order, and for no other target."""
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = re.findall(r"^make (.+)$", README.read_text(), re.MULTILINE)

    assert ["demo", "test"] == asked
    assert {"demo", "test"} <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=make_test_id)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link within the repository leads to an existing file and heading."""
    broken = [
        target
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", _prose(page))
        if not _leads_somewhere(page, target)
    ]

    assert [] == broken


def test_every_page_can_be_reached() -> None:
    """Every page, or its folder, is linked from another page."""
    named = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", _prose(page))
    }

    assert [] == [
        make_test_id(page) for page in DOCS.rglob("*.md") if not named & {page, page.parent}
    ]


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def _leads_somewhere(page: Path, target: str) -> bool:
    name, _, heading = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists():
        return False
    return not heading or heading in map(
        _slug, re.findall(r"^#+ (.+)$", _prose(path), re.MULTILINE)
    )


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_examples_are_mentioned() -> None:
    """The documentation mentions every example."""
    text = "".join(page.read_text() for page in PAGES)
    examples = [*(ROOT / "examples").glob("*.py"), *(ROOT / "examples").glob("*.sh")]

    assert [] == [example.name for example in examples if f"examples/{example.name}" not in text]


# --- Tables --------------------------------------------------------------------------------------


def test_generated_pages_are_up_to_date() -> None:
    """The pages on settings, limits and commands match the code."""
    generate = _generate()

    for path, text in generate.render_pages().items():
        assert text == path.read_text(), "run: .venv/bin/python docs/generate.py"


def test_generated_pages_leave_nothing_out() -> None:
    """Every setting and every limit has a row."""
    settings = _first_cells(REFERENCE / "settings.md")
    bounds = _first_cells(REFERENCE / "limits.md")

    assert list(Settings.model_fields) == settings
    constants = {name for name, value in vars(limits).items() if isinstance(value, int | float)}
    assert constants | {field.name for field in fields(Limits)} == set(bounds)
    assert len(set(bounds)) == len(bounds)


def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _first_cells(page: Path) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", page.read_text(), re.MULTILINE)


def test_the_api_page_has_every_route() -> None:
    """The page lists exactly the routes that the server answers."""
    served = {f"{method} {API_PREFIX}{path}" for method, path, _ in make_route_table().routes} | {
        *_list_own_routes()
    }
    text = (REFERENCE / "api.md").read_text()
    named = re.findall(r"^\| `([A-Z]+ /\S*)` \|", text, re.MULTILINE)

    assert served == set(named)
    assert len(named) == len(served)


def _list_own_routes() -> Iterator[str]:
    """Yield the routes that the audience does not answer."""
    nothing: Any = None  # nobody calls them here
    own = make_routes(nothing, nothing, nothing, nothing)
    results = ResultDownloads(nothing, nothing, nothing)
    app = make_asgi_app([], results, Health(nothing), Documentation([], ""))
    for method, path, _ in own.routes:
        yield f"{method} {API_PREFIX}{path}"
    for route in app.routes:
        assert isinstance(route, Route)
        yield f"GET {route.path.replace(':str', '')}"


# --- Errors --------------------------------------------------------------------------------------


def test_every_problem_is_explained() -> None:
    """The page lists exactly the statuses and titles that the API can answer with."""
    in_code = {
        f"{ast.literal_eval(call.args[0])} {ast.literal_eval(call.args[1])}"
        for _, call in _find_calls("build_problem")
    }
    rows = re.findall(r"^\| `(\d{3} [\w ]+)` \|", _errors(), re.MULTILINE)

    assert in_code == set(rows)
    assert len(rows) == len(set(rows))


def test_every_message_is_explained() -> None:
    """The page has the first sentence of each error that a command can end with."""
    page = _plain(_errors())
    messages = {_first_sentence(message) for message in _find_messages()}

    assert len(messages) > 30
    assert [] == [message for message in sorted(messages) if message not in page]


def test_every_log_event_is_explained() -> None:
    """Every log event is documented."""
    arguments = [
        call.args[0]
        for name in ("exception", "warning", "error", "info")
        for function, call in _find_calls(name)
        if function.startswith("log.")
    ]
    arguments += [call.args[1] for _, call in _find_calls("log_exception")]
    # Two modules pass the names of others on: `kit/logs.py` and `observers/log.py`.
    passed_on = [argument for argument in arguments if not isinstance(argument, ast.Constant)]
    events = {str(argument.value) for argument in arguments if isinstance(argument, ast.Constant)}
    events |= {event.value for event in Event if not event.is_fault_point}

    explained = (REFERENCE / "log-events.md").read_text()

    assert ["event", "event.value"] == sorted(ast.unparse(argument) for argument in passed_on)
    assert {"child_died", "step_failed", "chunk_done"} <= events
    assert [] == [event for event in sorted(events) if f"`{event}`" not in _errors() + explained]


def _errors() -> str:
    return (REFERENCE / "errors.md").read_text()


def _find_calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call of a function with this name, with the object it is called on."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name:
                yield ast.unparse(node.func), node


def _find_messages() -> Iterator[str]:
    """Yield the messages of errors, with … for their variable parts."""
    for path in (*(SOURCE / "cli").glob("*.py"), *map(SOURCE.joinpath, _WITH_MESSAGES)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "message":
                yield _template(node.value)


_WITH_MESSAGES = ("settings.py", "store/migrate.py")


def _template(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_template, node.values))
    return str(node.value) if isinstance(node, ast.Constant) else "…"


def _first_sentence(text: str) -> str:
    return _plain(text.split(". ", maxsplit=1)[0].rstrip("."))


def _plain(text: str) -> str:
    return text.replace("`", "")


# --- Pictures, tables, decisions -----------------------------------------------------------------


def test_the_picture_of_a_batch_has_every_status() -> None:
    """The picture and the table below it have the statuses of the code, in its order."""
    page = (DOCS / "concepts" / "lifecycle.md").read_text()
    rows = re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE)

    assert {*Status} == _states(page, 0)
    assert [*Status] == rows


def test_the_picture_of_a_chunk_has_every_state() -> None:
    """The picture has the states of the code."""
    assert {*ChunkState} == _states((DOCS / "concepts" / "lifecycle.md").read_text(), 1)


def test_the_readme_shows_the_five_statuses() -> None:
    """The README shows the five statuses of the contract in their order."""
    shown = [*Status][:-1]

    assert re.search(r"\s+".join(shown), README.read_text())


def test_what_a_crash_does_is_told_for_every_fault_point() -> None:
    """The page explains every fault point, in the order of the code."""
    page = (DOCS / "concepts" / "guarantees.md").read_text()

    assert [*FAULT_POINTS] == re.findall(r"^\| `(\w+\.\w+)` \|", page, re.MULTILINE)


def test_decisions_are_short_and_numbered() -> None:
    """Decisions are numbered without a gap, and fit on one screen."""
    decisions = sorted((DOCS / "adr").glob("*.md"))

    assert [f"{number:04}" for number in range(1, len(decisions) + 1)] == [
        path.name[:4] for path in decisions
    ]
    assert [] == [
        path.name for path in decisions if len(path.read_text().splitlines()) not in ADR_LINES
    ]


def _states(page: str, picture: int) -> set[str]:
    text = re.findall(r"^```mermaid\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[picture]
    arrows = re.findall(r"^ +(\S+) --> ([^\s:]+)", text, re.MULTILINE)
    return {state for arrow in arrows for state in arrow} - {"[*]"}
