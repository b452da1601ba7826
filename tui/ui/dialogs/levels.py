"""Levels of a model side by side: size, memory, speed, and how far their answers agree; measured on request."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.core.levels import LevelFigures
from tui.core.models import Model
from tui.core.names import normal
from tui.services.monitor.profile_words import rate
from tui.text import clean_name, duration, size
from tui.ui.screens.library_tuning_words import agrees, base_rows, compared_with, level_sentence, when
from tui.ui.widgets.columns import Cell, Column, Drawn
from tui.ui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.services.api import Services

_LOOK = 0.25
"""Seconds between two looks; nothing is drawn where nothing moved."""


class LevelsDialog(ModalScreen[None]):
    """A table of models that are levels of one; the marked ones are measured. Closing it stops nothing.

    Args:
        services: What was measured, and what measures.
        models: Of one provider, the largest first.
    """

    DEFAULT_CSS = """
    LevelsDialog {
        align: center middle;
        .dialog { width: 118; max-width: 98%; height: auto; max-height: 96%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .dialog Rows { height: 5; margin-top: 1; }
        #levels-about { margin-top: 1; min-height: 2; }
        #levels-run { color: $text-accent; }
        .hint { color: $text-muted; margin-top: 1; }
        &.-low .dialog { padding: 0 1; max-height: 100%; }
        &.-low .dialog Rows, &.-low #levels-about, &.-low .hint { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", key_display="esc", id="levels.back", tooltip="Close; a measurement goes on"),
        Binding("x", "stop", "stop", id="levels.stop", tooltip="Stop the measurement; everything is put back"),
    ]

    def __init__(self, services: Services, models: Sequence[Model]) -> None:
        super().__init__()
        self._services, self._models = services, tuple(models)
        self._provider = models[0].provider
        self._rows: dict[str, LevelFigures] = {}
        self._drawn: object = None
        self._binary = services.config.current.value.appearance.units == "binary"

    def compose(self) -> ComposeResult:
        """Heading, table, what the row under the cursor says in full, progress, keys."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled(f"Levels of {clean_name(self._models[0].name, 60)} on {clean_name(self._provider, 30)}", "bold"))
            yield Static("", id="levels-how", markup=False)
            yield Rows[Model](self._columns(), key=lambda model: model.key)
            yield Static("", id="levels-about", markup=False)
            yield Static("", id="levels-run", markup=False)
            yield Static("", id="levels-hint", classes="hint", markup=False)

    def _of(self, model: Model) -> LevelFigures | None:
        return self._rows.get(normal(model.key))

    def _columns(self) -> list[Column[Model]]:
        def figure(key: str, title: str, words: Callable[[LevelFigures], str], width: int, least: int = 0) -> Column[Model]:
            def render(model: Model) -> Drawn:
                row = self._of(model)
                return Cell("–", "dim") if row is None or row.problem else words(row)

            return Column(key, title, render, width=width, align="right", min_screen_width=least)

        return [
            Column("model", "MODEL", lambda model: clean_name(model.name, 80), flex=1, min=16),
            Column("level", "LEVEL", lambda model: clean_name(model.quantization, 12) or "–", width=7, min_screen_width=64),
            Column("size", "SIZE", lambda model: size(model.size, binary=self._binary), width=7, align="right"),
            figure("memory", "MEMORY", lambda row: size(row.memory, binary=self._binary), 7, 84),
            figure("load", "LOAD", lambda row: duration(row.load_seconds), 6, 92),
            figure("rate", "TOK/S", lambda row: rate(row.rate), 6),
            figure("prompt", "PROMPT", lambda row: rate(row.prompt_rate), 7, 76),
            Column("agrees", "AGREES", lambda model: agrees(self._of(model), self._rows.values()), width=6, align="right"),
            Column("when", "AGO", lambda model: when(self._of(model), model, time.time()), width=7, align="right", min_screen_width=60),
        ]

    def on_mount(self) -> None:
        """Fill the table; all are marked at first, where there are several."""
        rows = self.query_one(Rows)
        rows.styles.height = max(2, min(len(self._models) + 1, self.app.size.height - (14 if self.app.size.height >= 24 else 11)))
        rows.set_items(self._models)
        for model in self._models if len(self._models) > 1 else ():
            if rows.move_to_key(model.key):
                rows.action_mark()
        rows.move_to(0)
        rows.focus()
        self.set_interval(_LOOK, self._show)
        self._show()

    def _show(self) -> None:
        tuning, rows = self._services.library.tuning, self.query_one(Rows)
        now, run = time.time(), tuning.run.value
        known = base_rows(tuning.levels.value, clean_name(self._provider), self._models)
        model: Model | None = rows.highlighted
        state = (known, run, model, int(time.monotonic()) if run is not None else int(now / 30))
        if state == self._drawn:
            return
        self._drawn, self._rows = state, known
        rows.redraw()
        base = compared_with(self._rows.values(), self._models[0])
        how = f"Each is loaded anew and asked four fixed prompts, without chance. AGREES: words equal to {base}."
        self.query_one("#levels-how", Static).update(Content.styled(how, "$text-muted"))
        about = level_sentence(self._of(model), model, now, binary=self._binary) if model is not None else ""
        self.query_one("#levels-about", Static).update(Content(about))
        going = "" if run is None else f"{run.step}, {duration(max(0.0, time.monotonic() - run.since))} now"
        line = self.query_one("#levels-run", Static)
        line.display = run is not None
        line.update(Content(going if run is None or run.kind == "levels" else f"{clean_name(run.model, 60)} is being optimised: {going}"))
        self.query_one("#levels-hint", Static).update(Content(self._hint(run is not None)))

    def _hint(self, running: bool) -> str:
        if running:
            return "x stops and puts everything back   esc leaves it measuring"
        if len(self._models) < 2:
            return "There is no other level here: pull one, or Q makes some of whole weights.   esc back"
        return "space marks   enter measures the marked ones   esc back"

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """What it says in full."""
        event.stop()
        self._show()

    def on_rows_marked(self, event: Rows.Marked) -> None:
        """Nothing of the screen below is meant."""
        event.stop()

    def on_resize(self, event: events.Resize) -> None:
        """Draw anew."""
        self._drawn = None
        self.call_after_refresh(self._show)

    # --- keys ---------------------------------------------------------------------------------------------------------

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Measure the marked ones."""
        event.stop()
        tuning, chosen = self._services.library.tuning, self._chosen()
        if tuning.run.value is not None:
            self.app.notify("A measurement goes on; x stops it.", markup=False)
        elif len(chosen) < 2:
            self.app.notify("Mark two levels or more with space.", markup=False)
        else:
            tuning.benchmark(self._provider, chosen)

    def _chosen(self) -> list[str]:
        rows: Rows[Any] = self.query_one(Rows)
        return [model.key for model in rows.marked_items]

    def action_stop(self) -> None:
        """Stop the measurement."""
        if self._services.library.tuning.run.value is not None:
            self._services.library.tuning.stop()

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
