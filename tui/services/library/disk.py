"""What lies on a server's disk: models with what they share, the trash, unfinished pulls, blobs no model uses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tui.core.capabilities import Capability
from tui.core.disk import CheckView, DiskKind, DiskUse, ModelCheck, Verdict
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.kept import kept_of, kept_words
from tui.core.library import DiskShare, EventKind, ModelOrigin
from tui.core.models import Location, ModelDetail, ModelKey, Origin, ProviderState, ProviderStatus, Severity
from tui.core.observe import Observable
from tui.core.threads import in_daemon_thread
from tui.services.library.events import Events
from tui.services.library.host import LibraryHost
from tui.services.library.keeping import Keeping
from tui.services.library.part import Part
from tui.services.library.updates import Updates

if TYPE_CHECKING:
    from tui.core.models import Model
    from tui.services.library.disk_clean import Cleaned
    from tui.services.library.disk_read import DiskReader, Look
    from tui.services.library.disk_use import Parts
    from tui.services.library.disk_verify import Reading, Task
    from tui.services.library.keeping_words import Known
    from tui.store.blob_checks import BlobCheck, BlobChecks
    from tui.store.db import Database

SETTLE: float = 0.3
"""Seconds after something moved before the folders are read: several moves are one."""
BETWEEN: float = 2.0
"""Seconds between two readings."""
DRAWN_EVERY: float = 0.25
"""Seconds between two states of a check."""
MOST_ASKED: Final = 300
"""Models whose weights a server is asked about, where its folder cannot be read."""
_LOG: Final = logging.getLogger("paddock.disk")


class Disk(Part):
    """Disk use, verification and origin of models. Nothing is read before somebody looks (`want`)."""

    def __init__(self, host: LibraryHost, events: Events, updates: Updates, keeping: Keeping) -> None:
        super().__init__(host)
        self.shares: Observable[Mapping[ModelKey, DiskShare]] = Observable({})
        self.origins: Observable[Mapping[ModelKey, ModelOrigin]] = Observable({})
        self.uses: Observable[Mapping[str, DiskUse]] = Observable({})
        """By provider name."""
        self.checks: Observable[CheckView] = Observable(CheckView())
        self._events, self._updates, self._keeping = events, updates, keeping
        keeping.weigher = self._weigher
        self._table: BlobChecks | None = None
        self._reader: DiskReader | None = None
        self._parts: Mapping[str, Parts] = {}
        self._looks: dict[str, Look] = {}
        self._weights: dict[tuple[str, str], str] = {}
        self._made_of: dict[ModelKey, tuple[tuple[Any, ...], ModelOrigin]] = {}
        self._wanted = False
        self._asks_weights = False
        self._stale = False
        self._work: asyncio.Task[None] | None = None
        self._jobs: tuple[Any, ...] = ()
        self._to_check: list[ModelKey] = []
        self._checking: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self, database: Database) -> None:
        """See `Part`."""
        from tui.store.blob_checks import BlobChecks

        self._table = BlobChecks(database)

    async def models_moved(self) -> None:
        """See `Part`."""
        if self._wanted:
            self._place_origins()
            self._soon()

    async def aclose(self) -> None:
        """See `Part`."""
        waiting = [task for task in (self._work, self._checking) if task is not None]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def attend(self, *, whole: bool = False) -> None:
        """Somebody looks: read the folders, and again whenever something moves. `whole`: at all of the disk."""
        self._host.post(self._want, whole)

    async def _want(self, whole: bool) -> None:
        self._asks_weights = self._asks_weights or whole
        if not self._wanted:
            self._wanted = True
            for moved in (self._updates.states, self._events.history):
                moved.watch(lambda _value: self._place_origins())
            self._keeping.kept.watch(lambda _value: self._soon())
            self._host.jobs.view.watch(lambda _view: self._jobs_moved())
            self._jobs_moved()
            self._place_origins()
        self._soon()

    def refresh(self) -> None:
        """Read the folders anew."""
        self.attend()

    def _jobs_moved(self) -> None:
        signature = tuple((job.id, job.state, job.wish) for job in self._host.jobs.view.value.jobs)
        if signature != self._jobs:
            self._jobs = signature
            self._soon()

    # --- reading ------------------------------------------------------------------------------------------------------

    def _soon(self) -> None:
        self._stale = True
        if self._work is None or self._work.done():
            self._work = asyncio.ensure_future(self._keep_reading())

    async def _keep_reading(self) -> None:
        while self._stale:
            await asyncio.sleep(SETTLE)
            self._stale = False
            try:
                await self._read_all()
            except Exception:
                _LOG.exception("reading the models folders")
            await asyncio.sleep(BETWEEN)

    async def _read_all(self) -> None:
        states = [state for state in self._host.watching.providers.value if state.status in (ProviderStatus.UP, ProviderStatus.FOUND)]
        listed = self._listed()
        there = [state for state in states if listed.get(state.name)]
        uses: dict[str, DiskUse] = {}
        parts: dict[str, Parts] = {}
        shares: dict[ModelKey, DiskShare] = {}
        results = dict(self.checks.value.results)
        for state in there:
            models = listed[state.name]
            found = await self._read(state, models)
            uses[state.name], parts[state.name] = found[0], found[1]
            shares |= {(state.name, name): share for name, share in found[2].items()}
            for check in found[3]:
                before = results.get((check.provider, check.model))
                if before is None or before.at < check.at:
                    results[check.provider, check.model] = check
        gone = results.keys() - {(model.provider, model.key) for models in listed.values() for model in models}
        self._looks = {name: look for name, look in self._looks.items() if name in uses}
        self._parts = parts
        self.uses.set(uses)
        self.shares.set(shares)
        self.checks.set(replace(self.checks.value, results={key: check for key, check in results.items() if key not in gone}))
        if self._asks_weights:
            await self._ask_weights(there, listed)

    def _listed(self) -> dict[str, list[Model]]:
        """Models by provider, kept ones too."""
        found: dict[str, list[Model]] = {}
        for model in (*self._host.watching.models.value, *self._host.watching.kept.value):
            found.setdefault(model.provider, []).append(model)
        return found

    async def _read(
        self, state: ProviderState, models: Sequence[Model]
    ) -> tuple[DiskUse, Parts, Mapping[str, DiskShare], Sequence[ModelCheck]]:
        from tui.services.library import disk_use, disk_verify
        from tui.services.library.disk_read import use_of

        weights = self._weights_of(models)
        jobs, now = self._host.jobs.view.value.jobs, self._host.clock.time()
        empties = {kept.key: kept.goes_at for kept in self._keeping.kept.value if kept.provider == state.name}
        table = self._table

        def work() -> tuple[Look, DiskUse, Parts, Mapping[str, DiskShare], list[ModelCheck], list[str]]:
            look = self._look(state, models)
            use, parts = use_of(state.name, models, look, weights, jobs, empties, version=state.version, now=now)
            checked: list[ModelCheck] = []
            lost: list[str] = []
            if look.folder is not None and table is not None and (known := table.of(str(look.folder.path))):
                lost = disk_verify.lost(look.folder, known)
                names = {disk_use.plain(model.key): model.key for model in models}
                for found in look.folder.models:
                    key = names.get(disk_use.plain(found.name))
                    made = disk_verify.earlier(state.name, found, key, look.folder, known) if key is not None else None
                    checked += [made] if made is not None else []
            return look, use, parts, disk_use.shares(models, parts), checked, lost

        look, use, parts, shares, checked, lost = await in_daemon_thread(work)
        self._looks[state.name] = look
        if lost and table is not None and look.folder is not None:
            with contextlib.suppress(PaddockError):
                await table.forget(str(look.folder.path), lost)
        return use, parts, shares, checked

    def _look(self, state: ProviderState, models: Sequence[Model]) -> Look:
        """Blocks."""
        from tui.services.library.disk_demo import simulated
        from tui.services.library.disk_read import DiskReader

        if state.origin is Origin.DEMO:
            return simulated(self._host.paths.data.parent, state.name)
        if self._reader is None:
            self._reader = DiskReader(self._host.environ)
        return self._reader.look(state.endpoint, self._host.settings(), models, here=state.location is Location.HERE)

    def _weights_of(self, models: Sequence[Model]) -> dict[str, str]:
        """Digests of weights that are known: from details, and from what was asked."""
        details, found = self._host.watching.details.value, {}
        for model in models:
            detail = details.get((model.provider, model.key))
            said = detail.weights_digest if isinstance(detail, ModelDetail) else self._weights.get((model.provider, model.digest), "")
            if said:
                found[model.key] = said
        return found

    async def _ask_weights(self, states: Sequence[ProviderState], listed: Mapping[str, Sequence[Model]]) -> None:
        """Where no folder can be read, ask the server for the weights of its models, one after another; once for each digest."""
        asked = 0
        for state in states:
            if self._looks[state.name].folder is not None or self._host.watching.can(state.name, Capability.SHOW):
                continue
            known = self._weights_of(listed[state.name])
            for model in listed[state.name]:
                key = (state.name, model.digest)
                if model.remote or not model.digest or model.key in known or key in self._weights or asked >= MOST_ASKED:
                    continue
                asked += 1
                try:
                    self._weights[key] = (await self._host.provider(state.name).show(model.key)).weights_digest
                except PaddockError:
                    self._weights[key] = ""
        self._stale = self._stale or bool(asked)

    def freed(self, keys: Iterable[ModelKey]) -> tuple[int, bool] | None:
        """Bytes that deleting all of these for good frees, and whether that is exact; None where it is not known. From any thread."""
        return self._weigher()(keys)

    def _weigher(self) -> Known:
        parts = self._parts
        return lambda keys: _freed(parts, keys)

    def _place_origins(self) -> None:
        """Of what is new to say only: an event of one model must not cost a look at ten thousand."""
        from tui.services.library.disk_origin import origin_of

        history, states = self._events.history.value, self._updates.states.value
        made: dict[ModelKey, tuple[tuple[Any, ...], ModelOrigin]] = {}
        for model in self._host.watching.models.value:
            key = (model.provider, model.key)
            of = (model.digest, model.remote, history.get(key, ()), states.get(key))
            before = self._made_of.get(key)
            same = before is not None and all(one is other or one == other for one, other in zip(before[0], of, strict=True))
            made[key] = before if same and before is not None else (of, origin_of(model, of[2], of[3]))
        self._made_of = made
        self.origins.set({key: found for key, (_of, found) in made.items()})

    # --- checking -----------------------------------------------------------------------------------------------------

    def verify(self, keys: Sequence[ModelKey]) -> None:
        """Check the blobs of models, one model after another; `checks` tells how it goes, and esc ends it."""
        self._host.post(self._verify, tuple(keys))

    async def _verify(self, keys: Sequence[ModelKey]) -> None:
        now = self.checks.value
        self._to_check += [key for key in keys if key not in self._to_check and key != (now.provider, now.model)]
        if self._checking is None or self._checking.done():
            self._checking = asyncio.ensure_future(self._check_all())
            try:
                await self._checking
            finally:
                self._to_check.clear()
                self._show(CheckView())

    def _show(self, view: CheckView) -> None:
        self.checks.set(replace(view, results=self.checks.value.results))

    async def _check_all(self) -> None:
        from tui.services.library import disk_verify

        reading, since, made = disk_verify.Reading(), self._host.clock.monotonic(), list[ModelCheck]()
        left: dict[ModelKey, Task] = {}

        async def work() -> None:
            passed = 0
            while self._to_check:
                left.update({key: await self._task(key) for key in self._to_check if key not in left})
                key = self._to_check.pop(0)
                sizes = {other: disk_verify.bytes_of(task) for other, task in left.items()}
                view = CheckView(*key, reading.done, passed + sum(sizes.values()), len(self._to_check), since)
                made.append(await self._check_one(left.pop(key), reading, view))
                passed += sizes[key]
                reading.done = passed

        count = len(self._to_check)
        provider, name = self._to_check[0]
        await self._host.activity(f"checking {name if count == 1 else f'{count} models'}", provider, work)
        good = sum(1 for check in made if check.verdict in (Verdict.GOOD, Verdict.THERE))
        if made and good == len(made):
            only = made[0]
            self._host.say(f"{kept_words(only.model)}: {only.text}" if good == 1 else f"{good} models checked: nothing is damaged")

    async def _task(self, key: ModelKey) -> Task:
        from tui.services.library.disk_verify import Task

        provider, name = key
        state = self._host.watching.state(provider)
        connection = self._host.provider(provider)
        if state is None:
            return Task(connection, name, None)
        models = self._listed().get(provider, [])
        look = await in_daemon_thread(lambda: self._look(state, models))
        return Task(connection, name, look.folder if not look.simulated else None)

    async def _check_one(self, task: Task, reading: Reading, view: CheckView) -> ModelCheck:
        from tui.services.library import disk_verify

        table = self._table
        known: Mapping[str, BlobCheck] = {}
        if table is not None and task.folder is not None:
            path = str(task.folder.path)
            known = await in_daemon_thread(lambda: table.of(path))

        async def put(folder: str, digest: str, check: BlobCheck) -> None:
            with contextlib.suppress(PaddockError):
                if table is not None:
                    await table.put(folder, digest, check)

        work = asyncio.ensure_future(disk_verify.check(task, known, reading, self._host.clock, put))
        try:
            while not work.done():
                self._show(replace(view, done=reading.done))
                await asyncio.wait({work}, timeout=DRAWN_EVERY)
            result = work.result()
        finally:
            work.cancel()
        self.checks.set(replace(self.checks.value, results={**self.checks.value.results, (view.provider, view.model): result}))
        await self._tell(result)
        return result

    async def _tell(self, check: ModelCheck) -> None:
        name = kept_words(check.model)
        if check.verdict in (Verdict.DAMAGED, Verdict.MISSING):
            failure = Failure(f"{name} is {check.verdict}: {check.text}", check.provider, check.remedy, FailureKind.DISK)
            self._host.say(failure.sentence(), Severity.ERROR, failure)
            await self._note(check, EventKind.DAMAGED)
        elif check.verdict is Verdict.GOOD:
            await self._note(check, EventKind.VERIFIED)
        elif check.verdict is Verdict.UNKNOWN:
            failure = Failure(f"{name} could not be checked: {check.text}", check.provider, check.remedy)
            self._host.say(failure.sentence(), Severity.WARNING, failure)

    async def _note(self, check: ModelCheck, kind: EventKind) -> None:
        """A full disk keeps nobody from checking."""
        if kept_of(check.model) is None:
            with contextlib.suppress(PaddockError):
                await self._events.note(check.provider, check.model, kind, check.text)

    # --- cleaning -----------------------------------------------------------------------------------------------------

    def can_clean(self, provider: str) -> str:
        """Why files of a server's folder cannot be deleted by us, in words that end a sentence; empty where they can."""
        reason = self._host.watching.can(provider, Capability.DELETE)
        use = self.uses.value.get(provider)
        return reason or cannot(use)

    def clean(self, provider: str, keys: Sequence[str]) -> None:
        """Delete unfinished downloads and unused blobs of a server's folder, by their digests; asked before."""
        self._host.post(self._clean, provider, tuple(keys))

    async def _clean(self, provider: str, keys: Sequence[str]) -> None:
        from tui.services.library.disk_clean import clean

        reason = self.can_clean(provider)
        look = self._looks.get(provider)
        if reason or look is None or look.folder is None:
            what = f"Nothing was deleted: {reason or 'its folder is not known'}"
            raise PaddockError.of(what, provider, "Set models_folder of the provider, or delete where the server runs", FailureKind.REFUSED)
        path, jobs = look.folder.path, self._host.jobs.view.value.jobs
        now, listed = self._host.clock.time(), self._listed().get(provider, [])
        done: list[Cleaned] = []

        async def work() -> None:
            with self._host.audit.noting("clean", f"{provider}: {len(keys)} files"):
                await clean(path, keys, provider, jobs, listed, now, done.append)

        await self._host.activity(f"cleaning {provider}", provider, work)
        self._soon()
        if done:
            self._say_cleaned(provider, done[0], len(set(keys)))

    def _say_cleaned(self, provider: str, cleaned: Cleaned, count: int) -> None:
        from tui.services.library.disk_words import cleaned_words

        text = cleaned_words(len(cleaned.gone), count, cleaned.freed, binary=self._host.settings().appearance.units == "binary")
        if not cleaned.left:
            self._host.say(text)
            return
        key, why = cleaned.left[0]
        more = f", and {len(cleaned.left) - 1} more" if len(cleaned.left) > 1 else ""
        failure = Failure(
            f"{text}; {key.removeprefix('sha256:')[:12]} was not: {why}{more}", provider, "See the Disk view", FailureKind.DISK
        )
        self._host.say(failure.what, Severity.WARNING, failure)


def _freed(parts: Mapping[str, Parts], keys: Iterable[ModelKey]) -> tuple[int, bool] | None:
    by_provider: dict[str, set[str]] = {}
    for provider, name in keys:
        by_provider.setdefault(provider, set()).add(name)
    total, exact = 0, True
    for provider, names in by_provider.items():
        known = parts.get(provider)
        if known is None or not names <= known.of.keys():
            return None
        total, exact = total + known.freed(names), exact and known.exact
    return (total, exact) if by_provider else None


def cannot(use: DiskUse | None) -> str:
    """Why files of a folder cannot be deleted by us; ends a sentence."""
    if use is None:
        return "its disk is not known yet"
    if use.simulated:
        return "the demo's files are simulated"
    if not use.exact:
        return use.failure.what[:1].lower() + use.failure.what[1:] if use.failure is not None else "its folder is not known"
    if not use.writable:
        return f"our account may not change {use.folder}"
    return ""


CLEANABLE: Final = (DiskKind.PARTIALS, DiskKind.UNUSED)
"""What `Disk.clean` deletes; models and what is kept of them go by the server."""
