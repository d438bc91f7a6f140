"""Runs the archive suite for each store, and tests what is special about a store."""

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchway.archives.disk import DiskArchive
from batchway.errors import ArchiveUnwritable
from tests.contract.archives_suite import KEY, ArchiveSuite

HOUR_SECONDS = 3_600


class TestDiskArchive(ArchiveSuite):
    """A folder on this machine."""

    @pytest.fixture
    def archive(self, tmp_path: Path) -> DiskArchive:
        """A new folder."""
        return DiskArchive(tmp_path / "archives")

    def test_only_the_owner_can_read(self, archive: DiskArchive, tmp_path: Path) -> None:
        """The folder is 0700 and a file 0600, whatever the umask is."""
        archive.write(KEY, [b"a"])
        archive.get_identity()
        folder = tmp_path / "archives"

        assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
        assert [0o600, 0o600] == [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()]

    def test_folder_is_used_again(self, archive: DiskArchive, tmp_path: Path) -> None:
        """A second process on the same folder finds the archives of the first."""
        archive.write(KEY, [b"a"])

        assert [KEY] == list(DiskArchive(tmp_path / "archives").list_keys())

    def test_identity_stays_in_the_folder(self, archive: DiskArchive, tmp_path: Path) -> None:
        """A moved folder keeps its identity; another folder has a different one."""
        identity = archive.get_identity()

        (tmp_path / "archives").rename(tmp_path / "moved")

        assert identity == DiskArchive(tmp_path / "moved").get_identity()
        assert identity != DiskArchive(tmp_path / "archives").get_identity()

    def test_strange_files_are_left_alone(self, archive: DiskArchive, tmp_path: Path) -> None:
        """Files with other names are neither listed nor removed."""
        for name in ("notes.txt", "A.tar.gz", "a.tar.gz.bak", "lost.writing"):
            (tmp_path / "archives" / name).write_bytes(b"mine")

        assert ([], 0) == (list(archive.list_keys()), archive.sweep_temporary())
        assert 4 == len(list((tmp_path / "archives").iterdir()))

    def test_killed_writer_leaves_nothing_under_the_key(
        self, archive: DiskArchive, tmp_path: Path
    ) -> None:
        """A file of a killed writer is not listed, and the sweep removes it."""
        kill_writer(tmp_path / "archives")
        [rest] = (tmp_path / "archives").iterdir()

        assert [] == list(archive.list_keys())
        assert rest.exists()
        assert 1 == archive.sweep_temporary()
        assert [] == list((tmp_path / "archives").iterdir())

    def test_killed_writer_leaves_the_former_archive(
        self, archive: DiskArchive, tmp_path: Path
    ) -> None:
        """A killed writer leaves the former archive, and another write succeeds."""
        archive.write(KEY, [b"former"])
        kill_writer(tmp_path / "archives")

        assert b"former" == archive.read_range(KEY, 0, 100)
        assert 5 == archive.write(KEY, [b"again"])
        assert b"again" == archive.read_range(KEY, 0, 100)

    def test_old_archives_are_not_temporary(self, archive: DiskArchive, tmp_path: Path) -> None:
        """The sweep of temporary files never removes a complete archive."""
        archive.write(KEY, [b"a"])
        set_age(tmp_path / "archives" / f"{KEY}.tar.gz", 100 * HOUR_SECONDS)

        assert 0 == archive.sweep_temporary()
        assert [KEY] == list(archive.list_keys())

    def test_a_writer_keeps_its_file_whatever_the_clock_shows(
        self, archive: DiskArchive, tmp_path: Path
    ) -> None:
        """The sweep leaves the file of a living writer alone, also if the clock moved by days."""

        def parts() -> Iterator[bytes]:
            yield b"x" * 1_000_000
            [file] = (tmp_path / "archives").iterdir()
            set_age(file, 48 * HOUR_SECONDS)
            assert 0 == archive.sweep_temporary()

        archive.write(KEY, parts())
        assert [KEY] == list(archive.list_keys())

    def test_writer_that_lost_its_file_says_so(self, archive: DiskArchive, tmp_path: Path) -> None:
        """A writer whose temporary file was removed raises an error."""

        def parts() -> Iterator[bytes]:
            yield b"x" * 1_000_000
            [file] = (tmp_path / "archives").iterdir()
            file.unlink()

        with pytest.raises(ArchiveUnwritable):
            archive.write(KEY, parts())
        assert [] == list(archive.list_keys())

    @pytest.mark.parametrize("former", [None, b"former"])
    def test_refused_bytes_leave_no_half_file(
        self, archive: DiskArchive, tmp_path: Path, former: bytes | None
    ) -> None:
        """If the disk is full, an error says what to do, and no part of the file stays."""
        if former is not None:
            archive.write(KEY, [former])
        before = sorted((tmp_path / "archives").iterdir())

        with limit_file_size(100_000), pytest.raises(ArchiveUnwritable, match="Make room"):
            archive.write(KEY, [b"x" * 1_000] * 1_000)

        assert before == sorted((tmp_path / "archives").iterdir())
        assert former is None or former == archive.read_range(KEY, 0, 100)

    def test_lost_folder_is_reported(self, archive: DiskArchive, tmp_path: Path) -> None:
        """A removed folder is an error with its path."""
        (tmp_path / "archives").rmdir()

        with pytest.raises(ArchiveUnwritable, match="archives"):
            archive.write(KEY, [b"a"])


def kill_writer(folder: Path) -> None:
    """Run a writer that is killed by SIGKILL after all parts, before `write` ends."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from batchway.archives.disk import DiskArchive\n"
        "def parts():\n"
        "    yield b'x' * 1_000_000\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "DiskArchive(Path(sys.argv[1])).write(sys.argv[2], parts())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(folder), KEY]
    done = subprocess.run(command, env=environment, check=False, timeout=60)
    assert -signal.SIGKILL == done.returncode


def set_age(path: Path, seconds: int) -> None:
    """Set the time of the last change of a file to `seconds` ago."""
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))


@contextmanager
def limit_file_size(size_bytes: int) -> Iterator[None]:
    """Limit the size of the files that this process can write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
