"""ps, and words that lists share."""

from __future__ import annotations

import asyncio
import time

from tui.cli.context import CAP, Context, Listed, late, named_failure
from tui.cli.output import DASH, DONE, FAILED, emit, exit_code, message, report, table
from tui.core.capabilities import Capability
from tui.core.errors import Failure, PaddockError
from tui.core.models import RunningModel
from tui.text import duration, tokens


def when(moment: float | None) -> str:
    """How long ago, for tables; a dash where not known."""
    if moment is None:
        return DASH
    seconds = time.time() - moment
    return "just now" if seconds < 60 else f"{duration(seconds)} ago"


async def loaded(listed: Listed) -> tuple[RunningModel, ...] | Failure:
    """What a server has in memory; nothing where it does not tell."""
    endpoint = listed.provider.endpoint
    if Capability.RUNNING not in listed.provider.capabilities:
        return ()
    try:
        async with asyncio.timeout(CAP):
            return await listed.provider.running()
    except PaddockError as error:
        return named_failure(endpoint, error.failure)
    except TimeoutError:
        return late(endpoint)


async def ps(context: Context) -> int:
    """List models in memory; 1 where a server that was asked did not answer."""
    everybody = await context.everybody(context.args.on)
    answers = await asyncio.gather(*(loaded(listed) for listed in everybody))
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    running = [model for answer in answers if not isinstance(answer, Failure) for model in answer]
    for failure in failures:
        report(failure)
    code = exit_code(failures[0]) if failures and len(failures) == len(answers) else FAILED if failures or context.failed else DONE
    if context.json:
        emit({"running": running, "failures": [*context.failed, *failures]})
        return code
    mute = [provider.endpoint.name for provider, _ in everybody if Capability.RUNNING not in provider.capabilities]
    if mute:
        message(f"{', '.join(mute)} does not tell what is in memory.")
    if not running:
        if len(failures) + len(mute) < len(answers):
            message("Nothing is in memory.")
        return code
    table(
        ("MODEL", "PROVIDER", "MEMORY", "ON GPU", "CONTEXT", "UNLOADS IN"),
        [
            (model.name, model.provider, context.size(model.size), _on_gpu(context, model), tokens(model.context), _until(model))
            for model in running
        ],
        right=(2, 3, 4),
    )
    return code


def _on_gpu(context: Context, model: RunningModel) -> str:
    if model.vram is None or not model.size:
        return context.size(model.vram)
    return "none" if not model.vram else "all" if model.vram >= model.size else f"{100 * model.vram / model.size:.0f}%"


def _until(model: RunningModel) -> str:
    if model.stopping:
        return "stopping"
    if model.pinned:
        return "stays"
    return DASH if model.expires_at is None else duration(max(0.0, model.expires_at - time.time()))
