"""Pages and dialogs of the Monitor: cores, memory, disks, one GPU; what a model would take, why it is slow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.monitor_data import CGROUP, GPU, SAMPLE, alerts, fill, provider, slow
from tui.core.models import Location
from tui.core.monitor import RAM, AlertsView, MemoryMap, MemoryPart, SlowView, Take
from tui.hardware.sample import GpuProcess, MigInstance
from tui.services.api import MonitorView
from tui.text import clean_label, clean_name
from tui.ui.dialogs.load import contexts
from tui.ui.dialogs.why_slow import slow_lines, slow_summary
from tui.ui.screens.monitor import MonitorScreen
from tui.ui.screens.monitor_memory import bar_pieces, legend, legend_lines, slices
from tui.ui.widgets.board import Board


async def shown(app: ScreenHost, text: str) -> None:
    await until(lambda: text in screen_text(app), what=text)


async def test_the_page_of_the_processor_has_every_core(fake: FakeServices) -> None:
    cores = tuple(float(number % 100) for number in range(128))
    fill(fake, replace(SAMPLE, cpu=replace(SAMPLE.cpu, cores=cores, count=128, physical=64), cgroup=CGROUP))
    fake.monitor.values |= {f"core:{number}": [50.0] * 120 for number in range(128)}
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        await pilot.press("shift+tab", "enter")
        await shown(app, "128 processors, 64 without hyper-threads")
        await shown(app, "2.5 of 128 processors by control group, 71 % of that in use")
        assert fake.called("want")[-1] == ("monitor", ("cores",))
        assert "  63 " not in screen_text(app)
        await pilot.press("end")
        await until(lambda: any(line.lstrip().startswith("63 ") for line in screen_lines(app)))
        await pilot.press("escape")
        await shown(app, "── loaded")


async def test_the_page_of_memory_has_its_processes(fake: FakeServices) -> None:
    fill(fake, replace(SAMPLE, hidden_processes=12, memory=replace(SAMPLE.memory, pressure=3.0)))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        await pilot.press("shift+tab", "j", "enter")
        await shown(app, "4711  alice           5.9 GB   103 %  python")
        await shown(app, "12 processes of others cannot be seen")
        await shown(app, "something waits 3.0 % of the time")
        assert fake.called("want")[-1] == ("monitor", ("processes", "gpu_processes"))


@pytest.mark.parametrize("page", ["disk", "net"])
async def test_pages_of_disks_and_network(fake: FakeServices, page: str) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await shown(app, "34 %")
        app.first.open_page(page)
        await shown(app, "290 GB of 1.0 TB free" if page == "disk" else "39 MB/s")
        assert fake.called("want")[-1] == ("monitor", ())


async def test_G03_G08_the_page_of_a_gpu(fake: FakeServices) -> None:
    parts = (MigInstance("MIG-1", "1g.5gb", 5_000_000_000, 1_000_000_000),)
    hostile = GpuProcess(77, 100_000_000, None, clean_name(CANARIES[7]), clean_name(CANARIES[4]))
    gpu = replace(GPU, mig=parts, hidden=2, throttle=("thermal", "power"), ecc_uncorrected=3, processes=(*GPU.processes, hostile))
    fill(fake, replace(SAMPLE, gpus=(gpu,)))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 50)) as pilot:
        await shown(app, "34 %")
        await pilot.press("shift+tab", "end", "enter")
        for words in (
            "GPU0  NVIDIA GeForce RTX 3090  NVML", "312 W", "1,860 MHz", "generation 3 ×8, could be 4 ×16", "! 0 errors corrected, 3 not",
            "! too hot, power limit", "1g.5gb  1.0 of 5.0 GB  MIG-1", "812  ollama          6.8 GB    95 %  ollama",
            "2 of them cannot be seen by this account", "memory busy 44 %", "alice: python 5.9",
        ):  # fmt: skip
            await shown(app, words)
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        assert fake.called("want")[-1] == ("monitor", ("gpu_processes", "gpu_detail"))
        lost = replace(GPU, lost=True, note="the GPU fell off the bus")
        fake.monitor.latest.set(MonitorView(replace(SAMPLE, gpus=(lost,)), 2.0, tick=121))
        await shown(app, "! the GPU fell off the bus")
        bare = replace(GPU, percent=None, temperature=None, power=None, fan=None, clock=None, processes=())
        fake.monitor.latest.set(MonitorView(replace(SAMPLE, gpus=(bare,)), 3.0, tick=122))
        await shown(app, "none that the driver tells")
        fake.monitor.latest.set(MonitorView(replace(SAMPLE, gpus=()), 4.0, tick=123))
        await shown(app, "This GPU is not there any more")


async def test_what_a_model_would_take_is_hatched(fake: FakeServices) -> None:
    fill(fake)
    fake.monitor.takes[("ollama", "phi4:14b")] = Take((("GPU-1", 9_000_000_000),), context=4096, measured=True, verdict="good")
    fake.monitor.takes[("ollama", "gemma3:27b")] = Take((("GPU-1", 18_000_000_000),), context=4096, missing=7_500_000_000, verdict="no")
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        await pilot.press("L")
        await shown(app, "phi4:14b")
        assert "qwen3:8b " not in screen_text(app, app.screen)
        await shown(app, "╱╱╱╱╱")
        await shown(app, "needs 9.0, 10.5 of 24.0 GB free")
        await shown(app, "fits: good  as measured when it was loaded")
        await shown(app, "as the server loads it (taken as 4k) of 16k")
        await pilot.press("right", "right")
        await shown(app, "4k of 16k")
        await pilot.press("down")
        await shown(app, "! 7.5 GB are not free  no, an estimate")
        await pilot.press("F")
        await until(lambda: fake.called("make_room") == [("ollama", "gemma3:27b")])
        await pilot.press("L", "enter")
        await until(lambda: fake.called("load") == [("ollama", "phi4:14b")])


async def test_a_model_elsewhere_is_never_measured_against_this_machine(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.providers.set((provider("ollama", Location.ELSEWHERE, "http://gpu2:11434"),))
    fake.monitor.takes[("ollama", "phi4:14b")] = Take((("GPU-1", 9_000_000_000),), context=4096)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        await pilot.press("L")
        await shown(app, "ollama runs on another machine: what is free there is not known.")
        assert "╱" not in screen_text(app)


def test_contexts_double_up_to_what_the_model_was_trained_for() -> None:
    assert contexts(16384) == [None, 2048, 4096, 8192, 16384]
    assert contexts(5000) == [None, 2048, 4096, 5000]
    assert contexts(None) == [None]


async def test_why_slow_names_causes_first_and_one_thing_to_do(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        await pilot.press("w")
        await shown(app, "Why is qwen3:8b on ollama slow?")
        await shown(app, "looking, for ")
        assert fake.called("why_slow") == [("ollama", "qwen3:8b")]
        fake.monitor.slow.set(replace(slow(), model="another"))
        fake.monitor.slow.set(slow())
        await shown(app, "One thing makes it slower than it could be.")
        await shown(app, "38 % of it (2.6 GB) on the CPU")
        await shown(app, "Load it with a context of 4k.")
        lines = screen_lines(app)
        order = [next(number for number, line in enumerate(lines) if mark in line) for mark in ("✕ all of it", "● no swapping", "○ mains")]
        assert order == sorted(order)
        await pilot.press("y")
        assert "38 % of it" in app.copied[0]
        await pilot.press("escape")
        assert app.screen is app.first


def test_why_slow_tells_the_rate_beside_the_usual_one() -> None:
    said = slow_summary(SlowView("ollama", "a", slow().checks, summary="writes 12 tok/s, usually 48"))
    assert said == "It writes 12 tok/s, usually 48. One thing makes it slower than it could be."


def test_why_slow_in_ascii_is_literal() -> None:
    checks = tuple(replace(slow().checks[0], figure=clean_label(name), remedy=clean_label(name)) for name in CANARIES)
    lines = slow_lines(checks, 60, ascii=True)
    assert not FORBIDDEN & set("".join(line.text for line in lines))
    assert lines[0].text.startswith(" x ")


def test_a_bar_has_every_part_and_a_legend_that_counts_the_rest() -> None:
    parts = tuple(MemoryPart("process", f"p{number}", "ann", 1_000_000_000 + number) for number in range(9))
    found = MemoryMap(RAM, "RAM", 24_000_000_000, 12_000_000_000, (*parts, MemoryPart("hidden", "", "", 3_000_000_000, count=2)))
    drawn = slices(found, ascii=False)
    assert [part.name for part in drawn] == ["ann: p0", "ann: p1", "ann: p2", "ann: p3", "5 more", "2 not visible"]
    assert sum(part.size for part in drawn) == sum(part.size for part in found.parts)
    text = "".join(text for text, _tone in bar_pieces(drawn, found.total, 24, ascii=False))
    assert text == "▓▒░▚▞▞▞▞▞???············"
    words = legend_lines(legend(drawn, found.total, found.used, binary=False, ascii=False), 4, 40, 1)
    assert len(words) == 1
    assert words[0].text.rstrip().endswith("+5")


def test_a_tiny_part_still_has_a_cell_and_an_overfull_bar_ends() -> None:
    tiny = MemoryMap(RAM, "RAM", 24, 31, (MemoryPart("model", "a", "", 1), MemoryPart("rest", "", "", 30)))
    assert "".join(text for text, _ in bar_pieces(slices(tiny, ascii=True), 24.0, 5, ascii=True)) == "#===="
    assert "".join(text for text, _ in bar_pieces((), 0.0, 3, ascii=True)) == "..."


async def test_the_board_goes_from_key_to_key_with_the_keys_of_lists(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        board = app.first.query_one("#meters", Board)
        board.focus()
        await pilot.press("G")
        assert board.cursor == "gpu:GPU-1"
        await pilot.press("g", "j")
        assert board.cursor == "ram"
        await pilot.press("pagedown")
        assert board.cursor == "gpu:GPU-1"
        await pilot.press("tab")
        await until(lambda: app.first.query_one("#loaded").has_focus)
        await pilot.press("tab")
        await until(lambda: app.first.query_one("#alerts").has_focus)


async def test_facts_of_a_page_stand_on_as_many_lines_as_they_need(fake: FakeServices) -> None:
    cpu = replace(SAMPLE.cpu, count=128, physical=64, load=(101.25, 99.5, 88.75), frequency=3377.0, frequency_max=4400.0, pressure=12.0)
    fill(fake, replace(SAMPLE, cpu=cpu))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await shown(app, "34 %")
        app.first.open_page("cpu")
        await shown(app, "128 processors, 64 without hyper-threads")
        await shown(app, "3,377 of 4,400 MHz")
        await shown(app, "61 °C")
        await shown(app, "waits 12 % of the time")


async def test_without_alerts_the_focus_does_not_stop_there(fake: FakeServices) -> None:
    fill(fake)
    fake.monitor.alerts.set(AlertsView())
    fake.monitor.enforced.set(())
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await until(lambda: not app.first.query_one("#alerts", Board).focusable)
        fake.monitor.alerts.set(alerts())
        await until(lambda: app.first.query_one("#alerts", Board).focusable)
