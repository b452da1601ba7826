"""What fits on this machine: learned from loads, with how servers run models and how fast this machine reads memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tui.core.errors import PaddockError
from tui.core.fit import NOTHING, Era, Lessons, Load, Pace, Served, load_of, pace_of, subject_of
from tui.core.models import Location, ModelDetail, Origin
from tui.core.names import same
from tui.core.observe import Observable
from tui.services.library.fits_words import ran_of, served_for
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part

if TYPE_CHECKING:
    from tui.core.models import Model, ModelKey, RunningModel
    from tui.store.db import Database
    from tui.store.load_memory import LoadMemory

TOPIC: Final = "load memory"
_LOG: Final = logging.getLogger("paddock.library")
Mark = tuple[str, str, int | None, int | None, int | None]


class FitTables(Part):
    """Estimates that learn.

    Attributes:
        lessons: What loads taught.
        seen: How servers on this machine run models, by provider, as their processes tell.
        pace: How fast this machine reads memory.
    """

    def __init__(self, host: LibraryHost) -> None:
        super().__init__(host)
        self.lessons: Observable[Lessons] = Observable(NOTHING)
        self.seen: Observable[Mapping[str, Served]] = Observable({})
        self.pace: Observable[Pace] = Observable(Pace())
        self._table: LoadMemory | None = None
        self._noted: set[Mark] = set()
        self._asked: set[ModelKey] = set()
        self._looked: dict[str, frozenset[str]] = {}
        self._cards: tuple[str, ...] = ()
        self._due = False

    async def open(self, database: Database) -> None:
        """See `Part`."""
        from tui.store.load_memory import LoadMemory

        self._table = LoadMemory(database)
        await self._read()
        watching, monitor = self._host.watching, self._host.monitor
        watching.running.watch(lambda _running: self._look_soon())
        watching.details.watch(lambda _details: self._look_soon() if watching.running.value else None)
        monitor.profiles.watch(lambda _profiles: self._set_pace())
        monitor.latest.watch(lambda view: self._cards_moved(tuple(gpu.name for gpu in view.sample.gpus)) if view.sample else None)
        self._set_pace()
        self._look_soon()

    async def changed(self, topics: frozenset[str]) -> None:
        """See `Part`."""
        if TOPIC in topics:
            await self._read()

    def served_of(self, provider: str) -> Served:
        """How a provider runs models, as far as settings, its process and its version tell."""
        state = self._host.watching.state(provider)
        kind, version = (state.endpoint.kind, state.version) if state is not None else ("ollama", "")
        return served_for(self._host.settings().optimise, kind, version, self.seen.value.get(provider))

    async def _read(self) -> None:
        if self._table is not None:
            self.lessons.set(Lessons(await self._table.all_async()))

    # --- speed --------------------------------------------------------------------------------------------------------

    def _cards_moved(self, names: tuple[str, ...]) -> None:
        if names != self._cards:
            self._cards = names
            self._set_pace()

    def _set_pace(self) -> None:
        watching = self._host.watching
        here = {state.name for state in watching.providers.value if state.location is Location.HERE}
        profiles = {key: one for key, one in self._host.monitor.profiles.value.items() if key[0] in here}
        found = pace_of(self._cards, ran_of(profiles, watching.models.value, watching.details.value) if profiles else ())
        if found != self.pace.value:
            self.pace.set(found)

    # --- loads --------------------------------------------------------------------------------------------------------

    def _look_soon(self) -> None:
        if not self._due:
            self._due = True
            self._host.engine.post(self._look)

    async def _look(self) -> None:
        """Note what is loaded, and how; one pass for several changes."""
        self._due = False
        running = [one for one in self._host.watching.running.value if one.size and one.context and not one.stopping]
        for provider in {one.provider for one in running}:
            await self._look_at(provider, frozenset(one.key for one in running if one.provider == provider))
        for one in running:
            mark = (one.provider, one.key, one.context, one.size, one.vram)
            if mark not in self._noted and await self._note(one):
                self._noted.add(mark)

    async def _note(self, one: RunningModel) -> bool:
        """Keep what a load took; False where that is not known yet."""
        watching = self._host.watching
        model = _listed(watching.models.value, one)
        state = watching.state(one.provider)
        if model is None or state is None:
            return False
        if model.remote or not one.size or not one.context or one.vram is None or one.size == model.size:
            return True  # of the size of its file: the server could not tell (reference, section 5.1)
        key = (model.provider, model.key)
        detail = watching.details.value.get(key)
        if detail is None:
            if key not in self._asked:
                self._asked.add(key)
                self._host.actions.show(*key)
            return False
        served = self.served_of(one.provider)
        subject = subject_of(model, detail if isinstance(detail, ModelDetail) else None)
        if subject is None or served.era is Era.A:
            return True  # it tells what it expected, not what it took
        if one.slots:
            served = replace(served, slots=one.slots)
        load = load_of(subject, one.context, served, size=one.size, vram=one.vram, version=state.version, at=self._host.clock.time())
        if self._table is not None and not any(_alike(load, known) for known in self.lessons.value.of(subject)):
            try:
                await self._table.put(load)
            except PaddockError as error:
                _LOG.warning("a load was not noted: %s", error.failure.what)
                return True  # the next one may be
            await self._read()
        return True

    # --- how servers run models ---------------------------------------------------------------------------------------

    async def _look_at(self, provider: str, models: frozenset[str]) -> None:
        """Read the command lines of a server on this machine, whenever it has loaded something else."""
        state = self._host.watching.state(provider)
        watch = self._host.watching.watch(provider)
        holder = watch.holder if watch is not None else None
        if state is None or holder is None or state.location is not Location.HERE or state.origin is Origin.DEMO:
            return
        if self._looked.get(provider) == models:
            return
        self._looked[provider] = models
        from tui.core.threads import in_daemon_thread
        from tui.services.library.fits_seen import look

        kind, version = state.endpoint.kind, state.version
        found = await in_daemon_thread(lambda: look(holder, kind, version))
        if found is not None and found != self.seen.value.get(provider):
            self.seen.set({**self.seen.value, provider: found})


def _listed(models: Sequence[Model], one: RunningModel) -> Model | None:
    """The installed model that is loaded: by its exact name, else by one that means the same."""
    mine = [listed for listed in models if listed.provider == one.provider]
    exact = next((listed for listed in mine if listed.key == one.key), None)
    return exact or next((listed for listed in mine if same(listed.name, one.name)), None)


def _alike(load: Load, known: Load) -> bool:
    """Whether a load says nothing new: of the same kind, within one percent."""
    kind = (load.context, load.kv_type, load.slots, load.version) == (known.context, known.kv_type, known.slots, known.version)
    return kind and load.vram == known.vram and abs(load.size - known.size) <= 0.01 * known.size
