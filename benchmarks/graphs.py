"""The Monitor with 16 GPUs at 1 Hz, all figures moving: `python benchmarks/graphs.py [SECONDS]`.

The screen is the real one on a pseudo-terminal; the services are the tests', so that sixteen cards need not be there.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from common import Terminal, heading, report, wait

from tests.support.fake_services import FakeServices, ScreenHost
from tests.ui.monitor_data import AT, SAMPLE, fill, gpus_of
from tui.services.api import MonitorView
from tui.ui.screens.monitor import MonitorScreen

GPUS = 16


def moved(fake: FakeServices, second: int) -> MonitorView:
    """A second later: every figure is another one."""
    gpus = tuple(
        replace(gpu, percent=50 + 40 * math.sin((second + gpu.index) / 7), temperature=60.0 + second % 9, power=250.0 + second % 60)
        for gpu in gpus_of(GPUS)
    )
    for name, values in fake.monitor.values.items():
        fake.monitor.values[name] = [*values[1:], 50 + 40 * math.sin((second + len(name)) / 7)]
    cpu = replace(SAMPLE.cpu, percent=30.0 + second % 11)
    return MonitorView(replace(SAMPLE, time=AT + second, cpu=cpu, gpus=gpus), float(second), tick=second)


class Moving(ScreenHost):
    """The screen alone; a second a second."""

    second = 0

    def on_mount(self) -> None:
        """Begin."""
        self.set_interval(1.0, self.move)

    def move(self) -> None:
        """The next second."""
        self.second += 1
        fake: Any = self.first.services
        fake.monitor.latest.set(moved(fake, self.second))


def app() -> None:
    """What runs on the terminal; `--tick` prints how long the graphs of a tick take instead."""
    from tui.ui.wire import driver_class

    with tempfile.TemporaryDirectory() as home:
        fake = FakeServices(Path(home))
        fill(fake, gpus=GPUS)
        host: Any = Moving(MonitorScreen(fake))
        host.driver_class = driver_class()
        host.run()


def ticks(width: int, height: int) -> None:
    """Figures, words and graphs of one tick, without the terminal."""
    from tui.ui.screens.monitor_meters import overview
    from tui.ui.screens.monitor_words import Look

    with tempfile.TemporaryDirectory() as home:
        fake = FakeServices(Path(home))
        fill(fake, gpus=GPUS)
        spent = []
        for second in range(1, 101):
            view = moved(fake, second)
            fake.monitor.latest.set(view)
            begin = time.process_time()
            assert view.sample is not None
            overview(Look(view.sample, lambda name: fake.monitor.points(name, 120.0), 120.0), width, height)
            spent.append(1000 * (time.process_time() - begin))
        tick = statistics.median(spent)
        report(f"{GPUS} GPUs, {width}x{height}: graphs and words of a tick", f"{tick:.1f} ms", "20 ms", tick <= 20)


def screen(size: tuple[int, int], seconds: float) -> None:
    """Processor, bytes, keys."""
    with Terminal([sys.executable, __file__, "--app"], {"PYTHONPATH": "."}, rows=size[1], cols=size[0]) as terminal:
        terminal.wait_for("GPU3")
        wait(4, terminal)
        process = psutil.Process(terminal.process.pid)
        before, sent = process.cpu_times(), len(terminal.raw)
        wait(seconds, terminal)
        now = process.cpu_times()
        sent = len(terminal.raw) - sent
        used = 100 * (now.user + now.system - before.user - before.system) / seconds
        where = f"{GPUS} GPUs at 1 Hz, {size[0]}x{size[1]}"
        report(f"{where}: of a core", f"{used:.1f} %", "5 %", used <= 5)
        report(f"{where}: written", f"{sent / seconds:,.0f} B/s", "10,000 B/s", sent / seconds <= 10_000)
        spent = []
        for key in "][" * 10:
            begin = time.monotonic()
            terminal.send(key)
            terminal.wait_for("last 10 min" if key == "]" else "last 2 min")
            spent.append(1000 * (time.monotonic() - begin))
            wait(0.13, terminal)
        words = f"{statistics.median(spent):.0f}, {max(spent):.0f} ms"
        report(f"{where}: a key that draws all graphs anew, median and worst of {len(spent)}", words, "100, 250 ms", max(spent) <= 250)
        terminal.send("\x11")
        terminal.exit_code()


def main() -> None:
    if "--app" in sys.argv:
        app()
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    heading()
    for width, height in ((80, 24), (120, 40), (200, 60)):
        ticks(width, height)
    screen((80, 24), seconds)
    screen((120, 40), seconds)


if __name__ == "__main__":
    main()
