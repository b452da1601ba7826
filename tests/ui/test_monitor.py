"""The Monitor screen: what is drawn at every size, whose memory it is, what is loaded, its keys."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.support.fake_services import FakeServices, ScreenHost
from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.ui.monitor_data import CGROUP, FAR, GPU, SAMPLE, alerts, fill, loaded, maps, provider
from tui.core.models import Location, RunningModel
from tui.core.monitor import RAM, AlertsView, Loaded, MemoryMap, MemoryPart, Profile
from tui.hardware.sample import GPU_PROCESSES, Sample, Source
from tui.services.api import MonitorView
from tui.text import clean_label, clean_name
from tui.ui.frame import KeyLine
from tui.ui.screens.library import LibraryScreen
from tui.ui.screens.monitor import MonitorScreen
from tui.ui.screens.monitor_loaded import unload_question
from tui.ui.widgets.board import Board
from tui.ui.widgets.confirm import ChoiceDialog, ConfirmDialog
from tui.ui.widgets.rows import Rows


async def shown(app: ScreenHost, text: str) -> None:
    await until(lambda: text in screen_text(app), what=text)


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


async def test_no_sample_yet_says_why(fake: FakeServices) -> None:
    fake.monitor.latest.set(MonitorView(note="sampling is off"))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await shown(app, "sampling is off")
        await shown(app, "No model is loaded. L loads one.")


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


async def test_keep_sets_how_long_a_model_stays(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "qwen3:8b")
        await pilot.press("t")
        await until(lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(lambda: fake.called("keep") == [("ollama", "qwen3:8b", "1h")])


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (60, 16), (40, 12)])
async def test_T07_the_machine_as_drawn(fake: FakeServices, size: tuple[int, int]) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=size):
        await shown(app, "34 %")
        await shown(app, "GPU0   97 %")
        await shown(app, "free 10.5" if size[0] >= 80 else "48 tok/s" if size[0] < 60 else "4k of 40k")
        lines = screen_lines(app)
        text = "\n".join(lines)
        assert all(len(line) <= size[0] for line in lines)
        assert "Paddock needs" not in text
        assert any("\u2800" < char <= "\u28ff" for char in text)
        assert "12.8 of 31.2 GB" in text
        assert "GPU0 86 °C" in text  # the alert
        if size[0] < 80:
            return
        for words in (
            "gpu-box, this machine", "every 1s, last 2 min [ ]", "as of now", "8 cores  load 2.7  61 °C", "12.8 of 31.2 GB  swap 0",
            "r 12  w 38 MB/s  /var/lib 71 % full", "in 39  out 0.6 MB/s", "RTX 3090  71 °C  312 of 350 W", "NVML",
            "13.5 of 24.0 GB used", "qwen3:8b 6.8", "nomic-embed-text about 0.3", "alice: python 5.9", "other 0.5", "free 10.5",
            "over 85 °C for", "while qwen3:8b wrote", "VRAM over 95 %, cleared after 31s", "unloaded phi4:14b: memory pressure",
        ):  # fmt: skip
            assert words in text, words
        row = next(line for line in lines if "48 tok/s" in line)
        assert "all GPU0" in row
        assert "4k of 40k" in row
        assert "in 4m1" in row


async def test_T07_too_small_says_what_this_screen_needs(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(39, 12)):
        await shown(app, "Paddock needs 40x12, has 39x12")


async def test_every_size_and_back_keeps_its_parts(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "── loaded ──")
        await pilot.resize_terminal(40, 12)
        await until(lambda: "loaded ──" not in screen_text(app) and "48 tok/s" in screen_text(app))
        assert "MODEL" not in screen_text(app)
        await pilot.resize_terminal(200, 60)
        await shown(app, "── memory ──")
        line = next(line for line in screen_lines(app) if "── memory ──" in line)
        assert line.index("── memory") > 100
        await pilot.resize_terminal(80, 24)
        await until(lambda: "── memory ──" not in screen_text(app) and "MODEL" in screen_text(app))
        await shown(app, "── loaded ──")


async def test_a_remote_models_memory_is_not_counted_here(fake: FakeServices) -> None:
    fill(fake)
    far = RunningModel("vllm-a", "llama3.1:70b", "llama3.1:70b", 9_000_000_000, 9_000_000_000, expires_at=None, pinned=True)
    fake.registry.providers.set((provider("ollama"), provider("vllm-a", Location.ELSEWHERE, "http://gpu2:8000")))
    fake.monitor.loaded.set((*loaded(time.time()), Loaded(far)))
    fake.monitor.servers.set({"vllm-a": FAR})
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 40)):
        await shown(app, "vllm-a on gpu2  1 model loaded  9.0 GB  2 running  1 waits  KV cache 38 %  212 tok/s")
        await shown(app, "qwen3:8b 6.8")
        legend = next(line for line in screen_lines(app) if "qwen3:8b 6.8" in line)
        assert "llama3.1" not in legend
        row = next(line for line in screen_lines(app) if "llama3.1:70b" in line)
        assert "all GPU " in row
        assert "pinned" in row
        assert "/metrics" in screen_text(app)
        there = replace(SAMPLE, cpu=replace(SAMPLE.cpu, percent=12.0), sources=(Source("exporter gpu2"),))
        fake.monitor.machines.set({"vllm-a": there})
        await shown(app, "gpu2, another machine  CPU 12 %  RAM 12.8 of 31.2 GB  GPU0 97 % 13.5/24.0 GB 71 °C 312 W")
        assert "CPU    34 %" in screen_text(app)
        fake.monitor.machines.set({"vllm-a": Sample(0.0, sources=(Source("exporter gpu2", silent=12.0, note="gpu2 refused"),))})
        await shown(app, "gpu2, another machine  ! gpu2 refused  exporter gpu2")


async def test_G07_eight_gpus_stand_one_a_line_and_follow_their_uuid(fake: FakeServices) -> None:
    fill(fake, gpus=8)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "GPU7")
        lines = [line for line in screen_lines(app)[1:-2] if " GPU" in line[:5]]
        assert len(lines) == 8
        assert "13.5/24.0 GB  71 °C  312 W" in lines[7]
        assert "qwen3:8b" in screen_text(app)
        board = app.first.query_one("#meters", Board)
        board.focus()
        assert board.move_to("gpu:GPU-5")
        gone = replace(SAMPLE, gpus=tuple(gpu for gpu in fake.monitor.latest.value.sample.gpus if gpu.index != 2))
        fake.monitor.latest.set(MonitorView(gone, 2.0, tick=121))
        await until(lambda: "GPU2" not in "\n".join(screen_lines(app)[1:-2]))
        assert board.cursor == "gpu:GPU-5"
        await pilot.press("enter")
        await shown(app, "GPU5  NVIDIA GeForce RTX 3090  NVML")


async def test_G07_sixteen_gpus_scroll(fake: FakeServices) -> None:
    fill(fake, gpus=16)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "GPU3")
        assert "qwen3:8b" in screen_text(app)
        assert "GPU15" not in screen_text(app)
        await pilot.press("shift+tab", "end")
        await shown(app, " GPU15  15 %")


async def test_G04_P31_a_silent_sampler_is_said_over_the_last_values(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await shown(app, "34 %")
        fake.monitor.latest.set(replace(fake.monitor.latest.value, silent=12.0, note="GPU data: no answer for 12s"))
        await shown(app, "GPU data: no answer for 12s")
        assert "as of 12s ago" in screen_text(app)
        assert "34 %" in screen_text(app)
        meters = app.first.query_one("#meters", Board).content
        assert {tone for line in meters for text, tone in line.pieces if text.strip()} <= {"dim", "old"}


async def test_G04_one_silent_source_leaves_the_others_bright(fake: FakeServices) -> None:
    silent = replace(SAMPLE, sources=(Source("NVML", 0.01, 1.0, 12.0), Source("processor", 0.001, 1.0)))
    fill(fake, silent)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await shown(app, "GPU data: no answer for 12s")
        meters = app.first.query_one("#meters", Board).content
        tones = {line.key: {tone for text, tone in line.pieces if text.strip()} for line in meters}
        assert "old" in tones["gpu:GPU-1"]
        assert "old" not in tones["cpu"]
        fake.monitor.latest.set(MonitorView(replace(SAMPLE, sources=(Source("disks", silent=7.0),)), 2.0, tick=121))
        await shown(app, "disks: no answer for 7.0s")
        meters = app.first.query_one("#meters", Board).content
        assert {tone for line in meters if line.key == "disk" for text, tone in line.pieces if text.strip()} <= {"dim", "old"}
        assert all(tone != "old" for line in meters if line.key != "disk" for _text, tone in line.pieces)


async def test_G12_what_a_control_group_allows_stands_beside_the_machines(fake: FakeServices) -> None:
    fill(fake, replace(SAMPLE, cgroup=CGROUP))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 40)):
        await shown(app, "2.5 of 8 cores allowed")
        await shown(app, "12.8 of 31.2 GB  1.2 of 4.0 GB allowed")


async def test_models_in_main_memory_have_a_bar_there(fake: FakeServices) -> None:
    fill(fake)
    part = MemoryPart("model", "phi4:14b", "llamacpp", 9_100_000_000, about=True)
    rest = MemoryPart("hidden", "", "", 2_000_000_000, count=2)
    fake.monitor.maps.set((maps()[0], MemoryMap(RAM, "RAM", 31_200_000_000, 12_800_000_000, (part, rest))))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 40)):
        await shown(app, "phi4:14b about 9.1  ? 2 not visible 2.0  · free 18.4")


async def test_the_detail_tells_cache_queue_and_what_was_measured(fake: FakeServices) -> None:
    fill(fake)
    busy, other = loaded(time.time())
    fake.monitor.loaded.set((replace(busy, kv_used=0.38, kv_bytes=600_000_000, waiting=2, own=1), other))
    fake.monitor.profiles.set({("ollama", "qwen3:8b"): Profile(12, 14.0, 0.4, 48.0, joules_per_token=0.9)})
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(app, "1, 2 wait")
        await pilot.press("enter")
        await shown(app, "context 4,096 tokens served of 40,960 trained")
        await shown(app, "KV cache 600 MB, 38 % used  works on 1 request (1 yours)  2 waiting")
        await shown(app, "48 tok/s, 0.4s to first token, loaded in 14s, 0.9 J a token (measured here, 12 answers)")
        await pilot.press("escape")
        await until(lambda: "tokens served" not in screen_text(app))


def test_our_own_request_is_not_somebody_elses() -> None:
    one = loaded(0.0)[0]
    busy = replace(one, running=2)
    assert "1 request that is not yours" in unload_question(busy, 1)
    assert "2 requests that are not yours" in unload_question(busy, 0)
    assert "1 request that is not yours" in unload_question(replace(busy, own=1), 0)
    assert "is answering you" in unload_question(replace(busy, running=1), 1)
    assert unload_question(replace(busy, running=0), 0) == "Unload qwen3:8b from ollama? Frees 6.8 GB."


async def test_keys_a_server_cannot_obey_do_nothing(fake: FakeServices) -> None:
    fill(fake)
    fake.registry.reasons |= {("ollama", "unload"): "not here", ("ollama", "keep_alive"): "not here"}
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "qwen3:8b")
        await pilot.press("U", "t")
        assert app.screen is app.first


async def test_keys_are_greyed_when_the_last_model_goes(fake: FakeServices) -> None:
    """The words stay the same, only their colours change: the line is drawn again all the same."""

    def enabled() -> bool:
        line = app.screen.query_one(KeyLine).render()
        return "$text-disabled" not in {str(span.style) for span in line.spans}

    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)):
        await shown(app, "qwen3:8b")
        await until(enabled)
        fake.monitor.loaded.set(())
        await until(lambda: not enabled())


async def test_X01_G10_hostile_names_stay_literal(fake: FakeServices) -> None:
    fill(fake)
    running = tuple(
        Loaded(RunningModel("ollama", clean_name(name), name, 1_000_000_000, 1_000_000_000, expires_at=time.time() + 100))
        for name in CANARIES
    )
    fake.monitor.loaded.set(running)
    parts = tuple(MemoryPart("process", clean_name(name), clean_name(name), 500_000_000) for name in CANARIES)
    fake.monitor.maps.set((replace(maps()[0], parts=parts),))
    hot = replace(alerts().active[0], culprit=clean_label(CANARIES[5]))
    fake.monitor.alerts.set(replace(alerts(), active=(hot,)))
    gpu = replace(GPU, name=clean_name(CANARIES[4]), note=clean_label(CANARIES[6]))
    fake.monitor.latest.set(MonitorView(replace(SAMPLE, gpus=(gpu,)), 2.0, tick=121, note=clean_label(CANARIES[2])))
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(app, "[@click=app.quit]x[/]")
        await shown(app, "[bold red]big[/]")
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        for _ in running:
            await pilot.press("j")
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        await pilot.press("U")
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))


async def test_fahrenheit_and_binary(fake: FakeServices) -> None:
    fake.config.set("monitor.temperature_unit", "F")
    fake.config.set("appearance.units", "binary")
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 40)):
        await shown(app, "160 °F")
        assert "11.9 of 29.1 GiB" in screen_text(app)
        await shown(app, "GPU0 187 °F, over 185 °F")
        assert app.first.query_one("#loaded", Rows).total == 2


async def test_nothing_is_wanted_that_is_not_shown(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: fake.called("want") and fake.called("want")[-1] == ("monitor", (GPU_PROCESSES,)))
        app.first.open_page("cpu")
        await until(lambda: fake.called("want")[-1] == ("monitor", ("cores",)))
        await pilot.press("escape")
        await until(lambda: fake.called("want")[-1] == ("monitor", (GPU_PROCESSES,)))
        await pilot.pause()
    assert fake.called("want")[-1] == ("monitor", ())


async def test_alerts_are_seen_muted_and_logged(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "5 Monitor !1")
        await pilot.press("m")
        assert fake.called("mute") == [(3600.0,)]
        fake.monitor.alerts.set(replace(alerts(), muted_until=time.time() + 3000))
        await shown(app, "alerts, muted until")
        await pilot.press("m")
        assert fake.called("mute") == [(3600.0,), (0.0,)]
        app.first.query_one("#alerts", Board).focus()
        await pilot.press("enter")
        await shown(app, "1 lasts, 1 ended, muted until")
        assert fake.called("acknowledge") == [((7,),)]
        await shown(app, "watched by this window")
        await pilot.press("slash", *"cleared", "enter")
        await until(lambda: app.screen.query_one(Rows).shown == 1)
        fake.monitor.alerts.set(replace(alerts(), active=(replace(alerts().active[0], acknowledged=True),)))
        await until(lambda: "5 Monitor  6" in screen_text(app, app.first))


async def test_the_history_is_exported_as_chosen(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, "34 %")
        await pilot.press("right_square_bracket", "E")
        await shown(app, "the last 24 hours")
        await pilot.press("down", "enter")
        await until(lambda: fake.called("export") == [("jsonl", 600.0)])


async def test_another_screen_ends_what_is_measured_for_this_one(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(LibraryScreen(fake))
    app.add_mode("monitor", lambda: MonitorScreen(fake))
    app.add_mode("other", lambda: LibraryScreen(fake))

    def wanted() -> object:
        """What the Monitor wants; the Library wants other things, of its disk."""
        return next((args for args in reversed(fake.called("want")) if args[:1] == ("monitor",)), None)

    async with app.run_test(size=(80, 24)) as pilot:
        await app.switch_mode("monitor")
        await until(lambda: wanted() == ("monitor", (GPU_PROCESSES,)))
        await pilot.press("L")
        await shown(app, "Load a model")
        assert wanted() == ("monitor", (GPU_PROCESSES,))  # its bars are drawn in the dialog
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, MonitorScreen))
        await app.switch_mode("other")
        await until(lambda: wanted() == ("monitor", ()))
        await app.switch_mode("monitor")
        await until(lambda: wanted() == ("monitor", (GPU_PROCESSES,)))


async def test_T07_dialogs_fit_the_smallest_size(fake: FakeServices) -> None:
    fill(fake)
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(40, 12)) as pilot:
        await shown(app, "48 tok/s")
        for key, words in (("L", "phi4:14b"), ("w", "looking"), ("l", "watched"), ("t", "an hour"), ("E", "the last"), ("U", "Unload")):
            await pilot.press(key)
            await shown(app, words)
            await pilot.press("escape")
            await until(lambda: app.screen is app.first)


async def test_P77_nothing_is_drawn_while_nothing_changes(fake: FakeServices) -> None:
    fill(fake)
    fake.monitor.alerts.set(AlertsView())
    fake.monitor.loaded.set(())
    app = ScreenHost(MonitorScreen(fake))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(app, "free 10.5")
        await pilot.pause()
        repainted: list[object] = []
        for board in app.first.query(Board):
            board.refresh = lambda *regions, **_kw: repainted.append(regions)  # type: ignore[method-assign]
        drawn: list[float] = []
        head = app.first.query_one("#monitor-head")
        head.show = lambda *_parts: drawn.append(0.0)  # type: ignore[attr-defined]
        fake.monitor.latest.set(replace(fake.monitor.latest.value, at=5.0))
        await until(lambda: drawn)
        assert repainted == []
        fake.monitor.latest.set(replace(fake.monitor.latest.value, sample=replace(SAMPLE, cpu=replace(SAMPLE.cpu, percent=35.0)), at=6.0))
        await until(lambda: len(repainted) == 1)
