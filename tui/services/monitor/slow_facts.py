"""What `slow.checks` looks at, gathered: from samples, servers, settings and the command lines of servers. Never blocks the loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from tui.core.errors import PaddockError
from tui.core.fit import shape_of_cached
from tui.core.models import Location, RunningModel
from tui.core.monitor import Loaded, SlowView
from tui.core.names import same
from tui.core.threads import in_daemon_thread
from tui.hardware.sample import GPU_DETAIL, GPU_PROCESSES, PROCESSES, Cpu, Gpu, Memory, Sample
from tui.services.monitor.energy import cards_of
from tui.services.monitor.slow import SlowFacts, checks, summary
from tui.services.own_use import PROC, families, processes
from tui.store.measurements import Measurements
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.core.monitor import Profile
    from tui.services.monitor.host import MonitorHost
    from tui.services.monitor.verbs import MonitorVerbs

RECENT: Final = 10.0
"""Seconds that figures are means of."""
LONGEST: Final = 3.0
"""Seconds that it may take; then it is told with what is known."""
LOOK: Final = 0.1
"""Seconds between two looks for a sample with details."""
WANTED: Final = frozenset({GPU_DETAIL, GPU_PROCESSES, PROCESSES})
_CPU: Final = ("percent", "frequency", "temperature")
_MEMORY: Final = ("swap_in", "swap_out", "pressure")
_GPU: Final = ("percent", "clock", "power", "temperature")
_THREADS: Final = re.compile(r"\0(?:-t|--threads)(?:=|\0)(\d{1,4})(?:\0|$)")
_SLOTS: Final = re.compile(r"\0(?:-np|--parallel|--max-num-seqs)(?:=|\0)(\d{1,4})(?:\0|$)")


def mean_of(samples: Sequence[Sample]) -> Sample | None:
    """The newest sample with means of those figures that go up and down; of a GPU's reasons to be slow, all that were told."""
    if not samples:
        return None
    newest = samples[-1]
    cpu: Cpu = _means(newest.cpu, [sample.cpu for sample in samples], _CPU)
    memory: Memory = _means(newest.memory, [sample.memory for sample in samples], _MEMORY)
    return replace(newest, cpu=cpu, memory=memory, gpus=tuple(_gpu(gpu, samples) for gpu in newest.gpus))


def _gpu(newest: Gpu, samples: Sequence[Sample]) -> Gpu:
    told = [gpu for sample in samples for gpu in sample.gpus if gpu.uuid == newest.uuid]
    mean: Gpu = _means(newest, told, _GPU)
    links = [gpu for gpu in told if gpu.pcie_generation]
    fastest = max((gpu.pcie_generation or 0 for gpu in links), default=None)  # the link slows down whenever the card rests
    reasons = tuple(dict.fromkeys(why for gpu in told for why in gpu.throttle))
    return replace(mean, throttle=reasons, pcie_generation=fastest if links else newest.pcie_generation)


def _means(newest: Any, told: Sequence[Any], names: Iterable[str]) -> Any:
    known = {name: [value for one in told if (value := getattr(one, name)) is not None] for name in names}
    return replace(newest, **{name: fmean(values) for name, values in known.items() if values})


def command_lines(pids: Iterable[int], proc: Path = PROC) -> list[str]:
    """The command lines of processes, words ended by NUL, cut at 64 kB; blocks for moments."""
    found = []
    for pid in pids:
        try:
            with (proc / str(pid) / "cmdline").open("rb") as file:
                found.append(file.read(65_536).decode("utf-8", "replace"))
        except OSError:
            continue  # another account's, or gone
    return found


def _number(pattern: re.Pattern[str], lines: Iterable[str]) -> int | None:
    numbers = {int(found[1]) for line in lines if (found := pattern.search(line))}
    return numbers.pop() if len(numbers) == 1 else None  # several servers that differ: which one it is is not known


