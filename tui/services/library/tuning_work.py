"""What the tuning verbs of app and command line do: propose, optimise, benchmark levels. Nothing here asks or shows anything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tui.core.capabilities import Ability, Capability
from tui.core.chat import ConversationSettings
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.fit import NOTHING, SERVED, Lessons, Machine, Served, Subject, Verdict, subject_of
from tui.core.levels import LEVELS, LevelFigures, agree, expected_size, head_share, is_full
from tui.core.models import Model, ModelDetail, RunningModel
from tui.core.names import normal, same
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.core.tuning import RUNNER, Change, Facts, Measured, Optimised, OptimiseState, Proposal, Smaller, advise, compare, propose
from tui.providers.base import Provider
from tui.services.chat.sending import options_of
from tui.services.library import tuning_measure
from tui.text import clean_label, clean_name, size

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.config.store import ConfigStore
    from tui.services.audit import Audit
    from tui.store.tunings import Tunings

PUT_BACK: Final = 10.0
"""Seconds that an unload may take at the end; a load is waited for as long as it takes."""
_LOG: Final = logging.getLogger("paddock.tuning")

Told = Callable[[str], None]


@record(frozen=True)
class Tools:
    """What the work needs.

    Attributes:
        provider: Where the model is.
        config: Where what is kept is written.
        table: Where it is noted; None where the database is not open.
        audit: What changes is written there.
        clock: Both clocks.
        may_load: Why `[limits]` forbid a load of a model; asks or warns as they say.
        told: Called with each step in words.
    """

    provider: Provider
    config: ConfigStore
    table: Tunings | None
    audit: Audit
    clock: Clock
    may_load: Callable[[Model], Awaitable[Failure | None]]
    told: Told


@record(frozen=True)
class Here:
    """This machine and the server, as far as they decide what is good for a model.

    Attributes:
        machine: Its memory now.
        cores: Physical ones, None where not known.
        served: How the server runs models.
        lessons: What loads taught.
    """

    machine: Machine
    cores: int | None = None
    served: Served = SERVED
    lessons: Lessons = NOTHING


# --- proposing -------------------------------------------------------------------------------------------------------


def refusal(provider: Provider, model: Model) -> str:
    """Why a model cannot be optimised or measured here, in words; empty where it can."""
    if model.remote:
        return f"{model.name} runs in a cloud: nothing of it depends on this machine"
    if model.abilities and Ability.COMPLETION not in model.abilities:
        return f"{model.name} does not answer, so there is nothing to measure"
    lacking = next((one for one in (Capability.LOAD, Capability.UNLOAD, Capability.CHAT) if one not in provider.capabilities), None)
    if lacking is not None:
        return f"{provider.endpoint.name} cannot {lacking.value}: it is told how to run a model when it is started"
    return ""


def propose_for(settings: Settings, here: Here, model: Model, detail: ModelDetail | None, running: RunningModel | None) -> Proposal:
    """What could be better for a model on this machine; nothing is asked of anybody.

    Args:
        settings: The running ones.
        here: Machine and server.
        model: Its size must be known.
        detail: What `show` gave.
        running: The model where it is loaded.
    """
    options = options_of(settings, model.key, ConversationSettings())
    binary = settings.appearance.units == "binary"
    own = dict(detail.options) if detail is not None else {}
    known = {name: value for name in RUNNER if (value := _whole(options.get(name, own.get(name)))) is not None}
    fixed = frozenset(name for name in RUNNER if settings.chat.options.sent().get(name) is not None)
    subject = subject_of(model, detail) or Subject(model.size or 0)
    facts = Facts(subject, here.machine, here.cores, known, fixed, running, here.lessons, here.served, binary)
    fit = facts.fit(facts.context)
    words = {Verdict.GOOD: "fits well", Verdict.TIGHT: "fits tightly", Verdict.AFTER_UNLOAD: "fits after an unload"}
    over = f"does not fit: {size(fit.over, binary=binary)} over"
    slow = f"fits partly: about {100 * fit.cpu_share:.0f} % runs on the processor"
    said = {Verdict.NO: over, Verdict.SLOW: slow}.get(fit.verdict) or words.get(fit.verdict, fit.verdict.value)
    loaded = ", as it is loaded now; measuring loads it anew and puts that back" if running is not None else ""
    return Proposal(
        model.provider,
        model.key,
        f"{said} at {facts.context:,} tokens of context{loaded}",
        propose(facts),
        advise(facts),
        _smaller(settings, facts, model, detail) if fit.verdict in (Verdict.SLOW, Verdict.NO) else (),
        tuple(f"{name} is left alone: [chat.options] sets it for all models" for name in sorted(fixed)),
        options,
    )


def _whole(value: Any) -> int | None:
    """An option as a whole number; of `show` it is text."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return int(float(str(value)))
    except (ValueError, OverflowError):
        return None


