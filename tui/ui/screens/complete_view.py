"""Filling a gap: what stands before the cursor, what a model suggests there, what stands after it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import TextArea

from tui.core.chat import AnswerState
from tui.services.chat.api import CompletionApi, CompletionView
from tui.text import clean_block, clean_label, clean_name, count, duration
from tui.ui.frame import Line
from tui.ui.screens.complete_suggestion import Suggestion
from tui.ui.widgets.bars import uses_ascii

PAUSE: Final = 0.8
"""Seconds without a key until `auto` asks."""
_WORD: Final = re.compile(r"\s*(?:\w+|[^\w\s]+)|\s+")
_STATES: Final = {
    AnswerState.WAITING: "waiting",
    AnswerState.WRITING: "writing",
    AnswerState.COMPLETE: "complete",
    AnswerState.LENGTH: "cut by length",
    AnswerState.STOPPED: "stopped by you",
    AnswerState.INTERRUPTED: "interrupted",
    AnswerState.FAILED: "failed",
}


def insertable(text: str) -> str:
    """A suggestion as it may go into a text: no control characters, but its tabs."""
    return "\t".join(clean_block(part) for part in text.split("\t"))


class GapField(TextArea):
    """Code or prose; what is pasted is cleaned, ctrl+underscore takes a change back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+underscore", "undo", "undo", show=False, id="complete.undo", tooltip="Take the last change back"),
    ]
    DEFAULT_CSS = """
    GapField, GapField:focus { border: none; padding: 0 1; background: transparent; height: 2fr; scrollbar-size: 1 1; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, tab_behavior="focus", soft_wrap=True, show_line_numbers=False, compact=True, highlight_cursor_line=False)
        self.cursor_blink = False

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        start, end = self.selection
        self.replace(insertable(event.text), start, end, maintain_selection_offset=False)


class CompleteView(Widget):
    """Two fields with a suggestion between them. Nothing is sent before a key asks for it, unless `auto` is on.

    Args:
        completion: Whose verbs the keys call.
    """

    DEFAULT_CSS = """
    CompleteView { layout: vertical; height: 1fr; width: 1fr; }
    CompleteView #gap-before { height: 3fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s,f5", "ask", "suggest", key_display="ctrl+s", id="complete.ask", tooltip="ask for what stands between"),
        Binding("tab", "take", "take", id="complete.take", tooltip="take the suggestion; without one, the next part"),
        Binding("ctrl+right", "take_word", "a word", priority=True, key_display="ctrl+→", id="complete.word", tooltip="take a word of it"),
        Binding("ctrl+r", "again", "another", priority=True, id="complete.again", tooltip="ask for another suggestion"),
        Binding("r", "again", show=False, id="complete.again_letter", tooltip="ask for another one (suggestion focused)"),
        Binding("ctrl+up,left_square_bracket", "step(-1)", show=False, id="complete.previous", tooltip="the suggestion before"),
        Binding("ctrl+down,right_square_bracket", "step(1)", show=False, id="complete.next", tooltip="the suggestion after"),
        Binding("f8,w", "raw", "raw", key_display="f8", id="complete.raw", tooltip="raw: the server applies no template"),
        Binding("f9,a", "auto", "auto", key_display="f9", id="complete.auto", tooltip="auto: ask after each pause of typing"),
        Binding("shift+tab", "part(-1)", show=False, id="complete.part", tooltip="previous part"),
        Binding("enter", "enter", show=False, id="complete.enter", tooltip="take the suggestion, or ask (suggestion focused)"),
        Binding("y", "copy", "copy", id="complete.copy", tooltip="copy the suggestion (suggestion focused)"),
        Binding("Y", "copy_all", show=False, id="complete.copy_all", tooltip="copy both texts as one (suggestion focused)"),
        Binding("escape", "back", "stop, leave", id="complete.back", tooltip="stop the suggestion; then back to the conversation"),
    ]

    class Left(Message):
        """Esc with nothing to stop: back to the conversation."""

        def __init__(self, view: CompleteView) -> None:
            super().__init__()
            self.view = view

    def __init__(self, completion: CompletionApi, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._completion = completion
        self._heading = Line()
        self._rules = (Line(), Line(), Line())
        self.before, self.suggestion, self.after = GapField(id="gap-before"), Suggestion(id="gap-suggestion"), GapField(id="gap-after")
        self.provider, self.model, self._why_not = "", "", ""
        self.raw = self.auto = False
        self._view = CompletionView()
        self._old: CompletionView | None = None
        self._base: tuple[str, str] | None = None
        self._taken = 0
        self._pause: Timer | None = None
        self._told = ""
        self._cleaned = ("", "")
        self._takes = False

    def compose(self) -> Iterator[Widget]:
        """Model, before, suggestion, after."""
        yield self._heading
        for rule, part in zip(self._rules, (self.before, self.suggestion, self.after), strict=True):
            yield rule
            yield part

    # --- what the screen says -----------------------------------------------------------------------------------------

    def use(self, provider: str, model: str, why_not: str = "") -> None:
        """Complete with this model; `why_not` says why it cannot be asked."""
        if (provider, model) != (self.provider, self.model) and self.is_attached:
            self._forget()
        self.provider, self.model, self._why_not = provider, model, why_not
        self._draw()

    def load(self, before: str, after: str = "") -> None:
        """Put texts there (of a file, cut at a line)."""
        self._forget()
        self.before.load_text(insertable(before))
        self.after.load_text(insertable(after))
        self.before.move_cursor(self.before.document.end)

    def show(self, view: CompletionView) -> None:
        """Draw a snapshot."""
        if view is not self._old:
            self._old = None
        self._view = view
        self._draw()

    def focus(self, scroll_visible: bool = True) -> CompleteView:
        """See `Widget`; one types at once."""
        self.before.focus(scroll_visible)
        return self

    # --- what is suggested --------------------------------------------------------------------------------------------

    @property
    def writing(self) -> bool:
        """A suggestion is on its way."""
        return self._old is None and not self._view.state.ended

    @property
    def candidate(self) -> str:
        """The suggestion in view, from where it was asked; empty where it is not one for these texts."""
        view = self._view
        if self._base is None or self._old is not None or not 0 <= view.shown < len(view.candidates):
            return ""
        text = view.candidates[view.shown]
        if text != self._cleaned[0]:
            self._cleaned = (text, insertable(text))
        return self._cleaned[1]

    @property
    def rest(self) -> str:
        """What of it was not taken yet."""
        return self.candidate[self._taken :]

    def _forget(self) -> None:
        """What was suggested belongs to other texts now."""
        if self._base is None:
            return
        if self.writing:
            self._completion.stop()
        self._base, self._taken = None, 0
        self._completion.clear()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Typing what was suggested takes it; anything else makes it a suggestion for another text."""
        event.stop()
        self._told = ""
        before, after = self.before.text, self.after.text
        if self._base is not None:
            typed = len(before) - len(self._base[0])
            same = after == self._base[1] and typed >= 0
            if same and typed <= len(self.candidate) and before == self._base[0] + self.candidate[:typed]:
                self._taken = typed
            else:
                self._forget()
        if self._base is None:
            self._wait_for_pause()
        self._draw()

    def _wait_for_pause(self) -> None:
        if self._pause is not None:
            self._pause.stop()
            self._pause = None
        if self.auto and self.before.text.strip():
            self._pause = self.set_timer(PAUSE, self._paused)

    def _paused(self) -> None:
        self._pause = None
        if self.auto and self._base is None and self.has_focus_within:
            self.action_ask()

    # --- drawing ------------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Draw what is known."""
        self._draw()

    def on_resize(self) -> None:
        """Rules are as wide as the screen."""
        self._draw()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The part with the focus is marked."""
        self._draw()

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """And no longer."""
        self._draw()

    def _draw(self) -> None:
        if not self.suggestion.is_attached:
            return
        ascii, width = uses_ascii(self, None), self.size.width or self.app.size.width
        model = f"{clean_name(self.model, 60)} on {clean_name(self.provider, 30)}" if self.model else "no model chosen, ctrl+t"
        right = f"{model} · raw {'on' if self.raw else 'off'} · auto {'on' if self.auto else 'off'} "
        left = " Complete"
        self._heading.show((left, "bold"), (" " * max(1, width - cell_len(left) - cell_len(right)), ""), (right, "$text-muted"))
        self._rule(0, "before the cursor", _lines(self.before), width, ascii)
        self._rule(1, self._title(), self._figures(), width, ascii)
        self._rule(2, "after the cursor", _lines(self.after), width, ascii)
        row, _column = self.before.document.end
        self.suggestion.show(self.before.document.get_line(row), self.rest, self._said())
        if bool(self.rest) != self._takes:
            self._takes = bool(self.rest)
            self.refresh_bindings()

    def _rule(self, at: int, left: str, right: str, width: int, ascii: bool) -> None:
        part = (self.before, self.suggestion, self.after)[at]
        sign = ("-" if ascii else "─") if not part.has_focus else (">" if ascii else "▸")
        style = "bold $primary" if part.has_focus else "$text-muted"
        left, right = f"{sign} {left} ", f" {right} " if right else ""
        room = width - cell_len(right)
        if cell_len(left) + 2 > room:
            right, room = "", width
        self._rules[at].show(
            (left, style),
            (("-" if ascii else "─") * max(0, room - cell_len(left)), style if part.has_focus else "$border"),
            (right, "$text-muted"),
        )

    def _title(self) -> str:
        view = self._view
        several = len(view.candidates) > 1 and self._base is not None and self._old is None
        return f"suggestion {view.shown + 1} of {len(view.candidates)}" if several else "suggestion"

    def _figures(self) -> str:
        """`48 tok/s · first token 0.2s · 31 tokens · complete`."""
        view = self._view
        if self._base is None or self._old is not None:
            return ""
        timeline, tokens = view.timeline, view.metrics.output_tokens
        parts = [f"{'~' if timeline.rate_estimated else ''}{timeline.rate:.0f} tok/s"] if timeline.rate else []
        parts += [f"first token {duration(timeline.first_token)}"] if timeline.first_token is not None else []
        parts += [f"{count(tokens)} tokens"] if tokens else []
        return " · ".join([*parts, "esc stops" if self.writing else _STATES[view.state]])

    def _said(self) -> list[tuple[str, bool]]:
        """What stands above or instead of a suggestion: cleaned, and whether it is a warning."""
        view = self._view
        if self._told:
            return [(self._told, True)]
        if self._base is None:
            if self._why_not:
                return [(clean_label(self._why_not), True)]
            asks = clean_name(self.model, 40) or "the model"
            when = "It is asked after each pause of typing as well; f9 ends that." if self.auto else "Nothing is sent while you type."
            return [(f"ctrl+s asks {asks} for what stands between.", False), (when, False)]
        if self._old is not None:
            return [("asked", False)]
        said = [] if view.filled else [(clean_label(view.note) or "it only goes on from the text before", True)]
        if view.failure is not None and view.state.ended:
            said.append((f"{_STATES[view.state]}: {clean_label(view.failure.sentence())}", True))
            said += [(clean_label(view.failure.remedy), True)] if view.failure.remedy else []
        if self.writing and not self.rest:
            note = clean_label(view.note) if view.filled else ""
            said.append((note or _STATES[view.state], False))
        elif view.state.ended and view.failure is None and not self.rest:
            said.append(("taken; ctrl+s asks for more" if self._taken else "the model suggests nothing here; ctrl+r asks again", False))
        return said

    def _tell(self, text: str) -> None:
        self._told = text
        self._draw()

    # --- verbs --------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a suggestion ctrl+right moves in the text as ever."""
        if action == "take_word":
            return bool(self.rest)
        return True

    def action_ask(self) -> None:
        """Ask for what stands between the two texts."""
        self._send(again=False)

    def action_again(self) -> None:
        """Ask for another one; where words of one were taken, from there on."""
        fresh = self._base is None or self._taken > 0 or not self._view.candidates
        self._send(again=not fresh)

    def _send(self, *, again: bool) -> None:
        if self._why_not or not self.model:
            self._tell(clean_label(self._why_not) or "ctrl+t chooses a model")
            return
        if not self.before.text.strip() and not self.after.text.strip():
            self._tell("write what stands before the cursor, or after it")
            return
        self._told = ""
        self._base, self._taken, self._old = (self.before.text, self.after.text), 0, self._view
        self._completion.ask(self.provider, self.model, self.before.text, self.after.text, raw=self.raw, again=again)
        self._draw()

    def action_take(self) -> None:
        """Take the suggestion; without one, to the next part."""
        if self.rest:
            self._insert(self.rest)
        else:
            self.action_part(1)

    def action_take_word(self) -> None:
        """Take a word of it."""
        found = _WORD.match(self.rest)
        if found is not None:
            self._insert(found[0])

    def _insert(self, text: str) -> None:
        self.before.insert(text, self.before.document.end)
        self.before.move_cursor(self.before.document.end)
        self.before.focus()

    def action_step(self, step: int) -> None:
        """The next or previous suggestion; not once words of this one were taken."""
        if self._base is not None and not self._taken:
            self._completion.show(step)

    def action_part(self, step: int) -> None:
        """Round the three parts."""
        parts = (self.before, self.suggestion, self.after)
        at = next((at for at, part in enumerate(parts) if part.has_focus), 0)
        parts[(at + step) % len(parts)].focus()

    def action_enter(self) -> None:
        """Take what is there, else ask."""
        if self.rest:
            self._insert(self.rest)
        else:
            self.action_ask()

    def action_raw(self) -> None:
        """The server applies no template, or does."""
        self.raw = not self.raw
        self._draw()

    def action_auto(self) -> None:
        """Ask after each pause of typing, or only by key."""
        self.auto = not self.auto
        self._wait_for_pause()
        self._draw()

    def action_copy(self) -> None:
        """Copy the suggestion."""
        if self.rest:
            self.app.copy_to_clipboard(self.rest)
        else:
            self._tell("there is no suggestion to copy")

    def action_copy_all(self) -> None:
        """Copy both texts as one."""
        text = self.before.text + self.after.text
        if text:
            self.app.copy_to_clipboard(text)

    def action_back(self) -> None:
        """Stop what is written; then leave."""
        if self.writing:
            self._completion.stop()
        else:
            self.post_message(self.Left(self))


def _lines(field: TextArea) -> str:
    lines = field.document.line_count if field.text else 0
    return f"{count(lines)} line{'' if lines == 1 else 's'}" if lines else "empty"
