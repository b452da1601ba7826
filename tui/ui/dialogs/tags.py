"""All tags of a model of the catalogue: quantization, size, context and verdict of each, to choose one to pull."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.providers.library import CatalogueModel, CatalogueTag
from tui.services.library.catalogue_search import day_of
from tui.text import tokens
from tui.ui.screens.catalogue_view import fit_of, not_pulled, verdict, weight
from tui.ui.screens.fits import TONES, Fits
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.rows import Rows


class TagsDialog(ModalScreen[str | None]):
    """A table of tags; the result is the one to pull, None for esc.

    Args:
        model: Whose.
        fits: Verdicts.
        installed: Normal names of what is installed.
        best: The tag the cursor begins on.
        binary: Sizes in GiB.
    """

    DEFAULT_CSS = """
    TagsDialog {
        align: center middle;
        .dialog { width: 86; max-width: 98%; height: auto; max-height: 96%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .dialog Rows { height: 6; margin-top: 1; }
        .hint { color: $text-muted; margin-top: 1; }
        &.-low .dialog { padding: 0 1; }
        &.-low .dialog Rows, &.-low .hint { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="tags.back", tooltip="Pull nothing"),
        Binding("p,a", "pull", "pull", show=False, id="tags.pull", tooltip="Pull this tag"),
    ]

    def __init__(self, model: CatalogueModel, fits: Fits, installed: frozenset[str], best: str, *, binary: bool = False) -> None:
        super().__init__()
        self._model, self._fits, self._installed, self._best, self._binary = model, fits, installed, best, binary

    def compose(self) -> ComposeResult:
        """Title, table, hint."""
        model = self._model
        with Vertical(classes="dialog"):
            words = "   ".join(part for part in (model.words, f"licence {model.licence}" if model.licence else "") if part)
            yield Static(
                Content.assemble(("Tags of ", "bold"), (model.name, "bold $primary"), (f"   {words}", "$text-muted")), markup=False
            )
            yield Rows[CatalogueTag](
                self._columns(),
                key=lambda tag: tag.tag,
                state=lambda tag: "up" if f"{model.name}:{tag.tag}" in self._installed else "",
                empty="The list names no tags of this model.",
                markable=False,
                id="tags",
            )
            yield Static(Content("enter pulls   s sorts   esc back   ~ needs about so much at 8k"), classes="hint")

    def _columns(self) -> list[Column[CatalogueTag]]:
        return [
            Column("tag", "TAG", lambda tag: tag.tag, min=12, flex=2, sort_key=lambda tag: tag.tag),
            Column("quant", "QUANT", lambda tag: tag.quant or "–", width=7, sort_key=lambda tag: tag.quant or None),
            Column(
                "size",
                "SIZE",
                lambda tag: weight(tag, binary=self._binary),
                width=8,
                align="right",
                sort_key=lambda tag: tag.bytes,
                descending=True,
            ),
            Column("context", "CONTEXT", lambda tag: tokens(tag.context), width=7, align="right", sort_key=lambda tag: tag.context),
            Column("fits", "FITS AT 8k", self._fit_cell, min=12, flex=1),
            Column("dated", "FACTS OF", lambda tag: day_of(tag.dated) if tag.dated else "", width=11, min_screen_width=74),
        ]

    def _fit_cell(self, tag: CatalogueTag) -> Cell:
        fit = fit_of(self._model, tag, self._fits)
        if fit is None:
            return Cell(verdict(self._model, tag, self._fits) or "–", "dim")
        return Cell(verdict(self._model, tag, self._fits, binary=self._binary), TONES.get(fit.verdict, ""))

    def on_mount(self) -> None:
        """Fill; the cursor stands on what would be pulled."""
        rows = self.query_one(Rows)
        tags = list(self._model.tags)
        rows.set_items(tags)
        rows.styles.height = max(2, min(len(tags) + 1, self.app.size.height - 11))
        rows.focus()
        at = next((number for number, tag in enumerate(tags) if tag.tag == self._best), 0)
        self.call_after_refresh(rows.move_to, at)

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter: pull it."""
        event.stop()
        self.action_pull()

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Nobody else's business."""
        event.stop()

    def action_pull(self) -> None:
        """Pull the tag under the cursor."""
        tag: CatalogueTag | None = self.query_one(Rows).highlighted
        if tag is not None and tag.cloud:
            self.app.notify(not_pulled(f"{self._model.name}:{tag.tag}"), markup=False)
        elif tag is not None:
            self.dismiss(tag.tag)

    def action_leave(self) -> None:
        """Back, and pull nothing."""
        self.dismiss(None)
