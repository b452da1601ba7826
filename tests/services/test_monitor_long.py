"""P77 and E05: hours and days of the Monitor in fast motion; nothing it keeps grows."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import threading
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.services.test_history import at
from tests.services.test_rules import Home, One
from tui.config.settings import build
from tui.hardware.sample import Cpu, Gpu
from tui.services.monitor.enforced import KEPT, Enforced
from tui.services.monitor.history import COARSE, FINE, WHOLE
from tui.store.alerts import LOG

HOT = {"alerts": {"cpu": 70, "gpu": 80, "after": 20}, "limits": {"count": "all"}}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path)
    yield home
    await home.close()


class Life:
    """One app that watches the rules, on a machine that is busy for two minutes of four, and whose second card is another one each hour."""

    def __init__(self, home: Home, every: float) -> None:
        self.app: One = home.one()
        self.app.config = build(HOT)
        self.every = every
        self.enforced = Enforced(home.clock, lambda *_words: None)
        self.turn = 0

    async def hours(self, count: float) -> None:
        app, clock = self.app, self.app.clock
        for _tick in range(round(count * 3600 / self.every)):
            clock.advance(self.every)
            self.turn += 1
            seconds = self.turn * self.every
            busy = seconds % 240 < 120
            card = Gpu(
                "GPU-0", 0, percent=97.0 if busy else 3.0, temperature=60.0 + self.turn % 7, memory_used=self.turn, memory_total=10**9
            )
            other = replace(card, uuid=f"GPU-{int(seconds // 3600) + 1}", index=1, percent=5.0)
            sample = replace(at(clock.time()), cpu=Cpu(90.0 if busy else 10.0, tuple(range(8))), gpus=(card, other))
            app.history.add(sample, self.every)
            app.rules.take(sample, self.every)
            await app.tick()
            if seconds % 60 < self.every:
                self.enforced.tell("unloaded", "lab/qwen3:8b", "idle")

    def rows(self, table: str, where: str = "1") -> int:
        with contextlib.closing(sqlite3.connect(self.app.database.path)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0])


def held() -> tuple[int, int]:
    """Open files and threads."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


async def grows_in_nothing(life: Life, hours: int, caplog: pytest.LogCaptureFixture) -> None:
    """The second half of so many hours costs nothing but rows of the day's history."""
    app = life.app
    tracemalloc.start()
    try:
        await life.hours(hours / 2)
        gc.collect()
        before, memory, alerts = held(), tracemalloc.get_traced_memory()[0], life.rows("alert")
        await life.hours(hours / 2)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - memory
    finally:
        tracemalloc.stop()
    after = held()
    assert after[0] <= before[0] + 2 and after[1] <= before[1], (before, after)
    assert grown < 400_000, f"{grown:,} bytes more"
    view = app.view.value
    assert alerts > 20, "it was a life with alerts"
    assert len(view.log) <= LOG
    assert len(view.active) <= 2
    assert len(life.enforced.done.value) == KEPT
    assert len(app.history.samples()) <= max(FINE, WHOLE) / life.every + 2
    series = life.rows("series")
    assert len(app.history.coarse[0].names()) <= series <= 60 + 5 * 26, "cards that went are forgotten with their last figure"
    for step, size in COARSE:
        rows = life.rows("sample", f"step = {int(step)}")
        assert 0 < rows <= min(size, hours * 3600 / step + 2) * 40, (step, rows)
    assert app.database.path.stat().st_size < 8_000_000
    assert app.said == []
    assert [record.message for record in caplog.records if record.name.startswith("paddock")] == []


async def test_P77_E05_eight_hours_of_samples_alerts_and_limits_grow_in_nothing(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    await grows_in_nothing(Life(home, 30.0), 8, caplog)


@pytest.mark.sweep
async def test_P77_E05_eight_hours_at_one_sample_a_second_grow_in_nothing(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    await grows_in_nothing(Life(home, 1.0), 8, caplog)


@pytest.mark.sweep
async def test_P77_E05_a_week_grows_in_nothing(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    life = Life(home, 10.0)
    await life.hours(30)  # until the day's history is full
    size = life.rows("sample")
    await grows_in_nothing(life, 138, caplog)
    assert life.rows("sample") <= 1.2 * size
