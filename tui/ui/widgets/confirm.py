"""Dialogs: a question with a safe answer, a line to type, a list to pick from.

What a dialog shows is drawn literally. A confirmation takes no key until it has been on screen for `ARMED_AFTER`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, TypeVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from tui.core.clock import SYSTEM, Clock
from tui.ui.widgets.rows import Column, Rows

T = TypeVar("T")
ARMED_AFTER: Final = 0.3
"""Seconds a confirmation must have been on screen before it takes an answer (T15, T16, P12)."""
_CSS: Final = """
    align: center middle;
    .dialog { width: 72; max-width: 96%; height: auto; max-height: 90%; padding: 1 2; background: $panel; border: round $primary; }
    .dialog Static { width: 1fr; height: auto; }
    .dialog .answers { height: auto; margin-top: 1; align-horizontal: right; }
    .dialog Button { margin-left: 2; min-width: 8; }
    .dialog .hint { color: $text-muted; }
    .dialog .problem { color: $text-error; }
    .dialog Input, .dialog Input:focus { border: none; height: 1; padding: 0 1; margin-top: 1; background: $surface; }
    .dialog Rows { height: 14; margin-top: 1; }
    &.-low .dialog { padding: 0 1; max-height: 100%; }
    &.-low .dialog Rows, &.-low .dialog Input, &.-low .dialog Input:focus { margin-top: 0; }
    .dialog Rows .rows--cursor-blurred { color: $block-cursor-foreground; background: $block-cursor-background; }
"""


class ConfirmDialog(ModalScreen[str | None]):
    """A question; the result is the key of the answer chosen, None for esc.

    Args:
        question: What will happen, to what, with the figure that matters.
        choices: (key, label) of the answers, the safe one first; it has the focus.
        clock: Tells how long the dialog has been there.
    """

    DEFAULT_CSS = f"ConfirmDialog {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "refuse", "back", id="confirm.back", tooltip="Do nothing"),
        Binding("left", "go(-1)", "previous", id="confirm.previous", show=False),
        Binding("right", "go(1)", "next", id="confirm.next", show=False),
        Binding("shift+tab", "go(-1, True)", "previous, round", id="confirm.round_back", show=False),
        Binding("tab", "go(1, True)", "next, round", id="confirm.round", show=False),
    ]

    def __init__(self, question: str, choices: Sequence[tuple[str, str]], *, clock: Clock = SYSTEM) -> None:
        super().__init__()
        self._question, self._choices, self._clock = question, tuple(choices), clock
        self._shown_at: float | None = None

    @property
    def armed(self) -> bool:
        """It has been on screen long enough to be answered."""
        return self._shown_at is not None and self._clock.monotonic() - self._shown_at >= ARMED_AFTER

    def compose(self) -> ComposeResult:
        """The question and a button for each answer."""
        with Vertical(classes="dialog"):
            yield Static(Content(self._question))
            with Horizontal(classes="answers"):
                for key, label in self._choices:
                    button = Button(Content(label), name=key, compact=True)
                    button.active_effect_duration = 0.0
                    yield button

    def on_mount(self) -> None:
        """Focus the safe answer; the time counts from the first frame."""
        self.query(Button).first().focus()
        self.call_after_refresh(self._note_shown)

    def _note_shown(self) -> None:
        self._shown_at = self._clock.monotonic()

    def action_go(self, step: int, around: bool = False) -> None:
        """To the next or previous answer, `around` from one end to the other; keys typed before the dialog stood there do nothing."""
        if not self.armed:
            return
        buttons = list(self.query(Button))
        at = next((number + step for number, button in enumerate(buttons) if button.has_focus), 0)
        buttons[at % len(buttons) if around else max(0, min(at, len(buttons) - 1))].focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer, where that is allowed yet."""
        event.stop()
        if self.armed and event.button.name is not None:
            self.dismiss(event.button.name)

    def action_refuse(self) -> None:
        """Answer nothing; always allowed."""
        self.dismiss(None)


