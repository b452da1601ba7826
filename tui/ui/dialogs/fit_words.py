"""The cells and heads of the table of what fits."""

from __future__ import annotations

from typing import Final

from tui.core.fit import Fit, FitRow, FitTable, Machine, Source
from tui.services.library import fits_text
from tui.services.library.fits_text import label_of, largest_text, machine_text, mark_of, placed_text, served_text
from tui.text import size, tokens
from tui.ui.screens.fits import TONES
from tui.ui.widgets.grid import Part

__all__ = ["cell_of", "cell_text", "cell_words", "head_of", "heading", "legend", "machine_text", "served_text"]

_SIZE: Final = 7


def cell_text(context: int) -> str:
    """`32k`."""
    return tokens(context)


def cell_of(fit: Fit | None, *, binary: bool = False) -> Part:
    """A cell and its tone."""
    return mark_of(fit, binary=binary) or "-", TONES.get(fit.verdict, "") if fit is not None else "dim"


def head_of(row: FitRow, width: int, *, ascii: bool = False, binary: bool = False) -> tuple[Part, ...]:
    """Where it comes from, its label, its size."""
    variant = row.variant
    installed = variant.source is Source.INSTALLED
    mark = ("*" if ascii else "●") if installed else " "
    label = label_of(variant)
    room = width - 4 - _SIZE
    about = "~" if variant.source is Source.COMPUTED else ""
    label = label if len(label) <= room else f"{label[: room - 1]}{'~' if ascii else '…'}"
    weight = f"{about}{size(variant.subject.weights, binary=binary)}"
    return (f"{mark} ", "ok"), (f"{label:<{room}} ", "" if variant.name else "dim"), (f"{weight:>{_SIZE}} ", "dim")


def heading(width: int) -> str:
    """Above the heads."""
    return f"  {'MODEL':<{width - 4 - _SIZE}} {'SIZE':>{_SIZE}}"


def cell_words(row: FitRow, fit: Fit | None, context: int, machine: Machine, *, binary: bool = False) -> str:
    """One cell in words; then the largest context of its row, and where it would go."""
    rest = f"{largest_text(row)} {placed_text(fit, machine, binary=binary)}".strip()
    return f"{fits_text.verdict_text(row, fit, context, binary=binary)}\n{rest}"


def legend(table: FitTable, *, short: bool = False, ascii: bool = False, binary: bool = False) -> str:
    """What the cells mean."""
    text = fits_text.legend(table, short=short, binary=binary)
    return text if short else f"{'*' if ascii else '●'} installed  ~ computed  {text}"
