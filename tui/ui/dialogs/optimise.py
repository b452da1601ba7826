"""Optimising a model: what is proposed, marked and tried; what is better is kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.core.errors import Failure
from tui.core.names import normal
from tui.core.tuning import Optimised, Proposal
from tui.text import clean_name
from tui.ui.screens.library_tuning_words import optimise_lines
from tui.ui.widgets.bars import uses_ascii
from tui.ui.widgets.board import Board

if TYPE_CHECKING:
    from tui.services.api import Services

_LOOK = 0.25
"""Seconds between two looks; nothing is drawn where nothing moved."""


class OptimiseDialog(ModalScreen[str | None]):
    """The proposals for one model as a diff, the measurement, and how it ended. Closing it stops nothing.

    The result is "quantize" or the name of a model to pull where a smaller quantization is wanted instead, else None.
    """

    DEFAULT_CSS = """
    OptimiseDialog {
        align: center middle;
        .dialog { width: 100; max-width: 98%; height: auto; max-height: 96%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        Board { height: 8; margin-top: 1; }
        .hint { color: $text-muted; margin-top: 1; }
        &.-low .dialog { padding: 0 1; max-height: 100%; }
        &.-low Board { margin-top: 0; }
        &.-low .hint { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", key_display="esc", id="optimise.back", tooltip="Close; a measurement goes on"),
        Binding("space", "mark", "mark", id="optimise.mark", tooltip="Try this change, or not"),
        Binding("x", "stop", "stop", id="optimise.stop", tooltip="Stop the measurement; everything is put back"),
        Binding("r", "again", "again", id="optimise.again", tooltip="Look again"),
        Binding("Q", "smaller(False)", "quantize", show=False, id="optimise.quantize", tooltip="Make a smaller quantization that fits"),
        Binding("p", "smaller(True)", "pull", show=False, id="optimise.pull", tooltip="Pull a smaller quantization that fits"),
    ]

    def __init__(self, services: Services, provider: str, model: str, name: str) -> None:
        super().__init__()
        self._services, self._provider, self._model, self._called = services, provider, model, name
        self._unmarked: set[str] = set()
        self._drawn: object = None
        self._binary = services.config.current.value.appearance.units == "binary"

    def compose(self) -> ComposeResult:
        """Heading, verdict, proposals, keys."""
        with Vertical(classes="dialog"):
            where = f"Optimise {clean_name(self._called, 60)} on {clean_name(self._provider, 30)} for this machine"
            yield Static(Content.styled(where, "bold"))
            yield Static("", id="optimise-fits", markup=False)
            yield Board()
            yield Static("", id="optimise-hint", classes="hint", markup=False)

    def on_mount(self) -> None:
        """Ask, and look for what moves."""
        self.query_one(Board).focus()
        self.set_interval(_LOOK, self._show)
        self.action_again()

    def action_again(self) -> None:
        """Ask anew."""
        self._services.library.tuning.propose(self._provider, self._model)
        self.call_after_refresh(self._show)

    # --- what is known ------------------------------------------------------------------------------------------------

    @property
    def found(self) -> Proposal | Failure | None:
        """What is proposed, or why nothing is."""
        return self._services.library.tuning.proposals.value.get((self._provider, self._model))

    @property
    def marked(self) -> tuple[str, ...]:
        """The options that will be tried; all at first."""
        found = self.found
        return tuple(change.key for change in found.changes if change.key not in self._unmarked) if isinstance(found, Proposal) else ()

    @property
    def _last(self) -> Optimised | None:
        return self._services.library.tuning.optimised.value.get((clean_name(self._provider), normal(self._model)))

    def _show(self) -> None:
        run, board = self._services.library.tuning.run.value, self.query_one(Board)
        now = time.time(), time.monotonic()
        state = (self.found, self.marked, self._last, run, int(now[1]) if run is not None else int(now[0] / 30), board.size.width)
        if state == self._drawn:
            return
        self._drawn = state
        found = self.found
        if isinstance(found, Proposal):
            self.query_one("#optimise-fits", Static).update(Content(f"It {found.fits}."))
        lines = optimise_lines(
            found, self.marked, self._last, run, now, board.size.width or 92, ascii=uses_ascii(self, None), binary=self._binary
        )
        board.styles.height = max(3, min(len(lines), self.app.size.height - (7 if self.app.size.height < 24 else 11)))
        board.show(lines)
        self.query_one("#optimise-hint", Static).update(Content(self._hint(run is not None)))
        self.refresh_bindings()

    def _hint(self, running: bool) -> str:
        if running:
            return "x stops and puts everything back   esc leaves it measuring"
        if not self.marked:
            some = isinstance(self.found, Proposal) and self.found.changes
            return "space marks   r looks again   esc back" if some else "r looks again   esc back"
        return "space marks   enter measures, keeps what is better   r again   esc back"

    def on_resize(self, event: events.Resize) -> None:
        """Wrap for the new width."""
        self._drawn = None
        self.call_after_refresh(self._show)

    # --- keys ---------------------------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Try the change under the cursor, or not."""
        key = self.query_one(Board).cursor
        if key:
            self._unmarked ^= {key}
            self._show()

    def on_board_selected(self, event: Board.Selected) -> None:
        """Enter begins."""
        event.stop()
        tuning = self._services.library.tuning
        if tuning.run.value is not None:
            self.app.notify("A measurement goes on; x stops it.", markup=False)
        elif not self.marked:
            self.app.notify("Mark a change with space first.", markup=False)
        else:
            tuning.optimise(self._provider, self._model, self.marked)

    def action_stop(self) -> None:
        """Stop the measurement."""
        if self._services.library.tuning.run.value is not None:
            self._services.library.tuning.stop()

    def action_smaller(self, pull: bool) -> None:
        """Have a smaller quantization instead, where one is offered."""
        found = self.found
        offered = [one for one in found.smaller if one.pull is pull] if isinstance(found, Proposal) else []
        if offered:
            self.dismiss(offered[0].name if pull else "quantize")

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
