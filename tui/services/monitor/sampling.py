"""The sampler process: started, told what is wanted, read strictly, and started again where it dies, hangs or talks nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import tui
from tui.config.settings import Settings
from tui.core.clock import SYSTEM, Clock
from tui.core.observe import Observable
from tui.core.record import record
from tui.core.spawn import own_command
from tui.hardware.sample import MACHINE_SOURCES, Sample
from tui.hardware.sample_line import LINE_LIMIT, parse_sample
from tui.hardware.wants_line import format_wants
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
FLOOD: Final = (100, 8_000_000)
"""Lines, and bytes, within `LOOK` that are more than a sampler says, even after we were stopped and it was not."""
STOPPED: Final = 2.0
"""Seconds late from which it was not the sampler: the machine slept, or our loop was held up."""
DEADLY: Final = 3
"""Quick ends of the sampler, one after the other, before it runs without the GPU."""
GPU_AGAIN: Final = 600.0
"""Seconds until a GPU driver that hung or crashed is asked again."""
HEALTHY: Final = 60.0
"""Seconds after which a death counts as the first again."""


@record(frozen=True)
class _End:
    """Why a sampler ended; `hung` are the seconds for which the GPUs' driver did not answer."""

    note: str
    hung: float = 0.0


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
        self._recent: deque[tuple[float, Sample]] = deque(maxlen=int(RECENT * 10))
        self._process: asyncio.subprocess.Process | None = None
        self._held: asyncio.subprocess.Process | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted: frozenset[str] = frozenset()
        self._told: frozenset[str] = frozenset()
        self._no_gpu_until = float("-inf")
        self._hung_since: float | None = None
        self._crashes = False
        self._tick = 0

    def want(self, names: frozenset[str]) -> None:
        """Say what of `hardware.sample.WANTED` somebody shows or needs; from any thread."""
        self._wanted = names
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(self._tell_wanted)

    def _tell_wanted(self) -> None:
        """A sampler that does not listen is told again with its next sample, and never waited for."""
        pipe = self._process.stdin if self._process is not None else None
        if pipe is None or pipe.is_closing() or self._wanted == self._told or pipe.transport.get_write_buffer_size():
            return
        self._told = self._wanted
        pipe.write(format_wants(self._wanted))

    async def run(self) -> None:
        """Keep a sampler going while settings say so, until cancelled."""
        deaths = 0
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                settings = self._settings()
                if not settings.monitor.enabled:
                    self.latest.set(MonitorView(note="sampling is off"))
                    await asyncio.sleep(LOOK)
                    continue
                started = self._clock.monotonic()
                gpu = self._asks_gpu(settings)
                if not settings.monitor.gpu:
                    self._hung_since, self._crashes = None, False
                end = await self._once(settings, gpu)
                if end is None:
                    deaths = 0
                    continue
                healthy = self._clock.monotonic() - started > HEALTHY
                deaths = 1 if healthy else deaths + 1
                note = end.note
                if gpu:
                    note = self._blame(end, deaths, healthy)
                    deaths = 1 if note != end.note else deaths
                self._tell(note)
                await self._pause(PAUSES[min(deaths, len(PAUSES)) - 1], settings)
        finally:
            self._loop = None
            await self._end()

    def _blame(self, end: _End, deaths: int, healthy: bool) -> str:
        """Whether it was the GPUs' driver, which is left alone for some time then; says what to show."""
        now = self._clock.monotonic()
        if end.hung:
            self._hung_since, self._crashes = now - end.hung if self._hung_since is None else self._hung_since, False
        elif deaths >= (1 if self._crashes and not healthy else DEADLY):
            self._hung_since, self._crashes = None, True
        else:
            self._crashes = self._crashes and not healthy
            return end.note
        self._no_gpu_until = now + GPU_AGAIN
        return self._trouble(now)

    def _trouble(self, now: float) -> str:
        """What is the matter with the GPUs, as the sampler cannot say itself."""
        if self._hung_since is not None:
            return f"GPU data: no answer for {duration(now - self._hung_since)}"
        if self._crashes:
            return "GPU data: asking the driver ends the sampler"
        return "GPU data: not asked while a sampler hangs that cannot be ended" if self._is_held and self._settings().monitor.gpu else ""

    async def _pause(self, seconds: float, settings: Settings) -> None:
        """Wait before the next sampler; changed settings end it."""
        began = self._clock.monotonic()
        for _look in range(math.ceil(seconds / LOOK)):
            await asyncio.sleep(min(LOOK, max(0.0, began + seconds - self._clock.monotonic())))
            if self._settings().monitor != settings.monitor:
                return

    async def _once(self, settings: Settings, gpu: bool) -> _End | None:
        """Run one sampler to its end; returns why it ended, or None where the settings changed."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(settings if gpu else _without_gpu(settings)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=LINE_LIMIT,
                cwd=Path(tui.__file__).resolve().parent.parent,
            )
        except OSError:
            return _End("the sampler cannot be started")
        assert self._process.stdout is not None
        try:
            self._told = frozenset()
            self._tell_wanted()
            return await self._read(self._process.stdout, settings, gpu)
        finally:
            await self._end()

    async def _read(self, lines: asyncio.StreamReader, settings: Settings, gpu: bool) -> _End | None:
        interval = settings.monitor.interval
        patience = max(interval + SILENT_AFTER, 2 * interval)
        looked = heard = window = self._clock.monotonic()
        nonsense = count = size = 0
        while self._settings().monitor == settings.monitor and (gpu or not self._asks_gpu(settings)):
            line: bytes | None = None
            try:
                async with asyncio.timeout(LOOK):  # not `wait_for`: that of Python 3.11 can swallow a cancelling
                    line = await lines.readline()
            except TimeoutError:
                pass
            except ValueError:  # a line over the limit
                return _End("the sampler talks nonsense")
            before, looked = looked, self._clock.monotonic()
            if looked - before > LOOK + STOPPED:
                heard += looked - before - LOOK
            if line is None:
                silent = looked - heard
                if silent > patience:
                    return _End(f"no answer from the sampler for {duration(silent)}; it is started again")
                if silent > interval * 2:
                    self._tell(f"no answer from the sampler for {duration(silent)}", silent - interval)
                continue
            if not line:
                return _End("the sampler ended; it is started again")
            window, count, size = (window, count + 1, size + len(line)) if looked - window < LOOK else (looked, 1, len(line))
            if count > FLOOD[0] or size > FLOOD[1]:
                return _End("the sampler talks without end; it is started again")
            sample = parse_sample(line)
            nonsense = 0 if sample is not None else nonsense + 1
            if nonsense >= NONSENSE:
                return _End("the sampler talks nonsense")
            if sample is not None:
                heard = looked
                self._keep(heard, sample, gpu)
                hung = max((source.silent for source in sample.sources if source.name not in MACHINE_SOURCES), default=0.0)
                if gpu and hung > SILENT_AFTER:
                    return _End(f"GPU data: no answer for {duration(hung)}", hung)
        return None

    def _asks_gpu(self, settings: Settings) -> bool:
        return settings.monitor.gpu and not self._is_held and self._clock.monotonic() >= self._no_gpu_until

    @property
    def _is_held(self) -> bool:
        """Whether a sampler hangs in the kernel, where nothing ends it."""
        return self._held is not None and self._held.returncode is None

    def _keep(self, at: float, sample: Sample, gpu: bool) -> None:
        if gpu and self._answered(sample):
            self._hung_since = None
        self._recent.append((at, sample))
        while self._recent[0][0] < at - RECENT:
            self._recent.popleft()
        self._tick += 1
        interval = self._settings().monitor.interval
        for take in self.taken:
            take(sample, interval)
        trouble = self._trouble(at) if self._hung_since is not None or not gpu else ""
        self.latest.set(MonitorView(sample, at, 0.0, trouble or sample.gpu_note, self._tick))
        self._tell_wanted()

    @staticmethod
    def _answered(sample: Sample) -> bool:
        """Whether a GPU's driver said something, and be it that there is none."""
        return any(
            source.name not in MACHINE_SOURCES and not source.silent and (source.note or source.seconds) for source in sample.sources
        )

    def recent(self) -> tuple[tuple[float, Sample], ...]:
        """Monotonic time and sample of the last `RECENT` seconds, oldest first."""
        return tuple(self._recent)

    def _tell(self, note: str, silent: float | None = None) -> None:
        view = self.latest.value
        quiet = silent if silent is not None else (self._clock.monotonic() - view.at if view.sample else 0.0)
        self.latest.set(MonitorView(view.sample, view.at, quiet, note, view.tick))

    async def _end(self) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if process.stdout is not None and process.stdout.at_eof():  # it ends by itself: its exit code is not lost to the signal
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await process.wait()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        try:
            async with asyncio.timeout(1.0):
                await process.communicate()  # what is left in the pipe would keep it open
        except TimeoutError:  # a driver holds it, and would hold the next one, too
            self._held = process
            transport = getattr(process, "_transport", None)
            if transport is not None:
                transport.close()
        self._process = None  # not before: who is cancelled here comes again


