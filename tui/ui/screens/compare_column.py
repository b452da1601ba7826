"""One column of a comparison: who, how fast, and the answer in a transcript of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.cells import cell_len
from textual import events
from textual.containers import Vertical
from textual.widget import Widget

from tui.core.chat import Message
from tui.services.chat.api import AnswerBuffer, LiveAnswer
from tui.text import clean_block
from tui.ui.frame import Line
from tui.ui.screens import compare_words
from tui.ui.screens.compare_words import Side
from tui.ui.widgets.bars import glyph, tone
from tui.ui.widgets.transcript import Transcript

_ANSWER = "answer"
_TONES = {"ok": "$text-success", "busy": "$text-accent", "bad": "$text-error", "accent": "$text-accent", "dim": "$text-muted"}


def mark_style(one: Side) -> str:
    """The colour of a column's mark."""
    return _TONES.get(tone(one.mark), "$foreground")


class PaneHead(Line):
    """Who and how it does; as wide as its pane."""

    def __init__(self, resized: Callable[[], None]) -> None:
        super().__init__(classes="pane-head")
        self._resized = resized

    def redraw(self) -> None:
        """Textual may tell the pane nothing of a new width; what is drawn knows it."""
        self.call_later(self._resized)


class ComparePane(Vertical):
    """Name and state, figures, answer. The texts of a hidden pane wait in their buffer until it is shown.

    Args:
        resized: Called when it has another width.
    """

    DEFAULT_CSS = """
    ComparePane {
        width: 1fr; height: 1fr; border-left: vkey $border; padding: 0;
        &.-first { border-left: none; }
        &.-ascii { border-left: ascii $border; }
        &.-first.-ascii { border-left: none; }
        .pane-head { background: $surface; }
        .pane-figures { background: $surface; }
        &.-current .pane-head, &.-current .pane-figures { background: $panel; }
    }
    """

    def __init__(self, resized: Callable[[], None]) -> None:
        super().__init__()
        self._resized = resized
        self.head = PaneHead(resized)
        self.figures = Line(classes="pane-figures")
        self.transcript = Transcript()
        self._buffer: AnswerBuffer | None = None
        self._taken = (0, 0)
        self._stored: tuple[int, str, str] | None = None
        self._begun = False
        self._thought: float | None = None
        self._footer: tuple[tuple[str, ...], str] = ((), "")

    def compose(self) -> Iterator[Widget]:
        """Two lines and the answer."""
        yield self.head
        yield self.figures
        yield self.transcript

    def on_resize(self) -> None:
        """Its lines are as wide as it is."""
        self._resized()

    # --- the lines above ----------------------------------------------------------------------------------------------

    def show_head(self, one: Side, width: int, *, current: bool, ascii: bool) -> None:
        """Who and how it does; the current column is marked."""
        self.set_class(current, "-current")
        self.set_class(ascii, "-ascii")
        edge = (">" if ascii else "▌") if current else " "
        right = f" {one.phase} "
        name = compare_words.cut(one.name, max(4, width - 3 - cell_len(right)), ascii=ascii)
        on = f" on {one.provider}" if one.provider and not one.name.endswith(f" on {one.provider}") else ""
        room = width - 3 - cell_len(name) - cell_len(right)
        on = compare_words.cut(on, room, ascii=ascii) if room >= 8 else ""
        space = " " * max(0, room - cell_len(on))
        self.head.show(
            (edge, "bold $primary"),
            (f"{glyph(one.mark, ascii)} ", mark_style(one)),
            (name, "bold $primary" if current else "bold $foreground"),
            (on + space, "$text-muted"),
            (right, mark_style(one)),
        )
        figures = compare_words.cut(compare_words.figures(one, width - 3), width - 3, ascii=ascii)
        self.figures.show((edge, "bold $primary"), (f"  {figures}", "$foreground" if current else "$text-muted"))

    # --- the answer ---------------------------------------------------------------------------------------------------

    def show_answer(self, one: Side, stored: Message | None, live: LiveAnswer | None, *, settling: bool) -> None:
        """Bring the answer up to date: what is new in the buffer, or what is stored."""
        if not self._begun:
            self._begin()
        if live is not None and (not live.state.ended or stored is None or not stored.state.ended):
            if live.buffer is not self._buffer:
                self._begin()
                self._buffer, self._stored = live.buffer, None
            self._take()
        elif stored is not None:
            self._show_stored(stored)
        elif self._buffer is not None or self._stored is not None:
            self._begin()
        self._show_thought(None if one.hidden else one.timeline.thought)
        failure = stored.failure if stored is not None and stored.state.ended else live.failure if live is not None else None
        self._show_footer(
            compare_words.ending(one, stored, failure, settling=settling), compare_words.times(one) if one.state.ended else ""
        )

    def _begin(self) -> None:
        self.transcript.clear()
        self.transcript.begin(_ANSWER, _ANSWER)
        self._begun, self._buffer, self._stored, self._taken = True, None, None, (0, 0)
        self._thought, self._footer = None, ((), "")

    def _take(self) -> None:
        if self._buffer is None:
            return
        text, thinking = self._buffer.text, self._buffer.thinking
        ends = (len(text), len(thinking))
        if ends[1] > self._taken[1]:
            self.transcript.append_thinking(_ANSWER, "".join(thinking[self._taken[1] : ends[1]]))
        if ends[0] > self._taken[0]:
            self.transcript.append(_ANSWER, "".join(text[self._taken[0] : ends[0]]))
        self._taken = ends

    def _show_stored(self, stored: Message) -> None:
        now = (stored.id, stored.content, stored.thinking)
        if self._stored == now:
            return
        self._take()
        if self._buffer is not None and not stored.state.ended:  # the row is behind what was drawn
            return
        text, thoughts = clean_block(stored.content), clean_block(stored.thinking)
        drawn = self._buffer is not None and "".join(self._buffer.text) == text and "".join(self._buffer.thinking) == thoughts
        if not drawn:
            self._begin()
            if thoughts:
                self.transcript.append_thinking(_ANSWER, thoughts)
            self.transcript.append(_ANSWER, text)
        if stored.state.ended:
            self.transcript.finish(_ANSWER)
        self._buffer, self._stored = None, now

    def _show_thought(self, seconds: float | None) -> None:
        """How long it thought is known only once it writes."""
        if seconds is not None and seconds != self._thought and self._thinks:
            self._thought = seconds
            self.transcript.append_thinking(_ANSWER, "", seconds)

    def _show_footer(self, lines: list[str], times: str) -> None:
        footer = (tuple(lines), times)
        if footer != self._footer:
            self._footer = footer
            self.transcript.set_footer(_ANSWER, lines, times)

    # --- what a key acts on -------------------------------------------------------------------------------------------

    @property
    def _thinks(self) -> bool:
        return bool(self._taken[1] or (self._stored is not None and self._stored[2]))

    @property
    def text(self) -> str:
        """The answer as far as it is drawn."""
        return self.transcript.text_of(_ANSWER) if self._begun else ""

    def code_blocks(self) -> list[str]:
        """Its fenced blocks."""
        return self.transcript.code_blocks(_ANSWER) if self._begun else []

    def on_click(self, event: events.Click) -> None:
        """A click anywhere in the column goes there."""
        self.transcript.focus()
