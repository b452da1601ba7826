"""fit: what fits on this machine, context by quantization, and what to run on it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from tui.cli.context import Context, wrong_usage
from tui.cli.output import DASH, DONE, FAILED, emit, line, message, report, table
from tui.core.capabilities import ABILITY_WORDS, Ability, Capability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.fit import SERVED, Fit, FitRow, FitTable, Lessons, Machine, Pace, Served, Source, Variant, contexts_of, make_table, pace_of
from tui.core.models import Location, Model, ModelDetail, Origin, ProviderState, ProviderStatus, RunningModel
from tui.core.names import parse
from tui.core.record import record
from tui.providers.base import Provider
from tui.services.library.fits_recommend import CONTEXT, FITTING, Recommendation, recommended
from tui.services.library.fits_text import (
    label_of,
    largest_text,
    legend,
    machine_text,
    mark_of,
    parse_tokens,
    rate_text,
    served_text,
    verdict_text,
)
from tui.services.library.fits_variants import longest, near_rows, of_catalogue, of_installed, row_of
from tui.services.library.fits_words import ran_of, served_for
from tui.services.machine import machine_of
from tui.services.space import runs_here
from tui.text import clean_name, count, size, tokens

if TYPE_CHECKING:
    from tui.hardware.sample import Sample
    from tui.providers.library import CatalogueModel, Library

NEAREST = 4
"""Tags that are named where another was asked about."""
AT = 8192
"""Tokens of context that a figure is told for where none is asked."""
WORDS = {word: ability for ability, word in ABILITY_WORDS.items()} | {ability.value: ability for ability in Ability}


@record(frozen=True)
class Known:
    """What estimates need: this machine, what loads taught, how fast memory is read, how the server runs models, what it has loaded."""

    machine: Machine
    lessons: Lessons
    pace: Pace
    served: Served = SERVED
    loaded: Mapping[str, int] = field(default_factory=dict)


async def fit(context: Context) -> int:
    """Tell what fits; 1 where what was asked about does not."""
    args = context.args
    at = _context(args.context)
    if args.recommend or args.can:
        if args.model:
            raise _usage("--recommend takes no model", "Leave one of them out")
        return await _recommend(context, at)
    if not args.model:
        raise _usage("Which model?", "Name one, or give --recommend")
    try:
        provider, model = await context.with_model(args.model, args.on)
    except PaddockError as error:
        kind = error.failure.kind
        missing = kind in (FailureKind.NOT_FOUND, FailureKind.UNREACHABLE, FailureKind.TIMEOUT)
        if not missing or _library().model(args.model) is None or args.on:
            raise
        return await _offered(context, args.model, at, await _installed(context) if kind is FailureKind.NOT_FOUND else ())
    details = await _details(provider, model)
    running = await _running(provider)
    state = await state_of(context, provider)
    known = await known_here(context, state, running, await provider.models(), details)
    variants = of_installed(model, details, await provider.models(), _library())
    if not variants:
        what = f"{provider.endpoint.name} does not tell how large {clean_name(model.name)} is"
        raise PaddockError.of(what, provider.endpoint.name, "Choose another model", FailureKind.UNSUPPORTED)
    return _tell(context, model.name, provider.endpoint.name, _judged(variants, known, at), known, variants[0])


def _usage(what: str, remedy: str) -> PaddockError:
    return wrong_usage(PaddockError.of(what, "paddock fit", remedy))


async def _installed(context: Context) -> list[Model]:
    """What the servers have that are asked first."""
    found, _failures = await context.ask(await context.endpoints())
    return [model for listed in found for model in listed.models]


def _library() -> Any:
    from tui.providers.library import load_library

    return load_library()


async def _details(provider: Provider, model: Model) -> dict[tuple[str, str], ModelDetail | Failure]:
    if Capability.SHOW not in provider.capabilities:
        return {}
    with contextlib.suppress(PaddockError):
        return {(model.provider, model.key): await provider.show(model.key)}
    return {}


async def _running(provider: Provider) -> tuple[RunningModel, ...]:
    if Capability.RUNNING in provider.capabilities:
        with contextlib.suppress(PaddockError):
            return await provider.running()
    return ()


async def state_of(context: Context, provider: Provider) -> ProviderState:
    """A server as it is, and whether it is on this machine."""
    here = context.options.demo or runs_here(provider.endpoint, context.settings)
    location = Location.HERE if here else Location.ELSEWHERE
    return ProviderState(provider.endpoint, Origin.CONFIG, ProviderStatus.UP, version=(await provider.check()).version, location=location)


async def known_here(
    context: Context,
    state: ProviderState | None,
    running: Sequence[RunningModel] = (),
    models: Sequence[Model] = (),
    details: dict[tuple[str, str], ModelDetail | Failure] | None = None,
    *,
    sample: Sample | None = None,
) -> Known:
    """Measure this machine, unless a sample of it is given, and read what was learned.

    Raises:
        PaddockError: It is another machine whose memory nobody said, or this one could not be measured.
    """
    from tui.cli.monitoring import measure

    lessons, profiles = await _learned(context)
    kind, version = (state.endpoint.kind, state.version) if state is not None else ("ollama", "")
    served = served_for(context.settings.optimise, kind, version)
    if state is not None and state.location is not Location.HERE:
        asked = context.settings.providers.get(state.name)
        if asked is None or not asked.vram:
            remedy = f"Set providers.{state.name}.vram to what its GPUs have"
            raise PaddockError.of(f"{state.name} is not on this machine: its memory is not known", state.name, remedy, FailureKind.CONFIG)
        return Known(Machine(0, 0, asked.vram, asked.vram, 1), lessons, Pace(ram=None), served)
    sample = sample or await measure(context, frozenset(), rates=False)
    machine = machine_of(sample, [state] if state is not None else [], running)
    if machine is None:
        raise PaddockError.of("This machine's memory could not be measured", "", "See paddock doctor", FailureKind.INTERNAL)
    pace = pace_of([gpu.name for gpu in sample.gpus], ran_of(profiles, models, details or {}))
    return Known(machine, lessons, pace, served, {one.key: one.vram or 0 for one in running})


async def _learned(context: Context) -> tuple[Lessons, dict[tuple[str, str], Any]]:
    """What loads and answers taught; nothing where nothing was measured, or the database cannot be read."""
    if context.paths.database.exists():
        from tui.store.load_memory import LoadMemory
        from tui.store.measurements import Measurements

        with contextlib.suppress(PaddockError):
            database = context.database(write=False)
            return Lessons(LoadMemory(database).all()), await Measurements(database).profiles()
    return Lessons(), {}


# --- the table -------------------------------------------------------------------------------------------------------


async def _offered(context: Context, name: str, at: int | None, installed: Sequence[Model]) -> int:
    """The table of a model of the catalogue; a tag that it does not have has no verdict."""
    library = _library()
    listed, tag = library.model(name), parse(name).tag
    tag = next((one.tag for one in listed.tags if one.tag.lower() == tag.lower()), tag)
    known = await known_here(context, None)
    variants = of_catalogue(listed, installed)
    meant, asked = row_of(listed, tag, variants), clean_name(f"{listed.name}:{tag}", 120)
    same_as = f" (that is {meant.label})" if meant is not None and meant.label != tag else ""
    message(f"{asked}{same_as} is not installed; sizes of the catalogue of {library.snapshot}.")
    code = _tell(context, listed.name, "", _judged(variants, known, at), known, meant)
    return code if meant is not None else report(_unknown(library, listed, tag, asked, variants))


def _unknown(library: Library, listed: CatalogueModel, tag: str, asked: str, variants: Sequence[Variant]) -> Failure:
    """Why nothing is reckoned for a tag, and for which it is."""
    found = listed.tag(tag)
    what = f"The catalogue of {library.snapshot} has no {asked}: nothing was reckoned for it"
    if (found is not None and found.cloud) or (listed.tags and all(one.cloud for one in listed.tags)):
        what = f"{asked} runs in a cloud only: it needs no memory here"
    elif found is not None or not listed.tags:
        what = f"The catalogue of {library.snapshot} does not know how large {asked} is"
    names = [variant.name for variant in near_rows(tag, variants)[:NEAREST]]
    remedy = f"Ask about {' or '.join(', '.join(names).rsplit(', ', 1))}" if names else "See paddock search"
    return Failure(what, "", remedy, FailureKind.NOT_FOUND)


def _judged(variants: Sequence[Variant], known: Known, at: int | None) -> FitTable:
    contexts = (at,) if at else contexts_of(longest(variants), 7)
    return make_table(variants, contexts, known.machine, known.served, known.lessons, known.pace, known.loaded)


def _tell(context: Context, title: str, provider: str, made: FitTable, known: Known, asked: Variant | None) -> int:
    """Print the table and, of what was asked about, a verdict; 1 where that does not fit, or is none of the rows."""
    own = next((row for row in made.rows if row.variant is asked), None)
    code = DONE if own is not None and _fits(own, context.args.context) else FAILED
    if context.json:
        emit(as_object(title, provider, made, known, own))
        return code
    if not made.rows:
        return code
    binary = context.settings.appearance.units == "binary"
    where = f" on {provider}" if provider else ""
    line(f"{clean_name(title)}{where}: {served_text(known.served)}.")
    line(f"{machine_text(known.machine, binary=binary)}.")
    line()
    _print_table(made, binary=binary)
    if own is not None:
        line()
        at = made.contexts.index(max((one for one in made.contexts if one <= AT), default=made.contexts[0]))
        line(f"{verdict_text(own, own.fits[at], made.contexts[at], binary=binary)} {largest_text(own)}")
    message(f"* installed, ~ by bits a weight; {legend(made, binary=binary)}.")
    return code


def _fits(row: FitRow, asked: str) -> bool:
    """Whether it fits at the context that was asked for, else at any."""
    shown = any(fit is not None and fit.verdict in FITTING for fit in row.fits)
    return shown or (not asked and row.largest is not None)


def _print_table(made: FitTable, *, binary: bool) -> None:
    rows = [
        (
            "*" if row.variant.source is Source.INSTALLED else "",
            label_of(row.variant),
            f"{'~' if row.variant.source is Source.COMPUTED else ''}{size(row.variant.subject.weights, binary=binary)}",
            *(mark_of(fit, binary=binary) or DASH for fit in row.fits),
            tokens(row.largest) if row.largest else "none",
        )
        for row in made.rows
    ]
    contexts = made.contexts
    table(("", "MODEL", "SIZE", *(tokens(at) for at in contexts), "LARGEST"), rows, right=tuple(range(2, 4 + len(contexts))))


def _context(text: str) -> int | None:
    if not text:
        return None
    found = parse_tokens(text)
    if found is None:
        raise _usage(f"{clean_name(text, 20)} is no number of tokens", "Write it like 8192 or 32k")
    return found


def as_object(title: str, provider: str, made: FitTable, known: Known, asked: FitRow | None) -> dict[str, Any]:
    """For JSON."""
    return {
        "model": title,
        "asked": asked.variant.name if asked is not None else None,
        "provider": provider,
        "machine": known.machine,
        "served": known.served,
        "contexts": made.contexts,
        "rows": [_row(row, made.contexts) for row in made.rows],
    }


def _row(row: FitRow, contexts: Sequence[int]) -> dict[str, Any]:
    variant = row.variant
    return {
        "label": variant.label,
        "name": variant.name,
        "quantization": variant.subject.quantization,
        "source": variant.source,
        "size": variant.subject.weights,
        "trained_context": variant.subject.context,
        "largest_context": row.largest,
        "fits": [{"context": at, **fit_object(fit)} for at, fit in zip(contexts, row.fits, strict=True) if fit is not None],
    }


def fit_object(fit: Fit) -> dict[str, Any]:
    """A verdict and what is behind it, in bytes."""
    need, placement = fit.need, fit.placement
    found: dict[str, Any] = {"verdict": fit.verdict}
    if need is not None:
        parts = {"weights": need.weights, "cache": need.kv_cache, "compute": need.compute, "projector": need.projector}
        found |= {"needed": need.total, "in_ram": need.ram, "basis": need.basis, "parts": {**parts, "learned": need.correction}}
    if placement is not None:
        found |= {"gpu": placement.gpu, "ram": placement.ram, "gpu_layers": placement.layers, "layers": need.layers if need else 0}
    return {**found, "missing": fit.over, "cpu_share": fit.cpu_share, "tokens_per_second": fit.rate, "speed_measured": fit.measured_rate}


# --- what to run -----------------------------------------------------------------------------------------------------


async def _recommend(context: Context, at: int | None) -> int:
    wanted = _abilities(context.args.can)
    installed: list[str] = []
    running: list[RunningModel] = []
    states: list[ProviderState] = []
    with contextlib.suppress(PaddockError):
        for provider, listed in await context.everybody(context.args.on):
            installed += [model.name for model in listed]
            states.append(await state_of(context, provider))
            running += await _running(provider)
    states = [state for state in states if state.location is Location.HERE]
    known, models = await known_here(context, states[0] if states else None, running), context.settings.models
    found = recommended(
        _library(),
        known.machine,
        preferred=models.preferred,
        excluded=models.excluded,
        max_size=models.max_size,
        wanted=wanted,
        installed=installed,
        served=known.served,
        lessons=known.lessons,
        pace=known.pace,
        context=at,
    )
    if context.json:
        emit({"machine": known.machine, "context": at or CONTEXT, "models": [_recommended(one) for one in found]})
        return DONE if found else FAILED
    binary = context.settings.appearance.units == "binary"
    line(f"For {machine_text(known.machine, binary=binary)}:")
    if not found:
        less = "--can or --context" if at else "--can"
        message(f"Nothing of the catalogue that can do this fits. Ask for less ({less}), or look at models.max_size and models.excluded.")
        return FAILED
    line()
    rows = [
        (one.name, size(one.weights, binary=binary), one.fit.verdict.value, rate_text(one.fit) or DASH, _can(one), one.why) for one in found
    ]
    table(("MODEL", "SIZE", f"FITS AT {tokens(at or CONTEXT)}", "SPEED", "CAN", "WHY"), rows, right=(1, 3))
    message(f"Estimates from the catalogue of {_library().snapshot}; {count(len(_library().models))} models were looked at.")
    return DONE


def _recommended(one: Recommendation) -> dict[str, Any]:
    about = {"name": one.name, "size": one.weights, "can": sorted(one.abilities), "why": one.why}
    return {**about, "installed": one.installed, "preferred": one.preferred, **fit_object(one.fit)}


def _can(one: Recommendation) -> str:
    return " ".join(word for ability, word in ABILITY_WORDS.items() if ability in one.abilities)


def _abilities(text: str) -> frozenset[Ability]:
    words = [word for word in text.replace(",", " ").lower().split() if word]
    for word in words:
        if word not in WORDS:
            known = ", ".join(ABILITY_WORDS.values())
            raise _usage(f"{clean_name(word, 20)} is nothing a model can do", f"Choose of {known}")
    return frozenset(WORDS[word] for word in words)
