"""Full searches for garbage and keys."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fake_services import FakeServices
from tests.support.screen import until
from tests.ui.library_data import fill
from tui.core.options import AppOptions
from tui.ui import garbage
from tui.ui.app import TuiApp
from tui.ui.garbage import HELD, Garbage
from tui.ui.start import Early

FREE = gc.get_threshold()


@pytest.fixture
def full() -> Iterator[list[int]]:
    """Full searches that ended."""
    found: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == 2:
            found.append(info["collected"])

    gc.collect()
    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)
    gc.set_threshold(*FREE)


def grow() -> list[list[int]]:
    """As much that lives on as a full search would be due for."""
    return [[number] for number in range(FREE[0] * FREE[1] * (FREE[2] + 15))]


async def test_no_full_search_falls_on_a_key_and_one_comes_once_nobody_types(full: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "QUIET", 60.0)
    found = Garbage()
    found.typed()
    held = grow()
    assert gc.get_count()[2] > FREE[2]
    assert not full
    monkeypatch.setattr(garbage, "QUIET", 0.0)
    found.typed()
    await until(lambda: bool(full))
    assert gc.get_threshold() == FREE
    held.clear()
    found.typed()
    await asyncio.sleep(0)
    await until(lambda: gc.get_threshold() == FREE)
    assert len(full) == 1  # there was hardly anything to search


async def test_keys_without_end_do_not_keep_all_garbage(full: list[int]) -> None:
    found = Garbage()
    found.typed()
    assert gc.get_threshold() == (*FREE[:2], HELD)
    found.end()
    assert gc.get_threshold() == FREE


async def test_the_app_holds_it_back_at_each_key(fake: FakeServices, full: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "QUIET", 60.0)
    app = TuiApp(AppOptions(), Early(), lambda: fill(fake))  # type: ignore[arg-type,return-value]
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: app.services is not None)
        assert gc.get_threshold() == FREE
        await pilot.press("j")
        assert gc.get_threshold()[2] == HELD
    assert gc.get_threshold() == FREE
