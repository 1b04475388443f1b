"""The tables: made once, brought forward step by step, never taken back."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from liveroom import ConfigError
from liveroom_plugins.archive.database import connect
from liveroom_plugins.archive.schema import METADATA, MIGRATIONS, check_version, migrate


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where a database may be."""
    return f"sqlite:///{tmp_path / 'archive.db'}"


def test_schema_newest_version_has_the_tables_that_are_used(url: str) -> None:
    """Every column that is written and read is there, and no other."""
    engine = connect(url, write=True)
    with engine.begin() as connection:
        migrate(connection)
        found = inspect(connection)
        for table in METADATA.tables.values():
            columns = found.get_columns(table.name)
            assert {c["name"]: c["nullable"] for c in columns} == {
                c.name: c.nullable for c in table.columns
            }
            primary = found.get_pk_constraint(table.name)["constrained_columns"]
            assert primary == [c.name for c in table.primary_key]
    engine.dispose()


def test_schema_each_step_is_taken_once_and_in_order(url: str) -> None:
    """A database of version 1 gets the second step and the third, and nothing twice."""
    engine, taken = connect(url, write=True), []

    def step(number: int) -> None:
        def take(connection: Connection) -> None:
            connection.execute(text(f"CREATE TABLE t{number} (n INTEGER)"))
            taken.append(number)

        steps.append(take)

    steps: list[object] = []
    for number in (1, 2, 3):
        step(number)
    for version in (1, 1, 3, 3):
        with engine.begin() as connection:
            migrate(connection, steps[:version])  # type: ignore[arg-type]  # they are functions
    engine.dispose()

    assert taken == [1, 2, 3]


def test_schema_of_a_later_program_is_refused(url: str) -> None:
    """Nobody writes into tables that it does not know."""
    engine = connect(url, write=True)
    with engine.begin() as connection:
        migrate(connection, [*MIGRATIONS, lambda _: None])
    with engine.begin() as connection, pytest.raises(ConfigError, match="version"):
        migrate(connection)
    with engine.begin() as connection, pytest.raises(ConfigError, match="version"):
        check_version(connection)
    engine.dispose()


def test_schema_of_another_database_is_refused(url: str) -> None:
    """Any SQLite file is not an archive."""
    engine = connect(url, write=True)
    with engine.begin() as connection, pytest.raises(ConfigError, match="without"):
        check_version(connection)
    engine.dispose()


def test_schema_step_that_fails_leaves_no_trace(url: str) -> None:
    """A migration is a transaction."""
    engine = connect(url, write=True)

    def broken(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (n INTEGER)"))
        raise RuntimeError

    with pytest.raises(RuntimeError), engine.begin() as connection:
        migrate(connection, [*MIGRATIONS, broken])
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()


def test_schema_file_is_its_owners_alone(url: str, tmp_path: Path) -> None:
    """What people wrote is nobody else's to read, in the files beside it neither."""
    engine = connect(url, write=True)
    with engine.begin() as connection:
        migrate(connection)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    engine.dispose()

    assert set(modes) >= {"archive.db", "archive.db-wal"}
    assert set(modes.values()) == {0o600}
