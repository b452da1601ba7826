"""A worker watches the rules while no app runs, and makes way for one."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.chat.host import until
from tui.config.paths import Paths, find_paths
from tui.config.settings import Settings, build
from tui.core.clock import SYSTEM
from tui.core.models import Severity
from tui.hardware.sample import Cpu, Sample
from tui.hardware.sample_line import format_sample
from tui.services import limits
from tui.services.audit import Audit
from tui.services.locks import take
from tui.services.monitor.rules import APP_LOCK, RULES_LOCK
from tui.store.alerts import AlertTable
from tui.store.db import Database
from tui.worker import rules as worker_rules
from tui.worker.rules import WorkerRules

SAMPLER = """
import re, sys, time
line = {line!r}
open({pid!r}, "w").write(str(__import__("os").getpid()))
while True:
    sys.stdout.write(re.sub('1234567890(.0)?', str(time.time()), line))
    sys.stdout.flush()
    time.sleep(0.02)
"""


class Home:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(worker_rules, "TICK", 0.01)
        self.paths: Paths = find_paths(environ={"PADDOCK_HOME": str(folder / "home"), "HOME": str(folder)})
        self.settings: Settings = build({"alerts": {"cpu": 70, "after": 1}, "limits": {"count": "all"}})
        self.database = Database(self.paths.database)
        self.pid = folder / "pid"
        line = format_sample(Sample(1234567890.0, 1.0, Cpu(95.0)))
        text = (line.decode() if isinstance(line, bytes) else line).rstrip("\n") + "\n"
        self.script = folder / "sampler.py"
        self.script.write_text(SAMPLER.format(line=text, pid=str(self.pid)))
        audit = Audit(self.paths.state, SYSTEM)
        self.rules = WorkerRules(self.database, self.paths, lambda: self.settings, audit, command=self._command, after=0.0)
        self.task = asyncio.ensure_future(self.rules.run())

    def _command(self, _settings: Settings) -> list[str]:
        return [sys.executable, "-S", str(self.script)]

    @property
    def sampler(self) -> int:
        """The sampler's process; 0 where none runs."""
        text = self.pid.read_text() if self.pid.exists() else ""
        return int(text) if text and psutil.pid_exists(int(text)) else 0

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    home = Home(tmp_path, monkeypatch)
    yield home
    await home.end()
    await home.database.aclose()


async def test_it_measures_raises_alerts_and_lets_go_at_its_end(home: Home) -> None:
    await until(lambda: home.rules.view.value.active)
    assert home.rules.view.value.keeper == "the worker"
    (stored,) = await until(AlertTable(home.database).open)
    assert (stored.rule, stored.figure) == ("cpu", 95.0)
    sampler = home.sampler
    assert sampler
    await home.end()
    assert not psutil.pid_exists(sampler)
    lock = take(home.paths.locks / RULES_LOCK)
    assert lock is not None
    lock.release()


async def test_it_makes_way_for_an_app_and_ends_its_sampler(home: Home) -> None:
    await until(lambda: home.sampler)
    app = take(home.paths.locks / APP_LOCK)
    assert app is not None
    lock = await until(lambda: take(home.paths.locks / RULES_LOCK))
    await until(lambda: not home.sampler)
    await until(lambda: home.rules.view.value.keeper == f"another window (pid {os.getpid()})")
    lock.release()
    app.release()
    await until(lambda: home.rules.view.value.keeper == "the worker" and home.sampler)


async def test_while_an_app_is_there_no_sampler_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = take(find_paths(environ={"PADDOCK_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}).locks / APP_LOCK)
    assert app is not None
    home = Home(tmp_path, monkeypatch)
    await until(lambda: home.rules.view.value.keeper.startswith("another window"))
    assert not home.pid.exists()
    await home.end()
    await home.database.aclose()
    app.release()


async def test_trouble_ends_no_download_and_is_logged_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times: list[float] = []

    async def breaks(_self: object) -> None:
        times.append(time.monotonic())
        raise RuntimeError("broken")

    monkeypatch.setattr(worker_rules.WorkerRules, "_watch", breaks)
    await home.end()
    home.task = asyncio.ensure_future(home.rules.run())
    await until(lambda: len(times) > 3)
    assert not home.task.done()
    assert len([one for one in caplog.records if "rules are not watched" in one.message]) == 1


async def test_what_it_says_goes_into_its_log(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.rules.say("it does not work", Severity.WARNING)
    assert "it does not work" in caplog.text
    assert home.rules.states() is None


async def test_own_servers_are_those_of_the_settings_and_ollama(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def held_by(url: str) -> None:
        asked.append(url)

    monkeypatch.setattr(limits, "held_by", held_by)
    home.settings = build(
        {"providers": {"box": {"kind": "llamacpp", "url": "http://127.0.0.1:8080"}, "far": {"kind": "ollama", "url": "http://10.0.0.9:1"}}}
    )
    assert await home.rules.own_servers() == ([], 0)
    assert asked == ["http://127.0.0.1:11434", "http://127.0.0.1:8080"]
