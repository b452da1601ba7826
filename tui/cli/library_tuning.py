"""optimise, quantize, levels: what makes a model faster or smaller, measured."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tui.cli.context import Context
from tui.cli.limited import within_limits
from tui.cli.output import DONE, FAILED, emit, line, message, table
from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.fit import NOTHING, Lessons
from tui.core.jobs import JobKind
from tui.core.levels import LEVELS, LevelFigures, expected_size, head_share, level_name, level_named
from tui.core.models import Location, Model, ModelDetail, Origin, ProviderState, ProviderStatus
from tui.core.names import normal, same
from tui.core.tuning import Optimised, OptimiseState, Proposal
from tui.hardware.sample import Sample
from tui.providers.base import Provider
from tui.services.library import tuning_work
from tui.services.library.fits_words import served_for
from tui.services.library.tuning_words import figures, interrupted, not_quantizable, ordered, outcome, quantizable, siblings
from tui.services.machine import machine_of
from tui.services.monitor.profile_words import rate
from tui.services.space import runs_here
from tui.store.tunings import Tunings
from tui.text import clean_name, duration

ASKED_BY = "command line"


# --- optimise --------------------------------------------------------------------------------------------------------


async def optimise(context: Context) -> int:
    """Propose options for a model on this machine; with --apply try them, and keep them where they are better."""
    if not context.settings.optimise.enabled:
        raise PaddockError.of("Nothing is proposed", "optimise.enabled = false", "Change optimise.enabled", FailureKind.REFUSED)
    provider, model = await context.with_model(context.args.model, context.args.on, alone=True)
    model = await tuning_work.with_abilities(provider, model)
    if refused := tuning_work.refusal(provider, model):
        raise PaddockError.of(refused, provider.endpoint.name, "Choose another model", FailureKind.UNSUPPORTED)
    if not context.options.demo and not runs_here(provider.endpoint, context.settings):
        what = f"{provider.endpoint.name} is not on this machine: what is good for it is not known here"
        raise PaddockError.of(what, provider.endpoint.url, "Run paddock optimise there", FailureKind.UNSUPPORTED)
    proposal = await _proposal(context, provider, model)
    if not context.args.apply:
        if context.json:
            emit(_plain(proposal))
        else:
            _tell(proposal)
            if proposal.changes:
                message("Nothing is changed. --apply measures with and without, and keeps what is better.")
        return DONE
    context.allow("Optimising a model")
    if not proposal.changes:
        if context.json:
            emit({**_plain(proposal), "result": None})
        else:
            _tell(proposal)
        return DONE
    if not context.json:
        _tell(proposal)
    async with _tools(context, provider) as tools:
        row = await tuning_work.optimise(tools, model, proposal, proposal.changes)
    return _ended(context, proposal, row)


async def _proposal(context: Context, provider: Provider, model: Model) -> Proposal:
    sample = await _sample(context)
    running = await provider.running() if Capability.RUNNING in provider.capabilities else ()
    state = ProviderState(provider.endpoint, Origin.CONFIG, ProviderStatus.UP, location=Location.HERE)
    machine = machine_of(sample, [state], running)
    if machine is None or not model.size:
        what = f"The size of {model.name} is not known" if machine is not None else "This machine's memory is not known"
        raise PaddockError.of(what, provider.endpoint.name, "See paddock doctor", FailureKind.NOT_FOUND)
    served = served_for(context.settings.optimise, provider.endpoint.kind, (await provider.check()).version)
    here = tuning_work.Here(machine, sample.cpu.physical, served, _lessons(context))
    loaded = next((one for one in running if same(one.key, model.key)), None)
    return tuning_work.propose_for(context.settings, here, model, await _detail(provider, model), loaded)


async def _sample(context: Context) -> Sample:
    """This machine now; the demo's is its own."""
    from tui.cli.monitoring import measure

    return await measure(context, frozenset())


def _lessons(context: Context) -> Lessons:
    """What loads taught; nothing where the database cannot be read."""
    from tui.store.load_memory import LoadMemory

    if not context.paths.database.exists():
        return NOTHING
    try:
        return Lessons(LoadMemory(context.database(write=False)).all())
    except PaddockError:
        return NOTHING


async def _detail(provider: Provider, model: Model) -> ModelDetail | None:
    if Capability.SHOW not in provider.capabilities:
        return None
    try:
        return await provider.show(model.key)
    except PaddockError:
        return None


