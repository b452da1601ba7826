"""cp, mv, rm, restore, versions: names of models, and what is kept of those that were deleted or replaced."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tui.cli.changes import able, running, said, unloaded
from tui.cli.context import Context, wrong_usage
from tui.cli.output import DASH, DONE, FAILED, REFUSED, ask, emit, line, message, plain, report, table
from tui.cli.waiting import worse
from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.kept import KeptKind, kept_of
from tui.core.library import EventKind, KeptModel
from tui.core.models import Model
from tui.core.names import parse, same
from tui.providers.base import Provider
from tui.services.library.keeping_diff import differences
from tui.services.library.keeping_moves import Moved, Mover
from tui.services.library.keeping_settings import follow
from tui.services.library.keeping_trash import interrupted, kept_models, own_trash, settle
from tui.services.library.keeping_words import Deleting, ago, day, delete_question, freed, listed, until, versions_in
from tui.services.pins import pinned
from tui.store.model_events import ModelEvents
from tui.store.model_moves import ModelMoves
from tui.text import clean_name


class _Server(NamedTuple):
    """A server with everything it lists, and what is kept of it."""

    provider: Provider
    models: tuple[Model, ...]
    kept: tuple[KeptModel, ...]


class _Keeper:
    """What the commands share: the notes of moves, where there is a database that can be written, and the servers."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.moves: ModelMoves | None = None
        self.events: ModelEvents | None = None
        self.looks = False
        self.now = time.time()

    async def open(self) -> _Keeper:
        """Without a database everything works, and nothing is remembered of it; who may only look writes nothing into it."""
        self.looks = self.context.settings.security.access == "look"
        try:
            database = self.context.database(write=False) if self.looks else self.context.writable()
        except PaddockError as error:
            message(f"Nothing of this is remembered: {error.failure.what}.")
            return self
        self.moves, self.events = ModelMoves(database), ModelEvents(database)
        return self

    def mover(self, provider: Provider) -> Mover:
        """The moves on a server."""

        async def unload(key: str) -> None:
            if await running(provider, key) is not None:
                await unloaded(self.context, provider, key, key)

        return Mover(provider, self.context.audit, SYSTEM, unload, self.moves)

    async def look(self, provider: Provider, models: tuple[Model, ...] | None = None) -> _Server:
        """List a server, but for the `models` it has just told, and say what an interrupted move left behind there."""
        models = await provider.models() if models is None else models
        moves = self.moves.list() if self.moves is not None else ()
        endpoint = provider.endpoint
        if self.moves is not None and not self.looks and (left := interrupted(moves, endpoint)):
            for text in await settle(left, models, self.moves):
                message(f"{text}.")
            moves = self.moves.list()
        kept = kept_models(endpoint.name, models, own_trash(moves, endpoint), self.context.settings.models.trash)
        return _Server(provider, models, kept)

    async def servers(self) -> list[_Server]:
        """All that answer; the others are in `context.failed`."""
        return [await self.look(*one) for one in await self.context.everybody(self.context.args.on, kept=True)]

    def goes_at(self, provider: Provider, moved: Moved) -> float | None:
        """When the trash is emptied of what was moved there; None where that was not noted: then only a person empties it."""
        ours: frozenset[str] = frozenset()
        if self.moves is not None:
            with contextlib.suppress(PaddockError):
                ours = own_trash(self.moves.list(), provider.endpoint)
        there = replace(moved.model, key=moved.target)
        (one,) = kept_models(provider.endpoint.name, [there], ours, self.context.settings.models.trash)
        return one.goes_at

    async def note(self, provider: Provider, model: str, kind: EventKind, text: str, digest: str) -> None:
        """Write down what was done; a database that takes nothing undoes no deed."""
        if self.events is not None:
            with contextlib.suppress(PaddockError):
                await self.events.add(provider.endpoint.name, model, kind, text, digest)


