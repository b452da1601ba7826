"""Choosing what to compare: the prompt, two to four models of any provider, and whether their names are hidden."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final
from weakref import WeakKeyDictionary

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static, TextArea

from tui.core.capabilities import Ability, Capability
from tui.core.models import Model, ModelKey
from tui.core.record import record
from tui.text import clean_block, clean_label, clean_name, size
from tui.ui.frame import Line
from tui.ui.screens.fits import Fits
from tui.ui.widgets.bars import uses_ascii
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.services.api import Services

LEAST: Final = 2
MOST: Final = 4


@record(frozen=True)
class Choice:
    """What is to be compared.

    Attributes:
        text: The prompt; empty: the last one again.
        models: In the order of the columns; shuffled where it is blind.
    """

    text: str
    models: tuple[ModelKey, ...]
    blind: bool = False


_LAST: Final[WeakKeyDictionary[Services, Choice]] = WeakKeyDictionary()
"""What was chosen last, for as long as the app runs."""


class PromptArea(TextArea):
    """The prompt: enter starts, ctrl+j breaks the line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j,alt+enter,shift+enter", "new_line", "new line", id="comparing.newline", show=False, tooltip="New line")
    ]

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            await self.screen.run_action("start")
            return
        await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self.insert(clean_block(event.text))

    def action_new_line(self) -> None:
        """A line break at the cursor."""
        self.insert("\n")


