"""The update radar: what the registries have that is newer; looked at as often as `models.update_check` says, never more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from tui.core.capabilities import Capability
from tui.core.errors import FailureKind, PaddockError
from tui.core.library import UpdateState, UpdateStatus
from tui.core.models import Model, ModelKey, ProviderStatus
from tui.core.observe import Observable
from tui.services.asks import OFFLINE
from tui.services.library.events import Events
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part
from tui.services.library.updates_past import Past

if TYPE_CHECKING:
    from tui.providers.base import Provider
    from tui.services.locks import Lock
    from tui.store.db import Database
    from tui.store.update_states import UpdateStates

LOCK: Final = "updates.lock"
SETTLE: float = 5.0
"""Seconds after the lists came before the first look: nobody's start is slowed down."""
TICK: float = 60.0
"""Seconds between two looks whether a look is due."""
PERIODS: Final = {"daily": 86_400.0, "weekly": 7 * 86_400.0}
AGAIN: Final = 3_600.0
"""Seconds until a tag that could not be asked about is asked about again."""
_BATCH: Final = 20
_LOG: Final = logging.getLogger("paddock.updates")


class Updates(Part):
    """Looks for newer versions, and has them pulled."""

    def __init__(self, host: LibraryHost, events: Events) -> None:
        super().__init__(host)
        self._events = events
        self.states: Observable[Mapping[ModelKey, UpdateState]] = Observable({})
        self.progress: Observable[tuple[int, int] | None] = Observable(None)
        """Tags looked at, of how many; None while nothing is looked at."""
        self._table: UpdateStates | None = None
        self._work: asyncio.Task[None] | None = None
        self._started: set[ModelKey] = set()
        self._closed = False

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self, database: Database) -> None:
        """See `Part`."""
        from tui.store.update_states import UpdateStates

        self._table = UpdateStates(database)
        await self._read()
        self._host.engine.keep_going(self._watch, "updates")

    async def changed(self, topics: frozenset[str]) -> None:
        """Another window looked."""
        if "updates" in topics:
            await self._read()

    async def models_moved(self) -> None:
        """What is gone needs no state."""
        if self._table is not None and not self._closed:
            there = self._settled()
            names = {state.name for state in self._host.watching.providers.value if state.status is ProviderStatus.UP}
            await self._table.keep_only([(model.provider, model.key) for model in there], names & {model.provider for model in there})

    async def aclose(self) -> None:
        """See `Part`."""
        self._closed = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _read(self) -> None:
        if self._table is not None:
            self.states.set(self._table.all())

    def _settled(self) -> tuple[Model, ...]:
        return self._host.watching.models.value

    async def _watch(self) -> None:
        """Look when it is due, until cancelled."""
        await asyncio.sleep(SETTLE)
        while True:
            due = self._due()
            if due and self._work is None and not self._closed:
                await self._begin(due, asked=False)
            await asyncio.sleep(TICK)

    def _due(self) -> list[Model]:
        settings, now = self._host.settings(), self._host.clock.time()
        if settings.models.update_check == "never" or settings.general.network != "normal" or settings.security.access == "look":
            return []
        period = PERIODS.get(settings.models.update_check)
        found = []
        for model in self._able():
            key = (model.provider, model.key)
            known = self.states.value.get(key)
            if known is not None and known.digest == model.digest:
                age = now - known.checked_at
                wait = AGAIN if known.status is UpdateStatus.UNKNOWN else period
                if (key in self._started) if wait is None else (0 <= age < wait):
                    continue
            elif key in self._started and period is None:
                continue
            found.append(model)
        return found

    def _able(self) -> list[Model]:
        """What can be looked at: installed on a server that pulls."""
        registry = self._host.watching
        good = {state.name for state in registry.providers.value if state.status in (ProviderStatus.UP, ProviderStatus.FOUND)}
        able = {name for name in good if Capability.PULL in (registry.state(name) or _NOBODY).capabilities}
        return [model for model in registry.models.value if model.provider in able and not model.remote]

    # --- verbs --------------------------------------------------------------------------------------------------------

    def check(self, keys: Iterable[ModelKey] = ()) -> None:
        """Look now, at these models or at all; a person asked for it, so a metered network does not forbid it."""
        self._host.post(self._check, frozenset(keys))

    async def _check(self, keys: frozenset[ModelKey]) -> None:
        if self._host.settings().general.network == "offline" and not self._host.demo:
            raise PaddockError.of(f"Not looked for updates: {OFFLINE}", "general.network", "Change general.network", FailureKind.REFUSED)
        models = [model for model in self._able() if not keys or (model.provider, model.key) in keys]
        if self._work is not None:
            self._host.say("Updates are being looked for already.")
        elif not models:
            self._host.say("None of these models comes from a registry that can be asked.")
        else:
            await self._begin(models, asked=True)

    async def _begin(self, models: Sequence[Model], *, asked: bool) -> None:
        from tui.services.locks import take

        lock = take(self._host.paths.locks / LOCK)
        if lock is None:
            if asked:
                self._host.say("Another Paddock looks for updates already; its answers are shown here.")
            return
        self._work = asyncio.create_task(self._look(models, lock, asked=asked), name="updates")

    async def _look(self, models: Sequence[Model], lock: Lock, *, asked: bool) -> None:
        try:
            found = await self._ask(models, asked=asked)
            if asked:
                self._host.say(summary(found))
        except asyncio.CancelledError:
            raise
        except Exception:
            _LOG.exception("looking for updates")
            self._host.say("Looking for updates failed; the log has the details.")
        finally:
            lock.release()
            self.progress.set(None)
            self._work = None

    async def _ask(self, models: Sequence[Model], *, asked: bool) -> list[UpdateState]:
        from tui.services.library.updates_look import Radar

        pairs: list[tuple[Provider, Model]] = []
        for model in models:
            try:
                pairs.append((self._host.provider(model.provider), model))
            except PaddockError:
                continue  # it went meanwhile
        radar = Radar(self._host.planner(), self._host.clock, self._past, demo=self._host.demo)
        batch: dict[ModelKey, UpdateState] = {}
        found: list[UpdateState] = []
        self.progress.set((0, len(pairs)))
        async with aclosing(radar.look(pairs)) as looked:
            async for _provider, model, state in looked:
                key = (model.provider, model.key)
                self._started.add(key)
                batch[key] = state
                found.append(state)
                if len(batch) >= _BATCH:
                    await self._put(batch)
                    batch = {}
                self.progress.set((len(found), len(pairs)))
                network = self._host.settings().general.network
                if (network == "offline" and not self._host.demo) or (network == "metered" and not asked):
                    break  # it became so meanwhile
        if batch:
            await self._put(batch)
        return found

    async def _past(self, model: Model) -> Past:
        return Past(self.states.value.get((model.provider, model.key)), await self._events.of(model.provider, model.key))

    async def _put(self, found: Mapping[ModelKey, UpdateState]) -> None:
        self.states.set({**self.states.value, **found})
        if self._table is not None:
            await self._table.put(found)


class _Nobody:
    capabilities: frozenset[Capability] = frozenset()


_NOBODY: Final = _Nobody()


def summary(found: Sequence[UpdateState]) -> str:
    """What a look that a person asked for has found, in a sentence."""
    counts = {status: sum(1 for state in found if state.status is status) for status in UpdateStatus}
    newer = counts[UpdateStatus.WEIGHTS] + counts[UpdateStatus.METADATA]
    parts = [f"{newer} of {len(found)} {'has' if newer == 1 else 'have'} something newer"] if newer else [f"nothing newer for {len(found)}"]
    if counts[UpdateStatus.GONE]:
        parts.append(f"{counts[UpdateStatus.GONE]} not in a registry")
    if counts[UpdateStatus.UNKNOWN]:
        why = next((state.failure.what for state in found if state.failure is not None), "the registry could not be asked")
        parts.append(f"{counts[UpdateStatus.UNKNOWN]} not known: {why}")
    return f"Updates: {', '.join(parts)}."
