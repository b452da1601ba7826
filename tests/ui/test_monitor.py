"""The Monitor screen: graphs, memory that is joined only where certain, loaded models, its keys."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tui.core.models import Endpoint, Location, Model, Origin, ProviderState, ProviderStatus, RunningModel
from tui.hardware.sample import Cpu, Disk, Gpu, Memory, Network, Sample
from tui.services.api import MonitorView
from tui.text import clean_label, clean_name
from tui.ui.screens.monitor import MonitorScreen
from tui.ui.screens.monitor_rows import bucketed, share_memory, unload_question
from tui.ui.widgets.confirm import ChoiceDialog, ConfirmDialog
from tui.ui.widgets.graph import Graph
from tui.ui.widgets.rows import Rows

GPU = Gpu("GPU-1", 0, "NVIDIA GeForce RTX 3090", 97.0, 24_000_000_000, 13_500_000_000, 71.0, 312.0, 350.0)
SAMPLE = Sample(
    time.mktime((2026, 11, 21, 12, 31, 21, 0, 0, -1)),
    1.0,
    Cpu(34.0, (34.0,) * 8, (2.7, 2.0, 1.5), 3600.0, 61.0),
    Memory(31_200_000_000, 12_800_000_000, 8_000_000_000, 0),
    (Disk("/var/lib", 1_000_000_000_000, 710_000_000_000, 290_000_000_000, 12e6, 38e6),),
    Network(39e6, 0.6e6),
    (GPU,),
)


def provider(name: str, location: Location = Location.HERE) -> ProviderState:
    return ProviderState(Endpoint(name, "ollama", "http://127.0.0.1:11434"), Origin.CONFIG, ProviderStatus.UP, location=location)


def models(now: float) -> tuple[RunningModel, ...]:
    return (
        RunningModel("ollama", "qwen3:8b", "qwen3:8b", 6_800_000_000, 6_800_000_000, 4096, 40960, now + 252.5, rate=48.2, busy_slots=1),
        RunningModel("ollama", "nomic-embed-text", "nomic-embed-text:latest", 300_000_000, 300_000_000, 2048, 2048, now + 65.5),
    )


def fill(fake: FakeServices, sample: Sample = SAMPLE, tick: int = 120, **changes: Any) -> None:
    wave = [50 + 40 * math.sin(index / 7) for index in range(600)]
    for name in ("cpu", "gpu:GPU-1", "gpu:GPU-1:memory", "gpu:GPU-1:temperature"):
        fake.monitor.values[name] = list(wave)
    fake.monitor.values |= {"memory": [41.0] * 600, "swap": [0.0] * 600, "gpu:GPU-1:power": [300.0] * 600}
    for name in ("disk_read", "disk_write", "net_in", "net_out"):
        fake.monitor.values[name] = [value * 1e6 for value in wave]
    fake.registry.providers.set((provider("ollama"),))
    fake.registry.running.set(models(time.time()))
    fake.monitor.latest.set(MonitorView(sample, 1.0, tick=tick, **changes))


async def shown(app: ScreenHost, text: str) -> None:
    await until(lambda: text in screen_text(app), what=text)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
async def test_the_machine_as_drawn(fake: FakeServices, size: tuple[int, int]) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=size):
        await shown(app, "34 %")
        lines = screen_lines(app)
        text = "\n".join(lines)
        assert all(len(line) <= size[0] for line in lines)
        assert "gpu-box, this machine" in text
        if size[0] < 80:
            return
        for words in (
            "every 1s, last 2 min [ ]", "as of now", "8 cores  load 2.7  61 °C", "12.8 of 31.2 GB  swap 0",
            "r 12  w 38 MB/s  /var/lib 71 % full", "in 39  out 0.6 MB/s", "RTX 3090  71 °C  312 of 350 W",
            "13.5 of 24.0 GB used", "qwen3:8b 6.8", "nomic-embed-text 0.3", "other 6.4",
        ):  # fmt: skip
            assert words in text, words
        row = next(line for line in lines if "48 tok/s" in line)
        assert "all GPU0" in row
        assert "4k of 40k" in row
        assert "in 4m1" in row
        assert any("\u2800" < char <= "\u28ff" for char in text)


async def test_a_sample_draws_once_and_only_what_differs(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        await pilot.pause()
        before = screen_lines(app)
        fake.monitor.latest.set(replace(fake.monitor.latest.value, sample=replace(SAMPLE, cpu=replace(SAMPLE.cpu, percent=35.0)), at=2.0))
        await shown(app, "35 %")
        changed = [line for line, was in zip(screen_lines(app)[1:-2], before[1:-2], strict=True) if line != was and "tok/s" not in line]
        assert len(changed) <= 2


async def test_a_remote_models_memory_is_not_counted_here(fake: FakeServices) -> None:
    fill(fake)
    far = RunningModel("farbox", "llama3.1:70b", "llama3.1:70b", 9_000_000_000, 9_000_000_000, expires_at=None, pinned=True)
    fake.registry.providers.set((provider("ollama"), provider("farbox", Location.ELSEWHERE)))
    fake.registry.running.set((*models(time.time()), far))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 40)):
        await shown(app, "llama3.1:70b")
        await shown(app, "qwen3:8b 6.8")
        legend = next(line for line in screen_lines(app) if "qwen3:8b 6.8" in line)
        assert "llama3.1" not in legend
        row = next(line for line in screen_lines(app) if "farbox" in line)
        assert "all GPU " in row
        assert "pinned" in row


def test_memory_is_joined_only_where_certain() -> None:
    local = list(models(0.0))
    sure = share_memory(GPU, 13.5e9, local, gpus=1)
    assert sure is not None
    assert [name for name, _bytes in sure.parts] == ["qwen3:8b", "nomic-embed-text", ""]
    assert sum(part for _name, part in sure.parts) == 13.5e9
    too_much = share_memory(GPU, 5e9, local, gpus=1)
    assert too_much is not None
    assert too_much.parts == (("", 5e9),)
    assert too_much.about.startswith("about 7.1 GB")
    several = share_memory(GPU, 13.5e9, local, gpus=2)
    assert several is not None
    assert len(several.parts) == 1
    assert share_memory(GPU, None, local, gpus=1) is None


async def test_eight_gpus_stand_one_a_line(fake: FakeServices) -> None:
    gpus = tuple(replace(GPU, uuid=f"GPU-{index}", index=index, percent=float(index)) for index in range(8))
    fill(fake, replace(SAMPLE, gpus=gpus))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await shown(app, "GPU7")
        lines = [line for line in screen_lines(app)[1:-2] if " GPU" in line[:5]]
        assert len(lines) == 8
        assert "13.5/24.0 GB  71 °C  312 W" in lines[7]
        assert "qwen3:8b" in screen_text(app)


async def test_ascii_draws_no_unicode_graphics(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake), ascii_only=True)
    async with app.run_test(size=(80, 24)):
        await shown(app, "qwen3:8b 6.8")
        text = "\n".join(screen_lines(app)[1:-2])
        assert {char for char in text if ord(char) > 126} <= {"°", "–"}
        assert "####" in text


async def test_a_lost_gpu_says_so(fake: FakeServices) -> None:
    fill(fake, replace(SAMPLE, gpus=(replace(GPU, lost=True, note="the GPU fell off the bus", memory_used=None),)))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await shown(app, "the GPU fell off the bus")


async def test_a_silent_sampler_is_said_over_the_last_values(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await shown(app, "34 %")
        fake.monitor.latest.set(replace(fake.monitor.latest.value, silent=12.0, note="GPU data: no answer for 12s"))
        await shown(app, "GPU data: no answer for 12s")
        assert "as of 12s ago" in screen_text(app)
        assert "34 %" in screen_text(app)
        assert all(graph.has_class("-old") for graph in app.first.query(Graph))


async def test_no_sample_yet_says_why(fake: FakeServices) -> None:
    fake.monitor.latest.set(MonitorView(note="sampling is off"))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await shown(app, "sampling is off")
        await shown(app, "No model is loaded. L loads one.")


async def test_spans_and_freezing(fake: FakeServices) -> None:
    fill(fake)
    fake.monitor.values["cpu"] = [float(index % 100) for index in range(600)]
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "last 2 min")
        await pilot.press("right_square_bracket")
        await shown(app, "last 10 min")
        await pilot.press("left_square_bracket", "p")
        await shown(app, "frozen at 12:31:21")
        for name, values in fake.monitor.values.items():
            fake.monitor.values[name] = [*values, 7.0]
        sample = replace(SAMPLE, time=SAMPLE.time + 1, cpu=replace(SAMPLE.cpu, percent=77.0))
        fake.monitor.latest.set(MonitorView(sample, 2.0, tick=121))
        await shown(app, "1.0s ago")
        assert " 99 %" in screen_text(app)
        assert "frozen at 12:31:21" in screen_text(app)
        await pilot.press("left", "left")
        await shown(app, "frozen at 12:31:19, 3.0s ago")
        assert " 97 %" in screen_text(app)
        await pilot.press("right")
        await shown(app, " 98 %")
        await pilot.press("escape")
        await shown(app, " 77 %")
        assert "as of now" in screen_text(app)


async def test_P12_unloading_asks_and_says_whose_it_is(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "qwen3:8b")
        await pilot.press("U")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        await shown(app, "is answering 1 request that is not yours")
        await until(lambda: dialog.armed)
        await pilot.press("enter")
        assert fake.called("unload") == []
        await pilot.press("j", "U")
        dialog = app.screen
        assert isinstance(dialog, ConfirmDialog)
        await until(lambda: dialog.armed)
        await pilot.press("right", "enter")
        await until(lambda: fake.called("unload") == [("ollama", "nomic-embed-text:latest")])


def test_our_own_request_is_not_somebody_elses() -> None:
    busy = replace(models(0.0)[0], busy_slots=2)
    assert "1 request that is not yours" in unload_question(busy, 1)
    assert "2 requests that are not yours" in unload_question(busy, 0)
    assert "is answering you" in unload_question(replace(busy, busy_slots=None), 1)
    assert unload_question(replace(busy, busy_slots=0), 0) == "Unload qwen3:8b from ollama? Frees 6.8 GB."


async def test_a_moment_that_left_the_buffer_moves_to_the_oldest(fake: FakeServices) -> None:
    fill(fake)
    for name, values in fake.monitor.values.items():
        fake.monitor.values[name] = values[:100]
    fake.monitor.values["cpu"] = [float(index % 100) for index in range(100)]
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        await pilot.press("p")
        fake.monitor.latest.set(MonitorView(SAMPLE, 2.0, tick=5000))
        await shown(app, "1m39s ago")
        assert "  0 %" in screen_text(app)
        await pilot.press("left", "left")
        assert "1m39s ago" in screen_text(app)


async def test_load_offers_what_is_installed_and_not_loaded(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.models.set(
        (Model("ollama", "qwen3:8b", "qwen3:8b"), Model("ollama", "phi4:14b", "phi4:14b", 9_000_000_000), Model("mlx", "other", "other"))
    )
    fake.registry.reasons[("mlx", "load")] = "this server loads models by itself"
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("L")
        await until(lambda: isinstance(app.screen, ChoiceDialog))
        await shown(app, "phi4:14b")
        assert "other" not in screen_text(app)
        await pilot.press("enter")
        await until(lambda: fake.called("load") == [("ollama", "phi4:14b")])


async def test_keep_sets_how_long_a_model_stays(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "qwen3:8b")
        await pilot.press("t")
        await until(lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(lambda: fake.called("keep") == [("ollama", "qwen3:8b", "1h")])


async def test_enter_opens_the_model_and_esc_closes_it(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "qwen3:8b")
        await pilot.press("enter")
        await shown(app, "context 4,096 tokens served of 40,960 trained")
        await shown(app, "memory 6.8 GB, 6.8 GB of it on a GPU  works on 1 request")
        await pilot.press("escape")
        await until(lambda: "tokens served" not in screen_text(app))


async def test_keys_a_server_cannot_obey_do_nothing(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.reasons |= {("ollama", "unload"): "not here", ("ollama", "keep_alive"): "not here"}
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "qwen3:8b")
        await pilot.press("U", "t")
        assert app.screen is app.first


async def test_X01_hostile_names_stay_literal(fake: FakeServices) -> None:
    fill(fake)
    running = tuple(
        RunningModel("ollama", clean_name(name), name, 1_000_000_000, 1_000_000_000, expires_at=time.time() + 100) for name in CANARIES
    )
    fake.registry.running.set(running)
    gpu = replace(GPU, name=clean_name(CANARIES[4]), note=clean_label(CANARIES[6]))
    fake.monitor.latest.set(MonitorView(replace(SAMPLE, gpus=(gpu,)), 2.0, tick=121, note=clean_label(CANARIES[2])))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(app, "[@click=app.quit]x[/]")
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        for _ in running:
            await pilot.press("j")
            assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        await pilot.press("U")
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))


def test_buckets_stand_on_fixed_samples() -> None:
    values = [float(index) for index in range(12)]
    assert bucketed(values, 11, 4, 12) == [1.0, 4.0, 7.0, 10.0]
    assert bucketed([*values[1:], 12.0], 12, 4, 12) == [1.5, 4.0, 7.0, 10.0, 12.0]
    assert bucketed([None, None, None, 6.0], 3, 2, 6) == [None, 6.0]
    assert bucketed([1.0, 2.0], 1, 4, 2) == [1.0, 1.0, 2.0, 2.0]
    assert len(bucketed([1.0] * 120, 119, 50, 120)) == 50
    assert bucketed(values, 11, 0, 12) == []


async def test_fahrenheit_and_binary(fake: FakeServices) -> None:
    fake.config.set("monitor.temperature_unit", "F")
    fake.config.set("appearance.units", "binary")
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 40)):
        await shown(app, "160 °F")
        assert "11.9 of 29.1 GiB" in screen_text(app)
        assert app.first.query_one("#loaded", Rows).total == 2


async def test_more_lines_than_fit_can_be_scrolled(fake: FakeServices) -> None:
    gpus = tuple(replace(GPU, uuid=f"GPU-{index}", index=index) for index in range(16))
    fill(fake, replace(SAMPLE, gpus=gpus))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        box = app.first.query_one("#meters")
        await until(lambda: box.can_focus and box.max_scroll_y > 0)
        assert "qwen3:8b" in screen_text(app)
        assert "GPU15" not in screen_text(app)
        await pilot.press("shift+tab", "end")
        await shown(app, " GPU15 97 %")
