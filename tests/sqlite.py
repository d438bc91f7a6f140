"""SQLite databases for the tests: copies of one whose tables were made once."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from batchway.database_setup import migrate_database
from batchway.settings import load_settings


@dataclass(frozen=True)
class SqliteTemplate:
    """A database that has our tables; no connection to it is open."""

    file: Path

    def copy_to(self, folder: Path) -> str:
        """The SQLAlchemy URL of a copy in a folder."""
        return f"sqlite:///{shutil.copy(self.file, folder)}"


def make_sqlite_template(folder: Path) -> SqliteTemplate:
    """Make the database in a folder of its own."""
    migrate_database(load_settings(data_dir=folder))
    return SqliteTemplate(folder / "batchway.db")