def _smaller(settings: Settings, facts: Facts, model: Model, detail: ModelDetail | None) -> tuple[Smaller, ...]:
    """Smaller quantizations that fit, where `optimise.quantize` wants them: made here of whole weights, or to be pulled."""
    if not settings.optimise.quantize:
        return ()
    if is_full(model.quantization):
        found = []
        for level in LEVELS:
            small = expected_size(model.size or 0, model.quantization, level, head_share(detail))
            if replace(facts, subject=replace(facts.subject, weights=small, digest="")).fit(facts.context).verdict in (
                Verdict.GOOD,
                Verdict.TIGHT,
            ):
                words = f"{level.name}, made here: ~{size(small, binary=facts.binary)}, would fit; loss: {level.loss}"
                found.append(Smaller(level.name, False, small, words))
        return tuple(found)
    return _to_pull(facts, model)


def _to_pull(facts: Facts, model: Model) -> tuple[Smaller, ...]:
    """The largest tag of the same model in the catalogue that is smaller and fits."""
    from tui.providers.library import load_library

    name, _, tag = normal(model.key).partition(":")
    entry = load_library().model(name)
    if entry is None:
        return ()
    smaller = [
        other
        for other in entry.tags
        if other.bytes and other.bytes < facts.subject.weights and not other.cloud
        and replace(facts, subject=Subject(other.bytes)).fit(facts.context).verdict is Verdict.GOOD
    ]  # fmt: skip
    of_the_same = [other for other in smaller if tag.split("-")[0] in other.tag.split("-")]
    best = max(of_the_same or smaller, key=lambda other: other.bytes or 0, default=None)
    if best is None:
        return ()
    what = "to be pulled" if of_the_same else "a smaller one of the same family, to be pulled"
    words = f"{name}:{best.tag}, {what}: {size(best.bytes, binary=facts.binary)}, would fit"
    return (Smaller(f"{name}:{best.tag}", True, best.bytes or 0, words),)


# --- optimising ------------------------------------------------------------------------------------------------------


async def optimise(tools: Tools, model: Model, proposal: Proposal, changes: Sequence[Change]) -> Optimised:
    """Measure with and without the changes; keep them in the settings only where that is better. All else is as before, whatever happens.

    The trial's options go with the requests; the file is written once, at the end.

    Raises:
        PaddockError: It could not be measured, or not saved; nothing is changed.
    """
    if not changes:
        raise PaddockError.of("There is nothing to try", model.name, "Mark a change first", FailureKind.BAD_REQUEST)
    model = await with_abilities(tools.provider, model)
    await _allowed(tools, model)
    row = Optimised(0, proposal.provider, normal(model.key), tools.clock.time(), OptimiseState.RUNNING, tuple(changes))
    if tools.table is not None:
        row = await tools.table.begin(proposal.provider, model.key, tuple(changes))
    options = dict(proposal.options)
    trial = {**options, **{change.key: change.new for change in changes}}
    was, state, failure = None, OptimiseState.FAILED, None
    try:
        was = await tuning_measure.loaded(tools.provider, model.key)
        before = await tuning_measure.measure(tools.provider, model, options, tools.clock, _as(tools, "before"))
        row = replace(row, before=replace(before, answers=()))
        after = await tuning_measure.measure(tools.provider, model, trial, tools.clock, _as(tools, "after"))
        row = replace(row, after=replace(after, answers=()))
        judged = compare(before, after, binary=tools.config.current.value.appearance.units == "binary")
        row = replace(row, words=judged.words)
        if judged.better and (note := await _keep(tools, model, changes)):
            row = replace(row, words=(*row.words, note))
        state = OptimiseState.KEPT if judged.better else OptimiseState.NOT_BETTER
    except PaddockError as error:
        failure = error.failure
        raise
    except asyncio.CancelledError:
        state = OptimiseState.STOPPED
        raise
    finally:
        row = replace(row, state=state, failure=failure)
        try:
            await _finish(tools, model, was, trial if state == OptimiseState.KEPT else options, kept=state == OptimiseState.KEPT)
        finally:  # who stops it once more does not wait for that
            if tools.table is not None and row.id:
                with contextlib.suppress(PaddockError):  # what is kept is in the settings, whatever the books say
                    await tools.table.end(row)
            await _enter(tools, model, row.after if state == OptimiseState.KEPT else row.before, tuned=state == OptimiseState.KEPT)
    return row


async def _enter(tools: Tools, model: Model, figures: Measured | None, *, tuned: bool = False) -> None:
    """Have the model's profile know what was measured under the settings in force; never of what was only tried."""
    if tools.table is not None and figures is not None:
        with contextlib.suppress(PaddockError):  # figures are not worth a word when they are lost
            await tools.table.enter(tools.provider.endpoint.name, model.key, figures, tuned=tuned)


async def with_abilities(provider: Provider, model: Model) -> Model:
    """A model with what it can do, asked for where the list does not say (Ollama before 0.30)."""
    if model.abilities or Capability.SHOW not in provider.capabilities:
        return model
    try:
        return replace(model, abilities=(await provider.show(model.key)).abilities)
    except PaddockError:
        return model


