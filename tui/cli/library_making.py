"""configure, export, backup, restore-backup: other configurations of models, and files out of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tui import __version__
from tui.cli.context import Context
from tui.cli.output import DASH, DONE, FAILED, REFUSED, ask, block, emit, line, message, report, table
from tui.cli.waiting import redraws, worse
from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM
from tui.core.errors import FailureKind, PaddockError
from tui.core.library import EventKind
from tui.core.models import Model
from tui.core.names import normal, same
from tui.core.recipe import DiffLine, Recipe, difference, drawn, recipe_of, shown
from tui.core.threads import in_daemon_thread
from tui.providers.base import Provider
from tui.services.library.backing_up import collect, has_name, restore_configuration, restore_model, usable
from tui.services.library.backup_form import Index, SavedModel
from tui.services.library.backup_read import Archive, archive_of, index_of, verify
from tui.services.library.backup_words import holds_key, model_words, saved_words, target_of
from tui.services.library.backup_write import ToSave, configuration, write_backup
from tui.services.library.baking import bake
from tui.services.library.configuring import KEEP_ALIVE, checked, configured, set_options, table_of
from tui.services.library.exporting import find_folder, modelfile_text, weights_path, write_text
from tui.services.library.keep_now import find
from tui.text import clean_block, clean_name, strip_line

EVERY: Final = 0.2
"""Seconds between two lines about progress that are drawn over each other."""
MAX_TEXT: Final = 4_000_000


# --- configure -----------------------------------------------------------------------------------------------------------


async def configure(context: Context) -> int:
    """Show, or change after a diff and a yes."""
    args = context.args
    texts = args.system is not None or args.template is not None or bool(args.edit)
    if args.bake is None:
        if texts:
            what = "The configuration holds options and keep_alive only: a system prompt or template becomes part of a model"
            raise PaddockError.of(what, "configure", "Add --bake, or --bake NAME for a new model", FailureKind.CONFIG)
        return await _here(context)
    if args.keep_alive is not None:
        what = "A model cannot carry keep_alive: the server takes it with each request"
        raise PaddockError.of(what, "--keep-alive", "Set it without --bake", FailureKind.CONFIG)
    return await _baked(context)


def _changes(context: Context, *, baked: bool) -> dict[str, Any]:
    """Options by their names as asked for; None takes one out."""
    found: dict[str, Any] = {}
    for pair in context.args.option:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise PaddockError.of("An option is written K=V", clean_name(pair, 60), "Write it like num_ctx=8192", FailureKind.CONFIG)
        found[name] = _usage(lambda name=name, text=text: checked(name, text, baked=baked))  # type: ignore[misc]
    if context.args.stop is not None:
        found["stop"] = [text for text in context.args.stop if text] or None
    if context.args.keep_alive is not None:
        found[KEEP_ALIVE] = _usage(lambda: checked(KEEP_ALIVE, context.args.keep_alive, baked=baked))
    return found


def _usage(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except PaddockError as error:
        raise PaddockError(replace(error.failure, kind=FailureKind.CONFIG)) from None


async def _here(context: Context) -> int:
    """The configuration of Paddock."""
    settings, name = context.settings, normal(context.args.model)
    table_name = table_of(settings, name)
    old, changes = configured(settings, name), _changes(context, baked=False)
    if not changes:
        return await _show(context, old)
    new = old
    for key, value in changes.items():
        new = replace(new, keep_alive=value or "") if key == KEEP_ALIVE else new.with_option(key, value)
    where = f'[models.options."{table_name}"] of {clean_name(str(context.paths.config_file))}'
    lines = difference(old, new)
    if not lines:
        return _same(context, where, "Nothing would be different.")
    if not await _agreed(context, lines, where):
        return REFUSED if _unasked(context) else DONE
    context.allow("Configuring a model")
    with context.audit.noting("configure", name, keys=", ".join(sorted(changes))):
        await in_daemon_thread(lambda: set_options(context.config, name, changes))
    _said(context, {"model": name, "where": "configuration"}, f"{name} is configured for Paddock.")
    return DONE


async def _show(context: Context, old: Recipe) -> int:
    """What counts now: of the configuration, and of the model itself."""
    provider, model = await context.with_model(context.args.model, context.args.on)
    carried = recipe_of(await provider.made_of(model.key)) if Capability.CREATE in provider.capabilities else Recipe()
    if context.json:
        own = {"options": old.options, "keep_alive": old.keep_alive}
        emit({"model": model.key, "configuration": own, "carries": {**carried.options, "system": carried.system}})
        return DONE
    names = sorted({*old.options, *carried.options})
    rows = [[name, _cell(carried.options.get(name)), _cell(old.options.get(name))] for name in names]
    rows.append([KEEP_ALIVE, DASH, old.keep_alive or DASH])
    table(("OPTION", "IN THE MODEL", "IN PADDOCK"), rows)
    for title, text in (("system", carried.system), ("template", carried.template)):
        if text:
            line()
            line(f"{title}:")
            block(clean_block(text))
    return DONE


def _cell(value: Any) -> str:
    return DASH if value is None else shown(value)


async def _baked(context: Context) -> int:
    """Part of a model."""
    args = context.args
    context.allow("Configuring a model", destructive=True)
    provider, model = await context.with_model(args.model, args.on, alone=True)
    made = await provider.made_of(model.key)
    old = recipe_of(made)
    new = old
    for key, value in _changes(context, baked=True).items():
        new = new.with_option(key, value)
    for name in ("system", "template"):
        if (given := getattr(args, name)) is not None:
            text = await _text_of(given)
            new = replace(new, system=text) if name == "system" else replace(new, template=text)
    if args.edit:
        text = await _edited(getattr(new, args.edit))
        new = replace(new, system=text) if args.edit == "system" else replace(new, template=text)
    target = normal(args.bake) if args.bake else normal(model.key)
    again = same(target, model.key)
    lines = difference(old, new)
    where = f"{target} on {provider.endpoint.name}" + (
        "; what it is now is kept as an earlier version" if again else f", out of {model.key}"
    )
    if not lines:
        return _same(context, where, f"{model.name} carries that already: nothing was made.")
    if not await _agreed(context, lines, where):
        return REFUSED if _unasked(context) else DONE
    with context.audit.noting("configure", f"{provider.endpoint.name}/{model.key}", to=target):
        done = await bake(provider, model.key, target, old, new, SYSTEM, replaces=False)
    await _noted(context, provider, done.name, EventKind.CONFIGURED, f"out of {model.key}", done.digest)
    _said(context, {"model": done.name, "digest": done.digest, "kept": done.kept}, f"{done.name} is configured.")
    return DONE


async def _noted(context: Context, provider: Provider, model: str, kind: EventKind, text: str, digest: str = "") -> None:
    """Into the history of the model; where the database cannot be written it is not kept."""
    from tui.store.model_events import ModelEvents

    with contextlib.suppress(PaddockError):
        await ModelEvents(context.writable()).add(provider.endpoint.name, model, kind, text, digest)


async def _text_of(given: str) -> str:
    if not given.startswith("@"):
        return given
    return _decoded(await in_daemon_thread(lambda: _read(Path(given[1:]).expanduser())))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_TEXT + 1)


def _decoded(body: bytes) -> str:
    from tui.core.modelfile import decode, plain

    if len(body) > MAX_TEXT:
        raise PaddockError.of("The text is too long", "configure", "Shorten it", FailureKind.CONFIG)
    return plain(decode(body, "configure")).removesuffix("\n")


async def _edited(text: str) -> str:
    """Write a text in the user's editor; an editor that ends with a code changes nothing."""
    import shlex

    given = os.environ.get("VISUAL", "").strip() or os.environ.get("EDITOR", "").strip()
    if not given or not sys.stdin.isatty():
        raise PaddockError.of("No editor is set, or nobody is there", "$VISUAL, $EDITOR", "Use --system @FILE", FailureKind.CONFIG)
    folder = Path(tempfile.mkdtemp(prefix="paddock-"))
    path = folder / "text.md"
    try:
        path.write_text(f"{text}\n" if text else "", "utf-8")
        try:
            code = await in_daemon_thread(lambda: subprocess.run([*shlex.split(given), str(path)], check=False).returncode)
        except (OSError, ValueError):
            what = "The editor was not started"
            raise PaddockError.of(what, clean_name(given, 60), "Set EDITOR to a program you have", FailureKind.CONFIG) from None
        return text if code else _decoded(await in_daemon_thread(lambda: _read(path)))
    finally:
        path.unlink(missing_ok=True)
        folder.rmdir()