def _missing(context: Context, what: str, whether: str) -> PaddockError:
    """What to say of a kept model that no server listed which answered; where one did not answer, nobody knows."""
    silent = len(context.failed)
    if not silent:
        return PaddockError.of(what, "", "See paddock restore --list", FailureKind.NOT_FOUND)
    who = "One provider" if silent == 1 else f"{silent} providers"
    remedy = "Try again when it answers" if silent == 1 else "Try again when they answer"
    return PaddockError.of(f"{who} did not answer: it is not known {whether}", "", remedy, FailureKind.NOT_FOUND)


# --- names ---------------------------------------------------------------------------------------------------------------


def _new_name(text: str) -> str:
    try:
        return str(parse(text))
    except PaddockError as error:
        raise wrong_usage(error) from None


async def cp(context: Context) -> int:
    """Give a model a second name."""
    context.allow("Copying a model")
    new = _new_name(context.args.new)
    provider, model = await context.with_model(context.args.model, context.args.on, alone=True)
    able(provider, Capability.COPY, "copy models")
    keeper = await _Keeper(context).open()
    moved = await keeper.mover(provider).copy(model.key, new)
    await keeper.note(provider, moved.target, EventKind.COPIED, f"from {model.name}", model.digest)
    text = f"{model.name} on {provider.endpoint.name} is now also named {moved.target}."
    return said(context, text, model.name, provider.endpoint.name, moved.target)


async def mv(context: Context) -> int:
    """Give a model another name: copied, proved, then deleted under the old one."""
    context.allow("Renaming a model", destructive=True)
    new = _new_name(context.args.new)
    provider, model = await context.with_model(context.args.model, context.args.on, alone=True)
    able(provider, Capability.COPY, "copy models")
    able(provider, Capability.DELETE, "delete models")
    keeper = await _Keeper(context).open()
    await keeper.look(provider)
    moved = await keeper.mover(provider).rename(model.key, new)
    if moved.note:
        message(f"{moved.note}.")
    await keeper.note(provider, moved.target, EventKind.RENAMED, f"from {model.name}", model.digest)
    alone = not any(name != provider.endpoint.name for name in context.settings.providers)
    if changed := follow(context.config, provider.endpoint.name, model.key, moved.target, alone=alone):
        message(f"{' and '.join(changed)} now say{'' if len(changed) > 1 else 's'} {moved.target}, too.")
    text = f"{model.name} on {provider.endpoint.name} is now named {moved.target}."
    return said(context, text, model.name, provider.endpoint.name, moved.target)


# --- deleting ------------------------------------------------------------------------------------------------------------


async def rm(context: Context) -> int:
    """Delete models, to the trash or for good, after asking; all names must be known before anything is deleted."""
    args = context.args
    context.allow("Deleting a model", destructive=True)
    if not args.yes and not sys.stdin.isatty():
        message("Nothing was deleted: there is nobody to ask. Add --yes.")
        return REFUSED
    kept = [name for name in args.models if kept_of(name) is not None]
    if kept and not args.now:
        original = kept_of(kept[0])
        name = original.original if original is not None else kept[0]
        remedy = "paddock rm --now deletes it for good, paddock restore brings it back"
        raise PaddockError.of(f"{name} is kept by Paddock already", clean_name(kept[0]), remedy, FailureKind.BAD_REQUEST)
    chosen: list[tuple[Provider, Model]] = []
    for name in dict.fromkeys(name for name in args.models if name not in kept):
        provider, model = await context.with_model(name, args.on, alone=True)
        able(provider, Capability.DELETE, "delete models")
        if (provider.endpoint.name, model.key) not in [(one.endpoint.name, other.key) for one, other in chosen]:
            chosen.append((provider, model))
    keeper = await _Keeper(context).open()
    chosen_kept = await _kept_by_key(keeper, kept) if kept else []
    trash = 0.0 if args.now or not all(Capability.COPY in one.capabilities for one, _model in chosen) else context.settings.models.trash
    if not args.yes and not await ask(await _question(keeper, chosen, chosen_kept, trash)):
        message("Nothing was deleted.")
        return FAILED
    return await _all_removed(keeper, chosen, chosen_kept, trash)


