"""Spans, freezing and walking back: every value of the moment, gaps as gaps, pictures that only move on."""

from __future__ import annotations

from dataclasses import replace

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import screen_text, until
from tests.ui.monitor_data import AT, GPU, SAMPLE, fill
from tui.core.monitor import Points
from tui.services.api import MonitorView
from tui.ui.screens.monitor import MonitorScreen
from tui.ui.screens.monitor_words import dots
from tui.ui.widgets.graph import braille_line


async def shown(app: ScreenHost, text: str) -> None:
    await until(lambda: text in screen_text(app), what=text)


async def test_spans_reach_from_two_minutes_to_a_day(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "last 2 min")
        for name in ("10 min", "1 h", "24 h", "24 h"):
            await pilot.press("right_square_bracket")
            await shown(app, f"last {name} [ ]")
        await pilot.press("left_square_bracket")
        await shown(app, "last 1 h [ ]")


async def test_a_frozen_moment_keeps_every_value_and_walks(fake: FakeServices) -> None:
    fill(fake)
    for back in range(1, 60):
        gpu = replace(GPU, temperature=40.0 + back, memory_used=back * 100_000_000)
        fake.monitor.moments[int(AT) - back] = replace(SAMPLE, time=AT - back, cpu=replace(SAMPLE.cpu, percent=float(back)), gpus=(gpu,))
    fake.monitor.moments[int(AT)] = SAMPLE
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "as of now")
        await pilot.press("left")
        await shown(app, "as of now")  # only a frozen moment can be walked from
        await pilot.press("p")
        await shown(app, "frozen at 12:31:21")
        fake.monitor.latest.set(MonitorView(replace(SAMPLE, time=AT + 1, cpu=replace(SAMPLE.cpu, percent=77.0)), 2.0, tick=121))
        await shown(app, "1.0s ago")
        assert " 34 %" in screen_text(app)
        await pilot.press("shift+left")  # a tenth of two minutes
        await shown(app, "frozen at 12:31:09")
        await shown(app, "  12 %")
        await shown(app, "52 °C")
        await shown(app, "1.2 of 24.0 GB used")
        await pilot.press("right")  # a dot: 120 s over 50 dots
        await shown(app, "  10 %")
        await pilot.press("escape")
        await shown(app, "as of now")
        await shown(app, " 77 %")


async def test_walking_stops_at_the_oldest_and_at_now(fake: FakeServices) -> None:
    fill(fake)
    for name, values in fake.monitor.values.items():
        fake.monitor.values[name] = values[:100]
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        await pilot.press("p", *["shift+left"] * 12)
        await shown(app, "1m39s ago")
        await pilot.press(*["shift+right"] * 12)
        await shown(app, "frozen at 12:31:21, 0.0s ago")


async def test_a_moment_without_a_measurement_says_so(fake: FakeServices) -> None:
    fill(fake)
    fake.monitor.moments[int(AT) - 12] = None
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        await pilot.press("p", "shift+left")
        await shown(app, "nothing measured")
        await until(lambda: " 34 %" not in screen_text(app).split("gpu-box  CPU")[0])


def test_dots_stand_on_fixed_samples_and_the_picture_only_moves_on() -> None:
    values = tuple(float(number % 37) for number in range(400))
    before = ""
    for newest in range(300, 330):
        line = braille_line(dots(Points(values[newest - 119 : newest + 1], 1.0, newest), 25, 120.0), 25, 0.0, 37.0)
        if before:
            moved = line[:-1] == before[:-1]
            assert moved or line[:-2] == before[1:-1], newest
        before = line


def test_gaps_stay_gaps_and_coarse_steps_fill_their_dots() -> None:
    gap = dots(Points((1.0, None, None, 4.0), 1.0, 3), 2, 4.0)
    assert gap == [1.0, None, None, 4.0]
    wide = dots(Points((1.0, 2.0), 10.0, 1), 2, 20.0)
    assert wide == [1.0, 1.0, 2.0, 2.0]
    assert dots(Points((float("nan"), 2.0), 1.0, 1), 1, 2.0) == [None, 2.0]
    assert dots(Points((), 1.0, 0), 10, 120.0) == []
    assert dots(Points((1.0,), 1.0, 5), 0, 120.0) == []


async def test_the_moment_that_was_frozen_still_says_whose_memory_it_was(fake: FakeServices) -> None:
    fill(fake)
    fake.monitor.moments[int(AT) - 12] = replace(SAMPLE, time=AT - 12)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "alice: python 5.9")
        await pilot.press("p")
        await shown(app, "frozen at 12:31:21")
        assert "alice: python 5.9" in screen_text(app)
        fake.monitor.maps.set(())
        fake.monitor.latest.set(MonitorView(replace(SAMPLE, time=AT + 1), 2.0, tick=121))
        await shown(app, "1.0s ago")
        assert "alice: python 5.9" in screen_text(app)
        await pilot.press("shift+left")
        await shown(app, "frozen at 12:31:09")
        await until(lambda: "alice: python 5.9" not in screen_text(app))
        await shown(app, "of 24.0 GB used")
