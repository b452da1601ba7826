"""The words of the Library screen's catalogue: what can be pulled, the largest of it that fits, what is recommended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from tui.core.capabilities import Ability
from tui.core.fit import Fit, Verdict
from tui.core.record import record
from tui.providers.library import CODE, CatalogueModel, CatalogueTag, Library
from tui.services.library import catalogue_search
from tui.services.library.catalogue_search import day_of, of_words, weighty
from tui.services.library.fits_recommend import Recommendation, subject_of_tag
from tui.text import size, tokens
from tui.ui.screens.fits import Fits, words
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.detail import Fact

if TYPE_CHECKING:
    from tui.core.errors import Failure

FITTING: Final = (Verdict.GOOD, Verdict.TIGHT, Verdict.AFTER_UNLOAD)
MOST_TAGS: Final = 40
"""Tags in the pane; the dialog has all of them."""
ALIKE: Final = 0.02
"""Share by which free memory may differ while verdicts of a filter stay."""
UNUSUAL: Final = "unusual name: it holds characters that only look like those one types"


@record(frozen=True)
class Shown:
    """What the pane and the columns need beside the model.

    Attributes:
        fits: Verdicts.
        library: The list the model is of.
        installed: Normal names of what is installed.
        best: What is recommended for this machine, by model.
        failure: Why the last refresh brought nothing.
        now: Epoch seconds.
        binary: Sizes in GiB.
    """

    fits: Fits
    library: Library
    installed: frozenset[str]
    best: Mapping[str, Recommendation]
    failure: Failure | None
    now: float
    binary: bool = False


# --- what fits --------------------------------------------------------------------------------------------------------


def fit_of(model: CatalogueModel, tag: CatalogueTag, fits: Fits) -> Fit | None:
    """The verdict for a tag; None where its size or this machine is not known, or it runs in a cloud."""
    subject = subject_of_tag(model, tag)
    return fits.of_subject(subject) if subject is not None else None


def fits_well(model: CatalogueModel, tag: CatalogueTag, fits: Fits) -> bool:
    """Whether a tag fits on this machine."""
    fit = fit_of(model, tag, fits)
    return fit is not None and fit.verdict in FITTING


def cloud_only(model: CatalogueModel) -> bool:
    """Whether all of its tags run in a cloud."""
    return bool(model.tags) and all(tag.cloud for tag in model.tags)


def not_pulled(name: str) -> str:
    """Why a model, or a tag, in a cloud is not pulled."""
    return f"{name} runs in a cloud only: there is nothing to pull."


def largest(model: CatalogueModel, fits: Fits, most: int | None = None) -> CatalogueTag | None:
    """The largest tag of at most `most` bytes that fits on this machine; None where none does or nothing is known."""
    return catalogue_search.largest(model, lambda one, tag: (most is None or (tag.bytes or 0) <= most) and fits_well(one, tag, fits))


def fitting(library: Library, fits: Fits) -> list[tuple[CatalogueModel, CatalogueTag]]:
    """The chat models that fit well, most pulled first."""
    found = []
    for model in library.models:
        tag = largest(model, fits)
        if tag is not None and Ability.COMPLETION in model.capabilities:
            found.append((model, tag))
    return found


# --- the filter -------------------------------------------------------------------------------------------------------


class Verdicts:
    """Whether tags fit, remembered while this machine's free memory stays about the same: a filter asks for all of them at each key."""

    def __init__(self, fits: Fits) -> None:
        self._fits = fits
        self._free = (0, 0)
        self._seen: dict[tuple[str, str], bool] = {}

    def well(self, model: CatalogueModel, tag: CatalogueTag) -> bool:
        """See `fits_well`."""
        key = (model.name, tag.tag)
        if key not in self._seen:
            self._seen[key] = fits_well(model, tag, self._fits)
        return self._seen[key]

    def accepts(self, text: str, installed: frozenset[str]) -> tuple[str, Callable[[CatalogueModel], bool] | None]:
        """See `catalogue_search.accepts`."""
        machine = self._fits.machine
        free = (machine.gpu_free, machine.ram_free) if machine is not None else (-1, -1)
        if any(abs(new - old) > ALIKE * max(new, old) for new, old in zip(free, self._free, strict=True)):
            self.forget()
            self._free = free
        return catalogue_search.accepts(text, self.well, installed)

    def forget(self) -> None:
        """Another list: of the same names others may be meant."""
        self._seen.clear()


# --- columns ----------------------------------------------------------------------------------------------------------


def largest_cell(model: CatalogueModel, fits: Fits, *, binary: bool = False) -> Cell:
    """LARGEST THAT FITS."""
    tags = weighty(model)
    if not tags:
        return Cell("only in the cloud" if cloud_only(model) else "–", "dim")
    if fits.machine is None:
        return Cell("–", "dim")
    best = largest(model, fits)
    if best is None:
        fit = fit_of(model, tags[0], fits)
        slow = fit is not None and fit.verdict is Verdict.SLOW
        return Cell(words(fit, binary=binary) if fit is not None else "–", "warn" if slow else "dim")
    fit = fit_of(model, best, fits)
    need = size(fit.need.whole if fit is not None and fit.need is not None else best.bytes, binary=binary)
    return Cell(f"{best.tag}{f' {best.quant}' if best.quant else ''}, ~{need}", "ok")