async def _question(
    keeper: _Keeper, chosen: Sequence[tuple[Provider, Model]], kept: Sequence[tuple[Provider, KeptModel]], trash: float
) -> str:
    """What the deleting does, and what it frees."""
    context = keeper.context
    words = [f"Delete {listed([one.original for _provider, one in kept])} for good, out of what is kept?"] if kept else []
    if chosen:
        servers = {provider.endpoint.name: await keeper.look(provider) for provider, _model in chosen}
        models = [model for _provider, model in chosen]
        everything = [model for server in servers.values() for model in server.models]
        loaded = [model for provider, model in chosen if await running(provider, model.key) is not None]
        what = Deleting(
            models,
            freed(models, everything, at_once=not trash),
            loaded=loaded,
            pinned=[model for model in models if pinned(context.settings, model.provider, model.name)],
            versions=sum(len(versions_in(servers[model.provider].kept, model.key)) for model in models),
            trash=trash,
            stays=keeper.moves is None,
        )
        binary = context.settings.appearance.units == "binary"
        words.append(delete_question(what, keeper.now, binary=binary, undo="paddock restore"))
    return " ".join(words)


class _Told:
    """Tells what was deleted: as it goes, but several models as JSON in one object at the end."""

    def __init__(self, context: Context, of: int) -> None:
        self._context = context
        self._at_end = context.json and of > 1
        self._models: list[dict[str, object]] = []
        self._failures: list[Failure] = []

    def gone(self, text: str, model: str, provider: str) -> int:
        """One is deleted."""
        self._add(model, provider, ok=True)
        return DONE if self._at_end else said(self._context, text, model, provider)

    def failed(self, failure: Failure, model: str, provider: str) -> int:
        """One was not deleted; returns the code for that."""
        self._add(model, provider, ok=False)
        self._failures.append(failure)
        return report(failure)

    def _add(self, model: str, provider: str, *, ok: bool) -> None:
        self._models.append({"ok": ok, "model": model, "provider": clean_name(provider)})

    def end(self, *, ok: bool) -> None:
        """There is no more to tell."""
        if self._at_end:
            emit({"ok": ok, "command": self._context.args.command, "models": self._models, "failures": self._failures})


async def _all_removed(
    keeper: _Keeper, chosen: Sequence[tuple[Provider, Model]], kept: Sequence[tuple[Provider, KeptModel]], trash: float
) -> int:
    told, code, whole = _Told(keeper.context, len(chosen) + len(kept)), DONE, False
    try:
        for provider, model in chosen:
            code = worse(code, await _removed(keeper, provider, model, trash, told))
        for provider, one in kept:
            name = provider.endpoint.name
            try:
                await keeper.mover(provider).drop(one.key)
            except PaddockError as error:
                code = worse(code, told.failed(error.failure, one.original, name))
            else:
                told.gone(f"{one.original} was deleted for good from {name}.", one.original, name)
        whole = True
    finally:
        told.end(ok=whole and code == DONE)
    return code


async def _removed(keeper: _Keeper, provider: Provider, model: Model, trash: float, told: _Told) -> int:
    name = provider.endpoint.name
    try:
        moved = await (keeper.mover(provider).to_trash(model.key) if trash else keeper.mover(provider).delete_now(model.key))
    except PaddockError as error:
        return told.failed(error.failure, model.name, name)
    await keeper.note(provider, model.key, EventKind.DELETED, "to the trash" if trash else "for good", model.digest)
    if not moved.target:
        return told.gone(f"{model.name} was deleted for good from {name}.", model.name, name)
    goes = keeper.goes_at(provider, moved)
    stays = until(goes, keeper.now) if goes is not None else "and stays until you empty it"
    return told.gone(f"{model.name} is in the trash of {name} {stays}: paddock restore {model.name} brings it back.", model.name, name)


