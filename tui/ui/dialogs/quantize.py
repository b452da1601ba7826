"""Quantizing a model: the levels its server makes, what each takes and loses, and the names of the new models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.core.errors import PaddockError
from tui.core.levels import LEVELS, Level, expected_size, level_name
from tui.core.models import Model
from tui.services.library.tuning_words import quantizable
from tui.text import clean_name, size
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.rows import Rows

Wanted = list[tuple[str, str]]
FitsOf = Callable[[int], Cell]


def _proposed(model: Model, level: Level) -> str:
    """The new model's name; empty for a model whose own is none that a server would take."""
    try:
        return level_name(model.key, level.name)
    except PaddockError:
        return ""


class QuantizeDialog(ModalScreen[Wanted | None]):
    """Levels to mark; the result is level and name of each, None for esc.

    Args:
        model: With whole weights.
        installed: The models of its server.
        share: Of its weights that is the output head.
        fits: The verdict for so many bytes of weights.
        binary: Sizes in GiB.
    """

    DEFAULT_CSS = """
    QuantizeDialog {
        align: center middle;
        .dialog { width: 100; max-width: 98%; height: auto; max-height: 96%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .dialog Rows { height: 4; margin-top: 1; }
        .loss { margin-top: 1; }
        .problem { color: $text-error; }
        .hint { color: $text-muted; margin-top: 1; }
        &.-low .dialog { padding: 0 1; max-height: 100%; }
        &.-low .dialog Rows, &.-low .loss, &.-low .hint { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", key_display="esc", id="quantize.back", tooltip="Make nothing"),
        Binding("e", "rename", "name", id="quantize.name", tooltip="Another name for the new model under the cursor"),
    ]

    def __init__(self, model: Model, installed: Sequence[Model], share: float, fits: FitsOf, *, binary: bool = False) -> None:
        super().__init__()
        self._model, self._installed, self._share, self._fits, self._binary = model, tuple(installed), share, fits, binary
        self._names = {level.name: _proposed(model, level) for level in LEVELS}

    def compose(self) -> ComposeResult:
        """What it is now, the levels, what the one under the cursor loses, keys."""
        model = self._model
        now = f"{clean_name(model.quantization, 20) or 'whole weights'}, {size(model.size, binary=self._binary)}"
        with Vertical(classes="dialog"):
            yield Static(Content.styled(f"Quantize {clean_name(model.name, 60)} on {clean_name(model.provider, 30)}", "bold"))
            yield Static(Content(f"It is {now}. Each level becomes a model of its own; this one stays."))
            yield Rows[Level](self._columns(), key=lambda level: level.name, empty="this server makes no levels")
            yield Static("", classes="loss", markup=False)
            yield Static("", classes="problem", markup=False)
            yield Static(Content("space marks   enter queues them   e another name   esc back"), classes="hint")

    def _columns(self) -> list[Column[Level]]:
        return [
            Column("level", "LEVEL", lambda level: level.name, width=8),
            Column("size", "SIZE", lambda level: f"~{size(self.bytes_of(level), binary=self._binary)}", width=8, align="right"),
            Column("fits", "FITS", lambda level: self._fits(self.bytes_of(level)), width=15),
            Column("name", "NEW NAME", self._name_cell, flex=1, min=20),
        ]

    def _name_cell(self, level: Level) -> Cell:
        name = self._names[level.name]
        return Cell(clean_name(name, 80)) if name else Cell("e names it", "dim")

    def bytes_of(self, level: Level) -> int:
        """The expected size."""
        return expected_size(self._model.size or 0, self._model.quantization or "F16", level, self._share)

    def on_mount(self) -> None:
        """The usual level has the cursor."""
        rows = self.query_one(Rows)
        rows.set_items(LEVELS)
        rows.move_to_key("q4_K_M")
        rows.focus()
        self._tell()

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """What this one loses."""
        event.stop()
        self._tell()

    def on_rows_marked(self, event: Rows.Marked) -> None:
        """The line of trouble goes with the next mark."""
        event.stop()
        self.query_one(".problem", Static).update("")

    def _tell(self) -> None:
        level = self.query_one(Rows).highlighted
        if level is not None:
            bits = f"{level.bits(self._share):.1f} bits a weight"
            self.query_one(".loss", Static).update(Content(f"{level.name}: {bits}; loss: {level.loss}."))

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter: queue the marked ones, else the one under the cursor."""
        event.stop()
        wanted = [(level.name, self._names[level.name]) for level in self.query_one(Rows).chosen]
        try:
            self.dismiss(list(quantizable(self._model, wanted, self._installed)))
        except PaddockError as error:
            self.query_one(".problem", Static).update(Content(f"{error.failure.what}. {error.failure.remedy}."))

    def action_rename(self) -> None:
        """Type another name."""
        from tui.ui.widgets.confirm import InputDialog

        rows = self.query_one(Rows)
        level = rows.highlighted
        if level is None:
            return

        def check(text: str) -> str | None:
            try:
                quantizable(self._model, [(level.name, text)], self._installed)
            except PaddockError as error:
                return f"{error.failure.what}. {error.failure.remedy}"
            return None

        def done(text: str | None) -> None:
            if text is not None:
                self._names[level.name] = text.strip()
                rows.redraw()

        self.app.push_screen(InputDialog(f"Name of the model at {level.name}", self._names[level.name], check=check), done)

    def action_leave(self) -> None:
        """Without a level."""
        self.dismiss(None)
