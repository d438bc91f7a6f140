"""Files that are made are whole or absent, wherever the process dies."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from batchway.errors import SettingsError
from batchway.kit.files import create_file, make_folder
from batchway.settings import load_settings

CONTENT = b"a key of many characters"
# Makes the file, and is killed before or after a call of this function of the system.
PROGRAM = """
import os, signal, sys
from pathlib import Path
from batchway.kit.files import create_file

name, is_after, path = sys.argv[1], sys.argv[2] == "after", Path(sys.argv[3])
real = getattr(os, name)

def die(*arguments, **options):
    if not is_after:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(os, name, die)
create_file(path, b"a key of many characters")
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["open", "fsync", "link", "unlink"])
def test_a_death_while_a_file_is_made(tmp_path: Path, call: str, when: str) -> None:
    """After a death at any point the file is whole or absent, and can then be made."""
    path = tmp_path / "key"
    command = [sys.executable, "-c", PROGRAM, call, when, str(path)]
    died = subprocess.run(command, check=False)

    assert -signal.SIGKILL == died.returncode
    if path.exists():
        assert CONTENT == path.read_bytes()
    else:
        create_file(path, CONTENT)
    assert CONTENT == path.read_bytes()


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    """A file that exists stays, also without hard links, and nothing else is in the folder."""
    if not has_links:
        monkeypatch.setattr(os, "link", refuse_link)
    path = tmp_path / "key"
    create_file(path, CONTENT)

    with pytest.raises(FileExistsError):
        create_file(path, b"another key")

    assert CONTENT == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def refuse_link(*_arguments: object, **_options: object) -> None:
    """Refuse a hard link as a file system does that has none."""
    raise PermissionError


def test_a_folder_and_its_parents(tmp_path: Path) -> None:
    """Missing parents are made too; only the folder itself is closed to others."""
    folder = tmp_path / "srv" / "batchway"
    for _ in range(2):
        make_folder(folder)

    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert 0 != stat.S_IMODE(folder.parent.stat().st_mode) & 0o005


@pytest.mark.parametrize("content", ["", "\n", "x", "x" * 31, " " * 64])
def test_an_incomplete_secret_key_is_refused(tmp_path: Path, content: str) -> None:
    """A secret key that an earlier version could not write whole is refused with what to do."""
    (tmp_path / "secret.key").write_text(content)

    with pytest.raises(SettingsError, match="Restore the file from a backup"):
        load_settings(data_dir=tmp_path).get_secret_keys()
