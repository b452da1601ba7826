"""A database and a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tui.core.clock import ManualClock
from tui.store.db import Database
from tui.store.jobs import JobTable


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "paddock.db")
    yield database
    database.close()


@pytest.fixture
def jobs(database: Database, clock: ManualClock) -> JobTable:
    return JobTable(database, clock)
