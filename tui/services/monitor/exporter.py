"""Figures of other machines: `providers.*.exporter` names where a Paddock there tells them; asked only while somebody looks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

from tui.core.errors import PaddockError
from tui.core.exported import EXPORTED
from tui.core.observe import Observable
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.hardware.exported import sample_of
from tui.hardware.sample import Sample, Source
from tui.providers.metrics import Exporter
from tui.services.monitor.figures import end
from tui.services.monitor.host import MonitorHost

EVERY: Final = 2.0
SLOWEST: Final = 30.0
"""Seconds between two questions to one that does not answer, at most."""
_NAMES: Final = frozenset(row.name for row in EXPORTED)


@record(frozen=True)
class Place:
    """Where an exporter is, and how its certificate is checked."""

    url: str
    verify: bool | str


class Machines:
    """Asks the exporters of all providers, each in a task of its own; runs on the engine's loop.

    Args:
        host: Tells the settings.
        machines: Where samples go, by provider; one without figures says in its `sources` why.
        looked: Whether somebody looks at the Monitor.
    """

    def __init__(self, host: MonitorHost, machines: Observable[Mapping[str, Sample]], looked: Callable[[], bool]) -> None:
        self._host = host
        self._machines = machines
        self._looked = looked
        self._moved = asyncio.Event()
        self._followed: dict[str, tuple[Place, asyncio.Task[None]]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow the settings and whether somebody looks, until cancelled."""
        try:
            while True:
                self._moved.clear()
                self._settle()
                await self._moved.wait()
        finally:
            for name in list(self._followed):
                self._forget(name)
            await end(self._ending)

    def moved(self) -> None:
        """The settings moved, or somebody began or ended to look."""
        self._moved.set()

    def _settle(self) -> None:
        settings = self._host.settings()
        wanted = {name: Place(one.exporter, one.verify_tls) for name, one in settings.providers.items() if one.exporter and one.enabled}
        for name, (place, task) in list(self._followed.items()):
            if not self._looked() or wanted.get(name) != place or task.done():
                self._forget(name)
        self._machines.set({name: sample for name, sample in self._machines.value.items() if name in wanted})
        for name, place in wanted.items():
            if self._looked() and name not in self._followed:
                self._followed[name] = (place, asyncio.create_task(self._follow(name, place), name=f"exporter of {name}"))

    def _forget(self, name: str) -> None:
        task = self._followed.pop(name)[1]
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    async def _follow(self, name: str, place: Place) -> None:
        try:
            exporter = Exporter(name, place.url, place.verify, self._host.clock)
        except PaddockError as error:
            self._tell(name, Sample(self._host.clock.time(), sources=(Source("exporter", note=error.failure.what),)))
            return
        failures = 0
        try:
            while True:
                begun = self._host.clock.monotonic()
                try:
                    figures = await exporter.read(_NAMES.__contains__)
                    sample = await in_daemon_thread(lambda told=figures: sample_of(told))  # type: ignore[misc]
                    note = "" if sample is not None else f"{exporter.host} tells no machine's figures"
                except PaddockError as error:
                    sample, note = None, error.failure.what
                now = self._host.clock.monotonic()
                failures = 0 if sample is not None else failures + 1
                silent = EVERY * failures
                source = Source(f"exporter {exporter.host}", now - begun, EVERY, silent, note)
                self._tell(name, Sample(self._host.clock.time(), sources=(source,)) if sample is None else _from(sample, source))
                await asyncio.sleep(min(SLOWEST, EVERY * 2.0 ** min(failures, 5)) - min(EVERY, now - begun))
        finally:
            with contextlib.suppress(Exception):  # the answer, if any, is of no use any more
                await exporter.aclose()

    def _tell(self, name: str, sample: Sample) -> None:
        if name in self._followed:
            self._machines.set({**self._machines.value, name: sample})


def _from(sample: Sample, source: Source) -> Sample:
    from dataclasses import replace

    return replace(sample, sources=(source,))
