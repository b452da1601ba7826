"""monitor: once, again and again, and the history."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HOSTILE, Run, controls, provider
from tests.cli.test_process import environment, paddock
from tests.support.fault_server import Exchange, FaultServer
from tui import __main__ as program
from tui.cli import loaded, monitoring
from tui.cli.loaded import Servers
from tui.config.paths import find_paths
from tui.core.capabilities import Capability
from tui.core.models import Endpoint, RunningModel
from tui.core.monitor import Alert
from tui.core.options import AppOptions
from tui.hardware.sample import Cgroup, Cpu, Disk, Gpu, GpuProcess, MachineProcess, Memory, Network, Power, Sample
from tui.hardware.sample_line import format_sample
from tui.providers.metrics import Figures
from tui.services.api import MonitorView
from tui.store.alerts import AlertTable
from tui.store.db import Database
from tui.store.samples import Samples

SAMPLE = Sample(
    1_795_000_000.0,
    0.5,
    Cpu(34.2, (30.0, 38.4), (0.5, 0.4, 0.3), 3400.0, 61.0, 8, pressure=2.0),
    Memory(31_000_000_000, 13_000_000_000, 8_000_000_000, 1_000_000_000, cache=9_000_000_000, swap_in=4096.0, swap_out=0.0, pressure=1.0),
    (Disk("/models", 500_000_000_000, 380_000_000_000, 120_000_000_000, 5_000_000.0, 0.0),),
    Network(20_000.0, 3000.0),
    (
        Gpu(
            "GPU-1", 0, "RTX 3090", 97.0, 24_000_000_000, 13_500_000_000, 71.0, 280.0, 350.0, source="NVML", throttle=("thermal",),
            processes=(GpuProcess(812, 12_000_000_000, 95.0, "ollama", "alice"), GpuProcess(9, None)), hidden=2,
        ),
        Gpu("GPU-2", 1, lost=True, note="it is lost"),
    ),
    "one card does not answer",
    Cgroup(2, 8_000_000_000, 3_100_000_000, 2.0, 45.0),
    Power(True, 80.0, "power-saver"),
    (MachineProcess(812, "ollama", "alice", 3_000_000_000, 130.0),),
    hidden_processes=7,
)  # fmt: skip


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring gives `SAMPLE` at once."""
    sampler(monkeypatch, format_sample(SAMPLE))


def sampler(monkeypatch: pytest.MonkeyPatch, *lines: bytes, then: str = "sys.stdin.read()") -> None:
    """A sampler that says this and then nothing, or does what `then` says."""
    script = f"import os, sys\nsys.stdout.buffer.write({b''.join(lines)!r})\nsys.stdout.flush()\n{then}"
    for module in ("tui.services.monitor.sampling", "tui.cli.monitoring"):
        monkeypatch.setattr(f"{module}.sampler_command", lambda _settings: [sys.executable, "-S", "-c", script, "--disk", "/models"])


def add_alert(alert: Alert) -> None:
    database = Database(find_paths().database)
    asyncio.run(AlertTable(database).put([alert]))
    asyncio.run(AlertTable(database).watched(time.time()))
    database.close()


async def _ps(exchange: Exchange) -> None:
    await exchange.json({"models": [
        {"name": "qwen3:8b", "model": "qwen3:8b", "size": 5_200_000_000, "size_vram": 2_600_000_000, "context_length": 8192, "details": {}},
        {"name": HOSTILE, "model": HOSTILE, "size": 1_000_000_000, "size_vram": 1_000_000_000, "details": {}},
    ]})  # fmt: skip


# --- once -------------------------------------------------------------------------------------------------------------


def test_once_tells_everything_to_people(server: FaultServer, run: Run, measured: None) -> None:
    server.routes["/api/ps"] = _ps
    add_alert(Alert(1, "gpu_temperature", "GPU0", 91.0, 85.0, time.time() - 100))
    said = run("monitor", "--once")
    assert said.code == 0 and not said.err
    assert not controls(said.out)
    rows = [line[:8].strip() for line in said.lines]
    assert rows[:8] == ["cpu", "memory", "swap", "cgroup", "disk", "network", "power", "gpu 0"]
    for words in (
        "34%, 8 processors, 3.4 GHz, 61 \u00b0C, load 0.50 0.40 0.30, pressure 2%",
        "13 GB of 31 GB, cache 9.0 GB, pressure 1%",
        "1.0 GB of 8.0 GB, in 4.1 kB/s, out 0 B/s",
        "v2, memory 3.1 GB of 8.0 GB, CPU 45% of 2 processors",
        "120 GB free of 500 GB (/models), read 5.0 MB/s, write 0 B/s",
        "on battery, battery 80%, power-saver",
        "97%, 14 GB of 24 GB, 71 \u00b0C, 280 of 350 W, throttled (thermal) (RTX 3090, NVML)",
        "ollama of alice, 12 GB, pid 812",
        "a process, \u2013, pid 9",
        "2 that cannot be seen",
        "it is lost",
        "one card does not answer",
        "7 that cannot be seen",
        "qwen3:8b on ollama, 5.2 GB, 50% on the GPU, context 8k",
        "1.0 GB, on the GPU",
        "GPU0 91 \u00b0C, over 85 \u00b0C for 1m",
    ):
        assert words in said.out, words


