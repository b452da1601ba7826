"""The sampler alone, with eight GPUs, and the app beside one that hangs, dies or floods: `python benchmarks/sampler.py [SECONDS]`.

The GPUs are those of a library of C that stands in for NVIDIA's (`tests/hardware/libnvml.c`, "busy"): eight with 104 processes
together, and, beyond the budget, with 100 each. The app's side is `Sampling` alone in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from common import ROOT, heading, report

from tests.hardware.stub import build, environment
from tui.config.settings import Settings
from tui.config.settings import build as settings
from tui.hardware.sample import WANTED, Sample
from tui.hardware.sample_line import format_sample, parse_sample
from tui.services.monitor.sampling import Sampling

BARE = "import time\nwhile True:\n    print(open('/proc/stat').read(64), flush=True)\n    time.sleep(1)\n"
"""What prints one line a second and does nothing else."""


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    env = {**environment(folder, "busy"), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def cost(command: list[str], folder: Path, seconds: float) -> tuple[float, float, bytes]:
    """Percent of a core, megabytes (proportional share), and the last line."""
    with running(command, folder) as process:
        assert process.stdout is not None
        known = psutil.Process(process.pid)
        for _ in range(4):
            line = process.stdout.readline()
        before, began = known.cpu_times(), time.monotonic()
        for _ in range(round(seconds)):
            line = process.stdout.readline()
        now, spent = known.cpu_times(), time.monotonic() - began
        used = 100 * (now.user + now.system - before.user - before.system) / spent
        return used, known.memory_full_info().pss / 1e6, line


def alone(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = folder / "root"
        (root / "dev").mkdir(parents=True)
        (root / "dev/nvidiactl").touch()
        for part in ("proc", "sys"):
            (root / part).symlink_to(f"/{part}")
        bare, memory, _line = cost([sys.executable, "-c", BARE], folder, seconds)
        report("a program that prints a line a second: of a core, memory", f"{bare:.2f} %, {memory:.1f} MB", "-", True)
        command = [sys.executable, "-P", "-m", "tui", "sampler", "--interval", "1", "--root", str(root)]
        everything = [word for name in WANTED for word in ("--want", name)]
        for busy in (13, 100):
            if build(folder, busy) is None:
                print("no C compiler: the sampler is not measured", file=sys.stderr)
                return
            for what, more in (("what is always measured", []), ("everything wanted", everything)):
                used, taken, line = cost(command + more, folder, seconds)
                where = f"sampler at 1 Hz, 8 GPUs with {busy} processes each, {what}"
                report(f"{where}: of a core", f"{used:.2f} %", "1 %" if busy < 100 else "-", used < 1)
                report(f"{where}: memory", f"{taken:.1f} MB", "30 MB", taken <= 30)
            shown(line)


def shown(line: bytes) -> None:
    sample = parse_sample(line)
    for source in sample.sources if sample is not None else ():
        share = 100 * source.seconds / source.every
        report(f"source {source.name}: {1000 * source.seconds:.1f} ms each {source.every:g} s", f"{share:.2f} %", "2 %", share <= 2)


TROUBLES = {
    "a good sampler": "while True: say(line); time.sleep(1)",
    "one that prints nothing": "time.sleep(600)",
    "one that dies at once": "",
    "one that prints garbage without end": "while True: say(b'x' * 60 + b'\\n')",
    "one that prints 64 KB pieces without a newline": "while True: say(b'x' * 65536)",
    "one that prints samples without end": "while True: say(line * 100)",
    "one that tells that the GPUs' driver hangs": "while True: say(hung); time.sleep(1)",
}


async def beside(script: Path, seconds: float) -> tuple[float, float, int]:
    """Percent of a core, megabytes more at the most, and samplers started."""
    started = 0

    def command(_settings: Settings) -> list[str]:
        nonlocal started
        started += 1
        return [sys.executable, "-S", str(script)]

    chosen = settings({"monitor": {"interval": 1}})
    sampling = Sampling(lambda: chosen, command=command)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    task = asyncio.ensure_future(sampling.run())
    await asyncio.sleep(1)
    used, began = time.process_time(), time.monotonic()
    await asyncio.sleep(seconds)
    used, spent = time.process_time() - used, time.monotonic() - began
    task.cancel()
    ending = time.monotonic()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    ended = time.monotonic() - ending
    assert ended < 2, f"ending took {ended:.1f} s"
    return 100 * used / spent, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1000, started


def troubled(seconds: float) -> None:
    from tui.hardware.sample import Source

    good = format_sample(Sample(time.time(), sources=(Source("GPU", 0.001, 1.0),)))
    hung = format_sample(Sample(time.time(), sources=(Source("GPU", 0.001, 1.0, 9.0),)))
    with tempfile.TemporaryDirectory() as name:
        script = Path(name) / "sampler.py"
        say = "def say(text):\n    sys.stdout.buffer.write(text)\n    sys.stdout.flush()\n"
        start = f"import sys, time\nline, hung = {good!r}, {hung!r}\n{say}"
        for what, body in TROUBLES.items():
            script.write_text(start + body + "\n", encoding="utf-8")
            used, more, started = asyncio.run(beside(script, seconds))
            report(f"app beside {what}: of a core; {started} started", f"{used:.2f} %", "2 %", used <= 2)
            report(f"app beside {what}: memory more", f"{more:.1f} MB", "4 MB", more <= 4)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    heading()
    alone(seconds)
    troubled(seconds)


if __name__ == "__main__":
    main()
