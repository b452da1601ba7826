"""cp, rm, load, unload: done only when the server's own lists say so."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

from tui.cli.context import Context, wrong_usage
from tui.cli.limited import within_limits
from tui.cli.output import DONE, FAILED, USAGE, ask, emit, message, report
from tui.config.kinds import KeepAlive
from tui.core.capabilities import Capability
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Model, RunningModel
from tui.core.names import parse, same
from tui.providers.base import Provider
from tui.text import clean_name, duration

PATIENCE: float = 120.0
"""Seconds until an unload that did not happen counts as failed; running requests end first."""
POLL: float = 0.2
_NEVER: Final = ("0", "0s", "0m", "0h", "0ms")


def _able(provider: Provider, capability: Capability, what: str) -> None:
    if capability not in provider.capabilities:
        name = provider.endpoint.name
        raise PaddockError.of(
            f"{name} cannot {what}", f"kind {provider.endpoint.kind}", "Choose another with --on", FailureKind.UNSUPPORTED
        )


async def cp(context: Context) -> int:
    """Give a model a second name."""
    context.allow("Copying a model")
    try:
        new = str(parse(context.args.new))
    except PaddockError as error:
        raise wrong_usage(error) from None
    provider, model = await context.with_model(context.args.model, context.args.on, alone=True)
    name = provider.endpoint.name
    _able(provider, Capability.COPY, "copy models")
    if any(same(other.key, new) for other in await provider.models()):
        raise PaddockError.of(f"There is a model named {new} already", name, "Choose another name", FailureKind.BAD_REQUEST)
    with context.audit.noting("copy", f"{name}/{model.key}", to=new):
        await provider.copy(model.key, new)
        if not any(same(other.key, new) for other in await provider.models()):
            what = f"The server copied {model.name}, but {new} is not in its list"
            raise PaddockError.of(what, name, "See paddock ls", FailureKind.SERVER)
    return _said(context, f"{model.name} on {name} is now also named {new}.", model.name, name)


async def rm(context: Context) -> int:
    """Delete models, after asking; all names must be known before anything is deleted."""
    context.allow("Deleting a model", destructive=True)
    if not context.args.yes and not sys.stdin.isatty():
        message("Nothing was deleted: there is nobody to ask. Add --yes.")
        return USAGE
    chosen: list[tuple[Provider, Model]] = []
    for name in dict.fromkeys(context.args.models):
        provider, model = await context.with_model(name, context.args.on, alone=True)
        _able(provider, Capability.DELETE, "delete models")
        if (provider.endpoint.name, model.key) not in [(one.endpoint.name, other.key) for one, other in chosen]:
            chosen.append((provider, model))
    if not context.args.yes:
        names = ", ".join(f"{model.name} ({context.size(model.size)}) on {provider.endpoint.name}" for provider, model in chosen)
        if not await ask(f"Delete {names}?"):
            message("Nothing was deleted.")
            return FAILED
    code = DONE
    for provider, model in chosen:
        try:
            await _delete(context, provider, model)
        except PaddockError as error:
            code = report(error.failure)
            continue
        _said(context, f"{model.name} was deleted from {provider.endpoint.name}.", model.name, provider.endpoint.name)
    return code


async def _delete(context: Context, provider: Provider, model: Model) -> None:
    name = provider.endpoint.name
    if await _running(provider, model.key) is not None:
        await _unload(context, provider, model)
    with context.audit.noting("delete", f"{name}/{model.key}"):
        await provider.delete(model.key)
        if any(other.key == model.key for other in await provider.models()):
            raise PaddockError.of(f"{model.name} is still listed", name, "See paddock ls, and the server's log", FailureKind.SERVER)


async def load(context: Context) -> int:
    """Load a model into memory; done when the server lists it there."""
    context.allow("Loading a model")
    try:
        keep = KeepAlive().check(context.args.for_)
    except ValueError:
        shown = clean_name(context.args.for_, 40)
        raise PaddockError.of(f"{shown} is not a time", "--for", "Write it like 10m, or -1 for ever", FailureKind.CONFIG) from None
    if keep in _NEVER:
        raise PaddockError.of("A model that stays for no time is not loaded", "--for", "Use paddock unload", FailureKind.CONFIG)
    provider, model = await context.with_model(context.args.model, context.args.on)
    name = provider.endpoint.name
    _able(provider, Capability.LOAD, "load a model on request; it does when it is asked something")
    began = time.monotonic()
    async with within_limits(context, provider, model, "loaded"):
        await _load(context, provider, model, keep)
    there = await _running(provider, model.key)
    took = duration(time.monotonic() - began)
    memory = f", {context.size(there.size)} of memory" if there is not None and there.size else ""
    return _said(context, f"{model.name} is loaded on {name} after {took}{memory}.", model.name, name)


async def _load(context: Context, provider: Provider, model: Model, keep: str) -> None:
    name = provider.endpoint.name
    with context.audit.noting("load", f"{name}/{model.key}"):
        await provider.load(model.key, keep_alive=keep or provider.endpoint.keep_alive)
        there = await _running(provider, model.key)
        if there is None and Capability.RUNNING in provider.capabilities:
            remedy = "Look at its keep_alive and at the server's log"
            raise PaddockError.of(f"{model.name} was loaded and is gone again", name, remedy, FailureKind.SERVER)


async def unload(context: Context) -> int:
    """Take a model out of memory; done when the server no longer lists it there."""
    context.allow("Unloading a model")
    provider, model = await context.with_model(context.args.model, context.args.on)
    name = provider.endpoint.name
    _able(provider, Capability.UNLOAD, "unload a model on request")
    if Capability.RUNNING in provider.capabilities and await _running(provider, model.key) is None:
        return _said(context, f"{model.name} is not in memory on {name}.", model.name, name)
    await _unload(context, provider, model)
    sure = Capability.RUNNING in provider.capabilities
    return _said(
        context, f"{model.name} is unloaded from {name}." if sure else f"{name} was asked to unload {model.name}.", model.name, name
    )


async def _running(provider: Provider, key: str) -> RunningModel | None:
    if Capability.RUNNING not in provider.capabilities:
        return None
    return next((one for one in await provider.running() if one.key == key or same(one.key, key)), None)


async def _unload(context: Context, provider: Provider, model: Model) -> None:
    """Ask for an unload and wait until it has happened.

    Raises:
        PaddockError: It is still in memory after `PATIENCE` seconds.
    """
    name = provider.endpoint.name
    with context.audit.noting("unload", f"{name}/{model.key}"):
        began, told = time.monotonic(), False
        await provider.unload(model.key)
        while await _running(provider, model.key) is not None:
            waited = time.monotonic() - began
            if waited > PATIENCE:
                what = f"{model.name} is still in memory after {duration(PATIENCE)}"
                raise PaddockError.of(what, name, "Wait for the request that uses it, then try again", FailureKind.BUSY)
            if waited > 2.0 and not told:
                told = True
                message(f"{model.name} is still used; waiting for it to end (ctrl+c stops waiting).")
            await asyncio.sleep(POLL)


def _said(context: Context, text: str, model: str, provider: str) -> int:
    if context.json:
        emit({"ok": True, "command": context.args.command, "model": model, "provider": clean_name(provider)})
    else:
        message(text)
    return DONE
