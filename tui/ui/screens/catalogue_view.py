"""The words of the Library screen's catalogue: what can be pulled, and the largest of it that fits."""

from __future__ import annotations

import time

from tui.core.fit import Verdict
from tui.providers.library import CatalogueModel, CatalogueTag, Library
from tui.text import size, tokens
from tui.ui.screens.fits import Fits, words
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.detail import Fact

_FITTING = (Verdict.GOOD, Verdict.TIGHT, Verdict.AFTER_UNLOAD)


def snapshot_day(library: Library) -> str:
    """`21 Aug 2026`, the day the facts were gathered."""
    try:
        day = time.strptime(library.snapshot, "%Y-%m-%d")
    except ValueError:
        return library.snapshot
    return f"{day.tm_mday} {time.strftime('%b %Y', day)}"


def weighty(model: CatalogueModel) -> list[CatalogueTag]:
    """The tags with weights of a known size, smallest first."""
    sized = [tag for tag in model.tags if tag.bytes and not tag.cloud and tag.tag in model.sizes]
    sized = sized or [tag for tag in model.tags if tag.bytes and not tag.cloud]
    return sorted(sized, key=lambda tag: tag.bytes or 0)


def largest(model: CatalogueModel, fits: Fits) -> CatalogueTag | None:
    """The largest tag that fits on this machine; None where none does or nothing is known."""
    best = None
    for tag in weighty(model):
        fit = fits.of_bytes(tag.bytes or 0, tag.context)
        if fit is not None and fit.verdict in _FITTING:
            best = tag
    return best


def fitting(library: Library, fits: Fits) -> list[tuple[CatalogueModel, CatalogueTag]]:
    """The chat models that fit well, most pulled first."""
    found = []
    for model in library.models:
        tag = largest(model, fits)
        if tag is not None and "chat" in model.words.split():
            found.append((model, tag))
    return found


def largest_cell(model: CatalogueModel, fits: Fits, *, binary: bool = False) -> Cell:
    """LARGEST THAT FITS."""
    tags = weighty(model)
    if not tags:
        return Cell("only in the cloud" if model.tags and all(tag.cloud for tag in model.tags) else "–", "dim")
    if fits.machine is None:
        return Cell("–", "dim")
    best = largest(model, fits)
    if best is None:
        fit = fits.of_bytes(tags[0].bytes or 0, tags[0].context)
        slow = fit is not None and fit.verdict is Verdict.SLOW
        return Cell(words(fit, binary=binary) if fit is not None else "–", "warn" if slow else "dim")
    fit = fits.of_bytes(best.bytes or 0, best.context)
    default = model.default
    same = default is not None and default.bytes == best.bytes
    quant = f" {model.quant}" if same and model.quant else ""
    need = size(fit.need.total if fit is not None and fit.need is not None else best.bytes, binary=binary)
    return Cell(f"{best.tag}{quant}, {need}", "ok")


def columns(fits: Fits, width: int, *, binary: bool = False) -> list[Column[CatalogueModel]]:
    """The columns for a screen of `width` cells."""
    pulls: list[Column[CatalogueModel]] = [
        Column("pulls", "PULLS", lambda m: _millions(m.pulls), width=7, align="right", sort_key=lambda m: m.pulls, descending=True)
    ]
    return [
        Column("name", "NAME", lambda model: model.name, min=15, max=36, flex=2, sort_key=lambda model: model.name),
        Column("sizes", "SIZES", lambda model: model.size_range or "–", width=12, min_screen_width=66),
        Column("fits", "LARGEST THAT FITS", lambda model: largest_cell(model, fits, binary=binary), min=18, max=26, flex=1),
        Column("can", "CAN", lambda model: model.words, min=12, max=30, flex=1),
        *(pulls if width >= 100 else []),
        Column("licence", "LICENCE", lambda model: model.licence or "–", min=8, max=30, flex=1),
    ]


def _millions(pulls: int | None) -> str:
    if pulls is None:
        return "–"
    return f"{pulls / 1e6:.1f} M" if pulls >= 1e6 else f"{pulls / 1e3:.0f} k" if pulls >= 1000 else str(pulls)


def catalogue_facts(model: CatalogueModel, fits: Fits, installed: frozenset[str], day: str, *, binary: bool = False) -> list[Fact]:
    """One model of the catalogue: each size, its context, and whether it fits; `installed` are normal names."""
    can = [model.words or "–", model.family, f"licence {model.licence}" if model.licence else ""]
    if model.pulls:
        can.append(f"pulled {_millions(model.pulls)} times")
    out = [Fact("can", "   ".join(part for part in can if part))]
    tags = [tag for tag in model.tags if tag.tag != "latest"] or list(model.tags)
    widest = min(28, max((len(tag.tag) for tag in tags), default=4))
    for number, tag in enumerate(tags[:24]):
        fit = fits.of_bytes(tag.bytes, tag.context) if tag.bytes else None
        verdict = "in a cloud" if tag.cloud else words(fit, binary=binary) if fit is not None else ""
        have = "installed" if f"{model.name}:{tag.tag}" in installed else ""
        weight = size(tag.bytes, binary=binary)
        row = f"{tag.tag[:28]:<{widest}}  {weight:>7}  {tokens(tag.context):>5} context  {verdict:<16}  {have}"
        out.append(Fact("sizes" if number == 0 else "", row.rstrip(), fixed=True))
    out.append(Fact("facts", f"of {day}, sizes as the library gave them that day; what fits is an estimate at 8k", "$text-muted"))
    return out
