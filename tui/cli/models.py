"""ls, ps, show, search, cp, rm, load, unload."""

from __future__ import annotations

import sys
import time

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, USAGE, block, emit, line, message, plain, report, table
from tui.core.capabilities import ABILITY_WORDS
from tui.core.errors import Failure, PaddockError
from tui.core.models import RunningModel
from tui.text import clean_name, count, duration, tokens


def _ago(moment: float | None) -> str:
    return "\u2013" if moment is None else f"{duration(max(0.0, time.time() - moment))} ago"


async def ls(context: Context) -> int:
    """List installed models."""
    found = await context.answering(context.args.on)
    models = [model for _, listed in found for model in listed]
    if context.json:
        emit({"models": models})
        return DONE
    rows = [
        (model.name, model.provider, context.size(model.size), model.parameters, model.quantization, _ago(model.modified_at))
        for model in models
    ]
    table(("MODEL", "PROVIDER", "SIZE", "PARAMETERS", "QUANTIZATION", "MODIFIED"), rows, right=(2,))
    return DONE


async def ps(context: Context) -> int:
    """List models in memory."""
    running: list[RunningModel] = []
    failures: list[Failure] = []
    answered = 0
    for provider, _ in await context.answering(context.args.on):
        try:
            running += await provider.running()
            answered += 1
        except PaddockError as error:
            failures.append(error.failure)
    codes = [report(failure) for failure in failures]
    if not answered and codes:
        return codes[0]
    if context.json:
        emit({"running": running})
        return DONE
    rows = []
    for model in running:
        until = "stays" if model.pinned else "\u2013" if model.expires_at is None else duration(max(0.0, model.expires_at - time.time()))
        rows.append((model.name, model.provider, context.size(model.size), context.size(model.vram), tokens(model.context), until))
    table(("MODEL", "PROVIDER", "SIZE", "VRAM", "CONTEXT", "UNLOADS IN"), rows, right=(2, 3, 4))
    return DONE


async def show(context: Context) -> int:
    """Tell about one model."""
    provider, model = await context.with_model(context.args.model, context.args.on)
    detail = await provider.show(model.key)
    if context.json:
        emit({**plain(model), **{key: value for key, value in plain(detail).items() if value not in (None, "")}})
        return DONE
    rows = [
        ("model", model.name), ("provider", model.provider), ("size", context.size(model.size)), ("family", detail.family),
        ("parameters", detail.parameters), ("quantization", detail.quantization), ("context", tokens(detail.context)),
        ("can", " ".join(word for ability, word in ABILITY_WORDS.items() if ability in detail.abilities)), ("digest", model.digest),
        *detail.options,
    ]  # fmt: skip
    for key, value in rows:
        if value:
            line(f"{clean_name(str(key), 40):<16}{clean_name(str(value), 300)}")
    for title, text in (("system", detail.system), ("template", detail.template), ("licence", detail.licence)):
        if text:
            line()
            line(title)
            block(text)
    return DONE


async def search(context: Context) -> int:
    """Search the built-in catalogue."""
    from tui.providers.library import load_library

    library = load_library()
    found = library.search(" ".join(context.args.text))
    if context.json:
        emit({"snapshot": library.snapshot, "models": found})
        return DONE
    rows = [
        (model.name, model.size_range, context.size(model.default.bytes if model.default else None), model.words, count(model.pulls))
        for model in found
    ]
    table(("MODEL", "SIZES", "DEFAULT", "CAN", "PULLS"), rows, right=(2, 4))
    message(f"{len(found)} models; facts of {library.snapshot}.")
    return DONE


async def cp(context: Context) -> int:
    """Give a model a second name."""
    context.allow("Copying a model")
    provider, model = await context.with_model(context.args.model, context.args.on)
    await provider.copy(model.key, context.args.new)
    return _said(context, f"{model.name} is now also {clean_name(context.args.new)}.", model.name, provider.endpoint.name)


async def rm(context: Context) -> int:
    """Delete models, after asking."""
    context.allow("Deleting a model", destructive=True)
    if not context.args.yes and not sys.stdin.isatty():
        message("Nothing was deleted: there is nobody to ask. Add --yes.")
        return USAGE
    chosen = [await context.with_model(name, context.args.on) for name in context.args.models]
    if not context.args.yes:
        names = ", ".join(f"{model.name} on {provider.endpoint.name}" for provider, model in chosen)
        print(f"Delete {names}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            message("Nothing was deleted.")
            return FAILED
    code = DONE
    for provider, model in chosen:
        try:
            await provider.delete(model.key)
        except PaddockError as error:
            code = report(error.failure)
            continue
        _said(context, f"{model.name} was deleted from {provider.endpoint.name}.", model.name, provider.endpoint.name)
    return code


async def load(context: Context) -> int:
    """Load a model into memory."""
    context.allow("Loading a model")
    provider, model = await context.with_model(context.args.model, context.args.on)
    keep = context.args.for_ or provider.endpoint.keep_alive
    await provider.load(model.key, keep_alive=keep)
    return _said(context, f"{model.name} is loaded.", model.name, provider.endpoint.name)


async def unload(context: Context) -> int:
    """Ask for an unload."""
    context.allow("Unloading a model")
    provider, model = await context.with_model(context.args.model, context.args.on)
    await provider.unload(model.key)
    return _said(context, f"{model.name} is unloaded, as soon as its requests are done.", model.name, provider.endpoint.name)


def _said(context: Context, text: str, model: str, provider: str) -> int:
    if context.json:
        emit({"ok": True, "command": context.args.command, "model": model, "provider": provider})
    else:
        message(text)
    return DONE
