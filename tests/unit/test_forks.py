"""Forks, made by a program of their own: the process of the tests has threads."""

import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.scenario import is_alive, wait_until

SECONDS_MAX = 60  # only a test that fails waits for so long


def run_program(source: str) -> subprocess.CompletedProcess[str]:
    """Run a program that starts forks with `forks`."""
    head = """
        import os, signal, sys, time
        from batchway.kit.forks import Forks

        def wait():
            time.sleep(3600)

        forks = Forks()
    """
    program = textwrap.dedent(head) + textwrap.dedent(source)
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def test_exception_in_the_parent() -> None:
    """The forks end, and the parent does not wait for them."""
    ended = run_program("""
        print(forks.start("a fork", wait).pid, flush=True)
        raise SystemExit(3)
    """)

    assert 3 == ended.returncode
    assert not psutil.pid_exists(int(ended.stdout))


def test_parent_is_killed(tmp_path: Path) -> None:
    """The forks end, although nobody can tell them."""
    output = tmp_path / "pid"
    ended = run_program(f"""
        fork = forks.start("a fork", wait)
        with open({str(output)!r}, "w") as file:
            file.write(str(fork.pid))
        os.kill(os.getpid(), signal.SIGKILL)
    """)

    assert -9 == ended.returncode
    pid = int(output.read_text())
    wait_until(lambda: not psutil.pid_exists(pid) or not is_alive(psutil.Process(pid)), "it ends")


def test_signal_handlers_are_reset() -> None:
    """SIGTERM ends a fork, even if the parent handles it otherwise."""
    ended = run_program("""
        signal.signal(signal.SIGTERM, lambda *_: None)
        fork = forks.start("a fork", wait)
        fork.terminate()
        fork.join()
        print(fork.exitcode)
    """)

    assert "-15\n" == ended.stdout


@pytest.mark.parametrize(("shared", "exit_code"), [(True, 0), (False, 1)])
def test_descriptors(tmp_path: Path, *, shared: bool, exit_code: int) -> None:
    """A fork has the open files of its parent, but not those that are `not_shared`."""
    (tmp_path / "file").touch()
    ended = run_program(f"""
        descriptor = os.open({str(tmp_path / "file")!r}, os.O_RDONLY)

        def check():
            try:
                os.fstat(descriptor)
            except OSError:
                sys.exit(1)

        fork = Forks([] if {shared} else [descriptor]).start("a fork", check)
        fork.join()
        print(fork.exitcode)
    """)

    assert f"{exit_code}\n" == ended.stdout


def test_title() -> None:
    """`ps` shows what a fork is for."""
    ended = run_program("""
        import psutil
        fork = forks.start("batchway fork", wait)
        while psutil.Process(fork.pid).cmdline()[0].strip() != "batchway fork":
            assert fork.is_alive()
    """)

    assert (0, "") == (ended.returncode, ended.stderr)
