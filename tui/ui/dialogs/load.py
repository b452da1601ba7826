"""Loading a model: which, what it would take at which context, and what is in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.core.capabilities import Capability
from tui.core.models import Location, Model, ModelDetail
from tui.core.monitor import Take
from tui.text import clean_name, size, tokens
from tui.ui.frame import Line
from tui.ui.screens.fits import Fits
from tui.ui.screens.monitor_memory import take_lines
from tui.ui.widgets.bars import uses_ascii
from tui.ui.widgets.board import Board, BoardLine
from tui.ui.widgets.columns import Column
from tui.ui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.services.api import Services

FIRST = 2048
"""The smallest context that is offered."""
_LOOK = 0.5
"""Seconds between two looks at what it would take: its details may have come, memory may be free."""


def contexts(trained: int | None) -> list[int | None]:
    """What can be chosen: as the server would load it, then 2k, 4k … up to what the model was trained for."""
    found: list[int | None] = [None]
    step = FIRST
    while trained and step < trained:
        found.append(step)
        step *= 2
    return [*found, trained] if trained else found


class LoadDialog(ModalScreen[None]):
    """Installed models that are not loaded, and a bar of each memory with what the model would take."""

    DEFAULT_CSS = """
    LoadDialog {
        align: center middle;
        .dialog { width: 92; max-width: 98%; height: auto; max-height: 96%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        Input, Input:focus { border: none; height: 1; padding: 0 1; background: $surface; }
        #load-bars { height: 2; }
        .space { margin-top: 1; }
        .hint { color: $text-muted; }
        &.-low .dialog { padding: 0 1; max-height: 100%; }
        &.-low .space { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="load.back", tooltip="Load nothing"),
        Binding("left", "context(-1)", "less context", id="load.less", key_display="←", tooltip="Show it with less context"),
        Binding("right", "context(1)", "more context", id="load.more", key_display="→", tooltip="Show it with more context"),
        Binding("F", "room", "make room", id="load.room", tooltip="Unload what was not used for longest, then load; asks first"),
        Binding("slash", "filter", "filter", id="load.filter", show=False, tooltip="Show the models that hold these words"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._binary = services.config.current.value.appearance.units == "binary"
        self._fits = Fits()
        self._fits.take(services)
        self._step = 0

    def compose(self) -> ComposeResult:
        """Models, context, bars, what is missing, keys."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled("Load a model", "bold"))
            field = Input(placeholder="type to filter", compact=True, select_on_focus=False)
            field.cursor_blink = False
            yield field
            yield Rows[Model](
                [
                    Column("name", "MODEL", lambda model: clean_name(model.name, 80), flex=3, min=16, sort_key=lambda model: model.name),
                    Column("on", "ON", lambda model: clean_name(model.provider, 40), flex=1, min=7, max=16),
                    Column("size", "SIZE", lambda model: size(model.size, binary=self._binary), width=7, align="right"),
                    Column("fits", "FITS", self._fits.cell, width=15),
                ],
                key=lambda model: (model.provider, model.key),
                empty="No model is installed that is not loaded.",
                markable=False,
            )
            yield Line(id="load-context", classes="space")
            board = Board(id="load-bars")
            board.can_focus = False
            yield board
            yield Line(id="load-verdict")
            yield Static(Content("enter loads  ←→ context  F make room  / filter  esc back"), classes="hint space")

    def on_mount(self) -> None:
        """Fill the list, look at the first."""
        registry = self._services.registry
        loaded = {(model.provider, model.key) for model in registry.running.value}
        offered = [
            model
            for model in registry.models.value
            if (model.provider, model.key) not in loaded and not registry.can(model.provider, Capability.LOAD)
        ]
        rows = self.query_one(Rows)
        rows.set_items(offered)
        rows.styles.height = 1 + max(2, min(14 if self.size.height >= 36 else 6 if self.size.height >= 22 else 3, len(offered)))
        rows.focus()
        self.set_interval(_LOOK, self._show)
        self.call_after_refresh(self._show)

    @property
    def _model(self) -> Model | None:
        found: Model | None = self.query_one(Rows).highlighted
        return found

    @property
    def _chosen(self) -> int | None:
        model = self._model
        offered = contexts(self._trained(model))
        return offered[min(self._step, len(offered) - 1)]

    def _trained(self, model: Model | None) -> int | None:
        """The context it was trained for, from the list or from its details."""
        if model is None or model.context:
            return model.context if model is not None else None
        detail = self._services.registry.details.value.get((model.provider, model.key))
        return detail.context if isinstance(detail, ModelDetail) else None

    def _take(self) -> Take | None:
        model = self._model
        return None if model is None else self._services.monitor.would_take(model.provider, model.key, self._chosen)

    def _here(self, model: Model) -> bool:
        state = self._services.registry.state(model.provider)
        return state is not None and state.location is Location.HERE

    def _show(self) -> None:
        """What the model under the cursor would take."""
        model, board = self._model, self.query_one("#load-bars", Board)
        head, verdict = self.query_one("#load-context", Line), self.query_one("#load-verdict", Line)
        if model is None:
            head.show(("", ""))
            verdict.show(("", ""))
            board.show(())
            return
        ascii = uses_ascii(self, None)
        take, context = self._take(), self._chosen
        served = f" (taken as {tokens(take.context)})" if take is not None and take.context and context is None else ""
        words = f"as the server loads it{served}" if context is None else tokens(context)
        most = self._trained(model)
        trained = f" of {tokens(most)}" if most else ""
        own = "" if context is None else "   a chat gets it with /set num_ctx"
        arrows = "< >" if ascii else "← →"
        head.show(("context  ", "$text-muted"), (f"{words}{trained}", "bold"), (f"  {arrows}", "$accent"), (own, "$text-muted"))
        if not self._here(model):
            board.show((BoardLine(((f"{model.provider} runs on another machine: what is free there is not known.", "dim"),)),))
            verdict.show(("", ""))
            return
        if take is None:
            board.show((BoardLine((("asking the server for its details", "dim"),)),))
            verdict.show(("", ""))
            return
        lines = take_lines(take, self._services.monitor.maps.value, board.size.width or 86, ascii=ascii, binary=self._binary)
        if not lines:
            need = sum(amount for _uuid, amount in take.gpu) + take.ram
            lines = [BoardLine(((f"needs {size(need, binary=self._binary)}", ""),))]
        board.styles.height = max(1, min(6, len(lines)))
        board.show(lines)
        how = "as measured when it was loaded" if take.measured else "an estimate"
        if take.missing:
            missing = f"! {size(take.missing, binary=self._binary)} are not free"
            verdict.show((missing, "bold $warning"), (f"  {take.verdict}, {how}; F makes room", "$text-muted"))
        else:
            verdict.show((f"fits: {take.verdict}" if take.verdict else "fits", "$success"), (f"  {how}", "$text-muted"))

    # --- keys ---------------------------------------------------------------------------------------------------------

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Another model."""
        event.stop()
        self._show()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter loads."""
        event.stop()
        model: Model | None = event.item
        if model is not None:
            self._services.registry.load(model.provider, model.key)
            self.dismiss(None)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter."""
        event.stop()
        self.query_one(Rows).set_filter(event.value)
        self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """To the list."""
        event.stop()
        self.query_one(Rows).focus()

    def action_context(self, step: int) -> None:
        """Look at it with more or less context."""
        model = self._model
        if model is not None:
            most = len(contexts(self._trained(model))) - 1
            self._step = max(0, min(most, min(self._step, most) + step))
            self._show()

    def action_filter(self) -> None:
        """To the filter."""
        self.query_one(Input).focus()

    def action_room(self) -> None:
        """Load it after unloading others; the question names them."""
        model = self._model
        if model is not None:
            self._services.monitor.make_room(model.provider, model.key)
            self.dismiss(None)

    def action_leave(self) -> None:
        """Without loading; from the filter back to the list."""
        rows = self.query_one(Rows)
        if self.query_one(Input).has_focus:
            rows.focus()
        else:
            self.dismiss(None)