async def _allowed(tools: Tools, model: Model) -> None:
    refused = refusal(tools.provider, model)
    if refused:
        raise PaddockError.of(refused, tools.provider.endpoint.name, "Choose another model", FailureKind.UNSUPPORTED)
    where = tools.provider.endpoint.name
    if tools.table is not None and (other := tools.table.elsewhere(where)):
        what = f"{other} is being measured there by another window or command; two measurements would disturb each other"
        raise PaddockError.of(what, where, "Wait until it is done", FailureKind.BUSY)
    if (failure := await tools.may_load(model)) is not None:
        raise PaddockError(failure)
    tools.audit.write("measure", f"{where}/{model.key}")


def _as(tools: Tools, when: str) -> Told:
    return lambda step: tools.told(f"{when}: {step}")


async def _keep(tools: Tools, model: Model, changes: Sequence[Change]) -> str:
    """Write the changes to the settings, all or none; what else must be known of it, or empty."""
    table = next((name for name in tools.config.current.value.models.options if same(name, model.key)), normal(model.key))
    values: Mapping[str, object] = {f"models.options.{table}.{change.key}": change.new for change in changes}
    with tools.audit.noting(
        "optimise", f"{tools.provider.endpoint.name}/{model.key}", changes="; ".join(change.diff for change in changes)
    ):
        saving = asyncio.ensure_future(in_daemon_thread(lambda: tools.config.set_all(values)))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            await saving  # who stops it now comes too late: it is written
        except PaddockError as error:
            if not set(values) <= set(tools.config.unsaved):
                raise
            return f"it is in force, and not yet saved: {error.failure.what}"
    return ""


async def _finish(tools: Tools, model: Model, was: RunningModel | None, options: Mapping[str, Any], *, kept: bool = False) -> None:
    """Have the model in memory as it was; a server that does not answer any more forgets the trial by itself."""
    tools.told("putting it back as it was")
    if was is not None and kept:
        was = replace(was, context=None)
    try:
        if was is None:
            async with asyncio.timeout(PUT_BACK):
                await tuning_measure.put_back(tools.provider, model.key, None, options, tools.clock, tools.clock.time())
        else:
            await tuning_measure.put_back(tools.provider, model.key, was, options, tools.clock, tools.clock.time())
    except (PaddockError, TimeoutError) as error:
        _LOG.warning("not put back: %s on %s: %s", clean_name(model.key), tools.provider.endpoint.name, error)


# --- levels ----------------------------------------------------------------------------------------------------------


async def benchmark(
    tools: Tools, base: Model, levels: Sequence[Model], done: Callable[[LevelFigures], None] = lambda _figures: None
) -> tuple[LevelFigures, ...]:
    """Measure a model and levels of it one after the other; each is kept as soon as it is measured.

    Args:
        tools: See `Tools`.
        base: The largest one: the answers of the others are compared with its own.
        levels: The others.
        done: Called with the figures of each.

    Raises:
        PaddockError: The base could not be measured, or the server does not answer any more.
    """
    reference = None
    found: list[LevelFigures] = []
    for number, model in enumerate((base, *levels), start=1):
        step = replace(tools, told=_as(tools, f"{clean_name(model.name, 60)}, {number} of {len(levels) + 1}"))
        figures = LevelFigures(
            tools.provider.endpoint.name, normal(base.key), normal(model.key), model.quantization, 0.0, model.digest, model.size
        )
        try:
            answers, figures = await _one(step, model, figures, reference)
            reference = answers if reference is None else reference
        except PaddockError as error:
            if reference is None or not await _alive(tools.provider):
                raise
            figures = replace(figures, at=tools.clock.time(), problem=clean_label(error.failure.sentence()))
        found.append(figures)
        if tools.table is not None:
            await tools.table.add_level(figures)
        done(figures)
    return tuple(found)


async def _alive(provider: Provider) -> bool:
    """Whether the other levels need be tried: one that did not fit says nothing of them, a server that is gone does."""
    try:
        await provider.check()
    except PaddockError:
        return False
    return True


async def _one(tools: Tools, model: Model, figures: LevelFigures, reference: Any) -> tuple[Any, LevelFigures]:
    model = await with_abilities(tools.provider, model)
    await _allowed(tools, model)
    options = options_of(tools.config.current.value, model.key, ConversationSettings())
    was = await tuning_measure.loaded(tools.provider, model.key)
    try:
        measured = await tuning_measure.measure(tools.provider, model, options, tools.clock, tools.told)
        again = measured.answers
        if reference is None:
            again = await tuning_measure.ask_all(tools.provider, model, options, tools.clock, tools.told)
        share, equal = agree(reference if reference is not None else measured.answers, again)
    finally:
        await _finish(tools, model, was, options)
    await _enter(tools, model, measured)
    told = {name: getattr(measured, name) for name in ("memory", "vram", "load_seconds", "first_token", "rate", "prompt_rate", "cut")}
    return measured.answers, replace(figures, at=tools.clock.time(), agreement=share, same=equal, asked=len(measured.answers), **told)
