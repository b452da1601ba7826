"""Deleting and bringing back, renaming, earlier versions: nothing is lost by a key."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tui.core.capabilities import Capability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.kept import KeptKind
from tui.core.library import EventKind, KeptModel
from tui.core.models import ModelKey, ProviderStatus, Severity
from tui.core.observe import Observable
from tui.services.library.events import Events
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part

if TYPE_CHECKING:
    from tui.services.library.keeping_moves import Moved, Mover
    from tui.services.library.keeping_trash import Steady
    from tui.services.library.keeping_words import Known
    from tui.store.db import Database
    from tui.store.model_moves import ModelMoves, Move

UNDOS: Final = 20
"""Steps that can be undone."""
LONGEST: Final = 3600.0
"""Seconds between two looks whether something of the trash is due."""
AGAIN: Final = 600.0
"""The same after a failure."""
_ENDS: Final = frozenset({FailureKind.UNREACHABLE, FailureKind.TIMEOUT, FailureKind.INTERRUPTED, FailureKind.AUTH, FailureKind.REFUSED})
"""What keeps the models after it from being deleted, too."""
_LOG: Final = logging.getLogger("paddock.library")

Undo = Callable[[], Coroutine[Any, Any, Any]]
"""Undoes a step; False where esc ended it."""
Comparison = tuple[str, ...] | Failure


class Keeping(Part):
    """The trash and the versions of all providers.

    Attributes:
        kept: What the servers keep for us, the newest first of each.
        undoable: What `undo` would undo, in words; empty where nothing was done yet.
        comparisons: By provider, exact name and the other exact name: lines of a diff, or why it is not known.
        weigher: Gives what tells of the disk as it is now, for who asks when it is another; set by who reads disks.
    """

    def __init__(self, host: LibraryHost, events: Events) -> None:
        super().__init__(host)
        self.kept: Observable[tuple[KeptModel, ...]] = Observable(())
        self.undoable: Observable[str] = Observable("")
        self.comparisons: Observable[Mapping[tuple[str, str, str], Comparison]] = Observable({})
        self.weigher: Callable[[], Known] = lambda: lambda _keys: None
        self._events = events
        self._moves: ModelMoves | None = None
        self._noted: tuple[Move, ...] = ()
        self._active: set[int] = set()
        self._undos: list[tuple[str, Undo, frozenset[ModelKey]]] = []
        self._back: set[ModelKey] = set()
        self._stir = asyncio.Event()
        self._steady: Steady | None = None
        self._trash = -1.0

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self, database: Database) -> None:
        """See `Part`."""
        from tui.services.library.keeping_trash import Steady
        from tui.store.model_moves import ModelMoves

        self._moves, self._steady = ModelMoves(database, self._host.clock), Steady(self._host.clock)
        self._read()
        self._host.config.current.watch(lambda _settings: self._host.engine.post(self._settings_moved))
        self._host.engine.keep_going(self._tidy, "trash")

    async def changed(self, topics: frozenset[str]) -> None:
        """See `Part`."""
        from tui.store.model_moves import MODEL_MOVES

        if MODEL_MOVES in topics:
            self._read()

    async def models_moved(self) -> None:
        """See `Part`."""
        self._publish()
        await self._settle()
        self._stir.set()

    async def _settings_moved(self) -> None:
        if self._host.settings().models.trash != self._trash:
            self._publish()
            self._stir.set()

    def _read(self) -> None:
        if self._moves is not None:
            self._noted = self._moves.list()
        self._publish()

    def _publish(self) -> None:
        watching, self._trash = self._host.watching, self._host.settings().models.trash
        names = dict.fromkeys(model.provider for model in watching.kept.value)
        found: list[KeptModel] = []
        if names:
            from tui.services.library.keeping_trash import kept_models, own_trash

            for name in names:
                if (watch := watching.watch(name)) is not None:
                    found += kept_models(name, watch.models, own_trash(self._noted, watch.state.endpoint), self._trash)
        self.kept.set(tuple(found))

    async def _settle(self) -> None:
        """Say what an interrupted move left behind, once its server lists its models."""
        moves = self._moves
        if moves is None or all(move.done for move in self._noted):
            return
        from tui.services.library.keeping_trash import interrupted, settle

        watching = self._host.watching
        for state in watching.providers.value:
            watch = watching.watch(state.name)
            if watch is None or watch.state.models is None:
                continue
            left = interrupted(moves.list(), watch.state.endpoint, busy=bool(self._active))
            if left:
                with contextlib.suppress(PaddockError):
                    for text in await settle(left, await watch.provider.models(), moves):
                        self._host.say(text, Severity.WARNING)
        self._read()

    # --- deleting -----------------------------------------------------------------------------------------------------

    def delete(self, models: Sequence[ModelKey], *, now: bool = False) -> None:
        """Unload, then delete: to the trash, or with `now` (and without a trash) for good. Says which are gone and which are not."""
        self._host.post(self._delete, tuple(models), now)

    async def _delete(self, models: Sequence[ModelKey], now: bool) -> None:
        from tui.services.library.keeping_words import listed

        restored: list[tuple[ModelKey, str]] = []
        for provider in dict.fromkeys(provider for provider, _model in models):
            self._allowed(provider, Capability.DELETE, f"Deleting {listed([model for name, model in models if name == provider])}")
        try:
            for provider in dict.fromkeys(provider for provider, _model in models):
                keys = [model for name, model in models if name == provider]
                trash = not now and self.has_trash(provider)
                if not await self._deleted(provider, keys, trash, restored):
                    break  # esc ends all of it
        finally:
            if restored:
                back = [key for key, _name in restored]
                self.push_undo(f"bring back {listed([name for _key, name in restored])}", lambda: self._bring_all_back(back), back)

    async def _deleted(self, provider: str, keys: Sequence[str], trash: bool, restored: list[tuple[ModelKey, str]]) -> bool:
        """Delete models of one provider; adds what can be brought back, and its name. False where esc ended it."""
        from tui.services.library.keeping_words import listed

        gone: list[Moved] = []
        ended = list[bool]()

        async def work() -> None:
            await self._delete_all(provider, keys, trash, gone)
            ended.append(True)

        try:
            await self._host.activity(f"deleting {listed(keys)}", provider, work)
        finally:
            restored += [((provider, moved.target), moved.model.name) for moved in gone if moved.target]
            if gone:
                names = listed([moved.model.name for moved in gone])
                which = "it" if len(gone) == 1 else "them"
                self._host.say(f"{names}: in the trash; z brings {which} back" if trash else f"{names}: deleted for good")
        return bool(ended)

    async def _delete_all(self, provider: str, keys: Sequence[str], trash: bool, gone: list[Moved]) -> None:
        mover = self._mover(provider)
        try:
            for key in keys:
                try:
                    moved = await (mover.to_trash(key) if trash else mover.delete_now(key))
                except PaddockError as error:
                    if error.failure.kind in _ENDS:
                        raise
                    expected = error.failure.kind is FailureKind.NOT_FOUND
                    self._host.say(error.failure.sentence(), Severity.WARNING if expected else Severity.ERROR, error.failure)
                    continue
                gone.append(moved)
                text = "to the trash" if trash else "for good"
                await self._events.note(provider, moved.model.key, EventKind.DELETED, text, moved.model.digest)
        finally:
            await self._look_again(provider)

    def has_trash(self, provider: str) -> bool:
        """Whether what is deleted there can be brought back."""
        return self._host.settings().models.trash > 0 and not self._host.watching.can(provider, Capability.COPY)

    async def _bring_all_back(self, keys: Sequence[ModelKey]) -> None:
        """One that cannot be brought back keeps none of the others from it; what may be tried again stays to be undone."""
        left: list[ModelKey] = []
        for at, (provider, key) in enumerate(keys):
            if (provider, key) in self._back:
                continue
            try:
                if not await self._restored(provider, key, ""):
                    left += keys[at:]  # esc ends all of it
                    break
            except PaddockError as error:
                if len(keys) == 1:
                    raise
                self._host.say(error.failure.sentence(), Severity.WARNING, error.failure)
                left += [(provider, key)] if error.failure.kind is not FailureKind.NOT_FOUND else []
        if left:
            self.push_undo(f"bring back {len(left)} that could not be brought back", lambda: self._bring_all_back(left), left)

    # --- the trash ----------------------------------------------------------------------------------------------------

    def restore(self, provider: str, key: str, name: str = "") -> None:
        """Bring a model of the trash back, under its own name or another."""
        self._host.post(self._restored, provider, key, name)

    async def _restored(self, provider: str, key: str, name: str) -> bool:
        self._allowed(provider, Capability.COPY, "Bringing back a model")

        async def work(mover: Mover) -> None:
            moved = await mover.restore(key, name)
            self._is_back((provider, key))
            self._host.say(f"{moved.target} is back on {provider}")
            if moved.note:
                self._host.say(moved.note, Severity.WARNING)
            await self._events.note(provider, moved.target, EventKind.RESTORED, "from the trash", moved.model.digest)

        return await self._run("bringing back a model", provider, work)

    def drop(self, keys: Sequence[ModelKey]) -> None:
        """Delete kept models for good."""
        self._host.post(self._drop, tuple(keys))

    async def _drop(self, keys: Sequence[ModelKey]) -> None:
        for provider in dict.fromkeys(provider for provider, _key in keys):
            self._allowed(provider, Capability.DELETE, "Deleting for good")
            wanted = [one for one in self.kept.value if (one.provider, one.key) in keys and one.provider == provider]
            if not wanted:
                raise PaddockError.of("It is gone already", provider, "Nothing is left to do", FailureKind.NOT_FOUND)
            if not await self._dropped(provider, wanted):
                break  # esc ends all of it

    async def _dropped(self, provider: str, wanted: Sequence[KeptModel]) -> bool:
        """Delete kept models of one provider for good; says what went, however it ended. False where esc ended it."""
        from tui.services.library.keeping_words import dropped

        weigh, gone = self.weigher(), list[KeptModel]()

        async def work(mover: Mover) -> None:
            for one in wanted:
                await mover.drop(one.key)
                gone.append(one)

        try:
            return await self._run("deleting for good", provider, work)
        finally:
            if gone:
                frees = weigh([(provider, one.key) for one in gone])
                self._host.say(dropped([one.original for one in gone], len(wanted), frees, binary=self._binary))

    def empty(self) -> None:
        """Delete everything in the trash of all providers for good, with the versions that would go with it."""

        async def gather() -> None:
            await self._drop([(one.provider, one.key) for one in self.in_trash()])

        self._host.post(gather)

    def in_trash(self) -> list[KeptModel]:
        """What emptying the trash deletes."""
        return [one for one in self.kept.value if one.kind is KeptKind.TRASH or one.goes_at is not None]

    async def _tidy(self) -> None:
        """Delete for good what was in the trash for its time; once at the start, then whenever something is due."""
        while True:
            self._stir.clear()
            pause = LONGEST
            if self._host.watching.kept.value:
                pause = await self._empty_due()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stir.wait()

    async def _empty_due(self) -> float:
        """Empty what is due; returns seconds until something else is."""
        from tui.services.library.keeping_trash import empty_due, is_sure
        from tui.services.library.keeping_words import listed

        if self._steady is not None and (hold := self._steady.hold()):
            return hold
        if not is_sure(self._host.config.problems.value):
            return AGAIN
        now, watching = self._host.clock.time(), self._host.watching
        due = {one.provider for one in self.kept.value if one.goes_at is not None and one.goes_at <= now}
        failed = False
        for name in due:
            watch = watching.watch(name)
            ready = watch is not None and watch.state.status in (ProviderStatus.UP, ProviderStatus.FOUND)
            if watch is None or self._moves is None or not ready or watching.can(name, Capability.DELETE):
                failed = True
                continue
            try:
                gone = await empty_due(watch.provider, self._mover(name), self._moves, self._trash, now)
            except PaddockError as error:
                _LOG.warning("the trash of %s was not emptied: %s", name, error.failure.what)
                failed = True
                continue
            if gone:
                self._host.say(f"Out of the trash of {name}, deleted for good: {listed(sorted({one.original for one in gone}))}")
                await self._look_again(name)
        left = [one.goes_at for one in self.kept.value if one.goes_at is not None and one.goes_at > now]
        return AGAIN if failed else min(LONGEST, max(1.0, min(left, default=now + LONGEST) - now))

    # --- names --------------------------------------------------------------------------------------------------------

    def copy(self, provider: str, model: str, new: str) -> None:
        """Give a model a second name; one that is taken is refused."""

        async def work(mover: Mover) -> None:
            moved = await mover.copy(model, new)
            self._host.say(f"{moved.model.name} is also named {moved.target}")
            await self._events.note(provider, moved.target, EventKind.COPIED, f"from {moved.model.name}", moved.model.digest)

        self._host.post(self._checked, f"copying {model}", provider, (Capability.COPY,), work)

    def rename(self, provider: str, model: str, new: str) -> None:
        """Give a model another name: copied, proved, then deleted under the old one. Settings that name it follow."""
        self._host.post(self._renamed, provider, model, new)

    async def _renamed(self, provider: str, model: str, new: str, *, undoing: bool = False) -> bool:
        async def work(mover: Mover) -> None:
            moved = await mover.rename(model, new)
            follow = await self._settings_follow(provider, moved.model.key, moved.target)
            more = f"; {follow} now say{'s' if ' and ' not in follow else ''} so, too" if follow else ""
            self._host.say(f"{moved.model.name} is now named {moved.target}{more}")
            if moved.note:
                self._host.say(moved.note, Severity.WARNING)
            await self._events.note(provider, moved.target, EventKind.RENAMED, f"from {moved.model.name}", moved.model.digest)
            if not undoing:
                back = f"rename {moved.target} back to {moved.model.name}"
                self.push_undo(back, lambda: self._renamed(provider, moved.target, moved.model.key, undoing=True))

        return await self._checked(f"renaming {model}", provider, (Capability.COPY, Capability.DELETE), work)

    async def _settings_follow(self, provider: str, old: str, new: str) -> str:
        """Have settings that name a model name it anew; says which did."""
        from tui.core.names import same
        from tui.core.threads import in_daemon_thread
        from tui.services.library.keeping_settings import follow
        from tui.services.library.keeping_words import listed

        alone = not any(model.provider != provider and same(model.key, old) for model in self._host.watching.models.value)
        try:
            return listed(await in_daemon_thread(lambda: follow(self._host.config, provider, old, new, alone=alone)))
        except PaddockError as error:
            self._host.say(f"{new} is renamed; settings still name {old}: {error.failure.what}", Severity.WARNING, error.failure)
            return ""

    # --- versions -----------------------------------------------------------------------------------------------------

    def bring_back(self, provider: str, key: str) -> None:
        """Make an earlier version (its exact kept name) the model again; what it is now becomes a version."""
        self._host.post(self._brought_back, provider, key)

    async def _brought_back(self, provider: str, key: str, *, undo: bool = False) -> bool:
        async def work(mover: Mover) -> None:
            moved = await mover.bring_back(key)
            kept = next((one for one in self.kept.value if one.key == key), None)
            name = kept.original if kept is not None else moved.model.name
            what = "what it was before that" if undo else "the earlier version"
            self._host.say(f"{name} on {provider} is {what} again{'; the other one is kept' if moved.target else ''}")
            await self._events.note(provider, name, EventKind.RESTORED, "an earlier version", moved.model.digest)
            self._host.watching.forget_details(provider)
            if moved.target:
                self.push_undo(f"have {name} as it was before that", lambda: self._brought_back(provider, moved.target, undo=not undo))

        return await self._checked("bringing back an earlier version", provider, (Capability.COPY, Capability.DELETE), work)

    def compare(self, provider: str, key: str, other: str) -> None:
        """Find out what is different between two models of a provider, for example a version and what is installed."""
        self._host.post(self._compare, provider, key, other)

    async def _compare(self, provider: str, key: str, other: str) -> None:
        from tui.services.library.keeping_diff import differences

        found: Comparison
        try:
            connection = self._host.provider(provider)
            watch = self._host.watching.watch(provider)
            sizes = {model.key: model.size for model in (watch.models if watch is not None else ())}
            before, after = await connection.show(key), await connection.show(other)
            found = differences(before, after, sizes.get(key), sizes.get(other), binary=self._binary)
        except PaddockError as error:
            found = error.failure
        self.comparisons.set({**self.comparisons.value, (provider, key, other): found})

    @property
    def _binary(self) -> bool:
        return self._host.settings().appearance.units == "binary"

    # --- undo ---------------------------------------------------------------------------------------------------------

    def push_undo(self, text: str, made: Undo, keys: Iterable[ModelKey] = ()) -> None:
        """Remember how to undo what was just done (`text`: what that would do; `keys`: what it brings back); on the engine's thread."""
        self._undos = [*self._undos, (text, made, frozenset(keys))][-UNDOS:]
        self._back.difference_update(self._undos[-1][2])
        self.undoable.set(text)

    def _is_back(self, key: ModelKey) -> None:
        """What was brought back otherwise is nothing to undo any more."""
        self._back.add(key)
        self._undos = [one for one in self._undos if not one[2] or one[2] - self._back]
        self.undoable.set(self._undos[-1][0] if self._undos else "")

    def undo(self) -> None:
        """Undo the newest step of this run; where there is none, offer what came into the trash last."""
        self._host.post(self._undo)

    async def _undo(self) -> None:
        if self._undos:
            text, made, keys = self._undos.pop()
            self.undoable.set(self._undos[-1][0] if self._undos else "")
            try:
                if await made() is False:
                    self.push_undo(text, made, keys)
            except PaddockError as error:
                if error.failure.kind is not FailureKind.NOT_FOUND:
                    self.push_undo(text, made, keys)
                raise
            return
        last = max((one for one in self.kept.value if one.kind is KeptKind.TRASH), key=lambda one: one.at, default=None)
        if last is None:
            raise PaddockError.of("There is nothing to undo", "the trash is empty", "Nothing is left to do", FailureKind.REFUSED)
        from tui.services.library.keeping_words import kept_words

        words = kept_words(last, self._host.clock.time(), binary=self._binary)
        text = f"Bring {last.original} on {last.provider} back ({words})?"
        if await self._host.ask(text, (("keep", "Leave it"), ("back", "Bring back"))) == "back":
            await self._restored(last.provider, last.key, "")

    # --- help ---------------------------------------------------------------------------------------------------------

    def _mover(self, provider: str) -> Mover:
        from tui.services.library.keeping_moves import Mover

        async def unload(model: str) -> None:
            await self._host.actions.out_of_memory(provider, model)

        return Mover(self._host.provider(provider), self._host.audit, self._host.clock, unload, self._moves, self._active)

    def _allowed(self, provider: str, capability: Capability, what: str) -> None:
        if reason := self._host.watching.can(provider, capability):
            remedy = "Choose another provider, or change the setting"
            raise PaddockError.of(f"{what}: not done, {reason}", provider, remedy, FailureKind.REFUSED)

    async def _checked(self, text: str, provider: str, needs: Sequence[Capability], work: Callable[[Mover], Awaitable[None]]) -> bool:
        for capability in needs:
            self._allowed(provider, capability, f"{text[0].upper()}{text[1:]}")
        return await self._run(text, provider, work)

    async def _run(self, text: str, provider: str, work: Callable[[Mover], Awaitable[None]]) -> bool:
        """Do something to a server, shown as a wait; False where esc ended it."""
        done = list[bool]()

        async def whole() -> None:
            try:
                await work(self._mover(provider))
                done.append(True)
            finally:
                await self._look_again(provider)

        await self._host.activity(text, provider, whole)
        return bool(done)

    async def _look_again(self, provider: str) -> None:
        """Take over what the server lists now, and what is noted of moves."""
        await self._host.actions.look_again(provider)
        self._read()
        await self._settle()
