"""A few fields one below the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.core.record import record


@record(frozen=True)
class Field:
    """One line to type.

    Attributes:
        key: Its name in the result.
        hint: Shown while it is empty.
        check: Text to a problem in words, or None where it is fine.
        choices: Texts that ctrl+o puts there, one after another.
    """

    key: str
    label: str
    value: str = ""
    hint: str = ""
    check: Callable[[str], str | None] | None = None
    choices: tuple[str, ...] = ()


class FormDialog(ModalScreen[Mapping[str, str] | None]):
    """Fields; enter takes all of them, esc none."""

    DEFAULT_CSS = """
    FormDialog {
        align: center middle;
        .dialog { width: 72; max-width: 96%; height: auto; max-height: 90%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .field { height: 1; margin-top: 1; }
        .field .name { width: 12; color: $text-muted; }
        Input, Input:focus { border: none; height: 1; padding: 0 1; background: $surface; width: 1fr; }
        .hint { color: $text-muted; margin-top: 1; }
        .problem { color: $text-error; }
        &.-low .field { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="form.back", tooltip="Change nothing"),
        Binding("down", "app.focus_next", "next", show=False, id="form.next", tooltip="Next field"),
        Binding("up", "app.focus_previous", "previous", show=False, id="form.previous", tooltip="Previous field"),
        Binding("ctrl+o", "choice", "choice", show=False, priority=True, id="form.choice", tooltip="Another of the usual values"),
    ]

    def __init__(self, title: str, fields: Sequence[Field], *, hint: str = "") -> None:
        super().__init__()
        self._title, self._fields, self._hint = title, tuple(fields), hint

    def compose(self) -> ComposeResult:
        """Title, fields, hint, problem."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled(self._title, "bold"))
            for field in self._fields:
                with Horizontal(classes="field"):
                    yield Static(Content(field.label), classes="name")
                    line = Input(field.value, placeholder=field.hint, id=f"field-{field.key}", select_on_focus=False, compact=True)
                    line.cursor_blink = False
                    yield line
            yield Static(Content(self._hint), classes="hint")
            yield Static("", classes="problem", markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.query(Input).first().focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take all fields, or say what is wrong and go there."""
        event.stop()
        values = {field.key: self.query_one(f"#field-{field.key}", Input).value.strip() for field in self._fields}
        for field in self._fields:
            problem = field.check(values[field.key]) if field.check is not None else None
            if problem:
                self.query_one(".problem", Static).update(Content(problem))
                self.query_one(f"#field-{field.key}", Input).focus()
                return
        self.dismiss(values)

    def action_choice(self) -> None:
        """The next of the field's usual values."""
        line = self.focused
        field = next((field for field in self._fields if line is not None and line.id == f"field-{field.key}"), None)
        if field is None or not field.choices or not isinstance(line, Input):
            return
        at = field.choices.index(line.value) if line.value in field.choices else -1
        line.value = field.choices[(at + 1) % len(field.choices)]
        line.cursor_position = len(line.value)

    def action_leave(self) -> None:
        """Without a change."""
        self.dismiss(None)
