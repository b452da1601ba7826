"""E06: a loop that is blocked is written down, with the stack of its thread, at most once a minute."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tui.core import watchdog
from tui.core.clock import ManualClock
from tui.core.watchdog import AGAIN, LIMIT, LONGEST, Watchdog
from tui.services.engine import Engine
from tui.services.logs import start_log


class Loop:
    """A loop that turns when told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []
        self.closed = False

    def call_soon_threadsafe(self, work: Callable[[], object]) -> None:
        if self.closed:
            raise RuntimeError
        self.waiting.append(work)

    def turn(self) -> None:
        while self.waiting:
            self.waiting.pop()()


@pytest.fixture
def written() -> Iterator[list[str]]:
    lines: list[str] = []

    class Into(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, log = Into(), logging.getLogger("paddock.watchdog")
    before = log.propagate
    log.addHandler(handler)
    log.propagate = False
    yield lines
    log.removeHandler(handler)
    log.propagate = before


class Watched:
    """A watchdog on a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threading.Thread, "start", lambda self: None)
        self.clock, self.loop = ManualClock(), Loop()
        self.dog = Watchdog(self.clock)
        self.stop = self.dog.watch("screen", self.loop)  # type: ignore[arg-type]

    def pass_(self, seconds: int, *, turning: bool) -> None:
        for _second in range(seconds):
            self.dog.look()
            if turning:
                self.loop.turn()
            self.clock.advance(1)
        self.dog.look()


def test_a_loop_that_turns_is_never_mentioned(monkeypatch: pytest.MonkeyPatch, written: list[str]) -> None:
    watched = Watched(monkeypatch)
    watched.pass_(600, turning=True)
    assert written == []


def test_E06_a_blocked_loop_is_told_once_a_minute_with_its_stack(monkeypatch: pytest.MonkeyPatch, written: list[str]) -> None:
    watched = Watched(monkeypatch)
    watched.pass_(3, turning=False)
    assert len(written) == 1
    assert written[0].startswith(f"the loop of the screen does not turn since {LIMIT:.1f} s:\n")
    assert "test_E06_a_blocked_loop_is_told_once_a_minute_with_its_stack" in written[0]
    assert len(written[0]) < LONGEST + 100
    watched.pass_(int(AGAIN) - 3, turning=False)
    assert len(written) == 1
    watched.pass_(5, turning=False)
    assert len(written) == 2
    watched.loop.turn()
    watched.dog.look()
    assert written[-1].startswith("the loop of the screen turns again after ")


def test_E06_blocks_in_quick_succession_are_told_once_a_minute(monkeypatch: pytest.MonkeyPatch, written: list[str]) -> None:
    watched = Watched(monkeypatch)
    for _time in range(10):
        watched.pass_(3, turning=False)
        watched.pass_(2, turning=True)
    stacks = [line for line in written if "does not turn" in line]
    assert len(stacks) == 1


def test_E04_a_machine_that_slept_blames_no_loop(monkeypatch: pytest.MonkeyPatch, written: list[str]) -> None:
    watched = Watched(monkeypatch)
    watched.dog.look()
    watched.clock.advance(8 * 3600)
    watched.dog.look()
    assert written == []
    watched.loop.turn()
    watched.pass_(5, turning=True)
    assert written == []


def test_a_loop_that_is_closed_is_forgotten(monkeypatch: pytest.MonkeyPatch, written: list[str]) -> None:
    watched = Watched(monkeypatch)
    watched.loop.closed = True
    watched.pass_(5, turning=False)
    watched.stop()
    watched.stop()
    assert written == []


def test_E06_a_real_loop_that_is_blocked_for_three_seconds_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "EVERY", 0.02)
    monkeypatch.setattr(watchdog, "LIMIT", 0.05)
    dog = Watchdog()
    told = threading.Event()
    tell = Watchdog._tell

    def heard(one: watchdog._Watched, seconds: float) -> None:
        tell(one, seconds)
        told.set()

    monkeypatch.setattr(Watchdog, "_tell", staticmethod(heard))
    start_log(tmp_path, "info")
    engine = Engine(lambda error: None)
    monkeypatch.setattr("tui.services.engine.WATCHDOG", dog)
    engine.start()

    async def in_the_way() -> None:
        assert told.wait(3)  # as a call into a library would

    engine.post(in_the_way)
    assert told.wait(3)
    thread = dog._thread

    async def nothing() -> None:
        await asyncio.sleep(0)

    engine.close(nothing, 2.0)
    assert thread is not None
    thread.join(2)
    assert not thread.is_alive()  # nothing is left to look after
    root = logging.getLogger("paddock")
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    events = [json.loads(line)["event"] for line in (tmp_path / "app.log").read_text().splitlines()]
    stacks = [event for event in events if "the loop of the engine does not turn" in event]
    assert len(stacks) == 1
    assert "in_the_way" in stacks[0]