async def _kept_by_key(keeper: _Keeper, names: Sequence[str]) -> list[tuple[Provider, KeptModel]]:
    servers = await keeper.servers()
    found: list[tuple[Provider, KeptModel]] = []
    for name in dict.fromkeys(names):
        there = [(server.provider, one) for server in servers for one in server.kept if same(one.key, name)]
        if not there:
            raise _missing(keeper.context, f"{clean_name(name)} is not there", f"whether {clean_name(name)} is there")
        if there[0] not in found:
            found.append(there[0])
    return found


# --- bringing back -------------------------------------------------------------------------------------------------------


async def restore(context: Context) -> int:
    """List the trash, or bring a model back out of it."""
    args = context.args
    if args.model and not args.list:
        context.allow("Bringing back a model")
    keeper = await _Keeper(context).open()
    servers = await keeper.servers()
    if args.list or not args.model:
        return _list(keeper, servers)
    found = [(server, one) for server in servers for one in server.kept if _fits(one, args.model) and one.kind is KeptKind.TRASH]
    found = found or [(server, one) for server in servers for one in server.kept if same(one.key, args.model)]
    if not found:
        shown = clean_name(args.model, 80)
        raise _missing(context, f"{shown} is not in the trash", f"whether {shown} is in the trash")
    if len({server.provider.endpoint.name for server, _one in found}) > 1:
        where = ", ".join(dict.fromkeys(server.provider.endpoint.name for server, _one in found))
        raise PaddockError.of("It is in the trash of several providers", where, "Say which with --on", FailureKind.CONFIG)
    server, one = max(found, key=lambda pair: pair[1].at)
    provider = server.provider
    moved = await keeper.mover(provider).restore(one.key, _new_name(args.name) if args.name else "")
    if moved.note:
        message(f"{moved.note}.")
    await keeper.note(provider, moved.target, EventKind.RESTORED, "from the trash", one.digest)
    return said(context, f"{moved.target} is back on {provider.endpoint.name}.", moved.target, provider.endpoint.name)


def _fits(one: KeptModel, name: str) -> bool:
    return same(one.original, name) or same(one.key, name)


def _list(keeper: _Keeper, servers: Sequence[_Server]) -> int:
    """List what is kept; 1 where a server that was asked did not answer."""
    context, now, name = keeper.context, keeper.now, keeper.context.args.model
    kept = [one for server in servers for one in server.kept if not name or _fits(one, name)]
    code = FAILED if context.failed else DONE
    if context.json:
        emit({"kept": [plain(one) for one in kept], "failures": context.failed})
        return code
    if not kept:
        where = f" on {_names(servers)}" if context.failed else ""
        of = f" of {clean_name(name, 80)}" if name else ""
        message(f"Nothing{of} is kept{where}." if of or where else "The trash is empty, and no earlier versions are kept.")
        return code
    rows = [
        (
            one.original,
            "trash" if one.kind is KeptKind.TRASH else "version",
            clean_name(one.provider),
            context.size(one.size),
            ago(one.at, now),
            "stays" if one.goes_at is None else day(one.goes_at, now) if one.goes_at > now else "now",
            one.key,
        )
        for one in sorted(kept, key=lambda one: -one.at)
    ]
    table(("MODEL", "KEPT AS", "PROVIDER", "SIZE", "SINCE", "GOES", "NAME THERE"), rows, right=(3,))
    return code


def _names(servers: Sequence[_Server]) -> str:
    return ", ".join(clean_name(server.provider.endpoint.name) for server in servers)


# --- versions ------------------------------------------------------------------------------------------------------------


