"""Optimising a model for this machine, and quantizing it to smaller levels, measured before and after."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tui.core.capabilities import Capability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Model, ModelKey, Severity
from tui.core.names import normal, same
from tui.core.observe import Observable
from tui.services.library.fits import FitTables
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tui.core.levels import LevelFigures
    from tui.core.models import ModelDetail
    from tui.core.tuning import Optimised, Proposal, TuneRun
    from tui.services.library.tuning_work import Tools
    from tui.store.db import Database
    from tui.store.tunings import Tunings

    _Work = Callable[[Tools], Awaitable[None]]


class Tuning(Part):
    """Proposals, levels and their benchmarks; one measurement at a time, as two would disturb each other.

    Attributes:
        proposals: What could be better, or why that is not known, by provider and exact name; asked for by `propose`.
        run: The measurement that goes on.
        optimised: The newest optimisation of each model, by provider and normal name.
        levels: What was measured of levels, by provider and normal name of their base.
    """

    def __init__(self, host: LibraryHost, fits: FitTables) -> None:
        super().__init__(host)
        self._fits = fits
        self.proposals: Observable[Mapping[ModelKey, Proposal | Failure]] = Observable({})
        self.run: Observable[TuneRun | None] = Observable(None)
        self.optimised: Observable[Mapping[ModelKey, Optimised]] = Observable({})
        self.levels: Observable[Mapping[ModelKey, tuple[LevelFigures, ...]]] = Observable({})
        self._table: Tunings | None = None
        self._writes = False
        self._task: asyncio.Task[None] | None = None

    async def open(self, database: Database) -> None:
        """Read what is kept; an optimisation whose process was ended is said."""
        from tui.services.library.tuning_words import interrupted
        from tui.store.tunings import Tunings

        self._table = Tunings(database, self._host.clock)
        self._writes = not database.read_only
        if self._writes:
            for row in await self._table.take_interrupted():
                self._host.say(interrupted(row), Severity.WARNING)
        self._read()

    async def changed(self, topics: frozenset[str]) -> None:
        """See `Part`."""
        from tui.store.tunings import TUNINGS

        if TUNINGS in topics:
            self._read()

    def _read(self) -> None:
        if self._table is not None:
            self.optimised.set(self._table.optimised())
            self.levels.set(self._table.levels())

    async def aclose(self) -> None:
        """Stop; the server is told to forget the trial, as far as there is time."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1.0)

    # --- verbs --------------------------------------------------------------------------------------------------------

    def propose(self, provider: str, model: str) -> None:
        """Find out what could be better for a model; the answer comes in `proposals`."""
        self._host.post(self._propose, provider, model)

    def optimise(self, provider: str, model: str, keys: Sequence[str]) -> None:
        """Measure with and without some of the proposed options, and keep them only where that is better."""
        self._host.post(self._optimise, provider, model, tuple(keys))

    def benchmark(self, provider: str, models: Sequence[str]) -> None:
        """Measure levels of one model beside each other; the largest is what the others are compared with."""
        self._host.post(self._benchmark, provider, tuple(models))

    def stop(self) -> None:
        """End the measurement; everything is put back."""

        async def end() -> None:
            run = self.run.value
            if self._task is not None and not self._task.done() and run is not None and not run.stopping:
                self.run.set(replace(run, stopping=True, step="putting it back as it was"))
                self._task.cancel()

        self._host.post(end)

    def quantize(self, provider: str, model: str, wanted: Sequence[tuple[str, str]]) -> None:
        """Queue the making of levels of a model.

        Args:
            provider: Where.
            model: Its exact name.
            wanted: Level and name of the new model, each.
        """
        self._host.post(self._quantize, provider, model, tuple(wanted))

    # --- work ---------------------------------------------------------------------------------------------------------

    async def _propose(self, provider: str, model: str) -> None:
        try:
            found: Proposal | Failure = await self._proposal(provider, model)
        except PaddockError as error:
            found = error.failure
        self.proposals.set({**self.proposals.value, (provider, model): found})

    async def _proposal(self, provider: str, model: str) -> Proposal:
        from tui.services.library.tuning_work import Here, propose_for, refusal, with_abilities
        from tui.services.machine import is_here, machine_of

        host, settings = self._host, self._host.settings()
        listed, connection, state = self._listed(provider, model), host.provider(provider), host.watching.state(provider)
        remedy = "Choose another model"
        if not settings.optimise.enabled:
            raise PaddockError.of("Nothing is proposed", "optimise.enabled = false", "Change optimise.enabled", FailureKind.REFUSED)
        if refused := refusal(connection, await with_abilities(connection, listed)):
            raise PaddockError.of(refused, provider, remedy, FailureKind.UNSUPPORTED)
        if state is None or not is_here(state, demo=True):
            what = f"{provider} is not on this machine: what is good for it is not known here"
            raise PaddockError.of(what, provider, "Run Paddock on that machine", FailureKind.UNSUPPORTED)
        sample = host.monitor.latest.value.sample
        machine = machine_of(sample, host.watching.providers.value, host.watching.running.value)
        if sample is None or machine is None or not listed.size:
            what = "The server does not say its size" if machine is not None else "There are no figures of this machine yet"
            raise PaddockError.of(what, provider, "Wait a moment, then try again", FailureKind.NOT_FOUND)
        detail = await self._detail(provider, listed)
        here = Here(machine, sample.cpu.physical, self._fits.served_of(provider), self._fits.lessons.value)
        running = next((one for one in host.watching.running.value if one.provider == provider and same(one.key, listed.key)), None)
        return propose_for(settings, here, listed, detail, running)

    async def _detail(self, provider: str, model: Model) -> ModelDetail | None:
        """What `show` gives; without it proposals are made by the size alone."""
        known = self._host.watching.details.value.get((provider, model.key))
        if known is not None and not isinstance(known, Failure):
            return known
        try:
            return await self._host.provider(provider).show(model.key)
        except PaddockError:
            return None

    def _listed(self, provider: str, model: str) -> Model:
        for one in self._host.watching.models.value:
            if one.provider == provider and (one.key == model or same(one.key, model)):
                return one
        raise PaddockError.of(f"{model} is not installed any more", provider, "Refresh with r", FailureKind.NOT_FOUND)

    async def _optimise(self, provider: str, model: str, keys: tuple[str, ...]) -> None:
        from tui.core.tuning import OptimiseState, Proposal
        from tui.services.library.tuning_words import outcome
        from tui.services.library.tuning_work import optimise

        self._allow(provider, f"Optimising {model}", Capability.LOAD)
        shown = self.proposals.value.get((provider, model))
        listed, proposal = self._listed(provider, model), await self._proposal(provider, model)
        agreed = shown if isinstance(shown, Proposal) else proposal  # memory moves: what was agreed to is what was seen
        changes = [change for change in agreed.changes if change.key in keys]

        async def work(tools: Tools) -> None:
            row = await optimise(tools, listed, proposal, changes)
            severity = Severity.INFO if row.state == OptimiseState.KEPT else Severity.WARNING
            self._host.say(outcome(row), severity)

        await self._measure("optimise", provider, listed, work)
        await self._propose(provider, model)

    async def _benchmark(self, provider: str, models: tuple[str, ...]) -> None:
        from tui.services.library.tuning_words import ordered
        from tui.services.library.tuning_work import benchmark

        self._allow(provider, "Measuring levels", Capability.LOAD)
        if len(models) < 2:
            raise PaddockError.of("Mark two levels or more to compare", provider, "Mark them with space", FailureKind.BAD_REQUEST)
        base, *levels = ordered([self._listed(provider, model) for model in models])

        async def work(tools: Tools) -> None:
            found = await benchmark(tools, base, levels, lambda _figures: self._read())
            bad = sum(1 for one in found if one.problem)
            self._host.say(f"{len(found) - bad} levels of {base.name} are measured" + (f"; {bad} could not be" if bad else ""))

        await self._measure("levels", provider, base, work)

    def _allow(self, provider: str, what: str, capability: Capability) -> None:
        if reason := self._host.watching.can(provider, capability):
            raise PaddockError.of(
                f"{what} is refused: {reason}", provider, "Choose another provider, or change the setting", FailureKind.REFUSED
            )

    async def _measure(self, kind: str, provider: str, model: Model, work: _Work) -> None:
        """Do one measurement, shown as a wait that esc ends; `run` tells how it goes."""
        from tui.core.tuning import TuneRun
        from tui.services.library.tuning_work import Tools

        host, now = self._host, self.run.value
        if now is not None:
            what = f"{now.model} on {now.provider} is being measured; two measurements would disturb each other"
            raise PaddockError.of(what, now.provider, "Wait for it, or stop it", FailureKind.BUSY)

        async def may_load(one: Model) -> Failure | None:
            return await host.may_load(provider, one.key)

        def told(step: str) -> None:
            run = self.run.value
            if run is not None:
                self.run.set(replace(run, step=step))

        table = self._table if self._writes else None
        tools = Tools(host.provider(provider), host.config, table, host.audit, host.clock, may_load, told)
        self.run.set(TuneRun(kind, provider, model.key, "beginning", host.clock.monotonic()))
        task = self._task = asyncio.ensure_future(work(tools))
        words = "optimising" if kind == "optimise" else "measuring levels of"

        async def wait() -> None:
            await task

        try:
            await host.activity(f"{words} {model.name}", provider, wait)
        except PaddockError as error:
            failure = replace(error.failure, what=f"{error.failure.what}; nothing was changed")
            raise PaddockError(failure) from error
        finally:
            self._task = None
            self.run.set(None)
            self._read()
            host.watching.refresh(provider)

    async def _quantize(self, provider: str, model: str, wanted: tuple[tuple[str, str], ...]) -> None:
        from tui.core.jobs import JobKind
        from tui.services.library.tuning_words import quantizable

        host, listed = self._host, self._listed(provider, model)
        self._allow(provider, f"Quantizing {listed.name}", Capability.CREATE)
        if host.settings().security.access != "full":
            where = f"security.access = {host.settings().security.access}"
            raise PaddockError.of("Making a model is refused", where, "Change security.access", FailureKind.REFUSED)
        state = host.watching.state(provider)
        assert state is not None  # _allow knows it
        taken = [one for one in host.watching.models.value if one.provider == provider]
        jobs = []
        for level, name in quantizable(listed, wanted, taken):
            with host.audit.noting("queue quantize", f"{provider}/{name}", asked_by="library"):
                arguments = {"from": listed.key, "quantize": level}
                jobs.append(await host.queue().add(name, state.endpoint, JobKind.QUANTIZE, arguments, "library"))
        host.say(f"{' and '.join(normal(job.model) for job in jobs)}: queued on {provider}; 4 Pulls shows how far")
