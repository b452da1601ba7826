"""load, unload: done only when the server's own lists say so."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from tui.cli.context import Context
from tui.cli.limited import within_limits
from tui.cli.output import DONE, emit, message
from tui.config.kinds import KeepAlive
from tui.core.capabilities import Capability
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Model, RunningModel
from tui.core.names import same
from tui.providers.base import Provider
from tui.text import clean_name, duration

PATIENCE: float = 120.0
"""Seconds until an unload that did not happen counts as failed; running requests end first."""
POLL: float = 0.2
_NEVER: Final = ("0", "0s", "0m", "0h", "0ms")


def able(provider: Provider, capability: Capability, what: str) -> None:
    """Refuse what a kind of server cannot do."""
    if capability not in provider.capabilities:
        name = provider.endpoint.name
        raise PaddockError.of(
            f"{name} cannot {what}", f"kind {provider.endpoint.kind}", "Choose another with --on", FailureKind.UNSUPPORTED
        )


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
    able(provider, Capability.LOAD, "load a model on request; it does when it is asked something")
    began = time.monotonic()
    async with within_limits(context, provider, model, "loaded"):
        await _load(context, provider, model, keep)
    there = await running(provider, model.key)
    took = duration(time.monotonic() - began)
    memory = f", {context.size(there.size)} of memory" if there is not None and there.size else ""
    return said(context, f"{model.name} is loaded on {name} after {took}{memory}.", model.name, name)


async def _load(context: Context, provider: Provider, model: Model, keep: str) -> None:
    name = provider.endpoint.name
    with context.audit.noting("load", f"{name}/{model.key}"):
        await provider.load(model.key, keep_alive=keep or provider.endpoint.keep_alive)
        there = await running(provider, model.key)
        if there is None and Capability.RUNNING in provider.capabilities:
            remedy = "Look at its keep_alive and at the server's log"
            raise PaddockError.of(f"{model.name} was loaded and is gone again", name, remedy, FailureKind.SERVER)


async def unload(context: Context) -> int:
    """Take a model out of memory; done when the server no longer lists it there."""
    context.allow("Unloading a model")
    provider, model = await context.with_model(context.args.model, context.args.on)
    name = provider.endpoint.name
    able(provider, Capability.UNLOAD, "unload a model on request")
    if Capability.RUNNING in provider.capabilities and await running(provider, model.key) is None:
        return said(context, f"{model.name} is not in memory on {name}.", model.name, name)
    await unloaded(context, provider, model.key, model.name)
    sure = Capability.RUNNING in provider.capabilities
    return said(
        context, f"{model.name} is unloaded from {name}." if sure else f"{name} was asked to unload {model.name}.", model.name, name
    )


async def running(provider: Provider, key: str) -> RunningModel | None:
    """The model in memory; None where it is not, or the server does not tell."""
    if Capability.RUNNING not in provider.capabilities:
        return None
    return next((one for one in await provider.running() if one.key == key or same(one.key, key)), None)


async def unloaded(context: Context, provider: Provider, key: str, name: str) -> None:
    """Ask for an unload and wait until it has happened.

    Raises:
        PaddockError: It is still in memory after `PATIENCE` seconds.
    """
    where = provider.endpoint.name
    with context.audit.noting("unload", f"{where}/{key}"):
        began, told = time.monotonic(), False
        await provider.unload(key)
        while await running(provider, key) is not None:
            waited = time.monotonic() - began
            if waited > PATIENCE:
                what = f"{name} is still in memory after {duration(PATIENCE)}"
                raise PaddockError.of(what, where, "Wait for the request that uses it, then try again", FailureKind.BUSY)
            if waited > 2.0 and not told:
                told = True
                message(f"{name} is still used; waiting for it to end (ctrl+c stops waiting).")
            await asyncio.sleep(POLL)


def said(context: Context, text: str, model: str, provider: str, target: str = "") -> int:
    """Say that it is done, as words or as JSON; returns the code for that. `target` is the name that a model got."""
    if context.json:
        new = {"target": target} if target else {}
        emit({"ok": True, "command": context.args.command, "model": model, "provider": clean_name(provider), **new})
    else:
        message(text)
    return DONE
