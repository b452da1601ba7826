"""ls, ps, show."""

from __future__ import annotations

import asyncio
import contextlib
import time

from tui.cli.context import CAP, Context, Listed, late, named_failure
from tui.cli.output import DASH, DONE, FAILED, block, emit, exit_code, facts, line, message, plain, report, table
from tui.core.capabilities import ABILITY_WORDS, Capability
from tui.core.errors import Failure, PaddockError
from tui.core.models import Model, RunningModel
from tui.core.monitor import Profile
from tui.services.asks import excluded
from tui.services.monitor.profile_words import cost, speed
from tui.text import clean_name, count, duration, tokens


def when(moment: float | None) -> str:
    """How long ago, for tables; a dash where not known."""
    if moment is None:
        return DASH
    seconds = time.time() - moment
    return "just now" if seconds < 60 else f"{duration(seconds)} ago"


async def ls(context: Context) -> int:
    """List installed models; 1 where a server that was asked did not answer."""
    found = await context.everybody(context.args.on)
    preferred = {name: rank for rank, name in reversed(list(enumerate(context.settings.models.preferred)))}
    models = [model for _, listed in found for model in listed if not excluded(model.name, context.settings)]
    models.sort(key=lambda model: preferred.get(model.name, len(preferred)))
    code = FAILED if context.failed else DONE
    if context.json:
        emit({"models": models, "failures": context.failed})
        return code
    if not models:
        message(f"No models on {', '.join(provider.endpoint.name for provider, _ in found)}. Fetch one with paddock pull, as in qwen3:8b.")
        return code
    rows = [
        (
            model.name,
            model.provider,
            "cloud" if model.remote else context.size(model.size),
            model.parameters or DASH,
            model.quantization or DASH,
            when(model.modified_at),
        )
        for model in models
    ]
    table(("MODEL", "PROVIDER", "SIZE", "PARAMETERS", "QUANTIZATION", "CHANGED"), rows, right=(2, 3))
    return code


async def _loaded(listed: Listed) -> tuple[RunningModel, ...] | Failure:
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
    answers = await asyncio.gather(*(_loaded(listed) for listed in everybody))
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


async def show(context: Context) -> int:
    """Tell about one model."""
    provider, model = await context.with_model(context.args.model, context.args.on)
    detail = await provider.show(model.key)
    profile = _profile(context, model)
    if context.json:
        told = {key: value for key, value in plain(detail).items() if value not in (None, "")}
        emit({**plain(model), **told, "profile": profile if profile.answers else None})
        return DONE
    facts(
        [
            ("model", model.name),
            ("provider", model.provider),
            ("runs at", clean_name(detail.remote_host) if model.remote else ""),
            ("size", context.size(model.size) if model.size is not None else ""),
            ("family", detail.family),
            ("parameters", detail.parameters),
            ("quantization", detail.quantization),
            ("context", f"{count(detail.context)} tokens" if detail.context else ""),
            ("can", ", ".join(word for ability, word in ABILITY_WORDS.items() if ability in detail.abilities)),
            ("digest", model.digest[:12]),
            ("needs", f"Ollama {detail.requires}" if detail.requires else ""),
            ("here", speed(profile)),
            ("", cost(profile, binary=context.settings.appearance.units == "binary")),
            *((f"option {name}", value) for name, value in detail.options),
        ]
    )
    for title, text in (("system", detail.system), ("template", detail.template), ("licence", detail.licence)):
        if text:
            line()
            line(f"{title}:")
            block(text.strip("\n"))
    return DONE


def _profile(context: Context, model: Model) -> Profile:
    """How it did here; nothing where nothing was measured, or the database cannot be read."""
    if not context.paths.database.exists():
        return Profile()
    from tui.store.measurements import Measurements

    with contextlib.suppress(PaddockError):
        return Measurements(context.database(write=False)).profile(model.provider, model.key)
    return Profile()
