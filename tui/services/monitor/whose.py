"""Keeps what the Monitor knows of models true: figures of servers, loaded models, whose memory it is, other machines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from tui.core.models import Endpoint, Location, ModelKey, Origin, RunningModel
from tui.core.monitor import Loaded, MemoryMap, Profile, ServerFigures
from tui.core.observe import Observable
from tui.core.threads import in_daemon_thread
from tui.hardware.sample import GPU_PROCESSES, PROCESSES, Sample
from tui.providers.ports import Holder
from tui.services.api import MonitorView
from tui.services.monitor.exporter import Machines
from tui.services.monitor.figures import Servers
from tui.services.monitor.joining import Join, join, look, look_at_sample
from tui.services.monitor.loaded import Used, is_of, loaded_models
from tui.services.monitor.shares import memory_maps

if TYPE_CHECKING:
    from tui.services.monitor.host import MonitorHost

PAUSE: Final = 0.5
"""Seconds between two times that something is published."""
MAPS_EVERY: Final = 2.0
"""Seconds between two looks at the processes while somebody sees whose memory it is."""
JOINS_EVERY: Final = 30.0
"""The same while nobody does; models that come or go are looked at at once."""
SHARE: Final = 0.01
"""Of a core, that these looks may cost: thousands of processes are looked at less often."""
WANTED_FOR: Final = 10.0
"""Seconds for which the processes on GPUs are wanted to find new models among them."""
JOINING: Final = "joining"
"""Our own name among those who want figures."""
_WATCHERS: Final = frozenset({JOINING, "rules"})
"""Those who want figures, and look at no screen."""

Wants = Mapping[str, frozenset[str]]


class Shown(Protocol):
    """What is needed of `api.MonitorApi`."""

    latest: Observable[MonitorView]
    loaded: Observable[tuple[Loaded, ...]]
    maps: Observable[tuple[MemoryMap, ...]]
    servers: Observable[Mapping[str, ServerFigures]]
    machines: Observable[Mapping[str, Sample]]
    profiles: Observable[Mapping[ModelKey, Profile]]


class Whose:
    """Follows models, servers, samples and our own answers; runs on the engine's loop.

    Args:
        host: The rest of the program.
        shown: Newest sample and profiles, which are read, and what is published.
        wants: Who shows or needs what.
        want: Says what we need.
    """

    def __init__(
        self,
        host: MonitorHost,
        shown: Shown,
        wants: Callable[[], Wants],
        want: Callable[[str, frozenset[str]], None],
    ) -> None:
        self._host = host
        self._shown = shown
        self._wants = wants
        self._want = want
        self.servers = Servers(host, shown.servers, self.looked, self._stir)
        self.machines = Machines(host, shown.machines, self.looked)
        self._moved = asyncio.Event()
        self._used = Used()
        self._joins: dict[ModelKey, Join] = {}
        self._joined: tuple[tuple[ModelKey, Holder | None], ...] = ()
        self._looked_at = float("-inf")
        self._cost = 0.0
        self._searching_until = float("-inf")
        self._was_looked = False

    def looked(self) -> bool:
        """Whether somebody looks at the Monitor."""
        return any(names for who, names in self._wants().items() if who not in _WATCHERS)

    def _maps_wanted(self) -> bool:
        return any(names & {GPU_PROCESSES, PROCESSES} for who, names in self._wants().items() if who not in _WATCHERS)

    def _stir(self) -> None:
        self._moved.set()

    async def wanted(self) -> None:
        """Somebody wants something else now."""
        looked = self.looked()
        if looked and not self._was_looked:
            self.servers.wake()
        if looked != self._was_looked:
            self.machines.moved()
        self._was_looked = looked
        self._stir()

    async def run(self) -> None:
        """Keep what is published true, until cancelled."""
        watching = self._host.watching
        stops = [
            self._shown.latest.watch(lambda _view: self._stir()),
            self._shown.profiles.watch(lambda _profiles: self._stir()),
            watching.running.watch(lambda _models: self._stir()),
            watching.providers.watch(lambda _states: self._stir()),
        ]
        try:
            async with asyncio.TaskGroup() as parts:
                parts.create_task(self.servers.run())
                parts.create_task(self.machines.run())
                while True:
                    self._moved.clear()
                    await self._turn()
                    await asyncio.sleep(PAUSE)
                    await self._moved.wait()
        finally:
            for stop in stops:
                stop()

    async def _turn(self) -> None:
        models, here = self._host.watching.running.value, self._here()
        sample = self._shown.latest.value.sample
        live = self._host.live()
        if live:
            self.servers.wake()
        self.machines.moved()
        await self._join([model for model in models if model.provider in here], here, sample)
        busy = [(model, bool(model.busy_slots) or any(is_of(one, model) for one in live) or self._works(model)) for model in models]
        used = self._used.look(busy, self._endpoints(), self._host.clock.time())
        known = {key: profile.last_used for key, profile in self._shown.profiles.value.items() if profile.last_used is not None}
        cards = {gpu.uuid: gpu.index for gpu in sample.gpus} if sample is not None else {}
        found = loaded_models(models, here, self._joins, self._shown.servers.value, self.servers.by_model, live, cards, {**known, **used})
        self._shown.loaded.set(found)

    def _works(self, model: RunningModel) -> bool:
        figures = self.servers.by_model.get((model.provider, model.key))
        return figures is not None and bool(figures.running or figures.waiting)

    def _endpoints(self) -> dict[str, Endpoint]:
        return {state.name: state.endpoint for state in self._host.watching.providers.value}

    def _here(self) -> frozenset[str]:
        """Providers of this machine; in the demo its server, and nothing else."""
        return frozenset(
            state.name
            for state in self._host.watching.providers.value
            if state.location is Location.HERE and (state.origin is Origin.DEMO) == self._host.demo
        )

    # --- whose memory ---------------------------------------------------------------------------------------------------

    async def _join(self, models: list[RunningModel], here: frozenset[str], sample: Sample | None) -> None:
        now = self._host.clock.monotonic()
        holders = {name: self._holder(name) for name in sorted(here)}
        state = tuple(((model.provider, model.key), holders.get(model.provider)) for model in models)
        wanted = self._maps_wanted()
        new = state != self._joined
        if new and any(model.vram != 0 for model in models):
            self._searching_until = now + WANTED_FOR
            self._want(JOINING, frozenset({GPU_PROCESSES}))
        elif now >= self._searching_until and self._wants().get(JOINING):
            self._want(JOINING, frozenset())
        every = MAPS_EVERY if wanted or now < self._searching_until else JOINS_EVERY
        if not wanted:
            self._shown.maps.set(())
        new_look = new or (wanted and not self._shown.maps.value)
        if sample is None or (not new_look and now - self._looked_at < max(every, self._cost / SHARE)):
            return
        if not models and not wanted:
            self._joins, self._joined, self._looked_at = {}, state, now
            return
        digests = self._digests(models)
        known = {name: holder for name, holder in holders.items() if holder is not None}
        demo = self._host.demo
        on_gpus = frozenset(process.pid for gpu in sample.gpus for process in gpu.processes)

        def read() -> tuple[dict[ModelKey, Join], tuple[MemoryMap, ...]]:
            begun = time.thread_time()
            seen = look_at_sample(known, sample) if demo else look(known, on_gpus=on_gpus)
            joins = join(models, seen, sample, digests)
            maps = memory_maps(sample, joins, models) if wanted else ()
            self._cost = time.thread_time() - begun
            return joins, maps

        joins, maps = await in_daemon_thread(read)
        if not new:  # without the processes on GPUs what was found before is still right
            joins = {key: self._kept(key, one) for key, one in joins.items()}
        self._joins, self._joined, self._looked_at = joins, state, now
        if wanted:
            self._shown.maps.set(maps)

    def _kept(self, key: ModelKey, found: Join) -> Join:
        before = self._joins.get(key)
        if before is None or not before.gpus or before.pids != found.pids:
            return found
        return before if not found.gpus or (found.about and not before.about) else found

    def _holder(self, provider: str) -> Holder | None:
        watch = self._host.watching.watch(provider)
        return watch.holder if watch is not None else None

    def _digests(self, models: list[RunningModel]) -> dict[ModelKey, str]:
        """Hex of the weights of models whose runners name them."""
        found: dict[ModelKey, str] = {}
        endpoints = self._endpoints()
        for model in models:
            if endpoints[model.provider].kind == "ollama":
                detail = self._host.detail(model.provider, model.key)
                if detail is not None and detail.weights_digest:
                    found[model.provider, model.key] = detail.weights_digest.removeprefix("sha256:")
        return found
