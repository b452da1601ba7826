"""[limits] before a command makes a server of this machine work."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from tui.cli.context import Context
from tui.cli.output import ask, message
from tui.core.capabilities import Capability
from tui.core.errors import PaddockError
from tui.core.fit import need_of, subject_of
from tui.core.models import Model, RunningModel
from tui.core.names import same
from tui.providers.base import Provider
from tui.services.limits import Breach, check_here, refused, sentence

CONTEXT: Final = 8192
"""Tokens of context that a model's memory is estimated for."""
_AGAIN: Final = {"sent": "Send it all the same?", "loaded": "Load it all the same?"}


@contextlib.asynccontextmanager
async def within_limits(context: Context, provider: Provider, model: Model, what: str = "sent") -> AsyncIterator[None]:
    """Do what `limits.action` says where this machine is full; inside, text may be sent, or the model loaded.

    With `warn` that is a line on standard error, and nothing waits for the measuring. With `--force` it is one too.

    Raises:
        PaddockError: It is refused, or nobody says yes (kind REFUSED).
    """
    if context.options.demo:
        yield
        return
    target = f"{provider.endpoint.name}/{model.name}"
    action, force = context.settings.limits.action, bool(context.args.force)
    if action != "warn":
        told = await _full(context, provider, model)
        if told and force:
            _warn(context, target, told, "; --force")
        elif told:
            there = action == "ask" and sys.stdin.isatty() and sys.stderr.isatty()
            yes = there and await ask(f"This machine is full: {sentence(told)}. {_AGAIN[what]}")
            answer = f"; the answer was {'yes' if yes else 'no'}" if there else ""
            context.audit.write("limit asked" if there else "limit refused", target, f"{sentence(told)}{answer}")
            if not yes:
                failure = refused(told, what)
                raise PaddockError(replace(failure, remedy=f"{failure.remedy}, or give --force"))
        yield
        return

    async def warn() -> None:
        if told := await _full(context, provider, model):
            _warn(context, target, told)

    warning = asyncio.ensure_future(warn())
    try:
        yield
    finally:
        warning.cancel()
        await asyncio.wait({warning})


def _warn(context: Context, target: str, told: tuple[Breach, ...], how: str = "") -> None:
    context.audit.write("limit warned", target, f"{sentence(told)}{how}")
    message(f"This machine is full: {sentence(told)}.")


async def _full(context: Context, provider: Provider, model: Model) -> tuple[Breach, ...]:
    loaded: tuple[RunningModel, ...] = ()
    if Capability.RUNNING in provider.capabilities:
        with contextlib.suppress(PaddockError):
            loaded = await provider.running()
    there = any(one.key == model.key or same(one.name, model.name) for one in loaded)
    subject = subject_of(model)
    need = 0 if there else need_of(subject, min(CONTEXT, model.context or CONTEXT)).total if subject is not None else None
    return await check_here(context.settings, provider.endpoint, vram=sum(one.vram or 0 for one in loaded), need=need)
