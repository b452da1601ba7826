"""What happened to the models here: noted by whoever did it, read for the model under the cursor."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tui.core.errors import PaddockError
from tui.core.library import EventKind, ModelEvent
from tui.core.models import ModelKey
from tui.core.names import normal
from tui.core.observe import Observable
from tui.core.threads import in_daemon_thread
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part
from tui.text import clean_name, duration, size

if TYPE_CHECKING:
    from tui.core.jobs import PastJob
    from tui.store.db import Database
    from tui.store.history import History
    from tui.store.model_events import ModelEvents

REMEMBERED: Final = 50
"""Models whose history is held; those looked at longest ago go."""
_LOG: Final = logging.getLogger("paddock.library")
_TOPICS: Final = frozenset({"jobs", "model events"})


class Events(Part):
    """The history of models: jobs of the queue that are done, and what was noted."""

    def __init__(self, host: LibraryHost) -> None:
        super().__init__(host)
        self.history: Observable[Mapping[ModelKey, tuple[ModelEvent, ...]]] = Observable({})
        """Newest first, of the models that were asked about."""
        self._table: ModelEvents | None = None
        self._jobs: History | None = None

    async def open(self, database: Database) -> None:
        """See `Part`."""
        from tui.store.history import History
        from tui.store.model_events import ModelEvents

        self._table, self._jobs = ModelEvents(database, self._host.clock), History(database)

    async def changed(self, topics: frozenset[str]) -> None:
        """A job ended or something was noted: those that are shown are read again, when they are asked for next."""
        if topics & _TOPICS and self.history.value:
            for key in tuple(self.history.value)[-1:]:
                await self._read(*key)

    def look(self, provider: str, model: str) -> None:
        """Read the history of a model; it comes in `history`."""
        self._host.post(self._read, provider, model)

    async def note(self, provider: str, model: str, kind: EventKind, text: str = "", digest: str = "") -> None:
        """Write down what was done to a model; where the database is not there or takes nothing, nothing is kept: the deed is done."""
        if self._table is not None:
            try:
                await self._table.add(provider, model, kind, text, digest)
            except PaddockError as error:
                _LOG.warning("not noted: %s of a model, %s", kind.value, error.failure.what)
                return
            if (provider, model) in self.history.value:
                await self._read(provider, model)

    async def of(self, provider: str, model: str) -> tuple[ModelEvent, ...]:
        """The history of a model, newest first."""
        table, jobs = self._table, self._jobs
        if table is None or jobs is None:
            return ()
        state = self._host.watching.state(provider)
        url = state.endpoint.url if state is not None else ""
        return await in_daemon_thread(lambda: history_of(jobs, table, provider, url, model))

    async def _read(self, provider: str, model: str) -> None:
        if self._table is None:
            return
        found = await self.of(provider, model)
        kept = {key: events for key, events in self.history.value.items() if key != (provider, model)}
        self.history.set(dict([*kept.items(), ((provider, model), found)][-REMEMBERED:]))


def history_of(jobs: History, table: ModelEvents, provider: str, url: str, model: str) -> tuple[ModelEvent, ...]:
    """What jobs at an address did to a model and what was noted of it, newest first; reads the database."""
    name = normal(model)
    found = (*table.of(provider, model), *from_jobs(jobs.of(name, provider, url), provider, name))
    return tuple(sorted(found, key=lambda event: -event.at))


def from_jobs(past: Sequence[PastJob], provider: str, model: str) -> list[ModelEvent]:
    """What jobs of the queue did to a model, newest first: the oldest pull brought it, later ones updated it."""
    kinds = {"create": EventKind.CREATED, "quantize": EventKind.CREATED, "upload": EventKind.IMPORTED}
    pulls = [job for job in past if job.kind == "pull"]
    out = []
    for job in past:
        kind = kinds.get(job.kind)
        if job.kind == "pull":
            kind = EventKind.PULLED if job is pulls[-1] else EventKind.UPDATED
        if kind is not None:
            out.append(ModelEvent(provider, model, kind, job.ended_at, _told(job), job.digest))
    return out


def _told(job: PastJob) -> str:
    """From where, how much, how long, who asked."""
    parts = []
    if job.kind == "pull":
        host = job.model.split("/")[0] if job.model.count("/") == 2 else "registry.ollama.ai"
        parts.append(f"from {clean_name(host, 60)}")
    if job.fetched:
        parts.append(f"{size(job.fetched)} in {duration(job.busy)}" if job.busy >= 1 else size(job.fetched))
    if job.asked_by:
        parts.append(f"asked for from the {clean_name(job.asked_by.split(',')[0], 40)}")
    return ", ".join(parts)
