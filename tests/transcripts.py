"""Runs the shell transcripts of the documentation as a reader would type them.

A block that is run has a comment before its fence, and so has its expected output:

    <!-- test: NAME -->         a shell block; the block `start` starts a server
    <!-- output: NAME -->       what the block NAME prints; … matches any text

The blocks run in an empty folder with links to our `.venv` and `examples`. The port 8080 and the
key YOUR_API_KEY are replaced by those of the server that was started.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.processes import start_process

ROOT = Path(__file__).parents[1]
ADDRESS = "http://127.0.0.1:8080"
KEY = "YOUR_API_KEY"
START = "start"

_BLOCK = re.compile(
    r"<!-- (?P<kind>test|output): (?P<name>[a-z-]+) -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SEPARATOR = "=== end of block ==="


@dataclass(frozen=True)
class Block:
    """A marked block of a page."""

    kind: str
    name: str
    text: str


def find_blocks(page: Path) -> list[Block]:
    """Return the marked blocks of a page, in order."""
    return [
        Block(found["kind"], found["name"], found["text"])
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def find_commands(page: Path) -> dict[str, str]:
    """Return the shell blocks of a page, by name."""
    return {block.name: block.text for block in find_blocks(page) if block.kind == "test"}


def find_outputs(page: Path) -> dict[str, str]:
    """Return the expected outputs of the blocks of a page, by name."""
    return {block.name: block.text for block in find_blocks(page) if block.kind == "output"}


@dataclass
class Reader:
    """Types the commands of a page into a shell."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    url: str = ADDRESS
    key: str = KEY

    def __post_init__(self) -> None:
        """Create the links that a clone has after `make demo`."""
        for name, target in ((".venv", Path(sys.prefix)), ("examples", ROOT / "examples")):
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(target)

    @contextmanager
    def run_server(self, command: str) -> Iterator[str]:
        """Run a block that starts a server until the end of the context, and return its output."""
        with (
            (self.folder / "server.log").open("w") as log,
            start_process(
                ["bash", "-c", f"exec {self._fill_in(command)}"],
                cwd=self.folder,
                env={"BATCHWAY_PORT": "0"} | self.environment(),
                stdout=subprocess.PIPE,
                stderr=log,
            ) as process,
        ):
            assert process.stdout
            greeting = "".join(_until_it_listens(process.stdout))
            try:
                self._read_greeting(greeting)
                yield self._restore(greeting)
            finally:
                process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(60), (self.folder / "server.log").read_text()

    def run_blocks(self, shell: Mapping[str, str]) -> dict[str, str]:
        """Run blocks in one shell, and return the output of each, with the page's port and key."""
        script = f"\necho '{_SEPARATOR}'\n".join(self._fill_in(text) for text in shell.values())
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment() | {"BATCHWAY_URL": self.url},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert 0 == done.returncode, f"{done.stdout}\n{done.stderr}"
        printed = done.stdout.split(f"{_SEPARATOR}\n")
        return dict(zip(shell, map(self._restore, printed), strict=True))

    def environment(self) -> dict[str, str]:
        """Return the environment of the shell, without any BATCHWAY variable from outside."""
        kept = {name: value for name, value in os.environ.items() if "BATCHWAY" not in name}
        return {**kept, **self.variables}

    def _read_greeting(self, greeting: str) -> None:
        found = re.search(r"listens at (\S+)/3\.0", greeting)
        assert found, greeting
        self.url = found[1]
        if made := re.search(r"API key +(\S+)", greeting):
            self.key = made[1]

    def _fill_in(self, text: str) -> str:
        return text.replace(ADDRESS, self.url).replace(KEY, self.key)

    def _restore(self, text: str) -> str:
        return text.replace(self.url, ADDRESS).replace(self.key, KEY)


def _until_it_listens(lines: IO[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line.startswith("  try "):
            return


def matches_output(expected: str, printed: str) -> bool:
    """Return whether a printed text matches the expected output of a page."""
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
