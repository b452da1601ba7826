"""The verdicts of installed models, for ls and compare: this machine measured once, each server asked what it has in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tui.cli.context import CAP, Context
from tui.cli.output import message
from tui.core.errors import PaddockError
from tui.core.models import Model, ModelDetail, ModelKey, RunningModel
from tui.providers.base import Provider

if TYPE_CHECKING:
    from tui.hardware.sample import Sample


async def verdicts(
    context: Context,
    providers: Sequence[Provider],
    models: Sequence[Model],
    details: Mapping[ModelKey, ModelDetail],
    running: Mapping[str, Sequence[RunningModel]],
    sample: Sample | None = None,
    *,
    say: bool = True,
) -> dict[ModelKey, str]:
    """What fits at 8k of context, in words, by provider and exact name; a server elsewhere whose memory nobody said has no verdicts.

    Args:
        context: Of the command.
        providers: The servers.
        models: Of them all.
        details: What servers said of models; of others the formulas go by size and number of weights.
        running: What each server has in memory.
        sample: This machine, where it was measured before.
        say: Tell on standard error of which server nothing is known, and why.
    """
    from tui.cli.library_fit import AT, known_here, state_of
    from tui.core.fit import judge, need_of, subject_of

    async def on(provider: Provider) -> dict[ModelKey, str]:
        name, found = provider.endpoint.name, dict[ModelKey, str]()
        there = running.get(name, ())
        try:
            async with asyncio.timeout(CAP):
                state = await state_of(context, provider)
            known = await known_here(context, state, there, sample=sample)
        except (PaddockError, TimeoutError) as error:
            if say:
                why = error.failure.sentence() if isinstance(error, PaddockError) else f"{name} did not answer in {CAP:g} s"
                message(f"Not known what fits: {why}.")
            return {}
        loaded = {(one.provider, one.key) for one in there}
        for model in models:
            if model.provider != name or model.remote:
                continue
            key = (name, model.key)
            if (subject := subject_of(model, details.get(key))) is not None:
                need = need_of(subject, min(AT, model.context or AT), known.served, known.lessons)
                is_loaded = model.loaded or key in loaded
                found[key] = judge(need, known.machine, known.served, loaded=is_loaded, pace=known.pace).verdict.value
        return found

    found: dict[ModelKey, str] = {}
    for one in await asyncio.gather(*(on(provider) for provider in providers)):
        found |= one
    return found