def _tell(proposal: Proposal) -> None:
    line(f"{clean_name(proposal.model)} on {clean_name(proposal.provider)}: {proposal.fits}.")
    if not proposal.changes:
        line("There is nothing to propose: it is loaded as well as it can be, as far as can be told.")
    for change in proposal.changes:
        line(f"  {change.diff}   {change.effect}")
    for more in (*proposal.held, *proposal.advice):
        line(f"  {more}{'' if more.endswith('.') else '.'}")
    for smaller in proposal.smaller:
        how = f"paddock pull {smaller.name}" if smaller.pull else f"paddock quantize {clean_name(proposal.model)} {smaller.name}"
        line(f"  {smaller.words}: {how}")


def _plain(proposal: Proposal) -> dict[str, Any]:
    return {
        "provider": proposal.provider,
        "model": proposal.model,
        "fits": proposal.fits,
        "changes": proposal.changes,
        "advice": proposal.advice,
        "smaller": proposal.smaller,
        "held": proposal.held,
    }


def _ended(context: Context, proposal: Proposal, row: Optimised) -> int:
    if context.json:
        emit({**_plain(proposal), "result": row})
        return DONE
    pairs = zip(figures(row.before), figures(row.after), strict=True)
    line()
    table(("", "BEFORE", "AFTER"), [(name, before, after) for (name, before), (_name, after) in pairs], right=(1, 2))
    line()
    line(f"{outcome(row)}.")
    if row.state == OptimiseState.KEPT:
        message("It is written to [models.options] of the configuration file; paddock config shows it.")
    return DONE


@asynccontextmanager
async def _tools(context: Context, provider: Provider) -> AsyncIterator[tuning_work.Tools]:
    """What the work needs; steps are told on standard error where somebody looks."""

    async def may_load(model: Model) -> Failure | None:
        try:
            async with within_limits(context, provider, model, "loaded"):
                return None
        except PaddockError as error:
            return error.failure

    said: list[str] = []

    def told(step: str) -> None:
        if sys.stderr.isatty() and not context.json and step not in said[-1:]:
            said.append(step)
            message(f"  {step} …")

    database = context.database()
    kept = None if database.read_only else Tunings(database)
    for row in await kept.take_interrupted() if kept is not None else ():
        message(f"{interrupted(row)}.")
    yield tuning_work.Tools(provider, context.config, kept, context.audit, SYSTEM, may_load, told)


# --- quantize --------------------------------------------------------------------------------------------------------


async def quantize(context: Context) -> int:
    """Queue the making of levels of a model; without a level, tell which there are."""
    provider, model = await context.with_model(context.args.model, context.args.on, alone=True)
    if Capability.CREATE not in provider.capabilities:
        what = f"{provider.endpoint.name} cannot make models"
        raise PaddockError.of(what, f"kind {provider.endpoint.kind}", "Choose another with --on", FailureKind.UNSUPPORTED)
    if refused := not_quantizable(model):
        remedy = "Choose a model with whole weights, like an -fp16 tag"
        raise PaddockError.of(refused, provider.endpoint.name, remedy, FailureKind.BAD_REQUEST)
    if not context.args.levels:
        return await _offer(context, provider, model)
    context.allow("Making a model", destructive=True)
    levels = [known.name if (known := level_named(level)) is not None else level for level in context.args.levels]
    names = [context.args.name] if context.args.name else [level_name(model.key, level) for level in levels]
    if len(names) != len(levels):
        raise PaddockError.of("One name is for one level", "--name", "Give one level, or leave the name out", FailureKind.CONFIG)
    wanted = quantizable(model, zip(levels, names, strict=True), await provider.models())
    endpoint, jobs = context.endpoint_of(provider), []
    for level, name in wanted:
        with context.audit.noting("queue quantize", f"{endpoint.name}/{name}", asked_by=ASKED_BY):
            arguments = {"from": model.key, "quantize": level}
            jobs.append(await context.jobs().add(name, endpoint, JobKind.QUANTIZE, arguments, ASKED_BY))
    if context.args.wait:
        from tui.cli.waiting import wait_for

        return await wait_for(context, [job.id for job in jobs])
    if context.json:
        emit({"jobs": jobs})
    else:
        for job in jobs:
            message(f"The making of {job.model} is queued as {job.id} for {clean_name(endpoint.name)}; see paddock pulls.")
    return DONE


