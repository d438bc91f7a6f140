"""Migrations: a branch for the core, and one for each part with tables of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect

from batchway.audience.schema import MIGRATIONS
from batchway.errors import SchemaError
from batchway.store import migrate
from batchway.store.database import Database

PART = '''
"""A table of a part."""

import sqlalchemy as sa
from alembic import op

revision = "part_0001"
down_revision = None
branch_labels = ("part",)
depends_on = "0001"


def upgrade() -> None:
    op.create_table("parts", sa.Column("id", sa.BigInteger, primary_key=True))
'''


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables, of each kind in turn."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path}/empty.db")
    else:
        opened = Database(request.getfixturevalue("postgres_url"))
        with opened.write() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the migrations of a part."""
    path = tmp_path / "part"
    path.mkdir()
    (path / "part_0001_parts.py").write_text(PART)
    return path


def test_parts_have_migrations_of_their_own(database: Database, folder: Path) -> None:
    """The tables of a part are created and checked, too."""
    folders = [MIGRATIONS, folder]
    for _ in range(2):
        migrate.migrate(database, folders)
        migrate.check(database, folders)

    assert {"parts", "deleted_lists", "batches"} <= set(inspect(database.engine).get_table_names())


def test_a_part_that_is_added_later(database: Database, folder: Path) -> None:
    """An existing database lacks a new part until it is migrated."""
    migrate.migrate(database, [MIGRATIONS])

    with pytest.raises(SchemaError, match="batchway migrate"):
        migrate.check(database, [MIGRATIONS, folder])
    migrate.migrate(database, [MIGRATIONS, folder])
    migrate.check(database, [MIGRATIONS, folder])


def test_a_database_from_before_the_branches(database: Database) -> None:
    """A database of revision 0004, before the branches, can be migrated."""
    migrate.migrate(database, revision="0004")

    with pytest.raises(SchemaError, match="0004"):
        migrate.check(database, [MIGRATIONS])
    migrate.migrate(database, [MIGRATIONS])
    migrate.check(database, [MIGRATIONS])


def test_a_database_without_tables(database: Database) -> None:
    """The message says how to create the tables."""
    with pytest.raises(SchemaError, match="has no Batchway schema yet"):
        migrate.check(database, [MIGRATIONS])


def test_a_database_of_a_newer_version(database: Database, folder: Path) -> None:
    """An older version neither uses nor migrates the database, and says what to install."""
    migrate.migrate(database, [MIGRATIONS, folder])  # as a newer version, with one part more

    for use in (migrate.check, migrate.migrate):
        with pytest.raises(
            SchemaError, match=r"part_0001, this version needs .* install the newer"
        ):
            use(database, [MIGRATIONS])
    migrate.check(database, [MIGRATIONS, folder])