async def _agreed(context: Context, lines: tuple[DiffLine, ...], where: str) -> bool:
    """Show the diff; True where it is to be done."""
    if context.json:
        if context.args.dry_run or not context.args.yes:
            emit({"diff": lines, "where": where})
    else:
        message(f"{where}:")
        block(drawn(lines))
    if context.args.dry_run:
        return False
    if context.args.yes:
        return True
    if _unasked(context):
        raise PaddockError.of("Nothing was changed: nobody was there to say yes", "configure", "Add --yes", FailureKind.REFUSED)
    return await ask("Do that?")


def _same(context: Context, where: str, text: str) -> int:
    """There is no difference, and nothing to do."""
    if context.json:
        emit({"diff": [], "where": where})
    message(text)
    return DONE


def _unasked(context: Context) -> bool:
    there = sys.stdin.isatty() and sys.stderr.isatty()
    return not context.args.yes and not context.args.dry_run and not there


def _said(context: Context, value: dict[str, Any], text: str) -> None:
    if context.json:
        emit(value)
    else:
        message(text)


# --- export --------------------------------------------------------------------------------------------------------------


async def export(context: Context) -> int:
    """The Modelfile to standard output or to a file, or the path of the weights."""
    provider, model = await context.with_model(context.args.model, context.args.on)
    made = await provider.made_of(model.key)
    if context.args.gguf:
        folder, _why = await find_folder(provider, context.settings)
        at = folder.path if folder is not None else None
        path = await in_daemon_thread(lambda: weights_path(provider.endpoint, made, context.settings, at))
        _printed(context, "gguf", str(path))
        return DONE
    text = modelfile_text(model.key, made)
    if not context.args.modelfile or context.args.modelfile == "-":
        if context.json:
            emit({"modelfile": text})
        else:
            block(text.removesuffix("\n"))
        return DONE
    written = await in_daemon_thread(lambda: write_text(Path(context.args.modelfile), text, overwrite=context.args.yes))
    if context.json:
        _printed(context, "modelfile", str(written))
    else:
        message(f"The Modelfile of {model.name} is in {clean_name(str(written), 1000)}.")
    return DONE