async def _offer(context: Context, provider: Provider, model: Model) -> int:
    share = head_share(await _detail(provider, model))
    quantization = model.quantization or "F16"
    offered = [
        (level, expected_size(model.size, quantization, level, share) if model.size else None, level_name(model.key, level.name))
        for level in LEVELS
    ]
    if context.json:
        levels = [
            {"level": level.name, "size": small, "estimate": True, "loss": level.loss, "name": name} for level, small, name in offered
        ]
        emit({"provider": provider.endpoint.name, "model": model.name, "size": model.size, "levels": levels})
        return DONE
    rows = [(level.name, f"~{context.size(small)}", name, level.loss) for level, small, name in offered]
    table(
        ("LEVEL", "SIZE", "NAME", "LOSS"),
        [(clean_name(model.quantization) or "now", context.size(model.size), model.name, "–"), *rows],
        right=(1,),
    )
    message(f"paddock quantize {clean_name(model.name)} LEVEL... makes them.")
    return DONE


# --- levels ----------------------------------------------------------------------------------------------------------


async def levels(context: Context) -> int:
    """Tell how the levels of a model did beside each other; with --run, measure them first."""
    provider, model = await context.with_model(context.args.model, context.args.on, alone=True)
    installed = await provider.models()
    chosen = _chosen(context.args.others, model, installed)
    base = chosen[0]
    if context.args.run:
        context.allow("Measuring levels")
        if len(chosen) < 2:
            remedy = "Name the others, or make one with paddock quantize"
            raise PaddockError.of(f"There is no other level of {model.name}", provider.endpoint.name, remedy, FailureKind.NOT_FOUND)
        async with _tools(context, provider) as tools:
            rows = await tuning_work.benchmark(tools, base, chosen[1:])
        _show(context, base, rows, chosen)
        return FAILED if any(row.problem for row in rows) else DONE
    known = Tunings(context.database(write=False)).levels()
    names = {normal(one.key) for one in chosen} | {normal(model.key)}
    rows = next(
        (rows for (on, _base), rows in known.items() if on == provider.endpoint.name and any(row.model in names for row in rows)), ()
    )
    _show(context, base, rows, chosen)
    return DONE


def _chosen(others: Sequence[str], model: Model, installed: Sequence[Model]) -> tuple[Model, ...]:
    """The models that are compared, the largest first: those named, else what seems to be the same model at another level."""
    if not others:
        return ordered(siblings(model, installed))
    found = [model]
    for name in others:
        one = next((one for one in installed if same(one.key, name) or one.name == name), None)
        if one is None:
            raise PaddockError.of(f"There is no model {clean_name(name, 80)}", model.provider, "See paddock ls", FailureKind.NOT_FOUND)
        if one.key not in [other.key for other in found]:
            found.append(one)
    return ordered(found)


def _show(context: Context, base: Model, rows: Sequence[LevelFigures], chosen: Sequence[Model]) -> None:
    digests = {normal(model.key): model.digest for model in chosen}
    if context.json:
        emit({"provider": base.provider, "base": base.name, "levels": rows})
        return
    if not rows:
        line(f"Nothing was measured of {', '.join(model.name for model in chosen)}.")
        message("paddock levels MODEL --run measures them: each is loaded anew and asked a few fixed prompts.")
        return
    table(
        ("LEVEL", "MODEL", "SIZE", "MEMORY", "LOAD", "TOK/S", "PROMPT", "AGREES", "WHEN"),
        [_row(context.size, row, digests) for row in rows],
        right=(2, 3, 4, 5, 6, 7),
    )
    cut = max((row.cut for row in rows), default=0)
    asked = max((row.asked for row in rows), default=0)
    reference = next((row for row in rows if row.model == row.base), rows[0])
    note = f"; {cut} of {asked} answers were cut at their longest length" if cut else ""
    message(f"AGREES: share of words equal to those of {reference.model}, up to the first that differs{note}. Its own: asked twice.")


def _row(size: Callable[[float | None], str], row: LevelFigures, digests: dict[str, str]) -> tuple[str, ...]:
    age = duration(max(0.0, SYSTEM.time() - row.at))
    changed = row.model in digests and row.digest and digests[row.model] != row.digest
    when = f"{age} ago{', of another version' if changed else ''}"
    if row.problem:
        return (row.level, row.model, size(row.size), "–", "–", "–", "–", "–", row.problem)
    agrees = "–" if row.agreement is None else f"{100 * row.agreement:.0f} %"
    return (
        row.level, row.model, size(row.size), size(row.memory), duration(row.load_seconds), rate(row.rate), rate(row.prompt_rate),
        agrees, when,
    )  # fmt: skip
