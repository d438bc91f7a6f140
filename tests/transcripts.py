"""Runs the shell transcripts of the documentation as a reader would type them.

A block that is to be run has a comment before its fence, and so has what it must print:

    <!-- test: NAME -->         a block of shell; the one named `start` starts a server and goes on
    <!-- output: NAME -->       what the block of that name prints; … stands for anything

The reader sits in an empty folder in which `.venv` and `examples` lead to ours. Port 8080 and the
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


def blocks(page: Path) -> list[Block]:
    """The marked blocks of a page, in order."""
    return [
        Block(found["kind"], found["name"], found["text"])
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def commands(page: Path) -> dict[str, str]:
    """The shell of each block that is to be run, by name."""
    return {block.name: block.text for block in blocks(page) if block.kind == "test"}


def outputs(page: Path) -> dict[str, str]:
    """What the blocks must print, by name."""
    return {block.name: block.text for block in blocks(page) if block.kind == "output"}


@dataclass
class Reader:
    """Somebody who types what a page says."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    url: str = ADDRESS
    key: str = KEY

    def __post_init__(self) -> None:
        """Find what a clone has after `make demo`."""
        for name, target in ((".venv", Path(sys.prefix)), ("examples", ROOT / "examples")):
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(target)

    @contextmanager
    def server(self, command: str) -> Iterator[str]:
        """Run a block that starts a server, until the end of the context; what it printed."""
        with (
            (self.folder / "server.log").open("w") as log,
            start_process(
                ["bash", "-c", f"exec {self._here(command)}"],
                cwd=self.folder,
                env={"BATCHWAY_PORT": "0"} | self.environment(),
                stdout=subprocess.PIPE,
                stderr=log,
            ) as process,
        ):
            assert process.stdout
            greeting = "".join(_until_it_listens(process.stdout))
            try:
                self._note(greeting)
                yield self._there(greeting)
            finally:
                process.send_signal(signal.SIGTERM)
            assert 0 == process.wait(60), (self.folder / "server.log").read_text()

    def types(self, shell: Mapping[str, str]) -> dict[str, str]:
        """Run blocks one after the other in one shell; what each printed, as the page has it."""
        script = f"\necho '{_SEPARATOR}'\n".join(self._here(text) for text in shell.values())
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
        return dict(zip(shell, map(self._there, printed), strict=True))

    def environment(self) -> dict[str, str]:
        """What the reader's programs see: nothing that is set outside."""
        kept = {name: value for name, value in os.environ.items() if "BATCHWAY" not in name}
        return {**kept, **self.variables}

    def _note(self, greeting: str) -> None:
        found = re.search(r"listens at (\S+)/3\.0", greeting)
        assert found, greeting
        self.url = found[1]
        if made := re.search(r"API key +(\S+)", greeting):
            self.key = made[1]

    def _here(self, text: str) -> str:
        return text.replace(ADDRESS, self.url).replace(KEY, self.key)

    def _there(self, text: str) -> str:
        return text.replace(self.url, ADDRESS).replace(self.key, KEY)


def _until_it_listens(lines: IO[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line.startswith("  try "):
            return


def agrees(expected: str, printed: str) -> bool:
    """Whether the output is as the page has it."""
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