class CompareDialog(ModalScreen[Choice | None]):
    """Prompt, models with marks, blind or not; None for esc.

    Args:
        services: Their models and this machine's memory.
        text: What the prompt begins with.
        again: The last prompt of the conversation, asked again where the field stays empty; empty: there is none.
        marked: Models marked at first; where they are no two, those of the last time.
        blind: Whether names are hidden at first.
    """

    DEFAULT_CSS = """
    CompareDialog {
        align: center middle;
        .dialog { width: 92; max-width: 98%; height: auto; max-height: 96%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        TextArea, TextArea:focus { height: 3; border: none; padding: 0 1; background: $surface; }
        Input, Input:focus { border: none; height: 1; padding: 0 1; background: $surface; }
        Rows { height: 7; }
        .space { margin-top: 1; }
        .hint { color: $text-muted; }
        &.-high Rows { height: 16; }
        &.-high TextArea { height: 5; }
        &.-low .dialog { padding: 0 1; max-height: 100%; }
        &.-low .space { margin-top: 0; }
        &.-low Rows { height: 5; }
        &.-low TextArea { height: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="comparing.back", tooltip="Compare nothing"),
        Binding("enter", "start", "compare", id="comparing.start", tooltip="Ask the marked models"),
        Binding("b", "blind", "blind", id="comparing.blind", tooltip="Hide names and figures until you have chosen the best"),
        Binding("slash", "filter", "filter", id="comparing.filter", show=False, tooltip="Show the models that hold these words"),
        Binding("tab", "app.focus_next", "next", id="comparing.next", show=False, tooltip="Next part"),
        Binding("shift+tab", "app.focus_previous", "previous", id="comparing.previous", show=False, tooltip="Previous part"),
    ]

    def __init__(
        self, services: Services, text: str = "", *, again: str = "", marked: Sequence[ModelKey] = (), blind: bool = False
    ) -> None:
        super().__init__()
        self._services, self._text, self._again = services, text, again
        last = _LAST.get(services) if len(marked) < LEAST else None
        self._first, self._blind = (last.models, blind or last.blind) if last is not None else (tuple(marked), blind)
        self._binary = services.config.current.value.appearance.units == "binary"
        self._fits = Fits()
        self._fits.take(services)
        self._problem = ""

    def compose(self) -> ComposeResult:
        """Prompt, models, what is marked, blind, what is wrong."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled("Compare: one prompt to two, three or four models", "bold"))
            again = f"the last prompt again: {clean_label(' '.join(self._again.split()), 60)}" if self._again.strip() else "the prompt"
            prompt = PromptArea(clean_block(self._text), tab_behavior="focus", soft_wrap=True, placeholder=Content(again), classes="space")
            prompt.cursor_blink, prompt.highlight_cursor_line = False, False
            yield prompt
            field = Input(placeholder="type to filter the models", compact=True, select_on_focus=False, classes="space")
            field.cursor_blink = False
            yield field
            yield Rows[Model](
                [
                    Column("name", "MODEL", lambda model: clean_name(model.name, 80), flex=3, min=16),
                    Column("on", "ON", lambda model: clean_name(model.provider, 40), flex=1, min=7, max=16),
                    Column("size", "SIZE", self._size_cell, width=7, align="right"),
                    Column("fits", "FITS", self._fits.cell, width=15),
                ],
                key=lambda model: (model.provider, model.key),
                state=lambda model: "loaded" if self._fits.is_loaded(model) else "",
                empty="no model that can chat is known yet",
            )
            yield Line(id="comparing-marked", classes="space")
            yield Line(id="comparing-blind")
            yield Static(Content("space marks  enter compares  b blind  / filter  tab next part  esc back"), classes="hint space")

    def _size_cell(self, model: Model) -> Cell:
        reason = self._services.registry.can(model.provider, Capability.CHAT)
        return Cell(clean_label(reason, 60), "bad", rest=True) if reason else Cell(size(model.size, binary=self._binary))

    def on_mount(self) -> None:
        """Loaded models first; those marked last time are marked again."""
        models = [model for model in self._services.registry.models.value if not model.abilities or Ability.COMPLETION in model.abilities]
        models.sort(key=lambda model: (not self._fits.is_loaded(model), model.name.casefold(), model.provider))
        rows = self.query_one(Rows)
        rows.set_items(models)
        for key in self._first[:MOST]:
            if rows.move_to_key(key):
                rows.action_mark()
        rows.move_to(0)
        self._say()
        area = self.query_one(PromptArea)
        area.move_cursor(area.document.end)
        (rows if area.text.strip() or self._again.strip() else area).focus()

    # --- what is marked -----------------------------------------------------------------------------------------------

    @property
    def chosen(self) -> tuple[ModelKey, ...]:
        """The marked models."""
        return tuple((model.provider, model.key) for model in self.query_one(Rows).marked_items)

    def problem(self) -> str:
        """What keeps it from being started, in words."""
        marked = self.query_one(Rows).marked_items
        if len(marked) > MOST:
            return f"{len(marked)} are marked; at most {MOST} can be compared"
        if len(marked) < LEAST:
            return "mark two to four models with space"
        unable = next(
            ((model, reason) for model in marked if (reason := self._services.registry.can(model.provider, Capability.CHAT))), None
        )
        if unable is not None:
            return f"{clean_name(unable[0].name, 40)}: {clean_label(unable[1], 80)}"
        if not self.query_one(PromptArea).text.strip() and not self._again.strip():
            return "write the prompt"
        return ""

    def _say(self) -> None:
        ascii = uses_ascii(self, None)
        marked = self.query_one(Rows).marked_items
        names = ", ".join(clean_name(model.name, 40) for model in marked)
        over = len(marked) > MOST
        line = self.query_one("#comparing-marked", Line)
        says = self._problem or (names if marked else "none yet")
        line.show(
            (f"{len(marked)} of {MOST} ", "bold $warning" if over else "bold"),
            (says, "$warning" if over or self._problem else "$foreground" if marked else "$text-muted"),
        )
        self.query_one("#comparing-blind", Line).show(
            (("[x]" if ascii else "[✓]") if self._blind else "[ ]", "bold $primary" if self._blind else "$text-muted"),
            (" blind ", "bold" if self._blind else ""),
            ("names and figures are told once you have chosen the best", "$text-muted"),
        )

    def on_rows_marked(self, event: Rows.Marked) -> None:
        """Say what is marked, and at once when it is too much."""
        event.stop()
        self._problem = self.problem() if len(self.query_one(Rows).marked_items) > MOST else ""
        self._say()

    def on_rows_sorted(self, event: Rows.Sorted) -> None:
        """The order says nothing about what is marked."""
        event.stop()

    # --- keys ---------------------------------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter."""
        event.stop()
        self.query_one(Rows).set_filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """To the list."""
        event.stop()
        self.query_one(Rows).focus()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter in the list starts."""
        event.stop()
        self.action_start()

    def on_click(self, event: events.Click) -> None:
        """A click on the line of the switch."""
        if self.query_one("#comparing-blind").region.contains_point(event.screen_offset):
            self.action_blind()

    def action_blind(self) -> None:
        """Hide names and figures, or not."""
        self._blind = not self._blind
        self._say()

    def action_filter(self) -> None:
        """To the filter."""
        self.query_one(Input).focus()

    def action_start(self) -> None:
        """Compare, or say what is missing."""
        self._problem = self.problem()
        if self._problem:
            self._say()
            return
        models = list(self.chosen)
        if self._blind:  # the order must not tell who is who
            random.SystemRandom().shuffle(models)
        choice = Choice(self.query_one(PromptArea).text.strip(), tuple(models), self._blind)
        _LAST[self._services] = choice
        self.dismiss(choice)

    def action_leave(self) -> None:
        """Without a comparison."""
        self.dismiss(None)