def sampler_command(settings: Settings) -> list[str]:
    """The sampler's command line for these settings."""
    folders = settings.monitor.disks or _models_folders(settings)
    disks = [word for folder in folders for word in ("--disk", os.path.abspath(os.path.expanduser(folder)))]  # noqa: PTH100, PTH111
    gpu = "--gpu" if settings.monitor.gpu else "--no-gpu"
    return own_command("sampler", "--interval", f"{settings.monitor.interval:g}", gpu, *disks)


def _models_folders(settings: Settings) -> list[str]:
    """Where servers on this machine keep models, as far as that is known without asking them.

    The folder of Ollama's own account can often not be looked into (Ubuntu): that account's home says that it is there.
    """
    from tui.services.space import OLLAMA_FOLDERS

    found = [provider.models_folder for provider in settings.providers.values() if provider.location != "elsewhere"]
    if os.environ.get("OLLAMA_MODELS"):
        found.append(os.environ["OLLAMA_MODELS"])
    else:
        seen = {place: place if place.startswith("~") else place.removesuffix("/.ollama/models") for place in OLLAMA_FOLDERS}
        found += [place for place, folder in seen.items() if os.path.isdir(os.path.expanduser(folder))]  # noqa: PTH111, PTH112
    return list(filter(None, found)) or ["/"]


def _without_gpu(settings: Settings) -> Settings:
    return settings.model_copy(update={"monitor": settings.monitor.model_copy(update={"gpu": False})})
