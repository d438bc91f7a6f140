"""All processes of an installation share archives and secret key, which a start compares."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from batchway.app import open_app
from batchway.archives.disk import DiskArchive
from batchway.contract.result_links import ResultLinks
from batchway.database_setup import migrate_database, prepare_installation
from batchway.errors import OtherInstallation
from batchway.installation import forget_installation, join_installation
from batchway.kit.clock import SECOND
from batchway.kit.signing import Signer
from batchway.lifecycle.sweep import sweep
from batchway.observers.base import Event, Field, Observers
from batchway.settings import load_settings
from tests.scenario import SECRET_KEY
from tests.step_runner import BASE, StepRunner
from tests.steps import run

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
HOUR_SECONDS = 3_600


def test_processes_with_the_same_archives_and_key_join(runner: StepRunner, tmp_path: Path) -> None:
    """The first process stores archives and key; others with the same ones start."""
    for _ in range(3):
        join_installation(runner.parts.database, DiskArchive(tmp_path / "one"), [OLD])


def test_other_archive_folder_is_refused(runner: StepRunner, tmp_path: Path) -> None:
    """A process with another archive folder does not start, and changes nothing."""
    database = runner.parts.database
    join_installation(database, DiskArchive(tmp_path / "one"), [OLD])

    for _ in range(2):
        with pytest.raises(OtherInstallation, match=r"kept in another folder .* --data-dir"):
            join_installation(database, DiskArchive(tmp_path / "two"), [OLD])
    join_installation(database, DiskArchive(tmp_path / "one"), [OLD])


def test_api_and_worker_with_another_data_folder_are_refused(
    runner: StepRunner, tmp_path: Path
) -> None:
    """API and worker of one database need the same data folder."""
    runner.app.asgi()
    other = load_settings(
        data_dir=tmp_path / "other",
        database_url=runner.app.settings.database_in_use,
        secret_key=SECRET_KEY,
    )

    app = open_app(other)
    try:
        with pytest.raises(OtherInstallation, match="another folder"):
            app.asgi()
        with pytest.raises(OtherInstallation, match="another folder"):
            app.start(app.worker())
    finally:
        app.close()


def test_moved_archive_folder_is_the_same(runner: StepRunner, tmp_path: Path) -> None:
    """The identity is in the folder, so that the folder can be moved."""
    join_installation(runner.parts.database, DiskArchive(tmp_path / "one"), [OLD])

    (tmp_path / "one").rename(tmp_path / "two")

    join_installation(runner.parts.database, DiskArchive(tmp_path / "two"), [OLD])


def test_secret_key_is_rotated(runner: StepRunner, tmp_path: Path) -> None:
    """A process that has the current key among others starts, and its first key signs."""
    database, archive = runner.parts.database, DiskArchive(tmp_path / "one")
    join_installation(database, archive, [OLD])

    join_installation(database, archive, [NEW, OLD])

    join_installation(database, archive, [NEW])
    with pytest.raises(OtherInstallation, match="put the new key first"):
        join_installation(database, archive, [OLD])


def test_other_secret_key_is_refused(runner: StepRunner, tmp_path: Path) -> None:
    """A process with another key does not start, and no message shows a key."""
    database, archive = runner.parts.database, DiskArchive(tmp_path / "one")
    join_installation(database, archive, [NEW, OLD])

    with pytest.raises(OtherInstallation) as raised:
        join_installation(database, archive, [OTHER])

    assert OTHER.decode() not in str(raised.value)
    join_installation(database, archive, [NEW])


def test_forgotten_installation_is_decided_anew(runner: StepRunner, tmp_path: Path) -> None:
    """After the installation was forgotten, the next process stores a new one."""
    database = runner.parts.database
    join_installation(database, DiskArchive(tmp_path / "one"), [OLD])

    forget_installation(database)

    join_installation(database, DiskArchive(tmp_path / "two"), [NEW])
    with pytest.raises(OtherInstallation):
        join_installation(database, DiskArchive(tmp_path / "one"), [OLD])


def test_data_folder_restored_without_its_key_starts(tmp_path: Path) -> None:
    """`serve` has locked its data folder, and may store a new key."""
    migrate_database(load_settings(data_dir=tmp_path))

    for key in (OLD, NEW):
        prepare_installation(load_settings(data_dir=tmp_path, secret_key=key.decode()))


# --- Housekeeping and links ----------------------------------------------------------------------


@dataclass
class Recorder:
    """Records how many files the housekeeping has removed."""

    removed: list[tuple[Field, Field]] = field(default_factory=list)

    def observe(self, event: Event, fields: Mapping[str, Field]) -> None:
        """Record the counts."""
        if event is Event.HOUSEKEEPING_DONE:
            self.removed.append((fields["archives"], fields["temporary_files"]))


def test_housekeeping_is_done_once_an_hour(runner: StepRunner) -> None:
    """The archives are searched once an hour, whatever the number of sweeps."""
    recorder = Recorder()
    parts = replace(runner.parts, observe=Observers([recorder]))
    join_installation(parts.database, parts.archive, [OLD])
    parts.archive.write("0123456789", [b"orphan"])

    for seconds in (0, 2, HOUR_SECONDS - 3, 1, 1):
        runner.clock.now += seconds * SECOND
        sweep(parts, lambda _written: [])
        join_installation(parts.database, parts.archive, [OLD])

    assert [(1, 0), (0, 0)] == recorder.removed
    assert [] == list(parts.archive.list_keys())


class LinkingArchive(DiskArchive):
    """An archive store that serves its archives."""

    def build_link(self, key: str, seconds: int) -> str:  # type: ignore[override]
        """Return a URL of the store."""
        return f"https://store.example.com/{key}?seconds={seconds}"


def test_link_of_an_archive_store_is_used(runner: StepRunner, tmp_path: Path) -> None:
    """Results link to the store if it serves archives, else to the API."""
    batch = runner.submit(runner.make_additions(1))
    run(runner.parts, batch.id)
    finished = runner.load_batch(batch)
    assert finished
    disk = ResultLinks(Signer((OLD,)), runner.parts.archive, runner.clock, 600)

    own = disk.build_url(finished, BASE)
    theirs = replace(disk, archive=LinkingArchive(tmp_path / "linking")).build_url(finished, BASE)

    assert own.startswith(f"{BASE}/results/{batch.public_id}-response.tar.gz?t=")
    assert f"https://store.example.com/{batch.public_id}?seconds=600" == theirs
