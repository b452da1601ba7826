"""A worker's queue on a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.worker.fakes import Bench
from tui.core.clock import ManualClock


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, ManualClock())
    await bench.queue.open()
    yield bench
    await bench.close()