def _printed(context: Context, key: str, path: str) -> None:
    if context.json:
        emit({key: path})
    else:
        line(clean_name(path, 4000))


# --- backup --------------------------------------------------------------------------------------------------------------


class _Told:
    """Says how far a backup is, on a line that is drawn over itself; called from another thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._draws = not context.json and redraws()
        self._at = 0.0
        self.stop = threading.Event()

    def __call__(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if self._draws and now - self._at >= EVERY:
            self._at = now
            text = strip_line(f"{self._context.size(done)} of {self._context.size(total)}  {clean_name(what, 40)}")
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._draws and self._at:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


async def _in_background(told: _Told, work: Callable[[], Any]) -> Any:
    """In a thread; ctrl+c has it end and tidy up before we do."""
    task = asyncio.ensure_future(in_daemon_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        told.stop.set()
        await asyncio.wait({task}, timeout=10.0)
        raise
    finally:
        told.end()


async def backup(context: Context) -> int:
    """Write a backup."""
    target, told = Path(context.args.target), _Told(context)
    chosen = await _to_save(context)
    found: list[ToSave] = []
    for provider, models in chosen:
        found += await collect(provider, models, context.settings)
    with context.audit.noting("back up", clean_name(str(target), 1000)):
        config, left = await in_daemon_thread(lambda: configuration(context.paths))
        index = await _in_background(
            told,
            lambda: write_backup(target, found, config, SYSTEM.time(), f"paddock {__version__}", progress=told, stopped=told.stop.is_set),
        )
    if context.json:
        emit({"backup": str(target.expanduser().absolute()), **_listed(index)})
        return DONE
    message(saved_words(index, left, binary=context.settings.appearance.units == "binary"))
    if len({model.why for model in index.models if not model.whole}) > 1:
        for model in index.models:
            if not model.whole:
                message(f"{model.name} is in it {model_words(model)}.")
    if holds_key(context.settings):
        message("The configuration holds a key: keep the backup as private as that.")
    return DONE


async def _to_save(context: Context) -> list[tuple[Provider, list[Model]]]:
    args = context.args
    if args.all and args.models:
        raise PaddockError.of("Name models, or --all", "backup", "Give one of both", FailureKind.CONFIG)
    if args.all:
        found: list[tuple[Provider, list[Model]]] = []
        async with aclosing(context.answers(args.on)) as answers:
            async for provider, models in answers:
                if Capability.CREATE in provider.capabilities:
                    found.append((provider, [model for model in models if has_name(model) and not model.remote]))
                    for model in models:
                        if not has_name(model):
                            message(f"{model.name} is left out: no server takes that name.")
        return found
    by_name: dict[str, tuple[Provider, list[Model]]] = {}
    for name in args.models:
        provider, model = await context.with_model(name, args.on)
        by_name.setdefault(provider.endpoint.name, (provider, []))[1].append(model)
    return list(by_name.values())


async def restore_backup(context: Context) -> int:
    """Compare everything with its digests; then list it, or restore what was asked for."""
    args, told = context.args, _Told(context)
    archive = await in_daemon_thread(lambda: archive_of(Path(args.source)))
    index = await in_daemon_thread(lambda: index_of(archive))
    wanted = [model for model in index.models if args.all or any(same(model.name, name) for name in args.models)]
    unknown = [name for name in args.models if not any(same(model.name, name) for model in index.models)]
    if unknown:
        what = f"The backup has no model {clean_name(unknown[0], 80)}"
        raise PaddockError.of(what, clean_name(args.source), "See paddock restore-backup without names", FailureKind.NOT_FOUND)
    await _in_background(told, lambda: verify(archive, index, progress=told, stopped=told.stop.is_set))
    if not wanted and not args.config:
        return _list(context, index)
    context.allow("Restoring a backup", destructive=True)
    code, done = DONE, list[str]()
    for provider, saved in await _places(context, wanted) if wanted else ():
        code = worse(code, await _restore(context, provider, archive, saved, told, done))
    if args.config:
        with context.audit.noting("restore configuration", clean_name(str(context.paths.config_file))):
            at = SYSTEM.time()
            files = await in_daemon_thread(lambda: restore_configuration(archive, index, context.paths.config_file, at))
        done += files
        message("The configuration is restored; what was there ends in .before-…" if files else "The configuration is the same already.")
    if context.json:
        emit({"restored": done})
    return code


async def _places(context: Context, wanted: Sequence[SavedModel]) -> list[tuple[Provider, SavedModel]]:
    """Each on the server that it is from, where that can make models, else on the default, or all on `--on`.

    Of models that would get one name on one server only the one from there is restored, else the first; that is said.
    """
    first = await _maker(context)
    able = {first.endpoint.name: first}
    if not context.args.on and any(saved.provider != first.endpoint.name for saved in wanted):
        everybody = await context.everybody()
        able |= {one.provider.endpoint.name: one.provider for one in everybody if Capability.CREATE in one.provider.capabilities}
    makers, found = list(able), dict[tuple[str, str], tuple[Provider, SavedModel]]()
    for saved in sorted(wanted, key=lambda one: one.provider != target_of(one, makers)):
        provider = able[target_of(saved, makers)]
        key = (provider.endpoint.name, normal(saved.name))
        if key in found:
            other = clean_name(found[key][1].provider)
            message(f"{saved.name} of {clean_name(saved.provider)} is left out: {key[0]} gets the one of {other}.")
            continue
        found[key] = (provider, saved)
    return list(found.values())


async def _restore(context: Context, provider: Provider, archive: Archive, saved: SavedModel, told: _Told, done: list[str]) -> int:
    name, replaces = saved.name, context.args.yes
    if find(await provider.models(), name) is not None and not replaces:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            message(f"{name} is installed already: it was left as it is. --yes replaces it.")
            return REFUSED
        if not await ask(f"{name} on {provider.endpoint.name} is there already. Replace it? It is kept as an earlier version."):
            return DONE
        replaces = True
    try:
        with context.audit.noting("restore", f"{provider.endpoint.name}/{name}"):
            scratch = context.paths.cache / "restoring"
            kept = await restore_model(provider, archive, saved, scratch, SYSTEM, replaces=replaces, told=told)
    except PaddockError as error:
        told.end()
        report(error.failure)
        return FAILED
    told.end()
    done.append(name)
    await _noted(context, provider, name, EventKind.RESTORED, "from a backup")
    message(f"{name} is restored on {provider.endpoint.name}{'; what was there is an earlier version' if kept else ''}.")
    return DONE


async def _maker(context: Context) -> Provider:
    from tui.cli.make import maker

    return await maker(context)


def _list(context: Context, index: Index) -> int:
    if context.json:
        emit(_listed(index))
        return DONE
    rows = [
        [model.name, model.provider, model_words(model), usable(model) and "only where the server has its weights"]
        for model in index.models
    ]
    if rows:
        table(("MODEL", "FROM", "IN IT", ""), rows)
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(index.made_at))
    config = ", the configuration" if index.configuration else ""
    message(f"The backup is whole: {len(index.files)} files{config}, {context.size(index.size)}, made {made} by {index.by}.")
    message("Nothing was restored: name models of it, or give --all or --config.")
    return DONE


def _listed(index: Index) -> dict[str, Any]:
    models = [{"name": one.name, "provider": one.provider, "size": one.size, "whole": one.whole, "why": one.why} for one in index.models]
    return {"models": models, "configuration": list(index.configuration), "size": index.size, "made_at": index.made_at, "by": index.by}
