"""Is the documentation true? Transcripts run, links lead somewhere, tables are the code's.

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
from tests.transcripts import ADDRESS, ROOT, START, Reader, agrees, commands, outputs

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
SOURCE = ROOT / "src" / "batchway"
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ADR_LINES = range(7, 31)


def short(path: Path) -> str:
    """A page's name in the output of the tests."""
    return str(path.relative_to(ROOT))


# --- Transcripts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [README, DOCS / "quickstart.md"], ids=short)
def test_transcripts_run(page: Path, tmp_path: Path) -> None:
    """Who types what the page says sees what it says, and the server stops without an error."""
    shell = commands(page)
    reader = Reader(tmp_path)
    with reader.server(shell.pop(START)) as greeting:
        printed = {START: greeting} | reader.types(shell)

    for name, expected in outputs(page).items():
        assert agrees(expected, printed[name]), f"{name} prints:\n{printed[name]}"


@pytest.fixture
def server(sqlite_server: Server) -> Server:
    """A server for the pages that begin with a running one, and an account without lists."""
    return replace(sqlite_server, key=create_account(sqlite_server))


def test_import_runs(server: Server, tmp_path: Path) -> None:
    """The page on CSV files imports the file that it shows."""
    page = DOCS / "howto" / "import-a-csv.md"
    reader = Reader(tmp_path, {"BATCHWAY_API_KEY": server.key}, server.url, server.key)

    printed = reader.types(commands(page))

    for name, expected in outputs(page).items():
        assert agrees(expected, printed[name]), f"{name} prints:\n{printed[name]}"


@pytest.mark.parametrize("name", ["mailchimp-marketing", "mailchimp-three"])
def test_clients_work_as_described(server: Server, name: str) -> None:
    """Unmodified clients of Mailchimp reach the server by the lines on the page."""
    code = commands(DOCS / "howto" / "point-a-mailchimp-client.md")[name]
    code = code.replace(ADDRESS, server.url).replace("YOUR_API_KEY", server.key)

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert "Everything's Chimpy!\n" == done.stdout, done.stderr


def test_postgresql_runs(empty_postgres_url: str, tmp_path: Path) -> None:
    """The page on PostgreSQL migrates an empty database and starts a server on it."""
    shell = commands(DOCS / "howto" / "run-on-postgresql.md")
    shell = {name: text.replace(_DATABASE, empty_postgres_url) for name, text in shell.items()}
    start = shell.pop(START)

    printed = Reader(tmp_path).types(shell)

    assert "The database is up to date.\n" == printed["migrate"]
    variables = {
        "BATCHWAY_DATABASE_URL": empty_postgres_url,
        "BATCHWAY_SECRET_KEY": (tmp_path / "secret.key").read_text().strip(),
    }
    reader = Reader(tmp_path, variables)
    with reader.server(start):
        Server(tmp_path, url=reader.url).wait_until_ready()


@pytest.fixture
def empty_postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of a PostgreSQL database that has not been migrated."""
    with postgres.empty_database() as url:
        yield url


_DATABASE = "postgresql://batchway:SECRET@db.example.com/batchway"


# --- Set-up, links, examples ---------------------------------------------------------------------


def test_two_commands_set_it_up() -> None:
    """The README asks for `make demo` and `make test`, in this order, and for nothing else."""
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = re.findall(r"^make (.+)$", README.read_text(), re.MULTILINE)

    assert ["demo", "test"] == asked
    assert {"demo", "test"} <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link within the repository leads to a file, and to a heading that is there."""
    broken = [
        target
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", _prose(page))
        if not _leads_somewhere(page, target)
    ]

    assert [] == broken


def test_every_page_can_be_reached() -> None:
    """Some page links to each page, or to its folder."""
    named = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", _prose(page))
    }

    assert [] == [short(page) for page in DOCS.rglob("*.md") if not named & {page, page.parent}]


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
    """Whoever reads the documentation learns of each example."""
    text = "".join(page.read_text() for page in PAGES)
    examples = [*(ROOT / "examples").glob("*.py"), *(ROOT / "examples").glob("*.sh")]

    assert [] == [each.name for each in examples if f"examples/{each.name}" not in text]


# --- Tables --------------------------------------------------------------------------------------


