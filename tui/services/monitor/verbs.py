"""`api.MonitorApi` over its parts: samples, history, whose memory it is, loaded models, alerts, limits that act, profiles."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tui.core.errors import PaddockError
from tui.core.machine_name import machine_name
from tui.core.models import ModelKey
from tui.core.monitor import AlertsView, Enforcement, Loaded, MemoryMap, Points, Profile, ServerFigures, SlowView, Take
from tui.core.observe import Observable
from tui.core.threads import in_daemon_thread
from tui.services.monitor.enforced import Enforced
from tui.services.monitor.history import History
from tui.services.monitor.sampling import Sampling
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.hardware.sample import Sample
    from tui.services.chat.host import Meter
    from tui.services.monitor.energy import Energy
    from tui.services.monitor.freeing import Freeing
    from tui.services.monitor.host import MonitorHost
    from tui.services.monitor.profiles import Profiles
    from tui.services.monitor.rules import Rules
    from tui.services.monitor.slow_facts import Slowness
    from tui.services.monitor.whose import Whose
    from tui.store.db import Database


class MonitorVerbs:
    """What screens ask of the monitor. Built before the first frame: what that does not need is imported in `open`.

    Args:
        command: Makes the sampler's command line; tests give their own.
    """

    def __init__(self, host: MonitorHost, *, command: Callable[[Settings], list[str]] | None = None) -> None:
        self._host = host
        self.sampling = Sampling(host.settings, clock=host.clock, command=command)
        self.history = History()
        self.sampling.taken.append(self.history.add)
        self.latest = self.sampling.latest
        self.loaded: Observable[tuple[Loaded, ...]] = Observable(())
        self.maps: Observable[tuple[MemoryMap, ...]] = Observable(())
        self.servers: Observable[Mapping[str, ServerFigures]] = Observable({})
        self.machines: Observable[Mapping[str, Sample]] = Observable({})
        self.alerts: Observable[AlertsView] = Observable(AlertsView())
        self.enforcing = Enforced(host.clock, host.audit)
        self.enforced: Observable[tuple[Enforcement, ...]] = self.enforcing.done
        self.profiles: Observable[Mapping[ModelKey, Profile]] = Observable({})
        self.slow: Observable[SlowView | None] = Observable(None)
        self._machine = machine_name()
        self._profiling: Profiles | None = None
        self._slowness: Slowness | None = None
        self._energy: Energy | None = None
        self._rules: Rules | None = None
        self._freeing: Freeing | None = None
        self._whose: Whose | None = None
        self._wants: dict[str, frozenset[str]] = {}

    async def run(self) -> None:
        """Keep the sampler going, until cancelled."""
        await self.sampling.run()

    async def follow(self) -> None:
        """Keep loaded models, figures of servers and whose memory it is true, until cancelled."""
        from tui.services.monitor.whose import Whose

        whose = self._whose = Whose(self._host, self, lambda: dict(self._wants), self.want)
        await whose.run()

    async def open(self, database: Database) -> None:
        """Read what is kept, and watch the rules; once the database is there."""
        from tui.services.monitor.profiles import Profiles

        self._profiling = Profiles(database, self.profiles, self._host.post)
        self._host.post(self._profiling.read)
        await self._open_rules(database)
        self._open_limits()

    async def _open_rules(self, database: Database) -> None:
        from tui.services.monitor.rules import Rules
        from tui.services.monitor.rules_host import AppRulesHost

        host = AppRulesHost(self._host)
        rules = self._rules = Rules(host, self.history, database, self.alerts, self._machine, want=lambda names: self.want("rules", names))
        self.sampling.taken.append(rules.take)
        self._host.post(rules.keeping.load)
        self._host.keep_going(rules.run, "rules")

    @property
    def keeps_rules(self) -> bool:
        """Whether this process watches the rules, and so acts on them."""
        return self._rules is not None and self._rules.held

    def _open_limits(self) -> None:
        from tui.services.monitor.acting import Acting
        from tui.services.monitor.freeing import Freeing

        host, tell, samples = self._host, self.enforcing.tell, self.samples
        acting = Acting(
            host, tell, samples, loaded=lambda: self.loaded.value, figures=lambda: self.servers.value, keeps=lambda: self.keeps_rules
        )
        self._freeing = Freeing(host, acting.uses, acting.unloading, tell, self.would_take, lambda: self.loaded.value, samples)
        host.keep_going(acting.run, "limits")
        host.keep_going(lambda: self.enforcing.follow(host.paths.state), "enforced")

    async def changed(self, topics: frozenset[str]) -> None:
        """Parts of the database moved, here or in another process."""
        if self._profiling is not None:
            self._profiling.changed(topics)
        if self._rules is not None:
            await self._rules.changed(topics)

    async def aclose(self) -> None:
        """Keep what is not written yet, and give up the rules."""
        if self._rules is not None:
            await self._rules.aclose()

    # --- figures ------------------------------------------------------------------------------------------------------

    def machine(self) -> str:
        """See `api.MonitorApi`."""
        return self._machine

    def samples(self) -> tuple[tuple[float, Sample], ...]:
        """Monotonic time and sample of the last minute, oldest first."""
        return self.sampling.recent()

    def series(self, name: str, seconds: float) -> Sequence[float | None]:
        """See `api.MonitorApi`."""
        return self.history.points(name, seconds).values

    def points(self, name: str, seconds: float, until: float | None = None) -> Points:
        """See `api.MonitorApi`."""
        return self.history.points(name, seconds, until)

    def moment(self, at: float) -> Sample | None:
        """See `api.MonitorApi`."""
        return self.history.moment(at)

    def oldest(self) -> float | None:
        """See `api.MonitorApi`."""
        return self.history.oldest()

    def want(self, who: str, names: Iterable[str]) -> None:
        """See `api.MonitorApi`."""
        self._wants[who] = frozenset(names)
        self.sampling.want(frozenset().union(*list(self._wants.values())))
        if self._whose is not None:
            self._host.post(self._whose.wanted)

    def summary(self) -> str:
        """See `api.MonitorApi`."""
        sample = self.latest.value.sample
        parts = [f"{os.cpu_count() or 1} cores"]
        if sample is not None and sample.memory.total and sample.memory.used is not None:
            free = (sample.memory.total - sample.memory.used) / 1e9
            parts.append(f"{sample.memory.total / 1e9:.1f} GB RAM ({free:.1f} free)")
        for gpu in sample.gpus if sample is not None else ():
            total = f" {gpu.memory_total / 1e9:.1f} GB" if gpu.memory_total else ""
            parts.append(f"{gpu.name or 'GPU'}{total}")
        return ", ".join(parts)

    # --- models and memory --------------------------------------------------------------------------------------------

    def would_take(self, provider: str, model: str, context: int | None = None) -> Take | None:
        """See `api.MonitorApi`."""
        from tui.services.monitor.takes import would_take

        profile = self.profiles.value.get((provider, model))
        return would_take(self._host, self.latest.value.sample, provider, model, context, profile)

    def why_slow(self, provider: str, model: str) -> None:
        """See `api.MonitorApi`."""
        self._host.post(self._why_slow, provider, model)

    async def _why_slow(self, provider: str, model: str) -> None:
        if self._slowness is None:
            from tui.services.monitor.slow_facts import Slowness

            self._slowness = Slowness(self._host, self)
        await self._slowness.look(provider, model)

    def meter(self, provider: str, model: str) -> Meter:
        """Measure the energy of an answer that is sent now; on the engine's thread."""
        if self._energy is None:
            from tui.services.monitor.energy import Energy

            self._energy = Energy(self._host, self.history, lambda: self.loaded.value)
            self.sampling.taken.append(self._energy.take)
        return self._energy.begin(provider, model)

    def make_room(self, provider: str, model: str) -> None:
        """See `api.MonitorApi`."""
        self._host.post(self._make_room, provider, model)

    async def _make_room(self, provider: str, model: str) -> None:
        if self._freeing is None:
            raise PaddockError.of("Room cannot be made: the rules are not open", model, "See the line at the top")
        await self._freeing.make_room(provider, model)

    # --- alerts and history -------------------------------------------------------------------------------------------

    def acknowledge(self, ids: Iterable[int] = ()) -> None:
        """See `api.MonitorApi`."""
        self._host.post(self._acknowledge, tuple(ids))

    async def _acknowledge(self, ids: tuple[int, ...]) -> None:
        if self._rules is not None:
            await self._rules.acknowledge(ids)

    def mute(self, seconds: float) -> None:
        """See `api.MonitorApi`."""
        self._host.post(self._mute, seconds)

    async def _mute(self, seconds: float) -> None:
        if self._rules is not None:
            await self._rules.mute(seconds)

    def export(self, kind: str, seconds: float) -> None:
        """See `api.MonitorApi`."""
        self._host.post(self._export, kind, seconds)

    async def _export(self, kind: str, seconds: float) -> None:
        from tui.services.monitor.export import rows, write_export

        found = rows(self.history, seconds)
        folder, now = self._host.paths.data / "exports", self._host.clock.time()
        path = await in_daemon_thread(lambda: write_export(folder, kind, found, now))
        self._host.say(f"{len(found):,} moments written to {clean_name(str(path), 300)}")
