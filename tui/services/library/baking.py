"""Another configuration made part of a model: the server makes it anew out of itself, with the same weights.

It is done at once and not by the queue: a create out of a model that is there takes a moment, and whoever asked for it
wants to go on with it. What the name stood for before is kept as an earlier version.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from tui.core.capabilities import Capability
from tui.core.errors import FailureKind, PaddockError
from tui.core.names import parse, same
from tui.core.recipe import Recipe, create_fields, recipe_of
from tui.core.record import record
from tui.services.library.keep_now import find, gone, keep_version, versions_of

if TYPE_CHECKING:
    from tui.core.clock import Clock
    from tui.core.models import Model
    from tui.providers.base import Provider


@record(frozen=True)
class Baked:
    """What was made: its name and digest; `kept` is the name of what stood there before, or empty."""

    name: str
    digest: str
    kept: str = ""


async def bake(
    provider: Provider,
    model: str,
    name: str,
    old: Recipe,
    new: Recipe,
    clock: Clock,
    *,
    replaces: bool = False,
    told: Callable[[str], None] = lambda _status: None,
) -> Baked:
    """Make a model out of another, or anew out of itself.

    Args:
        provider: Its server.
        model: What it is made from.
        name: Of what is made; may be the same.
        old: As the model was when the change was thought of.
        new: As it is to be.
        clock: Tells the second that names a kept version.
        replaces: Whether another model of that name may be replaced; it is kept as an earlier version.
        told: Called with the words of the server.

    Raises:
        PaddockError: It changed meanwhile, the name is taken or none, or the server refused. Nothing is lost.
    """
    where = provider.endpoint.name
    if Capability.CREATE not in provider.capabilities:
        raise PaddockError.of(f"{where} cannot make models", f"kind {provider.endpoint.kind}", "Choose another", FailureKind.UNSUPPORTED)
    target = str(parse(name))
    models = await provider.models()
    source, there = find(models, model), find(models, target)
    if source is None:
        raise gone(model, where)
    if source.remote:
        raise PaddockError.of(f"{source.name} runs in a cloud: nothing can be made from it", where, "Choose another model")
    if there is not None and not replaces and not same(target, source.key):
        raise PaddockError.of(f"There is a model named {target} already", where, "Choose another name", FailureKind.REFUSED)
    made = await provider.made_of(source.key)
    if recipe_of(made) != old:
        what = f"{source.name} was changed meanwhile: nothing was done"
        raise PaddockError.of(what, where, "Look at what it carries now, and change it again", FailureKind.REFUSED)
    fields = create_fields(source.key, made, old, new)
    before = {kept.key for kept, _ in versions_of(models, target)}
    kept = await keep_version(provider, there.key, clock) if there is not None else ""
    try:
        await created(provider, target, fields, told)
    except BaseException:
        if there is not None and kept not in before:
            with contextlib.suppress(PaddockError):
                await _unneeded(provider, there, kept)
        raise
    listed = find(await provider.models(), target)
    if listed is None:
        raise PaddockError.of(f"The server made {target}, and its list lacks it", where, "Refresh with r", FailureKind.SERVER)
    return Baked(target, listed.digest, kept)


async def created(provider: Provider, name: str, fields: dict[str, object], told: Callable[[str], None] = lambda _status: None) -> None:
    """Have a model made; returns once the server said success."""
    steps = provider.create(name, fields)
    try:
        async for step in steps:
            told(step.status)
    finally:
        if isinstance(steps, AsyncGenerator):
            await steps.aclose()


async def _unneeded(provider: Provider, there: Model, kept: str) -> None:
    """Drop the version that was kept for nothing: what it was copied from is as it was."""
    now = find(await provider.models(), there.key)
    if now is not None and now.digest and now.digest == there.digest:
        await provider.delete(kept)
