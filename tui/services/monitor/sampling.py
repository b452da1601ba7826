"""The sampler process: started, told what is wanted, read strictly, and started again where it dies, hangs or talks nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import tui
from tui.config.settings import Settings
from tui.core.clock import SYSTEM, Clock
from tui.core.observe import Observable
from tui.core.spawn import own_command
from tui.hardware.sample import Sample
from tui.hardware.sample_line import LINE_LIMIT, parse_sample
from tui.services.api import MonitorView
from tui.text import duration

RECENT: Final = 60.0
"""Seconds of samples that limits and alerts look at."""
SILENT_AFTER: Final = 5.0
"""Seconds beyond the interval until a sampler that says nothing is ended."""
PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Before a sampler that died is started again."""
LOOK: Final = 1.0
"""Seconds between two looks at settings and silence, while nothing comes."""
NONSENSE: Final = 20
"""Lines in a row without a sample until a sampler is given up."""
DEADLY: Final = 3
"""Quick ends of the sampler, one after the other, before it runs without the GPU."""
GPU_AGAIN: Final = 600.0
"""Seconds until a GPU driver that hung or crashed is asked again; the other figures stop for some seconds if it still does."""
HEALTHY: Final = 60.0
"""Seconds after which a death counts as the first again."""


class Sampling:
    """Starts, reads and restarts the sampler; runs on the engine's loop.

    Args:
        settings: The running settings.
        command: Makes the sampler's command line; tests give their own.
    """

    def __init__(
        self, settings: Callable[[], Settings], *, clock: Clock = SYSTEM, command: Callable[[Settings], list[str]] | None = None
    ) -> None:
        self.latest: Observable[MonitorView] = Observable(MonitorView(note="waiting for the first figures"))
        self._settings = settings
        self._clock = clock
        self._command = command or sampler_command
        self.taken: list[Callable[[Sample, float], None]] = []
        self._recent: deque[tuple[float, Sample]] = deque()
        self._process: asyncio.subprocess.Process | None = None
        self._no_gpu_until = float("-inf")
        self._gpu_note = ""
        self._silent = 0.0
        self._tick = 0

    async def run(self) -> None:
        """Keep a sampler going while settings say so, until cancelled."""
        deaths = 0
        try:
            while True:
                settings = self._settings()
                if not settings.monitor.enabled:
                    self.latest.set(MonitorView(note="sampling is off"))
                    await asyncio.sleep(LOOK)
                    continue
                started = self._clock.monotonic()
                gpu = self._asks_gpu(settings)
                if gpu or not settings.monitor.gpu:
                    self._gpu_note = ""
                self._silent = 0.0
                note = await self._once(settings, gpu)
                if note is None:
                    deaths = 0
                    continue
                deaths = 0 if self._clock.monotonic() - started > HEALTHY else deaths + 1
                if gpu and (self._silent or deaths >= DEADLY):  # what hangs or crashes in there is the driver's library
                    self._no_gpu_until = self._clock.monotonic() + GPU_AGAIN
                    why = f"no answer for {duration(self._silent)}" if self._silent else "asking the driver ends the sampler"
                    note = self._gpu_note = f"GPU data: {why}"
                    deaths = 0
                self._tell(note)
                await self._pause(PAUSES[min(max(deaths, 1), len(PAUSES)) - 1], settings)
        finally:
            await self._end()

    async def _pause(self, seconds: float, settings: Settings) -> None:
        """Wait before the next sampler; changed settings end it."""
        began = self._clock.monotonic()
        for _look in range(math.ceil(seconds / LOOK)):
            await asyncio.sleep(min(LOOK, max(0.0, began + seconds - self._clock.monotonic())))
            if self._settings().monitor != settings.monitor:
                return

    async def _once(self, settings: Settings, gpu: bool) -> str | None:
        """Run one sampler to its end; returns why it ended, or None where the settings changed."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(settings if gpu else _without_gpu(settings)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=LINE_LIMIT,
                cwd=Path(tui.__file__).resolve().parent.parent,
            )
        except OSError:
            return "the sampler cannot be started"
        assert self._process.stdout is not None
        try:
            return await self._read(self._process.stdout, settings, gpu)
        finally:
            await self._end()

    async def _read(self, lines: asyncio.StreamReader, settings: Settings, gpu: bool) -> str | None:
        interval = settings.monitor.interval
        patience = max(interval + SILENT_AFTER, 2 * interval)
        heard = self._clock.monotonic()
        nonsense = 0
        while self._settings().monitor == settings.monitor and (gpu or not self._asks_gpu(settings)):
            try:
                async with asyncio.timeout(LOOK):  # not `wait_for`: that of Python 3.11 can swallow a cancelling
                    line = await lines.readline()
            except TimeoutError:
                silent = self._clock.monotonic() - heard
                if silent > patience:
                    self._silent = silent
                    return f"no answer from the sampler for {duration(silent)}; it is started again"
                if silent > interval * 2:
                    self._tell(f"no answer from the sampler for {duration(silent)}", silent - interval)
                continue
            except ValueError:  # a line over the limit
                return "the sampler talks nonsense"
            if not line:
                return "the sampler ended; it is started again"
            sample = parse_sample(line)
            if sample is not None:
                nonsense = 0
                heard = self._clock.monotonic()
                self._keep(heard, sample)
            else:
                nonsense += 1
                if nonsense >= NONSENSE:
                    return "the sampler talks nonsense"
        return None

    def _asks_gpu(self, settings: Settings) -> bool:
        return settings.monitor.gpu and self._clock.monotonic() >= self._no_gpu_until

    def _keep(self, at: float, sample: Sample) -> None:
        self._recent.append((at, sample))
        while self._recent[0][0] < at - RECENT:
            self._recent.popleft()
        self._tick += 1
        interval = self._settings().monitor.interval
        for take in self.taken:
            take(sample, interval)
        self.latest.set(MonitorView(sample, at, 0.0, self._gpu_note or sample.gpu_note, self._tick))

    def recent(self) -> tuple[tuple[float, Sample], ...]:
        """Monotonic time and sample of the last `RECENT` seconds, oldest first."""
        return tuple(self._recent)

    def _tell(self, note: str, silent: float | None = None) -> None:
        view = self.latest.value
        quiet = silent if silent is not None else (self._clock.monotonic() - view.at if view.sample else 0.0)
        self.latest.set(MonitorView(view.sample, view.at, quiet, note, view.tick))

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await process.communicate()  # what is left in the pipe would keep it open


def sampler_command(settings: Settings) -> list[str]:
    """The sampler's command line for these settings."""
    disks = [word for disk in settings.monitor.disks for word in ("--disk", disk)]
    if not disks:
        folder = next(
            (path for path in (Path("/usr/share/ollama/.ollama/models"), Path.home() / ".ollama/models") if path.is_dir()), Path("/")
        )
        disks = ["--disk", str(folder)]
    gpu = "--gpu" if settings.monitor.gpu else "--no-gpu"
    return own_command("sampler", "--interval", f"{settings.monitor.interval:g}", gpu, *disks)


def _without_gpu(settings: Settings) -> Settings:
    return settings.model_copy(update={"monitor": settings.monitor.model_copy(update={"gpu": False})})
