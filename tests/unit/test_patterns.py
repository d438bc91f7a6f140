"""No pattern takes much longer than in proportion to its text, whatever the text.

A pattern that takes as long as the square of its text would let a body of some hundred kilobytes
occupy a process for minutes. All patterns together need a few seconds of processor time here; one
of that kind would need hours, so that the process is ended.
"""

import importlib
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import batchway

SOURCE = Path(batchway.__file__).parent
ROOT = Path(__file__).parents[2]
CHARACTER_COUNT = 100_000
PROCESSOR_SECONDS_MAX = 60
WORD = re.compile(r"[A-Za-z0-9 :@.`$\"'/-]{2,}")
PIECES = [*"aA0 .@-_/:'\"`{[(%<\n", "a.", "a-", "a@", "a:", "0.", "-.", "a b"]
TAILS = ["", "!", "\n", "\0"]


def test_patterns_are_linear() -> None:
    """Each pattern ends with each text that repeats a letter, or a word of the pattern itself."""
    command = [sys.executable, "-m", "tests.unit.test_patterns"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    *_, last = done.stdout.splitlines()
    assert "all patterns" == last, f"{last} needs too long\n{done.stderr}"


def test_the_patterns_are_found() -> None:
    """Patterns of several packages are tried, with the methods that the code calls."""
    found = {f"{module}.{name}": methods for module, name, methods in find_patterns()}

    assert ["fullmatch"] == found["batchway.audience.members.email_address._DOT_ATOM"]
    assert ["sub"] == found["batchway.cli.results._ADDRESS"]
    assert ["search"] == found["batchway.contract.validation._MISSING"]
    assert 40 < len(found)


def find_patterns() -> Iterator[tuple[str, str, list[str]]]:
    """Yield module, name and used methods of each pattern in the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text()
        module = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        for name in re.findall(r"^(\w+) = re\.compile", text, re.MULTILINE):
            methods = re.findall(rf"\b{name}\.(\w+)\(", text)
            yield module, name, sorted(set(methods)) or ["search"]


def main() -> None:
    """Try all patterns, and print the name of each before it is tried."""
    for module, name, methods in find_patterns():
        print(f"{module}.{name}", flush=True)
        pattern = getattr(importlib.import_module(module), name)
        for text in make_texts(pattern.pattern):
            for method in methods:
                try_pattern(pattern, method, text)
    print("all patterns")


def make_texts(pattern: str | bytes) -> Iterator[str]:
    """Yield long texts: letters and words of the pattern, repeated, with different ends."""
    words = WORD.findall(pattern if isinstance(pattern, str) else pattern.decode())
    for piece in [*PIECES, *words, "".join(words)]:
        for tail in TAILS:
            yield piece * (CHARACTER_COUNT // max(1, len(piece))) + tail


def try_pattern(pattern: re.Pattern[str] | re.Pattern[bytes], method: str, text: str) -> None:
    """Call a method of a pattern."""
    given = text.encode() if isinstance(pattern.pattern, bytes) else text
    if method == "sub":
        pattern.sub(given[:0], given)  # type: ignore[arg-type]
    elif method == "finditer":
        list(pattern.finditer(given))  # type: ignore[arg-type]
    else:
        getattr(pattern, method)(given)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS_MAX, PROCESSOR_SECONDS_MAX))
    main()
