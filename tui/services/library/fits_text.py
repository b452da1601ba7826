"""The words of the table of what fits: the same in the app and on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tui.core.fit import Basis, Fit, FitRow, FitTable, Machine, Need, Served, Source, Variant, Verdict
from tui.core.fit_table import LONGEST
from tui.text import clean_name, size, tokens

_BRAND: Final = re.compile(r"\A(?:NVIDIA|AMD|Intel(?:\(R\))?)\s+(?:GeForce\s+|Radeon\s+)?")
BASIS: Final[Mapping[Basis, str]] = {
    Basis.MEASURED: "measured when it was loaded",
    Basis.FITTED: "fitted to loads that were measured",
    Basis.FORMULA: "by formula",
}
"""Where a figure comes from."""
WORDS: Final[Mapping[Verdict, str]] = {
    Verdict.LOADED: "loaded",
    Verdict.GOOD: "fits well",
    Verdict.TIGHT: "fits, but is tight",
    Verdict.AFTER_UNLOAD: "fits after unloading what is loaded now",
    Verdict.SLOW: "slow",
    Verdict.NO: "does not fit",
    Verdict.UNKNOWN: "not known",
}


def rate_text(fit: Fit) -> str:
    """`~4 tok/s`; without the mark where it was measured, empty where it is not known."""
    if not fit.rate:
        return ""
    number = f"{fit.rate:.0f}" if fit.rate >= 9.95 else f"{fit.rate:.1f}"
    return f"{'' if fit.measured_rate else '~'}{number} tok/s"


def figure(bytes_: int, *, binary: bool = False) -> str:
    """`6.7`: GB (or GiB) without the unit, for narrow cells."""
    value = bytes_ / (2**30 if binary else 1e9)
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def mark_of(fit: Fit | None, *, binary: bool = False) -> str:
    """A cell: `6.7`, `6.7!` (tight), `6.7*` (after an unload), `4/s` (slow), `-3.1` (that much is missing)."""
    if fit is None or fit.need is None:
        return ""
    if fit.verdict is Verdict.NO:
        return f"-{figure(fit.over, binary=binary)}"
    if fit.verdict is Verdict.SLOW:
        return (f"{fit.rate:.0f}/s" if fit.rate >= 1 else "<1/s") if fit.rate else "slow"
    sign = {Verdict.TIGHT: "!", Verdict.AFTER_UNLOAD: "*"}.get(fit.verdict, "")
    return f"{figure(fit.need.total if fit.cpu_share == 0 else fit.need.whole, binary=binary)}{sign}"


def legend(table: FitTable, *, short: bool = False, binary: bool = False) -> str:
    """What the cells mean, only of those that are there."""
    seen = {fit.verdict for row in table.rows for fit in row.fits if fit is not None}
    unit = "GiB" if binary else "GB"
    words = [f"{unit} needed"]
    words += ["! tight"] if Verdict.TIGHT in seen else []
    words += ["* after unload" if short else "* after an unload"] if Verdict.AFTER_UNLOAD in seen else []
    slow = "n/s slow, partly CPU" if short else "n/s slow: tokens a second, partly on the CPU"
    words += [slow] if Verdict.SLOW in seen else []
    words += [f"-n {'' if short else f'{unit} '}missing"] if Verdict.NO in seen else []
    return "  ".join(words)


def parts_text(need: Need, *, binary: bool = False) -> str:
    """`4.6 weights + 1.1 cache + 0.3 buffers`, and what else there is of it."""
    named = [
        (need.weights, "weights"),
        (need.projector, "projector"),
        (need.kv_cache, "cache"),
        (need.compute, "buffers"),
    ]
    text = " + ".join(f"{figure(value, binary=binary)} {word}" for value, word in named if value)
    if abs(need.correction) >= 50_000_000:
        text += f" {'+' if need.correction > 0 else '-'} {figure(abs(need.correction), binary=binary)} learned"
    return text


def label_of(variant: Variant) -> str:
    """`8b Q4_K_M`."""
    label, quantization = clean_name(variant.label, 60), variant.subject.quantization
    return f"{label} {quantization}" if quantization and quantization.lower() not in label.lower() else label


def verdict_text(row: FitRow, fit: Fit | None, context: int, *, binary: bool = False) -> str:
    """One cell in a sentence or three."""
    label = label_of(row.variant)
    if fit is None or fit.need is None:
        trained = row.variant.subject.context
        return f"{label} was trained for {tokens(trained)} of context only." if trained else f"{label}: not known."
    need = fit.need
    about = "" if need.measured else "~"
    unit = "GiB" if binary else "GB"
    head = f"{label} at {tokens(context)}: {WORDS[fit.verdict]}"
    if fit.verdict is Verdict.NO:
        head += f", {size(fit.over, binary=binary)} are missing"
    elif rate_text(fit):
        head += f", {rate_text(fit)}"
    whole = f"{about}{figure(need.total, binary=binary)} {unit}"
    source = {Source.COMPUTED: " Worked out by bits a weight: nobody is known to offer it."}.get(row.variant.source, "")
    return f"{head}. {parts_text(need, binary=binary)} = {whole}, {BASIS[need.basis]}.{source}"


def largest_text(row: FitRow) -> str:
    """The largest context that fits, in words."""
    if row.largest is None:
        return "No context of it fits."
    if row.largest == row.variant.subject.context:
        return f"All {tokens(row.largest)} of context that it was trained for fit."
    return f"The largest context that fits is {tokens(row.largest)}."


def placed_text(fit: Fit | None, machine: Machine, *, binary: bool = False) -> str:
    """Where its parts would go."""
    placement = fit.placement if fit is not None else None
    if fit is None or placement is None or fit.need is None:
        return ""
    if not machine.gpus:
        return f"In main memory: {size(placement.ram, binary=binary)}."
    used = [(at, amount) for at, amount in enumerate(placement.gpu) if amount]
    cards = ", ".join(f"{size(amount, binary=binary)} on GPU{at}" for at, amount in used) or "nothing on the GPU"
    if placement.whole:
        rest = f", {size(placement.ram, binary=binary)} in main memory" if placement.ram else ""
        return f"All of it on the GPU{'s' if len(used) > 1 else ''}: {cards}{rest}."
    layers = f"{placement.layers} of {fit.need.layers} layers: " if placement.layers is not None and fit.need.layers else ""
    return f"{layers}{cards}, {size(placement.ram, binary=binary)} in main memory ({fit.cpu_share * 100:.0f} % on the CPU)."


def machine_text(machine: Machine, *, binary: bool = False) -> str:
    """`RTX 3090 24 GB, 16.4 free; RAM 31 GB, 20.0 free`."""
    parts = []
    for at, card in enumerate(machine.each()):
        name = _BRAND.sub("", card.name) or f"GPU{at}"
        parts.append(f"{name} {size(card.total, binary=binary)}, {figure(card.free, binary=binary)} free")
    if not machine.unified:
        parts.append(f"RAM {size(machine.ram_total, binary=binary)}, {figure(machine.ram_free, binary=binary)} free")
    return "; ".join(parts)


def served_text(served: Served) -> str:
    """`cache f16, 1 slot`; what is only assumed is marked."""
    kind = served.cache_type + ("" if served.told else " assumed")
    flash = "" if served.flash else ", no flash attention"
    return f"cache {kind}, {served.slots} slot{'' if served.slots == 1 else 's'}{flash}"


def parse_tokens(text: str) -> int | None:
    """`8192`, `32k`, `1m` as tokens; None for what is none."""
    found = re.fullmatch(r"(\d{1,8})([km]?)", text.strip().lower())
    number = int(found[1]) * {"": 1, "k": 1024, "m": 1 << 20}[found[2]] if found is not None else 0
    return number if 0 < number <= LONGEST else None
