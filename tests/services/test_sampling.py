"""The monitor: samples, gaps, and a sampler that dies, hangs or talks nonsense."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import until
from tests.hardware import stub
from tui.config.settings import Settings, build
from tui.hardware.disks import Filesystems
from tui.hardware.sample import Cpu, Disk, Gpu, Memory, Network, Sample, Source
from tui.hardware.sample_line import format_sample
from tui.services import space
from tui.services.monitor import sampling as monitor_module
from tui.services.monitor.sampling import Sampling, sampler_command

_HELP = """
import json, os, sys, time
line = {line!r}
hung = {hung!r}
def say(text=line):
    sys.stdout.write(text)
    sys.stdout.flush()
def runs():
    with open({count!r}, "a") as file:
        file.write("%d\\n" % os.getpid())
    return len(open({count!r}).readlines())
def wait():
    while True:
        time.sleep(60)
n = runs()
"""


def sample(cpu: float = 12.0, hung: float = 0.0) -> Sample:
    return Sample(
        time=1.0,
        seconds=1.0,
        cpu=Cpu(percent=cpu),
        memory=Memory(total=100, used=40, swap_total=10, swap_used=5),
        disks=(Disk("/", read=3.0, write=4.0), Disk("/x", read=1.0)),
        network=Network(received=7.0, sent=8.0),
        gpus=(Gpu("GPU-1", index=0, name="RTX 3090", percent=50.0, memory_used=6, memory_total=24, temperature=60.0, power=200.0),)
        if not hung
        else (),
        sources=(Source("processor", 0.001, 1.0), Source("NVML", 0.001, 1.0, hung)),
    )


class Bench:
    def __init__(self, folder: Path) -> None:
        self.settings: Settings = build({"monitor": {"interval": 0.5}})
        self.count = folder / "count"
        self.script = folder / "sampler.py"
        self.monitor = Sampling(lambda: self.settings, command=self._command)
        self.notes: list[str] = []
        self.monitor.latest.watch(lambda view: self.notes.append(view.note))
        self.task: asyncio.Task[Any] | None = None

    def _command(self, settings: Settings) -> list[str]:
        return [sys.executable, "-S", str(self.script), "--gpu" if settings.monitor.gpu else "--no-gpu"]

    def run(self, text: str) -> Sampling:
        lines = {"line": format_sample(sample()).decode(), "hung": format_sample(sample(hung=9.0)).decode()}
        self.script.write_text(_HELP.format(**lines, count=str(self.count)) + text)
        self.task = asyncio.ensure_future(self.monitor.run())
        return self.monitor

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self.count.read_text().split()] if self.count.exists() else []

    async def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
        for pid in self.pids:
            await until(lambda pid=pid: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(monitor_module, "PAUSES", (0.01,))
    bench = Bench(tmp_path)
    yield bench
    await bench.end()


async def test_samples_come_and_the_sampler_ends_with_us(bench: Bench) -> None:
    monitor = bench.run("say(); say(); wait()\n")
    await until(lambda: monitor.latest.value.tick == 2)
    view = monitor.latest.value
    assert view.sample is not None
    assert (view.sample.cpu.percent, view.silent, view.note) == (12.0, 0.0, view.sample.gpu_note)
    assert [sample.cpu.percent for _at, sample in monitor.recent()] == [12.0, 12.0]
    await bench.end()
    assert not _alive(bench.pids[0])


async def test_G05_a_sampler_that_dies_is_started_again(bench: Bench) -> None:
    monitor = bench.run("say()\nif n < 3: os.kill(os.getpid(), 11)\nwait()\n")
    await until(lambda: len(bench.pids) == 3 and monitor.latest.value.tick >= 3)
    assert any("ended" in note for note in bench.notes)
    assert monitor.latest.value.note == ""


async def test_G04_a_sampler_that_hangs_is_declared_silent_and_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "SILENT_AFTER", 0.2)
    monkeypatch.setattr(monitor_module, "LOOK", 0.02)
    bench.settings = build({"monitor": {"interval": 0.5}})
    monitor = bench.run("say()\nif n == 2: say()\nwait()\n")
    await until(lambda: monitor.latest.value.silent > 0)
    assert monitor.latest.value.sample is not None  # the last good figures stay, dimmed
    await until(lambda: len(bench.pids) >= 2)
    assert any("no answer" in note for note in bench.notes)
    await until(lambda: not _alive(bench.pids[0]))
    await until(lambda: monitor.latest.value.tick >= 2)


async def test_G04_P31_a_driver_that_hangs_costs_its_own_figures_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "LOOK", 0.02)
    monitor = bench.run("say()\nwhile '--no-gpu' in sys.argv: say(hung); time.sleep(0.05)\nsay(hung)\nwait()\n")
    await until(lambda: len(bench.pids) == 2 and monitor.latest.value.tick > 6)
    assert not _alive(bench.pids[0])
    assert monitor.latest.value.silent == 0  # the processor's figures come
    first = _seconds(monitor.latest.value.note)
    assert first >= 9.0
    await until(lambda: _seconds(monitor.latest.value.note) > first)
    assert len(bench.pids) == 2
    monkeypatch.setattr(monitor_module, "GPU_AGAIN", 0.0)
    monitor._no_gpu_until = 0.0  # ten minutes later it is asked again
    await until(lambda: len(bench.pids) >= 3)


def _seconds(note: str) -> float:
    words = note.removeprefix("GPU data: no answer for ")
    return float(words.removesuffix("s")) if words != note else 0.0


async def test_P31_a_driver_that_holds_a_sampler_for_ever_is_not_asked_by_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "LOOK", 0.02)
    monkeypatch.setattr(monitor_module, "GPU_AGAIN", 0.0)
    with monkeypatch.context() as kernel:
        kernel.setattr(signal, "SIGKILL", 0)  # in uninterruptible sleep
        monitor = bench.run("say(hung if '--gpu' in sys.argv else line)\nwhile True: time.sleep(0.05); '--gpu' in sys.argv or say()\n")
        await until(lambda: len(bench.pids) == 2 and monitor.latest.value.tick > 20)
        assert _alive(bench.pids[0])
    os.kill(bench.pids[0], signal.SIGKILL)
    await until(lambda: len(bench.pids) > 2)


async def test_P31_a_driver_that_answers_again_is_no_trouble(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "GPU_AGAIN", 0.0)
    monitor = bench.run("say(hung if n < 3 else line); wait()\n")
    await until(lambda: len(bench.pids) == 3 and monitor.latest.value.note == "")
    assert monitor.latest.value.sample is not None and monitor.latest.value.sample.gpus


async def test_P31_a_driver_that_crashes_the_sampler_is_left_alone(bench: Bench) -> None:
    monitor = bench.run("if '--gpu' in sys.argv: os.kill(os.getpid(), 11)\nsay()\nwait()\n")
    await until(lambda: monitor.latest.value.sample is not None)
    assert len(bench.pids) == monitor_module.DEADLY + 1
    assert monitor.latest.value.note == "GPU data: asking the driver ends the sampler"


@pytest.mark.parametrize("nonsense", ["'x' * 50 + chr(10)", "'{\"cpu\": 1}' + chr(10)", "chr(10)", "'[' * 2000 + chr(10)"])
async def test_G11_endless_nonsense_is_not_an_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch, nonsense: str) -> None:
    bench.run(f"say()\nwhile n == 1: say({nonsense})\nwait()\n")
    await until(lambda: len(bench.pids) == 2)
    assert "the sampler talks nonsense" in bench.notes
    await until(lambda: not _alive(bench.pids[0]))


async def test_G11_half_lines_and_single_bad_lines_are_skipped(bench: Bench) -> None:
    monitor = bench.run("say(); say('garbage' + chr(10)); say(line[:20]); say(line[20:]); wait()\n")
    await until(lambda: monitor.latest.value.tick == 2)
    assert len(bench.pids) == 1


async def test_G11_a_line_without_end_is_given_up(bench: Bench) -> None:
    bench.run("if n == 1:\n    while True: say('x' * 65536)\nwait()\n")
    await until(lambda: len(bench.pids) == 2)
    assert "the sampler talks nonsense" in bench.notes


async def test_G11_fifty_megabytes_without_a_line_are_not_kept(bench: Bench) -> None:
    before = _memory()
    bench.run("if n == 1:\n    for _ in range(800): say('x' * 65536)\nwait()\n")
    await until(lambda: len(bench.pids) == 2)
    assert _memory() - before < 10_000_000


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("text", ["line", "line * 50", "line[:-1] + ' ' * 60000 + chr(10)"])
async def test_G11_a_flood_of_samples_is_stopped(bench: Bench, text: str) -> None:
    monitor = bench.run(f"while n == 1: say({text})\nwait()\n")
    await until(lambda: len(bench.pids) == 2)
    assert "the sampler talks without end; it is started again" in bench.notes
    assert monitor.latest.value.tick <= 3 * monitor_module.FLOOD[0]
    await until(lambda: not _alive(bench.pids[0]))


async def test_what_is_wanted_is_told_each_sampler(bench: Bench) -> None:
    monitor = bench.run(
        "want = sys.stdin.readline()\nfile = open(sys.argv[0] + str(n), 'w')\nfile.write(want)\nfile.close()\nif n == 2: say(); wait()\n"
    )
    monitor.want(frozenset({"cores", "gpu_detail"}))
    await until(lambda: monitor.latest.value.tick == 1)
    for number in (1, 2):
        assert Path(f"{bench.script}{number}").read_text() == '{"v":2,"want":["cores","gpu_detail"]}\n'


async def test_a_wish_from_another_thread_reaches_a_running_sampler(bench: Bench) -> None:
    monitor = bench.run("say()\nwhile True:\n    want = sys.stdin.readline()\n    if 'cores' in want: say()\n")
    await until(lambda: monitor.latest.value.tick == 1)
    await asyncio.to_thread(monitor.want, frozenset({"cores"}))
    await until(lambda: monitor.latest.value.tick == 2)
    monitor.want(frozenset({"cores"}))  # nothing new is not told


async def test_P24_a_sampler_that_does_not_listen_delays_nothing(bench: Bench) -> None:
    monitor = bench.run("say(); wait()\n")
    await until(lambda: monitor.latest.value.tick == 1)
    for number in range(50_000):
        monitor._wanted = frozenset({"cores"} if number % 2 else {"processes"})
        monitor._tell_wanted()
    assert monitor._process is not None and monitor._process.stdin is not None
    assert monitor._process.stdin.transport.get_write_buffer_size() < 100  # type: ignore[attr-defined]
    began = time.monotonic()
    await bench.end()
    assert time.monotonic() - began < 2


async def test_E04_a_machine_that_slept_keeps_its_sampler(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "LOOK", 0.02)
    clock = Jumping()
    bench.monitor._clock = clock
    monitor = bench.run("say()\nsys.stdin.readline()\nsay()\nwait()\n")
    await until(lambda: monitor.latest.value.tick == 1)
    looks = clock.looks
    clock.ahead += 8 * 3600
    await until(lambda: clock.looks > looks + 5)
    assert len(bench.pids) == 1
    monitor.want(frozenset({"cores"}))
    await until(lambda: monitor.latest.value.tick == 2)
    assert monitor.latest.value.silent == 0
    assert len(monitor.recent()) == 1  # what was before is long ago


class Jumping:
    ahead = 0.0
    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return time.monotonic() + self.ahead

    def time(self) -> float:
        return time.time() + self.ahead


async def test_P77_samplers_that_die_again_and_again_leave_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.settings = build({"monitor": {"interval": 0.5, "gpu": False}})
    bench.run("say()\n")
    await until(lambda: len(bench.pids) == 3)
    files, tasks = len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())
    await until(lambda: len(bench.pids) == 12)
    assert len(list(Path("/proc/self/fd").iterdir())) <= files + 3
    assert len(asyncio.all_tasks()) <= tasks + 1


async def test_a_sampler_that_cannot_be_started_is_said_and_tried_again(bench: Bench) -> None:
    tries: list[int] = []

    def command(_settings: Settings) -> list[str]:
        tries.append(1)
        return ["/nonexistent/sampler"]

    bench.monitor._command = command
    bench.run("")
    await until(lambda: len(tries) > 1)
    assert "the sampler cannot be started" in bench.notes


async def test_settings_take_effect_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "LOOK", 0.01)
    monitor = bench.run("say(); wait()\n")
    await until(lambda: monitor.latest.value.tick == 1)
    bench.settings = build({"monitor": {"enabled": False}})
    await until(lambda: monitor.latest.value.note == "sampling is off")
    assert monitor.latest.value.sample is None
    await until(lambda: not _alive(bench.pids[0]))
    bench.settings = build({"monitor": {"interval": 2}})
    await until(lambda: len(bench.pids) == 2 and monitor.latest.value.sample is not None)


def test_the_command_line_follows_the_settings() -> None:
    command = sampler_command(build({"monitor": {"interval": 2, "gpu": False, "disks": ["/srv", "/data"]}}))
    assert command[-7:] == ["--interval", "2", "--no-gpu", "--disk", "/srv", "--disk", "/data"]


def test_disks_are_those_of_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disks(environ: dict[str, str] | None = None, **sections: Any) -> list[str]:
        monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), **(environ or {})})
        command = sampler_command(build(sections))
        return [word for before, word in pairwise(command) if before == "--disk"]

    monkeypatch.setattr(space, "OLLAMA_FOLDERS", (f"{tmp_path}/usr/ollama/.ollama/models", "~/.ollama/models"))
    assert disks() == ["/"]
    (tmp_path / ".ollama/models").mkdir(parents=True)
    assert disks() == [f"{tmp_path}/.ollama/models"]
    assert disks(monitor={"disks": ["~/big", "-odd"]}) == [f"{tmp_path}/big", str(Path.cwd() / "-odd")]
    assert disks({"OLLAMA_MODELS": "/mnt/models"}) == ["/mnt/models"]
    provider = {"kind": "llamacpp", "url": "http://127.0.0.1:8080", "models_folder": "/srv/gguf"}
    assert disks(providers={"box": provider}) == ["/srv/gguf", f"{tmp_path}/.ollama/models"]
    assert disks(providers={"box": {**provider, "location": "elsewhere"}}) == [f"{tmp_path}/.ollama/models"]


def test_E_a_folder_of_models_that_may_not_be_looked_into_has_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of Ollama's account, on Ubuntu."""
    home = tmp_path / "ollama"
    home.mkdir()
    look = os.stat

    def stat(path: Any, *args: Any, **more: Any) -> os.stat_result:
        if str(path).startswith(f"{home}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, *args, **more)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(space, "OLLAMA_FOLDERS", (f"{home}/.ollama/models",))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    assert sampler_command(build())[-2:] == ["--disk", f"{home}/.ollama/models"]
    (found,) = Filesystems([f"{home}/.ollama/models"]).read()
    assert found.total


# --- the real sampler, with a library of C in place of NVIDIA's ---------------------------------------------------------


@pytest.fixture
async def stubbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A bench whose sampler is the real one; the test says how the library behaves."""
    if stub.build(tmp_path) is None:
        pytest.skip("no C compiler")
    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    (root / "dev/nvidiactl").touch()
    for part in ("proc", "sys"):
        (root / part).symlink_to(f"/{part}")
    monkeypatch.setattr(monitor_module, "PAUSES", (0.01,))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    bench = Bench(tmp_path)
    more = ["--root", str(root)]
    bench.monitor._command = lambda settings: [*sampler_command(settings), *more]
    yield bench
    await bench.end()


async def test_G05_P31_the_real_sampler_beside_a_library_that_crashes(stubbed: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stub.BEHAVIOUR, "crash")
    stubbed.task = asyncio.ensure_future(stubbed.monitor.run())
    await until(lambda: stubbed.monitor.latest.value.sample is not None and "ends the sampler" in stubbed.monitor.latest.value.note)
    view = await until(lambda: stubbed.monitor.latest.value if stubbed.monitor.latest.value.tick > 1 else None)
    assert view.sample.cpu.percent is not None and not view.sample.gpus


@pytest.mark.sweep
async def test_G04_P31_the_real_sampler_beside_a_library_that_hangs(stubbed: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stub.BEHAVIOUR, "hang")
    stubbed.task = asyncio.ensure_future(stubbed.monitor.run())
    ticks: list[float] = []
    stubbed.monitor.taken.append(lambda sample, interval: ticks.append(time.monotonic()))
    async with asyncio.timeout(40):
        while not _seconds(stubbed.monitor.latest.value.note) > 8:
            await asyncio.sleep(0.05)
    assert max(after - before for before, after in pairwise(ticks)) < 2.5
    assert stubbed.monitor._no_gpu_until > time.monotonic()


def test_P24_cancelled_while_it_ends_a_sampler_it_still_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[asyncio.subprocess.Process] = []
    real = asyncio.subprocess.Process.communicate

    async def communicate(process: asyncio.subprocess.Process) -> Any:
        ended.append(process)
        if len(ended) == 1:
            await asyncio.Event().wait()
        return await real(process)

    monkeypatch.setattr(asyncio.subprocess.Process, "communicate", communicate)

    async def main() -> None:
        bench = Bench(tmp_path)
        bench.run("say(hung if '--gpu' in sys.argv else line); wait()\n")
        await until(lambda: ended)
        await bench.end()

    asyncio.run(main())
    assert len(ended) == 2
    assert ended[0] is ended[1] and ended[0].returncode == -signal.SIGKILL