class Slowness:
    """Makes the answers to "why is it slow?", one at a time; a new question ends the one before.

    Args:
        longest: Seconds one may take.
    """

    def __init__(self, host: MonitorHost, verbs: MonitorVerbs, *, longest: float = LONGEST, proc: Path = PROC) -> None:
        self._host, self._verbs = host, verbs
        self._longest, self._proc = longest, proc
        self._turn = 0

    async def look(self, provider: str, model: str) -> None:
        """Find out; what is shown first is that it is being found out."""
        self._turn += 1
        turn = self._turn
        view = SlowView(clean_name(provider), clean_name(model))
        self._verbs.slow.set(view)
        self._verbs.want("slow", WANTED)
        found: tuple[frozenset[int], list[str]] = (frozenset(), [])
        reading = asyncio.ensure_future(self._processes(provider))
        try:
            async with asyncio.timeout(self._longest):
                if self._is_here(provider):
                    await self._until_sampled(self._verbs.latest.value.tick)
                found = await asyncio.shield(reading)
        except TimeoutError:
            found = reading.result() if reading.done() and not reading.cancelled() else found
        finally:
            reading.cancel()
            if turn == self._turn:
                self._verbs.want("slow", ())
        if turn == self._turn:
            facts = self.facts(provider, model, *found)
            self._verbs.slow.set(replace(view, checks=checks(facts), at=self._host.clock.time(), summary=summary(facts)))

    def _is_here(self, provider: str) -> bool:
        state = self._host.watching.state(provider)
        return state is None or state.location is Location.HERE

    async def _until_sampled(self, before: int) -> None:
        """Wait for a sample with details, or for the second one without."""
        while True:
            view = self._verbs.latest.value
            if view.sample is None or view.tick > before + 1:
                if view.sample is not None or view.note == "sampling is off":
                    return
            elif view.tick > before and (not view.sample.gpus or any(gpu.pcie_received is not None for gpu in view.sample.gpus)):
                return
            await asyncio.sleep(LOOK)

    async def _processes(self, provider: str) -> tuple[frozenset[int], list[str]]:
        """Processes of all our servers on this machine, and the command lines of this one's."""
        watching = self._host.watching
        holders = {
            state.name: watch.holder
            for state in watching.providers.value
            if state.location is Location.HERE and (watch := watching.watch(state.name)) is not None and watch.holder is not None
        }

        def read() -> tuple[frozenset[int], list[str]]:
            known = processes(self._proc)
            own = families([holders[provider]], known) if provider in holders else frozenset[int]()
            return families(holders.values(), known), command_lines(sorted(own), self._proc)

        return await in_daemon_thread(read)

    def facts(self, provider: str, model: str, pids: frozenset[int] = frozenset(), lines: Sequence[str] = ()) -> SlowFacts:
        """What is known now."""
        host, verbs = self._host, self._verbs
        here = self._is_here(provider)
        told = [*verbs.loaded.value, *self._not_told()]
        loaded = next((one for one in told if _is(one.model, provider, model)), None)
        others = tuple(one for one in told if one is not loaded and (one.here if here else one.model.provider == provider))
        samples = [sample for at, sample in verbs.samples() if host.clock.monotonic() - at <= RECENT]
        sample = mean_of(samples) if here else None
        live = next((one for one in host.live() if one.provider == provider and same(one.model, model) and one.timeline.rate), None)
        profile = verbs.profiles.value.get((clean_name(provider), clean_name(model)))
        threads, told_by = self._threads(provider, model, lines)
        detail = host.detail(provider, model)
        return SlowFacts(
            here=here,
            loaded=loaded,
            sample=sample,
            cards=cards_of(loaded, sample),
            pids=pids | frozenset(pid for one in verbs.loaded.value for pid in one.pids),
            others=others,
            shape=shape_of_cached(detail) if detail is not None else None,
            longest=self._read(lambda kept: kept.longest(provider, model)),
            threads=threads,
            threads_of=told_by,
            rate=live.timeline.rate if live is not None else _rate(loaded) or self._last_rate(provider, model),
            writes=live is not None or bool(_rate(loaded)),
            profile=profile or self._profile(provider, model),
            limit=_number(_SLOTS, lines),
            binary=host.settings().appearance.units == "binary",
        )

    def _not_told(self) -> list[Loaded]:
        """Loaded models that the monitor does not list (yet)."""
        listed = {(one.model.provider, one.model.key) for one in self._verbs.loaded.value}
        running = self._host.watching.running.value
        return [Loaded(one, self._is_here(one.provider)) for one in running if (one.provider, one.key) not in listed]

    def _threads(self, provider: str, model: str, lines: Sequence[str]) -> tuple[int | None, str]:
        """How many, and who set them: the settings, the model's own options, the server's command line."""
        settings = self._host.settings()
        asked = {**settings.models.options_of(model), **settings.chat.options.sent()}.get("num_thread")
        if isinstance(asked, int) and asked > 0:
            return asked, "num_thread of the settings"
        detail = self._host.detail(provider, model)
        own = dict(detail.options).get("num_thread", "") if detail is not None else ""
        if own.isdecimal() and int(own):
            return int(own), "num_thread of the model"
        number = _number(_THREADS, lines)
        return number, "its command line" if number is not None else ""

    def _read(self, query: Callable[[Measurements], Any]) -> Any:
        database = self._host.database
        if database is None:
            return None
        try:
            return query(Measurements(database))
        except PaddockError:
            return None

    def _profile(self, provider: str, model: str) -> Profile | None:
        found: Profile | None = self._read(lambda kept: kept.profile(provider, model))
        return found if found is not None and found.answers else None

    def _last_rate(self, provider: str, model: str) -> float | None:
        rate: float | None = self._read(lambda kept: kept.last_rate(provider, model))
        return rate


def _is(running: RunningModel, provider: str, model: str) -> bool:
    return running.provider == provider and (running.key == model or same(running.name, model))


def _rate(loaded: Loaded | None) -> float | None:
    return (loaded.rate or loaded.model.rate) if loaded is not None else None