def test_generated_pages_are_up_to_date() -> None:
    """Settings, limits and commands are documented as they are in the code."""
    generate = _generate()

    for path, text in generate.pages().items():
        assert text == path.read_text(), "run: .venv/bin/python docs/generate.py"


def test_generated_pages_leave_nothing_out() -> None:
    """Each setting and each limit has its row, however it is written in the source."""
    settings = _first_cells(REFERENCE / "settings.md")
    bounds = _first_cells(REFERENCE / "limits.md")

    assert list(Settings.model_fields) == settings
    constants = {name for name, value in vars(limits).items() if isinstance(value, int | float)}
    assert constants | {each.name for each in fields(Limits)} == set(bounds)
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
    """No call is answered that the page does not name, and none is named that is not answered."""
    served = {f"{method} {API_PREFIX}{path}" for method, path, _ in make_route_table().routes} | {
        *_own()
    }
    text = (REFERENCE / "api.md").read_text()
    named = re.findall(r"^\| `([A-Z]+ /\S*)` \|", text, re.MULTILINE)

    assert served == set(named)
    assert len(named) == len(served)


def _own() -> Iterator[str]:
    """The calls that the audience does not answer."""
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
    """The page has each status and title that the API can answer with, and no other."""
    in_code = {
        f"{ast.literal_eval(call.args[0])} {ast.literal_eval(call.args[1])}"
        for _, call in _calls("problem")
    }
    rows = re.findall(r"^\| `(\d{3} [\w ]+)` \|", _errors(), re.MULTILINE)

    assert in_code == set(rows)
    assert len(rows) == len(set(rows))


def test_every_message_is_explained() -> None:
    """The page has the first sentence of each error that a command or a start can end with."""
    page = _plain(_errors())
    messages = {_first_sentence(each) for each in _messages()}

    assert len(messages) > 30
    assert [] == [each for each in sorted(messages) if each not in page]


def test_every_log_event_is_explained() -> None:
    """Whoever reads a log line finds out what it means."""
    arguments = [
        call.args[0]
        for name in ("exception", "warning", "error", "info")
        for function, call in _calls(name)
        if function.startswith("log.")
    ]
    arguments += [call.args[1] for _, call in _calls("log_exception")]
    # Two modules pass the names of others on: `kit/logs.py` and `observers/log.py`.
    passed_on = [each for each in arguments if not isinstance(each, ast.Constant)]
    events = {str(each.value) for each in arguments if isinstance(each, ast.Constant)}
    events |= {event.value for event in Event if not event.is_fault_point}

    explained = (REFERENCE / "log-events.md").read_text()

    assert ["event", "event.value"] == sorted(ast.unparse(each) for each in passed_on)
    assert {"child_died", "step_failed", "chunk_done"} <= events
    assert [] == [each for each in sorted(events) if f"`{each}`" not in _errors() + explained]


def _errors() -> str:
    return (REFERENCE / "errors.md").read_text()


def _calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a function of that name, with what the name is an attribute of."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name:
                yield ast.unparse(node.func), node


def _messages() -> Iterator[str]:
    """The texts of errors for people, … for what differs."""
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
    """The states in the picture and in the table below it are those of the code, in its order."""
    page = (DOCS / "concepts" / "lifecycle.md").read_text()
    rows = re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE)

    assert {*Status} == _states(page, 0)
    assert [*Status] == rows


def test_the_picture_of_a_chunk_has_every_state() -> None:
    """The states in the picture are those of the code."""
    assert {*ChunkState} == _states((DOCS / "concepts" / "lifecycle.md").read_text(), 1)


def test_the_readme_shows_the_five_statuses() -> None:
    """Under the picture of a batch's way stand the statuses of the contract, in order."""
    shown = [*Status][:-1]

    assert re.search(r"\s+".join(shown), README.read_text())


def test_what_a_crash_does_is_told_for_every_fault_point() -> None:
    """Each place at which tests kill the process has its line, in the order of the code."""
    page = (DOCS / "concepts" / "guarantees.md").read_text()

    assert [*FAULT_POINTS] == re.findall(r"^\| `(\w+\.\w+)` \|", page, re.MULTILINE)


def test_decisions_are_short_and_numbered() -> None:
    """One decision a file, named for what was decided; none is longer than a screen."""
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
