"""What the tests of plugins share: databases for the archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """A running PostgreSQL server."""
    reason = postgres.why_not()
    if reason:
        pytest.skip(reason)
    server = postgres.PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an empty database, for what is the same in every one."""
    return f"sqlite:///{tmp_path / 'archive.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def archive_url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """The URL of an empty database; tests that use it run once per kind of database."""
    if request.param == "sqlite":
        return sqlite_url
    server: postgres.PostgresServer = request.getfixturevalue("postgres_server")
    return server.database()