async def versions(context: Context) -> int:
    """List the earlier versions of a model; go back to one, compare, drop one."""
    args = context.args
    wanted = args.back or args.drop or args.diff
    if args.back or args.drop:
        context.allow("Changing versions", destructive=True)
    keeper = await _Keeper(context).open()
    servers = await keeper.servers()
    # a model of which only versions are left has them, too
    found = [(server, those) for server in servers if (those := versions_in(server.kept, args.model))]
    if len(found) > 1:
        where = ", ".join(server.provider.endpoint.name for server, _those in found)
        raise PaddockError.of("Several providers have versions of it", where, "Say which with --on", FailureKind.CONFIG)
    if not found:
        if context.json:
            emit({"model": clean_name(args.model), "versions": [], "failures": context.failed})
        else:
            where = f" on {_names(servers)}" if context.failed else ""
            message(f"No earlier version of {clean_name(args.model, 80)} is kept{where}.")
        return FAILED if wanted or context.failed else DONE
    server, those = found[0]
    if not wanted:
        return _versions(keeper, server, those)
    if not 1 <= wanted <= len(those):
        raise PaddockError.of(f"There is no version {wanted}", f"1 to {len(those)}", "See paddock versions", FailureKind.CONFIG)
    one = those[wanted - 1]
    if args.diff:
        return await _diff(context, server, one)
    return await (_back(keeper, server, one) if args.back else _drop(keeper, server, one))


def _versions(keeper: _Keeper, server: _Server, those: Sequence[KeptModel]) -> int:
    context = keeper.context
    code = FAILED if context.failed else DONE
    if context.json:
        listed = [{"number": n, **plain(one)} for n, one in enumerate(those, 1)]
        emit({"model": those[0].original, "versions": listed, "failures": context.failed})
        return code
    current = next((model for model in server.models if same(model.key, those[0].original)), None)
    rows = [("now", context.size(current.size), DASH, current.digest[:12] or DASH)] if current is not None else []
    rows += [(str(n), context.size(one.size), ago(one.at, keeper.now), one.digest[:12] or DASH) for n, one in enumerate(those, 1)]
    table(("VERSION", "SIZE", "REPLACED", "DIGEST"), rows, right=(1,))
    return code


async def _diff(context: Context, server: _Server, one: KeptModel) -> int:
    current = next((model for model in server.models if same(model.key, one.original)), None)
    if current is None:
        raise PaddockError.of(f"{one.original} is not installed now", one.provider, "Bring it back with --back", FailureKind.NOT_FOUND)
    before, after = await server.provider.show(one.key), await server.provider.show(current.key)
    binary = context.settings.appearance.units == "binary"
    lines = differences(before, after, one.size, current.size, binary=binary)
    if context.json:
        emit({"model": one.original, "differences": list(lines)})
        return DONE
    for text in lines:
        line(text)
    if not lines:
        message("They are the same.")
    return DONE


async def _sure(context: Context, question: str) -> int:
    """DONE for a yes, else how the command ends."""
    if context.args.yes:
        return DONE
    if not sys.stdin.isatty():
        message("Nothing was changed: there is nobody to ask. Add --yes.")
        return REFUSED
    return DONE if await ask(question) else FAILED


async def _back(keeper: _Keeper, server: _Server, one: KeptModel) -> int:
    context, where = keeper.context, one.provider
    question = f"Make the version replaced {ago(one.at, keeper.now)} {one.original} on {where} again? What is there now is kept."
    if no := await _sure(context, question):
        return no
    moved = await keeper.mover(server.provider).bring_back(one.key)
    await keeper.note(server.provider, one.original, EventKind.RESTORED, "an earlier version", one.digest)
    other = "; what it was is kept" if moved.target else ""
    return said(context, f"{one.original} on {where} is the earlier version again{other}.", one.original, where)


async def _drop(keeper: _Keeper, server: _Server, one: KeptModel) -> int:
    context = keeper.context
    if no := await _sure(context, f"Delete the version of {one.original} replaced {ago(one.at, keeper.now)} for good?"):
        return no
    await keeper.mover(server.provider).drop(one.key, "drop version")
    return said(context, f"That version of {one.original} was deleted for good from {one.provider}.", one.original, one.provider)
