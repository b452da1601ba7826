"""Models going from one name to another on one server: nothing is deleted before its copy is listed with the same content.

Interrupted anywhere, at least one name is left, and the note of the move tells which (see `keeping_left`).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tui.core.errors import FailureKind, PaddockError
from tui.core.kept import KeptKind, kept_name, kept_of
from tui.core.names import parse, same
from tui.core.record import record
from tui.services.library.keep_now import copied, find, free_name, gone, keep_version, kept_as, versions_of
from tui.store.jobs import provider_key
from tui.store.model_moves import ModelMoves, MoveKind

if TYPE_CHECKING:
    from tui.core.clock import Clock
    from tui.core.models import Endpoint, Model
    from tui.providers.base import Provider
    from tui.services.audit import Audit

_TOKENS: Final = itertools.count(1)
Unload = Callable[[str], Awaitable[None]]
"""Takes a model out of memory, where it is there."""


def server_of(endpoint: Endpoint) -> str:
    """What tells servers apart in the notes of moves; the demo's comes with another port each time."""
    return "demo" if endpoint.name == "demo" else provider_key(endpoint)


@record(frozen=True)
class Moved:
    """What a move made of which model; `carried` are its versions that follow (or went with it), `note` says why some did not."""

    model: Model
    target: str
    carried: int = 0
    note: str = ""