def test_fahrenheit_is_for_people(run: Run, measured: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDOCK_MONITOR__TEMPERATURE_UNIT", "F")
    assert "142 \u00b0F" in run("monitor", "--once").out
    assert run("monitor", "--once", "--json").json["cpu"]["temperature"] == 61.0


def test_once_json_is_one_ascii_object_as_the_paper_says(server: FaultServer, run: Run, measured: None) -> None:
    server.routes["/api/ps"] = _ps
    add_alert(Alert(1, "provider_down", "rack", 12.0, 0.0, 1.0))
    said = run("monitor", "--once", "--json")
    assert len(said.lines) == 1 and said.out.isascii()
    found = said.json
    assert found["schema"] == 1 and found["memory"]["used"] == 13_000_000_000 and found["gpus"][0]["processes"][0]["user"] == "alice"
    assert found["servers"] == {"answered": ["ollama"], "failed": {}}
    assert found["alerts"][0]["subject"] == "rack" and found["alerts"][0]["ended_at"] is None
    one = next(model for model in found["loaded"] if model["model"] == "qwen3:8b")
    assert (one["provider"], one["size"], one["vram"], one["context"], one["rate"]) == ("ollama", 5_200_000_000, 2_600_000_000, 8192, None)
    paper = (Path(monitoring.__file__).parents[2] / "docs" / "monitor-json.md").read_text("utf-8")
    parts = {"": found, "loaded": one, "alerts": found["alerts"][0], "gpus": found["gpus"][0]}
    parts |= {name: found[name] for name in ("cpu", "memory", "network", "cgroup", "power", "servers")}
    parts |= {name: found[name][0] for name in ("disks", "processes")}
    for where, part in parts.items():
        for name in part:
            assert f"`{name}`" in paper, f"{where}.{name} is not described"


def test_G01_a_driver_that_hangs_is_left_out_and_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler(monkeypatch, format_sample(replace(SAMPLE, gpus=(), gpu_note="")))
    monkeypatch.setattr(monitoring, "MEASURE", 0.5)
    monkeypatch.setattr(monitoring, "DRIVER", 0.2)
    found = run("monitor", "--json").json
    assert "GPU data: no answer" in found["gpu_note"] and found["cpu"]["percent"] == 34.2
    monkeypatch.setenv("PADDOCK_MONITOR__GPU", "false")
    assert run("monitor", "--json").json["gpu_note"] == ""


def test_G05_a_driver_that_crashes_takes_nothing_with_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler(monkeypatch, then="os.abort()")
    monkeypatch.setattr(monitoring, "DRIVER", 0.1)
    asked: list[tuple[list[str], bool]] = []

    def once(disks: list[str], gpu: bool, _seconds: float, _wanted: frozenset[str]) -> Sample:
        asked.append((disks, gpu))
        return replace(SAMPLE, gpus=(), gpu_note="")

    monkeypatch.setattr("tui.hardware.once.sample_once", once)
    found = run("monitor", "--json").json
    assert asked == [(["/models"], False)] and "GPU data: no answer" in found["gpu_note"] and found["cpu"]["percent"] == 34.2


def test_real_figures_of_this_machine(run: Run) -> None:
    found = run("monitor", "--once", "--json").json
    assert 0 < found["memory"]["used"] < found["memory"]["total"] and found["cpu"]["percent"] is not None
    assert found["seconds"] > 0.4 and found["processes"]


def test_a_silent_server_is_named_and_delays_nobody(
    server: FaultServer,
    second: FaultServer,
    run: Run,
    configure: Callable[[str], None],
    measured: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.gone()

    monkeypatch.setattr(loaded, "PATIENCE", 0.2)
    server.routes["/api/ps"] = hang
    second.routes["/api/ps"] = _ps
    configure(provider("quiet", server.url) + provider("good", second.url) + provider("shut", "http://127.0.0.1:9"))
    said = run("monitor", "--once")
    assert said.code == 0 and "quiet did not answer in 0.2 s" in said.out and "qwen3:8b on good" in said.out and "shut: " in said.out
    assert set(run("monitor", "--json").json["servers"]["failed"]) == {"quiet", "shut"}


def test_offline_asks_nobody_elsewhere(run: Run, configure: Callable[[str], None], measured: None) -> None:
    configure('[general]\nnetwork = "offline"\n' + provider("far", "http://10.255.255.1:11434"))
    found = run("monitor", "--json").json
    assert found["servers"] == {"answered": [], "failed": {}}


class Counting:
    """A provider that only counts what it has written."""

    capabilities = frozenset({Capability.RUNNING})

    def __init__(self) -> None:
        self.written = 100.0

    async def running(self) -> tuple[RunningModel, ...]:
        return (RunningModel("box", "m.gguf", "m.gguf"),)

    async def figures(self, model: str = "") -> Figures:
        self.written += 50
        values: Mapping[str, float] = {"written": self.written, "running": 2.0, "waiting": 3.0}
        return Figures("/slots", values)


async def test_a_rate_is_what_was_written_between_two_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(loaded.time, "monotonic", lambda: now[0])
    box = Counting()
    context: Any = type("Surroundings", (), {"connect": lambda _self, _endpoint: box, "trust": _trusted})()
    asking, endpoint = loaded.Asking(context), Endpoint("box", "llamacpp", "http://127.0.0.1:1")
    first = (await asking.ask([endpoint])).models[0]
    assert (first.rate, first.running, first.waiting) == (None, 2, 3)
    now[0] += 0.5
    assert (await asking.ask([endpoint])).models[0].rate == 100.0
    box.written = 0  # started anew
    now[0] += 0.5
    assert (await asking.ask([endpoint])).models[0].rate == 0.0


async def _trusted(*_args: object, **_more: object) -> None:
    return None


# --- again and again --------------------------------------------------------------------------------------------------


def test_watch_is_json_lines_until_ctrl_c(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    server.routes["/api/ps"] = _ps
    first = Sample(1.0)  # no rates yet
    sampler(monkeypatch, format_sample(first), format_sample(SAMPLE))
    emit = monitoring.emit

    def stop(value: Any) -> None:
        emit(value)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(monitoring, "emit", stop)
    said = run("monitor", "--watch")
    assert said.code == 130 and len(said.lines) == 1 and said.json["cpu"]["percent"] == 34.2


def test_watch_works_though_sampling_is_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDOCK_MONITOR__ENABLED", "false")
    sampler(monkeypatch, format_sample(SAMPLE))

    def stop(_value: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(monitoring, "emit", stop)
    assert run("monitor", "--watch").code == 130


def test_G01_a_sampler_that_says_nothing_any_more_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    silence = monitoring._Silence()
    for silent in (0.0, 3.0, 4.0, 0.0, 5.0):
        silence.look(MonitorView(None, 0.0, silent, "no answer from the sampler"))
    assert capsys.readouterr().err == "No figures: no answer from the sampler.\n" * 2


async def test_what_goes_wrong_with_a_server_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    async def known(_context: object) -> list[Endpoint]:
        asked.append(1)
        raise ValueError("never thought of")

    monkeypatch.setattr(monitoring, "known", known)
    monkeypatch.setattr(monitoring, "ASK_EVERY", 0.0)
    settings = type("Settings", (), {"monitor": type("Monitor", (), {"interval": 0.0})})
    context: Any = type("Surroundings", (), {"settings": settings})
    async with monitoring.Following(context) as following, asyncio.timeout(10):
        while len(asked) < 2:
            await asyncio.sleep(0.001)
    assert following.newest == Servers()


def test_watch_ends_quietly_when_nobody_reads(home: Path) -> None:
    with paddock(home, "monitor", "--watch", PADDOCK_MONITOR__INTERVAL="0.5s") as child:
        assert child.stdout is not None and child.stderr is not None
        assert json.loads(child.stdout.readline())["schema"] == 1
        child.stdout.close()
        assert child.wait(30) == 0
        assert child.stderr.read() == ""


def test_the_demo_is_a_machine_of_its_own(ollama: str, run: Run) -> None:
    found = run("monitor", "--once", "--json", demo=True, demo_url=ollama).json
    assert found["gpus"][0]["source"] == "demo" and found["servers"]["answered"] == ["demo"]


# --- without an option ------------------------------------------------------------------------------------------------


def test_without_a_terminal_it_measures_once(home: Path, measured: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["monitor"]) == 0
    assert capsys.readouterr().out.startswith("cpu ")


def test_on_a_terminal_it_is_the_screen_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tui import guard
    from tui.ui import alone

    seen: list[Any] = []
    monkeypatch.setattr(guard, "problem", lambda _environ: None)
    monkeypatch.setattr(guard, "run", lambda child, log: seen.append(child) or 0)
    assert program.main(["--readonly", "monitor"]) == 0
    assert seen[0][-3:] == ["--inside-guard", "--readonly", "monitor"]
    monkeypatch.setattr("gc.disable", lambda: None)
    monkeypatch.setattr(alone, "run_app", lambda options, _demo: seen.append(options) or 0)
    assert program.main(["--inside-guard", "--readonly", "monitor"]) == 0
    assert seen[1] == AppOptions(readonly=True, alone="monitor")


@pytest.mark.parametrize(
    "words", [["--once", "--watch"], ["--span", "1h"], ["-o", "x"], ["--export", "xml"], ["--export", "csv", "--span", "soon"],
              ["--export", "csv", "--span", "3d"], ["--export", "csv", "--span", "1s"]],
)  # fmt: skip
def test_wrong_usage_is_2(run: Run, measured: None, words: list[str]) -> None:
    said = run("monitor", *words)
    assert said.code == 2 and said.err.strip() and not said.out


# --- the history ------------------------------------------------------------------------------------------------------


@pytest.fixture
def history(home: Path) -> list[float]:
    """Means of the last twenty seconds; their times."""
    now = int(time.time() / 10)
    database = Database(find_paths().database)
    rows = [(bucket, {"cpu": 10.0 + bucket - now, "gpu:G-1": 50.5}) for bucket in (now - 2, now - 1)]
    asyncio.run(Samples(database).append(10, rows))
    database.close()
    return [bucket * 10.0 for bucket, _values in rows]


def test_the_history_as_csv_and_json_lines(run: Run, history: list[float]) -> None:
    said = run("monitor", "--export", "csv", "--span", "1h")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert said.code == 0 and not said.err and [row["cpu"] for row in rows] == ["8", "9"] and rows[0]["gpu:G-1"] == "50.5"
    found = [json.loads(line) for line in run("monitor", "--export", "jsonl", "--span", "1h", "-o", "-").lines]
    assert [one["cpu"] for one in found] == [8, 9] and found[0]["time"].endswith("Z")


def test_the_history_into_a_file_that_is_not_there_yet(run: Run, history: list[float], tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    said = run("monitor", "--export", "csv", "--span", "1h", "-o", str(file))
    assert said.code == 0 and not said.out and "2 moments" in said.err
    assert file.read_text().startswith("time,") and stat.S_IMODE(file.stat().st_mode) == 0o600
    said = run("monitor", "--export", "csv", "--span", "1h", "-o", str(file))
    assert said.code == 1 and "exists" in said.err
    said = run("monitor", "--export", "csv", "--span", "1h", "-o", str(tmp_path / "no" / "x.csv"))
    assert said.code == 1 and "x.csv" in said.err


def test_no_history_is_1_and_said(run: Run) -> None:
    said = run("monitor", "--export", "jsonl")
    assert said.code == 1 and "Nothing is kept of the last 24 h" in said.err and not said.out


def test_the_help_and_the_completions_know_all_of_it(run: Run, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tui", "monitor", "--help"], env=environment(home), capture_output=True, text=True, timeout=60, check=True
    )
    for words in ("--once", "--watch", "--prometheus", "--export", "--span", "docs/monitor-json.md"):
        assert words in done.stdout
    for shell in ("bash", "zsh", "fish"):
        said = run("completions", shell).out
        assert all(word in said for word in ("--prometheus", "jsonl", "waybar", "--for"))


# --- doctor -----------------------------------------------------------------------------------------------------------


def checks(run: Run, monkeypatch: pytest.MonkeyPatch, *gpus: Gpu, note: str = "") -> list[dict[str, Any]]:
    """What doctor says of these GPUs."""
    sampler(monkeypatch, format_sample(replace(SAMPLE, gpus=gpus, gpu_note=note)))
    return [one for one in run("doctor", "--json").json["checks"] if one["name"] == "gpu"]


def test_doctor_names_each_source_and_why_there_is_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    two = (Gpu("1", 0, "RTX 3090", source="NVML"), Gpu("2", 1, "RTX 3090", source="NVML"))
    found = checks(run, monkeypatch, *two, Gpu("3", 2, "Arc", note="no permission"))
    assert [(one["ok"], one["found"]) for one in found] == [(True, "NVML: RTX 3090, RTX 3090"), (False, "Arc: no permission")]
    assert found[1]["remedy"]
    found = checks(run, monkeypatch, note="no GPU")
    assert [(one["ok"], one["found"]) for one in found] == [(True, "no GPU: looked for NVIDIA, AMD, Intel, Apple, Tegra")]
    found = checks(run, monkeypatch, note="the driver and its library differ")
    assert [(one["ok"], one["found"]) for one in found] == [(False, "the driver and its library differ")]
    monkeypatch.setattr(monitoring, "DRIVER", 0.2)
    assert "GPU data: no answer" in checks(run, monkeypatch)[0]["found"]
    monkeypatch.setenv("PADDOCK_MONITOR__GPU", "false")
    assert "monitor.gpu is off" in checks(run, monkeypatch)[0]["found"]
