"""Sentences about tuning, the same in app and command line, and what is refused of a quantization."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tui.core.errors import FailureKind, PaddockError
from tui.core.levels import LEVELS, is_full, level_named, stem
from tui.core.models import Model
from tui.core.names import parse, same
from tui.core.tuning import Measured, Optimised, OptimiseState
from tui.services.monitor.profile_words import rate
from tui.text import clean_name, duration, size


def not_quantizable(model: Model) -> str:
    """Why a model cannot be quantized, in words; empty where it can."""
    if model.remote:
        return f"{model.name} runs in a cloud: there are no weights to quantize"
    if model.quantization and not is_full(model.quantization):
        return f"{model.name} is quantized already ({clean_name(model.quantization, 40)}): servers quantize F16, BF16 and F32 only"
    return ""


def quantizable(model: Model, wanted: Iterable[tuple[str, str]], installed: Sequence[Model]) -> tuple[tuple[str, str], ...]:
    """Levels and names as they are queued.

    Args:
        model: What is quantized.
        wanted: Level and name of the new model, each.
        installed: The models of the same server: no name of theirs is taken.

    Raises:
        PaddockError: The model is quantized already, there is no such level, or a name is none or taken.
    """
    if reason := not_quantizable(model):
        raise PaddockError.of(reason, model.provider, "Choose a model with whole weights, like an -fp16 tag", FailureKind.BAD_REQUEST)
    found: list[tuple[str, str]] = []
    for name_of_level, text in wanted:
        level = level_named(name_of_level)
        if level is None:
            what = f"There is no level {clean_name(name_of_level, 40)}"
            remedy = f"Choose {', '.join(one.name for one in LEVELS[:-1])} or {LEVELS[-1].name}"
            raise PaddockError.of(what, model.provider, remedy, FailureKind.BAD_REQUEST)
        name = str(parse(text))
        if any(same(one.key, name) for one in installed) or any(same(name, other) for _level, other in found):
            raise PaddockError.of(f"There is a model named {name} already", model.provider, "Choose another name", FailureKind.REFUSED)
        found.append((level.name, name))
    if not found:
        raise PaddockError.of("No level was chosen", model.provider, "Mark one with space", FailureKind.BAD_REQUEST)
    return tuple(found)


def siblings(model: Model, installed: Iterable[Model]) -> tuple[Model, ...]:
    """A model and what is installed beside it that seems to be the same at another level, by name and number of parameters."""
    found = [
        one
        for one in installed
        if one.provider == model.provider
        and not one.remote
        and (
            one.key == model.key
            or (stem(one.key) == stem(model.key) and (not one.parameters or not model.parameters or one.parameters == model.parameters))
        )
    ]
    return tuple(found)


def ordered(models: Sequence[Model]) -> tuple[Model, ...]:
    """The base first, the largest; then the others from large to small."""
    return tuple(sorted(models, key=lambda model: (not is_full(model.quantization), -(model.size or 0), model.key)))


def interrupted(row: Optimised) -> str:
    """What is said of an optimisation whose process was ended."""
    return f"Optimising {row.model} on {row.provider} was interrupted before it was done; no setting was changed"


def outcome(row: Optimised) -> str:
    """How an optimisation ended, in a sentence."""
    changes = ", ".join(f"{change.key} {change.new}" for change in row.changes)
    words = "; ".join(row.words)
    if row.state == OptimiseState.KEPT:
        return f"{row.model}: {changes} is kept: {words}"
    if row.state == OptimiseState.NOT_BETTER:
        return f"{row.model}: {changes} was not better and is not kept: {words}"
    if row.state == OptimiseState.FAILED and row.failure is not None:
        return f"{row.model}: {changes} could not be measured, nothing was changed: {row.failure.sentence()}"
    return f"{row.model}: {changes}: {row.state}, nothing was changed"


def figures(measured: Measured | None, *, binary: bool = False) -> Iterator[tuple[str, str]]:
    """What was measured, as (name, words)."""
    one = measured or Measured()
    yield "loads in", duration(one.load_seconds)
    yield "first token", duration(one.first_token)
    yield "writes", f"{rate(one.rate)} tok/s"
    yield "reads", f"{rate(one.prompt_rate)} tok/s"
    yield "memory", size(one.memory, binary=binary)
    yield "on GPUs", f"{100 * (one.vram or 0) / one.memory:.0f} %" if one.memory and one.vram is not None else "–"