class Mover:
    """The moves on one server.

    Args:
        unload: Is told each model that is about to go.
        moves: Where moves are noted; None where there is no database.
        active: Has an entry for each move that this process is working at.
    """

    def __init__(
        self,
        provider: Provider,
        audit: Audit,
        clock: Clock,
        unload: Unload,
        moves: ModelMoves | None = None,
        active: set[int] | None = None,
    ) -> None:
        self._provider = provider
        self._audit = audit
        self._clock = clock
        self._unload = unload
        self._moves = moves
        self._active = active if active is not None else set()

    @property
    def _where(self) -> str:
        return self._provider.endpoint.name

    # --- away ---------------------------------------------------------------------------------------------------------

    async def to_trash(self, model: str) -> Moved:
        """Delete a model so that it can be brought back: `target` is its name in the trash.

        Raises:
            PaddockError: It is gone already (kind NOT_FOUND), or it is still there.
        """
        models = await self._provider.models()
        source = _there(models, model, self._where)
        target = free_name(models, KeptKind.TRASH, source.key, self._clock.time())
        await self._unload(source.key)
        async with self._noted(MoveKind.TRASH, source.key, target) as number:
            with self._audit.noting("delete", f"{self._where}/{source.key}", to=target):
                made = await copied(self._provider, source, target)
                if made.source is None or not await self._deleted(source, f"its copy {target} is in the trash"):
                    raise await self._lost(source, target, number)
            await self._done(number)
        return Moved(source, target, len(versions_of(models, source.key)))

    async def delete_now(self, model: str) -> Moved:
        """Delete a model and its earlier versions for good.

        Raises:
            PaddockError: It is gone already (kind NOT_FOUND), or it is still there.
        """
        models = await self._provider.models()
        source = _there(models, model, self._where)
        await self._unload(source.key)
        with self._audit.noting("delete", f"{self._where}/{source.key}"):
            if not await self._deleted(source):
                raise gone(source.name, self._where)
        versions = versions_of(models, source.key)
        for version, _kept in versions:
            try:
                await self.drop(version.key)
            except PaddockError as error:
                what = f"{source.name} was deleted, and an earlier version of it is still kept: {error.failure.what}"
                raise PaddockError(replace(error.failure, what=what)) from error
        return Moved(source, "", len(versions))

    async def drop(self, key: str, what: str = "delete for good") -> None:
        """Delete a kept model for good; one that is gone is no fault.

        Raises:
            PaddockError: It is no kept model, or it is still there.
        """
        if kept_of(key) is None:
            raise PaddockError.of(f"{key} is not kept by Paddock", self._where, "Choose one of the trash", FailureKind.BAD_REQUEST)
        found = find(await self._provider.models(), key)
        if found is not None:
            with self._audit.noting(what, f"{self._where}/{key}"):
                await self._deleted(found)
        await self._forget_target(key)

    async def prune(self, model: str, count: int) -> int:
        """Drop the oldest versions of a model but for so many; returns how many went."""
        old = versions_of(await self._provider.models(), model)[count:]
        for version, _kept in old:
            await self.drop(version.key, "drop version")
        return len(old)

    # --- back ---------------------------------------------------------------------------------------------------------

    async def restore(self, key: str, name: str = "") -> Moved:
        """Bring a kept model back under its name, or another; where nothing else has its name, its versions follow to that one.

        Raises:
            PaddockError: It is not there any more, or its name is taken by another model.
        """
        kept = kept_of(key)
        models = await self._provider.models()
        source = find(models, key)
        if kept is None or source is None:
            what = f"{kept.original if kept is not None else key} is not in the trash any more"
            raise PaddockError.of(what, self._where, "Refresh; somebody may have brought it back", FailureKind.NOT_FOUND)
        target = _name(name or kept.original)
        taken = find(models, target)
        if taken is not None and (not taken.digest or taken.digest != source.digest):
            what = f"There is another {target} now"
            raise PaddockError.of(what, self._where, "Bring it back under another name", FailureKind.BAD_REQUEST)
        async with self._noted(MoveKind.RESTORE, source.key, target) as number:
            with self._audit.noting("restore", f"{self._where}/{target}", of=source.key):
                if taken is None:
                    await copied(self._provider, source, target)
                await self._deleted(source, f"{target} is back, and its copy is still in the trash")
            await self._forget(number)
        await self._forget_target(key)
        left = any(model.key != source.key for model, _kept in kept_as(models, KeptKind.TRASH, kept.original))
        if same(target, kept.original) or kept.kind is KeptKind.VERSION or left or find(models, kept.original) is not None:
            return Moved(source, target)
        return await self._followed(models, kept.original, Moved(source, target))

    async def bring_back(self, key: str) -> Moved:
        """Make an earlier version the model again; what it is now becomes a version. `target` is that one's name.

        Raises:
            PaddockError: The version is not there any more, or one of the copies could not be proved.
        """
        models = await self._provider.models()
        source, kept = find(models, key), kept_of(key)
        if kept is None or source is None:
            what = f"That version of {kept.original if kept is not None else key} is not there any more"
            raise PaddockError.of(what, self._where, "Refresh; another may have dropped it", FailureKind.NOT_FOUND)
        current = find(models, kept.original)
        if current is None:
            moved = await self.restore(key)
            return replace(moved, target="")
        if source.digest and source.digest == current.digest:
            await self.drop(key, "drop version")
            return Moved(source, "")
        await self._unload(current.key)
        with self._audit.noting("bring back", f"{self._where}/{current.key}", version=key):
            before = await keep_version(self._provider, current.key, self._clock)
            await copied(self._provider, source, current.key)
            await self._deleted(source, f"{current.name} is that version again, which is also still kept")
        return Moved(source, before)

    # --- to another name ----------------------------------------------------------------------------------------------

    async def copy(self, model: str, new: str) -> Moved:
        """Give a model a second name; one that is taken is refused.

        Raises:
            PaddockError: The name is taken or is none, or the copy could not be proved.
        """
        models = await self._provider.models()
        source, target = _there(models, model, self._where), self._free(models, new)
        with self._audit.noting("copy", f"{self._where}/{source.key}", to=target):
            await copied(self._provider, source, target)
        return Moved(source, target)

    async def rename(self, model: str, new: str) -> Moved:
        """Copy, prove, then delete; its versions follow, as far as the server lets them.

        Raises:
            PaddockError: The name is taken or is none, or one of the steps failed: then at least one of the names is there.
        """
        models = await self._provider.models()
        source, target = _there(models, model, self._where), self._free(models, new)
        await self._unload(source.key)
        async with self._noted(MoveKind.RENAME, source.key, target) as number:
            with self._audit.noting("rename", f"{self._where}/{source.key}", to=target):
                made = await copied(self._provider, source, target)
                if made.source is not None:
                    await self._deleted(source, f"both names are there, {source.name} and {target}")
            await self._forget(number)
        return await self._followed(models, source.key, Moved(source, target))

    async def _followed(self, models: tuple[Model, ...], name: str, moved: Moved) -> Moved:
        """Have the versions of a name follow a model that has another now."""
        carried, note = 0, ""
        try:
            for version, kept in versions_of(models, name):
                await copied(self._provider, version, kept_name(KeptKind.VERSION, moved.target, kept.at))
                await self._deleted(version)
                carried += 1
        except PaddockError as error:  # the model itself has its new name: settings must follow it
            note = f"Not all earlier versions of {name} followed to {moved.target}: {error.failure.what}"
        return replace(moved, carried=carried, note=note)

    def _free(self, models: tuple[Model, ...], new: str) -> str:
        target = _name(new)
        taken = find(models, target)
        if taken is not None:
            raise PaddockError.of(
                f"There is a model named {taken.name} already", self._where, "Choose another name", FailureKind.BAD_REQUEST
            )
        return target

    # --- steps --------------------------------------------------------------------------------------------------------

    async def _deleted(self, model: Model, left: str = "") -> bool:
        """Delete a model, and look that it is gone; False where it was gone already. `left` is said beside the reason where it fails."""
        try:
            await self._provider.delete(model.key)
            listed = any(other.key == model.key for other in await self._provider.models())
        except PaddockError as error:
            if error.failure.kind is FailureKind.NOT_FOUND:
                return False
            if not left:
                raise
            what = f"{model.name} was not deleted for sure: {error.failure.what}; {left}"
            raise PaddockError(replace(error.failure, what=what)) from error
        if listed:
            what = f"{model.name} is still listed after it was deleted{f'; {left}' if left else ''}"
            raise PaddockError.of(what, self._where, "Refresh, and look at the server's log", FailureKind.SERVER)
        return True

    async def _lost(self, source: Model, target: str, number: int) -> PaddockError:
        """Another deleted it first. Of two copies in the trash the newer stays: whoever lost looks at it the same way."""
        kept, there = kept_of(target), kept_as(await self._provider.models(), KeptKind.TRASH, source.key)
        others = [(other.at, model.key) for model, other in there if model.digest == source.digest]
        if kept is not None and source.digest and max(others, default=(0, "")) > (kept.at, target):
            await self.drop(target, "drop copy")
            await self._forget(number)
        else:
            await self._done(number)
        failure = gone(source.name, self._where).failure
        return PaddockError(replace(failure, what=f"{failure.what}: somebody else deleted it; it is in the trash"))

    # --- notes --------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _noted(self, kind: MoveKind, source: str, target: str) -> AsyncIterator[int]:
        """Note a move while it is worked at; without a database, or where that is full, it is done all the same."""
        number, token = 0, next(_TOKENS)
        self._active.add(token)
        try:
            if self._moves is not None:
                with contextlib.suppress(PaddockError):
                    number = await self._moves.begin(server_of(self._provider.endpoint), kind, source, target)
            yield number
        finally:
            self._active.discard(token)

    async def _done(self, number: int) -> None:
        if self._moves is not None and number:
            with contextlib.suppress(PaddockError):
                await self._moves.done(number)

    async def _forget(self, number: int) -> None:
        if self._moves is not None and number:
            with contextlib.suppress(PaddockError):
                await self._moves.forget((number,))

    async def _forget_target(self, key: str) -> None:
        """A model of the trash is there no more."""
        if self._moves is not None:
            with contextlib.suppress(PaddockError):
                server = server_of(self._provider.endpoint)
                await self._moves.forget(
                    tuple(move.id for move in self._moves.list() if move.done and (move.server, move.target) == (server, key))
                )


def _there(models: tuple[Model, ...], model: str, where: str) -> Model:
    found = find(models, model)
    if found is None:
        raise gone(model, where)
    if kept_of(found.key) is not None:
        raise PaddockError.of(f"{found.name} is kept by Paddock", where, "Bring it back first", FailureKind.BAD_REQUEST)
    return found


def _name(text: str) -> str:
    """A typed name in its shortest form; names of ours are not to be typed.

    Raises:
        PaddockError: It is none.
    """
    name = str(parse(text))
    if kept_of(name) is not None:
        raise PaddockError.of("That is how Paddock names what it keeps", name, "Choose another name", FailureKind.BAD_REQUEST)
    return name