def fit_order(model: CatalogueModel, fits: Fits) -> float | None:
    """What LARGEST THAT FITS sorts by: its bytes."""
    best = largest(model, fits)
    return float(best.bytes or 0) if best is not None else None


def columns(fits: Fits, width: int, *, binary: bool = False) -> list[Column[CatalogueModel]]:
    """The columns for a table of `width` cells."""
    pulls: list[Column[CatalogueModel]] = [
        Column("pulls", "PULLS", lambda m: millions(m.pulls), width=7, align="right", sort_key=lambda m: m.pulls, descending=True)
    ]
    return [
        Column("name", "NAME", _name_cell, min=15, max=36, flex=2, sort_key=lambda model: model.name),
        Column("sizes", "SIZES", lambda model: model.size_range or "–", width=12, min_screen_width=66, sort_key=_smallest),
        Column(
            "fits",
            "LARGEST THAT FITS",
            lambda model: largest_cell(model, fits, binary=binary),
            min=19,
            max=28,
            flex=1,
            sort_key=lambda model: fit_order(model, fits),
            descending=True,
        ),
        Column("can", "CAN", lambda model: model.words, min=12, max=30, flex=1),
        *(pulls if width >= 100 else []),
        Column(
            "licence", "LICENCE", lambda model: model.licence or "–", min=8, max=30, flex=1, sort_key=lambda model: model.licence or None
        ),
    ]


def _name_cell(model: CatalogueModel) -> Cell:
    return Cell(model.name, "warn" if model.unusual else "")


def _smallest(model: CatalogueModel) -> int | None:
    tags = weighty(model)
    return tags[0].bytes if tags else None


def millions(pulls: int | None) -> str:
    """`6.0 M`, `12 k`."""
    if pulls is None:
        return "–"
    return f"{pulls / 1e6:.1f} M" if pulls >= 1e6 else f"{pulls / 1e3:.0f} k" if pulls >= 1000 else str(pulls)


# --- the pane ---------------------------------------------------------------------------------------------------------


def catalogue_facts(model: CatalogueModel, shown: Shown) -> list[Fact]:
    """One model of the catalogue: what it can, each tag with its quantization, size and verdict, and how old all that is."""
    can = [
        f"{model.words} {CODE if model.code else ''}".strip() or "–",
        model.family,
        f"licence {model.licence}" if model.licence else "licence not known",
    ]
    if model.pulls:
        can.append(f"{millions(model.pulls)} pulls")
    out = [Fact("", UNUSUAL, "$text-warning")] if model.unusual else []
    out.append(Fact("can", "   ".join(part for part in can if part)))
    out += _tag_facts(model, shown)
    if shown.failure is not None:
        out.append(Fact("refresh", f"{shown.failure.sentence()}: this list stays. {shown.failure.remedy}.", "$text-warning"))
    where = f" ({shown.library.source})" if shown.library.source else ""
    facts = f"{of_words(shown.library.snapshot, shown.now)}{where}; what fits is estimated, at 8k of context"
    out.append(Fact("facts", facts, "$text-muted"))
    return out


def _tag_facts(model: CatalogueModel, shown: Shown) -> list[Fact]:
    weights = weighty(model)  # of what other tags are, `latest` would be said twice
    tags = [tag for tag in model.tags if tag.tag != "latest" or tag in weights] or list(model.tags)
    if not tags:
        return [Fact("tags", "the list names none; a pulls the model by its name")]
    widest = min(20, max(len(tag.tag) for tag in tags[:MOST_TAGS]))
    rows = [
        Fact("tags" if number == 0 else "", _tag_row(model, tag, widest, shown), fixed=True) for number, tag in enumerate(tags[:MOST_TAGS])
    ]
    if len(tags) > MOST_TAGS:
        rows.append(Fact("", f"and {len(tags) - MOST_TAGS} more: i lists all", "$text-muted", fixed=True))
    return rows


def _tag_row(model: CatalogueModel, tag: CatalogueTag, widest: int, shown: Shown) -> str:
    name, best = f"{model.name}:{tag.tag}", shown.best.get(model.name)
    have = "installed" if name in shown.installed else ""
    wish = ("recommended, you prefer it" if best.preferred else "recommended") if best is not None and best.name == name else ""
    said = ", ".join(part for part in (have, verdict(model, tag, shown.fits, binary=shown.binary), wish) if part)
    old = f"   {day_of(tag.dated)}" if tag.dated else ""
    row = f"{tag.tag[:20]:<{widest}}  {tag.quant or '–':<6}  {weight(tag, binary=shown.binary):>7}  {tokens(tag.context):>5}  {said}{old}"
    return row.rstrip()


def weight(tag: CatalogueTag, *, binary: bool = False) -> str:
    """Bytes to fetch; `~` marks what was worked out."""
    return f"{'~' if tag.estimated and tag.bytes else ''}{size(tag.bytes, binary=binary)}"


def verdict(model: CatalogueModel, tag: CatalogueTag, fits: Fits, *, binary: bool = False) -> str:
    """`good`, `slow, ~4 tok/s`, `no: 26 GB over`, `in a cloud`; empty where not known."""
    if tag.cloud:
        return "in a cloud"
    fit = fit_of(model, tag, fits)
    return words(fit, binary=binary) if fit is not None else ""