class InputDialog(ModalScreen[str | None]):
    """A line to type; None for esc.

    Args:
        title: What is asked for.
        value: What stands there at first.
        hint: A line below.
        check: Text to a problem in words, or None where it is fine; asked at each enter.
        password: Show dots.
    """

    DEFAULT_CSS = f"InputDialog {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back", id="input.back", tooltip="Change nothing")]

    def __init__(
        self, title: str, value: str = "", *, hint: str = "", check: Callable[[str], str | None] | None = None, password: bool = False
    ) -> None:
        super().__init__()
        self._ask, self._value, self._hint, self._check, self._password = title, value, hint, check, password

    def compose(self) -> ComposeResult:
        """Title, field, hint, problem."""
        with Vertical(classes="dialog"):
            yield Static(Content(self._ask))
            field = Input(self._value, password=self._password, compact=True)
            field.cursor_blink = False
            yield field
            yield Static(Content(self._hint), classes="hint")
            yield Static("", classes="problem", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the text where it is fine, else say what is wrong."""
        event.stop()
        problem = self._check(event.value) if self._check is not None else None
        if problem is None:
            self.dismiss(event.value)
        else:
            self.query_one(".problem", Static).update(Content(problem))

    def action_leave(self) -> None:
        """Without a change."""
        self.dismiss(None)


class FilteredDialog(ModalScreen[str | None]):
    """A field that filters a list: arrows move in the list while the field has the focus, enter takes; None for esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="choice.back", tooltip="Choose nothing"),
        Binding("down", "step(1)", "down", id="choice.down", show=False, priority=True),
        Binding("up", "step(-1)", "up", id="choice.up", show=False, priority=True),
    ]

    def field(self) -> Input:
        """The field, to be yielded above the `Rows`."""
        field = Input(placeholder="type to filter", compact=True)
        field.cursor_blink = False
        return field

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter."""
        event.stop()
        self.query_one(Rows).set_filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Choose what the cursor is on."""
        event.stop()
        self.query_one(Rows).action_open()

    def action_step(self, step: int) -> None:
        """Move in the list while the field has the focus."""
        self.query_one(Rows).action_move(step)

    def action_leave(self) -> None:
        """Without a choice."""
        self.dismiss(None)


class ChoiceDialog(FilteredDialog):
    """A list to pick from, filtered by what is typed; the result is the key, None for esc.

    Args:
        title: What is to be chosen.
        choices: (key, label, note); the note stands at the right.
        current: Key under the cursor at first.
    """

    DEFAULT_CSS = f"ChoiceDialog {{ {_CSS} }}"

    def __init__(self, title: str, choices: Sequence[tuple[str, str, str]], *, current: str = "") -> None:
        super().__init__()
        self._ask, self._choices, self._current = title, tuple(choices), current

    def compose(self) -> ComposeResult:
        """Title, filter field, list."""
        with Vertical(classes="dialog"):
            yield Static(Content(self._ask))
            yield self.field()
            yield Rows[tuple[str, str, str]](
                [
                    Column("label", "", lambda choice: Text(choice[1]), flex=3, max=self._label_width()),
                    Column("note", "", lambda choice: Text(choice[2]), flex=2, align="right"),
                ],
                key=lambda choice: choice[0],
                text=lambda choice: f"{choice[1]} {choice[2]}",
                empty="nothing to choose from",
                header=False,
                markable=False,
            )

    def _label_width(self) -> int | None:
        """No more than the longest label where notes stand beside: theirs is the room."""
        return max((cell_len(label) for _, label, _ in self._choices), default=1) if any(note for _, _, note in self._choices) else None

    def on_mount(self) -> None:
        """Fill the list; typing filters it."""
        rows = self.query_one(Rows)
        rows.styles.height = max(1, min(14, len(self._choices), self.app.size.height - 6))
        longest = max((cell_len(note) for _, _, note in self._choices), default=0)
        self.query_one(".dialog").styles.width = min(100, max(72, (self._label_width() or 0) + longest + 12))
        rows.set_items(self._choices)
        rows.move_to_key(self._current)
        self.query_one(Input).focus()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Done."""
        event.stop()
        if event.item is not None:
            self.dismiss(event.item[0])


class MarkDialog(ModalScreen[list[str] | None]):
    """A list to mark in; the result is the keys marked (else the one under the cursor), None for esc.

    Args:
        title: What is to be chosen.
        choices: (key, label, note); the note stands at the right.
        marked: Keys marked at first.
    """

    DEFAULT_CSS = f"MarkDialog {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back", id="mark.back", tooltip="Change nothing")]

    def __init__(self, title: str, choices: Sequence[tuple[str, str, str]], *, marked: Sequence[str] = ()) -> None:
        super().__init__()
        self._ask, self._choices, self._marked = title, tuple(choices), frozenset(marked)

    def compose(self) -> ComposeResult:
        """Title, list, hint."""
        with Vertical(classes="dialog"):
            yield Static(Content(self._ask))
            yield Rows[tuple[str, str, str]](
                [
                    Column("label", "", lambda choice: Text(choice[1]), flex=2),
                    Column("note", "", lambda choice: Text(choice[2]), flex=3, align="right"),
                ],
                key=lambda choice: choice[0],
                header=False,
            )
            yield Static(Content("space marks   A all   enter takes them   esc back"), classes="hint")

    def on_mount(self) -> None:
        """Fill the list, mark what is marked."""
        rows = self.query_one(Rows)
        rows.styles.height = max(1, min(14, len(self._choices)))
        rows.set_items(self._choices)
        for key, _label, _note in self._choices:
            if key in self._marked and rows.move_to_key(key):
                rows.action_mark()
        rows.move_to(0)
        rows.focus()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Done."""
        event.stop()
        self.dismiss([choice[0] for choice in self.query_one(Rows).chosen])

    def action_leave(self) -> None:
        """Without a change."""
        self.dismiss(None)
