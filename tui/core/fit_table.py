"""The table of context by quantization: what each would need, what fits, and the largest context that does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from tui.core.fit_learn import NOTHING, Lessons, Subject, need_of
from tui.core.fit_need import SERVED, Served
from tui.core.fit_place import FITTING, Fit, Machine, Verdict, freed, judge
from tui.core.fit_speed import Pace
from tui.core.record import record

LEVELS: Final = {
    "F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.57, "Q5_K_M": 5.7, "Q4_K_M": 4.85, "Q3_K_M": 3.95, "Q2_K": 3.16,
}  # fmt: skip
"""Bits a weight of a whole model of a level, embeddings included."""
BITS: Final = {
    **LEVELS, "BF16": 16.0, "F32": 32.0, "Q5_K_S": 5.53, "Q5_1": 6.0, "Q5_0": 5.54, "Q4_K_S": 4.6, "Q4_1": 5.0, "Q4_0": 4.55,
    "IQ4_XS": 4.4, "IQ4_NL": 4.6, "MXFP4": 4.4, "NVFP4": 4.6, "Q3_K_L": 4.3, "Q3_K_S": 3.6, "IQ3_XXS": 3.2, "IQ2_XXS": 2.3,
}  # fmt: skip
SMALLEST: Final = 2048
STEP: Final = 1024
"""Tokens that a largest context is rounded down to."""
LONGEST: Final = 1 << 22
"""Tokens up to which a largest context is looked for."""
UNTOLD: Final = 131_072
"""Tokens shown at most for a model that does not say what it was trained for."""


class Source(StrEnum):
    """Why a row is in the table."""

    INSTALLED = "installed"
    CATALOGUE = "catalogue"
    COMPUTED = "computed"  # by bits a weight; nobody may offer it


@record(frozen=True)
class Variant:
    """One row before it is judged: a quantization or size of a model.

    Attributes:
        name: What would be pulled or loaded; empty where nobody offers it.
        other: It is of another size than the model the table is about.
    """

    label: str
    subject: Subject
    source: Source
    name: str = ""
    other: bool = False


@record(frozen=True)
class FitRow:
    """A variant with a verdict for each context.

    Attributes:
        fits: One for each context of the table; None beyond what it was trained for.
        largest: Tokens of the largest context that fits on GPUs (or in main memory where there is none), None where none does.
        at_largest: The verdict there.
    """

    variant: Variant
    fits: tuple[Fit | None, ...]
    largest: int | None = None
    at_largest: Fit | None = None


@record(frozen=True)
class FitTable:
    """Contexts across, variants down."""

    contexts: tuple[int, ...] = ()
    rows: tuple[FitRow, ...] = ()


def contexts_of(trained: int | None, most: int = 8) -> tuple[int, ...]:
    """Contexts to show: 2k, 4k, 8k … up to what it was trained for; of too many the smallest are left out, but never 8k."""
    limit = min(trained or UNTOLD, LONGEST)
    found, step = [], SMALLEST
    while step < limit:
        found.append(step)
        step *= 2
    found.append(limit)
    while len(found) > most:
        small = [at for at in found if at != 8192]
        found.remove(small[0] if small[0] < 8192 else small[-2])
    return tuple(found)


def weights_at(parameters: float, level: str) -> int:
    """Bytes of a model of so many weights at a level of `BITS`."""
    return int(parameters * BITS[level] / 8)


def relative(subject: Subject, weights: int, quantization: str) -> Subject:
    """The same model with other weights: its shape stays, but what its tensors weigh and what was measured do not."""
    shape = subject.shape
    if shape is not None:
        scale = weights / max(1, subject.weights)
        shape = replace(
            shape, tensors=0, sight=0, embedding_bytes=int(shape.embedding_bytes * scale), output_bytes=int(shape.output_bytes * scale)
        )
    return replace(subject, weights=weights, shape=shape, quantization=quantization, digest="")


def computed(subject: Subject, have: Iterable[str]) -> list[Variant]:
    """The levels that nobody offers as a tag, by bits a weight; none where the number of weights is not known."""
    parameters = subject.parameters
    if not parameters:
        bits = BITS.get(subject.quantization.upper())
        parameters = subject.weights * 8 / bits if bits else None
    if not parameters:
        return []
    there = {quantization.upper() for quantization in have}
    return [
        Variant(level, relative(subject, weights_at(parameters, level), level), Source.COMPUTED) for level in LEVELS if level not in there
    ]


def largest_context(
    subject: Subject, machine: Machine, served: Served = SERVED, lessons: Lessons = NOTHING, verdicts: Sequence[Verdict] = FITTING
) -> int | None:
    """Tokens of the largest context that fits; None where not even the smallest does.

    It is cut to what the model was trained for and else rounded down to a multiple of `STEP`.
    """

    def fits(context: int) -> bool:
        return judge(need_of(subject, context, served, lessons), machine, served).verdict in verdicts

    top = min(subject.context or UNTOLD, LONGEST)
    if fits(top):
        return top
    low, high = 0, -(-top // STEP)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * STEP) else (low, middle)
    return low * STEP or None


def make_table(
    variants: Iterable[Variant],
    contexts: Sequence[int],
    machine: Machine,
    served: Served = SERVED,
    lessons: Lessons = NOTHING,
    pace: Pace | None = None,
    loaded: Mapping[str, int] | None = None,
) -> FitTable:
    """Judge every variant at every context: those of its own size first, heaviest first.

    Args:
        variants: The rows.
        contexts: The columns.
        machine: As it is now.
        served: How the server runs models.
        lessons: What loads taught.
        pace: How fast this machine reads memory.
        loaded: GPU bytes of what is loaded now, by the subject's name: it is unloaded before it is loaded otherwise.
    """
    held = loaded or {}

    def fit_at(subject: Subject, context: int) -> Fit:
        room = freed(machine, held.get(subject.name, 0)) if subject.digest else machine
        return judge(need_of(subject, context, served, lessons), room, served, pace=pace)

    rows = []
    for variant in sorted(variants, key=lambda one: (one.other, -one.subject.weights)):
        subject = variant.subject
        fits = tuple(fit_at(subject, context) if context <= (subject.context or LONGEST) else None for context in contexts)
        room = freed(machine, held.get(subject.name, 0)) if subject.digest else machine
        largest = largest_context(subject, room, served, lessons)
        rows.append(FitRow(variant, fits, largest, fit_at(subject, largest) if largest else None))
    return FitTable(tuple(contexts), tuple(rows))
