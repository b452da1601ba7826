"""`Transcript`: a conversation to read, with a message under the cursor."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Hashable, Iterator
from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.message import Message as TextualMessage
from textual.selection import Selection
from textual.widget import Widget

from tui.text import count, strip_line
from tui.ui.widgets.bars import uses_ascii
from tui.ui.widgets.transcript_lines import Lines

_WIDE: Final = 100_000
"""A column behind the end of every line."""
_URL: Final = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}:(?://)?[^\s<>\"'`)\]]+")


class Transcript(Lines, inherit_bindings=False):
    """Messages under header rules. All texts given must be cleaned (`clean_block`); they are drawn literally.

    What a model wrote stands one cell in, under its header: no line of it can pass for one of ours (X05).
    """

    ALLOW_SELECT = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll(1)", "down", id="transcript.down", show=False, tooltip="A line down"),
        Binding("up,k", "scroll(-1)", "up", id="transcript.up", show=False, tooltip="A line up"),
        Binding("home,g", "edge(-1)", "first", id="transcript.first", show=False, tooltip="To the begin"),
        Binding("end,G", "edge(1)", "last", id="transcript.last", show=False, tooltip="To the end, and follow"),
        Binding("pagedown", "page(1)", "page down", id="transcript.page_down", show=False, tooltip="A page down"),
        Binding("pageup", "page(-1)", "page up", id="transcript.page_up", show=False, tooltip="A page up"),
        Binding("J", "jump(1)", "next message", id="transcript.next", show=False, tooltip="To the next message"),
        Binding("K", "jump(-1)", "previous message", id="transcript.previous", show=False, tooltip="To the previous message"),
        Binding("enter", "fold", "fold", id="transcript.fold", show=False, tooltip="Fold or unfold thoughts, tool calls, summaries"),
        Binding("v", "select", "select", id="transcript.select", show=False, tooltip="Select lines: v, move, y copies"),
        Binding("escape", "unselect", "end", id="transcript.unselect", show=False, priority=True, tooltip="End the selection"),
        Binding("n", "find(1)", "next match", id="transcript.find_next", show=False, tooltip="Next match"),
        Binding("N", "find(-1)", "previous match", id="transcript.find_previous", show=False, tooltip="Previous match"),
    ]
    DEFAULT_CSS = """
    Transcript {
        height: 1fr; overflow: hidden hidden; background: transparent;
        .transcript--heading { text-style: bold; color: $text-primary; }
        .transcript--code { color: $text-accent; }
        .transcript--dim { color: $text-muted; }
        .transcript--header { color: $text-muted; text-style: bold; }
        .transcript--here { color: $text-primary; text-style: bold; }
        .transcript--notice { color: $text-warning; }
        .transcript--comment { color: $text-muted; }
        .transcript--keyword { color: $text-primary; text-style: bold; }
        .transcript--string { color: $text-success; }
        .transcript--number { color: $text-warning; }
        .transcript--name { color: $text-accent; }
        .transcript--match { text-style: reverse; }
    }
    """

    class Hint(TextualMessage):
        """What the screen should say in its own line: a selection under way, lines below the view; empty for nothing."""

        def __init__(self, transcript: Transcript, text: str) -> None:
            super().__init__()
            self.transcript, self.text = transcript, text

        @property
        def control(self) -> Widget:
            """The transcript."""
            return self.transcript

    _at: Hashable | None = None  # the message under the cursor, None for the newest
    _marked: Hashable | None = None
    _range: tuple[int, int] | None = None
    _growing = False
    _hint = ""

    # --- the message under the cursor

    @property
    def cursor(self) -> Hashable | None:
        """The message that actions are about: the one chosen, else the newest."""
        return self._at if self._at in self._messages else next(reversed(self._messages), None)

    def move_to(self, message_id: Hashable) -> None:
        """Put the cursor on a message and bring its begin into view."""
        if message_id not in self._messages:
            return
        while self._dirty and self._look.width:
            self.flush()
        number = list(self._messages).index(message_id)
        start, top = self._starts[number], self.scroll_offset.y
        if start < top or start + self._order[number].height > top + self.size.height:
            self.scroll_to(y=start, animate=False, force=True)
        self._at = None if self._follows and number == len(self._order) - 1 else message_id
        self._mark()

    def _moved(self) -> None:
        if self._at not in self._messages:
            self._at = None
        self._mark()

    def _mark(self) -> None:
        """Show the cursor while it can be moved."""
        here = self.cursor if self.has_focus else None
        shown = self._messages.get(here) if here is not None else None
        if here == self._marked and (shown is None or shown.here):  # a message that was replaced has lost its mark
            return
        for name in (self._marked, here):
            if name in self._messages:
                self._messages[name].here = name == here
                self._touch(name)
        self._marked = here

    def watch_has_focus(self, has_focus: bool) -> None:
        """Without the focus there is no cursor."""
        super().watch_has_focus(has_focus)
        self._mark()

    def _grow(self, lines: int, follow: bool) -> None:
        self._growing = True
        super()._grow(lines, follow)
        self._growing = False
        self._tell()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """See `Lines`; the cursor stays in view."""
        super().watch_scroll_y(old_value, new_value)
        if self._starts and not self._growing:
            self._stay_in_view()
        self._tell()

    def _stay_in_view(self) -> None:
        if self._follows:
            self._at = None
        else:
            name = self.cursor
            number = min(list(self._messages).index(name), len(self._starts) - 1)
            top, bottom = self.scroll_offset.y, self.scroll_offset.y + self.size.height - 1
            if self._starts[number] > bottom:
                self._at = self.message_at(bottom)
            elif self._starts[number] + self._order[number].height - 1 <= top:
                self._at = self.message_at(top)
        self._mark()

    def on_click(self, event: events.Click) -> None:
        """The cursor to the message clicked; a line that folds does so."""
        offset = event.get_content_offset(self)
        at = self.scroll_offset.y + offset.y if offset is not None else -1
        name = self.message_at(at) if at >= 0 else None
        if name is None or name not in self._messages:
            return
        self._at = name
        self._mark()
        if self.text_selection is None and self._messages[name].fold_at(at - self._starts[list(self._messages).index(name)]):
            self._dirty.add(name)
            self.flush()

    # --- moving

    def action_scroll(self, step: int) -> None:
        """Lines up or down; while lines are selected, its end."""
        if self._range is not None:
            self._extend(self._range[1] + step)
        else:
            self.scroll_to(y=self.scroll_offset.y + step, animate=False, force=True)

    def action_page(self, step: int) -> None:
        """A page up or down."""
        self.action_scroll(step * max(1, self.size.height - 2))

    def action_edge(self, step: int) -> None:
        """To the begin or the end."""
        if self._range is not None:
            self._extend(0 if step < 0 else self._lines - 1)
        else:
            self.scroll_to(y=0 if step < 0 else self.max_scroll_y, animate=False, force=True)
            self._at = next(iter(self._messages), None) if step < 0 else None
            self._mark()

    def action_jump(self, step: int) -> None:
        """To the next or previous message."""
        names = list(self._messages)
        if not names:
            return
        at = names.index(self.cursor) + step
        if self._range is not None:
            self._extend(self._starts[max(0, min(at, len(names) - 1))])
        elif 0 <= at < len(names):
            self.move_to(names[at])
        else:
            self.action_edge(step)

    def action_fold(self) -> None:
        """Fold or unfold what the message under the cursor holds; from the newest one back to one that holds something."""
        names = list(self._messages)
        if not names:
            return
        tried = [self.cursor] if self._at is not None else reversed(names)
        for name in tried:
            if self._messages[name].fold():
                self._dirty.add(name)
                self.flush()
                return

    # --- what is in a message

    def code_blocks(self, message_id: Hashable) -> list[str]:
        """The fenced blocks of a message."""
        from markdown_it import MarkdownIt

        return [token.content.rstrip("\n") for token in MarkdownIt("commonmark").parse(self.text_of(message_id)) if token.type == "fence"]

    def links(self, message_id: Hashable) -> list[str]:
        """The targets of a message's links, each once, also those that only stand there as text."""
        from markdown_it import MarkdownIt

        text = self.text_of(message_id)
        tokens = [child for token in MarkdownIt("commonmark").parse(text) for child in token.children or ()]
        found = [str(token.attrGet("href") or "") for token in tokens if token.type == "link_open"]
        found += [match.rstrip(".,;:!?") for token in tokens if token.type == "text" for match in _URL.findall(token.content)]
        return [link for link in dict.fromkeys(found) if link]

    # --- selecting

    @property
    def selecting(self) -> bool:
        """Lines are being selected with keys."""
        return self._range is not None

    def action_select(self) -> None:
        """Begin to select lines; again: begin anew where the selection ends."""
        if not self._lines:
            return
        if self._range is not None:
            self._extend(self._range[1], anew=True)
            return
        number = list(self._messages).index(self.cursor)
        start, top = self._starts[number] + self._order[number].head_height, self.scroll_offset.y
        self._extend(start if top <= start < top + self.size.height else top, anew=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Esc is the screen's where nothing is selected."""
        return action != "unselect" or self._range is not None or self.text_selection is not None

    def action_unselect(self) -> None:
        """End the selection."""
        self.end_selection()

    def end_selection(self) -> bool:
        """Forget the selection; False where there was none."""
        had = self._range is not None or self.text_selection is not None
        self._range = None
        if had:
            self.screen.clear_selection()
        self._tell()
        return had

    def _extend(self, line: int, *, anew: bool = False) -> None:
        line = max(0, min(line, self._lines - 1))
        self._range = (line if anew or self._range is None else self._range[0], line)
        first, last = sorted(self._range)
        self.screen.selections = {self: Selection(Offset(0, first), Offset(_WIDE, last))}
        top, height = self.scroll_offset.y, self.size.height
        if line < top or line >= top + height:
            self.scroll_to(y=line if line < top else line - height + 1, animate=False, force=True)
        self._tell()

    def selection_updated(self, selection: Selection | None) -> None:
        """Show the selection; one that the mouse ends is ended."""
        if selection is None:
            self._range = None
            self._tell()
        self._strips.clear()
        self.refresh()

    def _redo(self, follow: bool) -> None:
        if self._range is not None:  # its lines are other lines in another width
            self.end_selection()
        super()._redo(follow)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, without what is ours: margins, gutters, the language of code."""
        start, end = selection
        first = 0 if start is None else max(0, start.y)
        last = self._lines - 1 if end is None else min(end.y, self._lines - 1)
        chosen = []
        for at in range(first, last + 1):
            left = start.x if start is not None and at == start.y else 0
            right = end.x if end is not None and at == end.y else None
            chosen.append(self._own_words(at, left, right))
        return "\n".join(chosen), "\n"

    def _own_words(self, at: int, left: int, right: int | None) -> str:
        """The text of a line between two columns, without margin and gutter."""
        line, margin = self._line(at)
        plain = strip_line(line.plain)
        chars = [True] * len(plain)
        for span in line.spans:
            if str(span.style).endswith("gutter"):
                chars[span.start : span.end] = [False] * len(chars[span.start : span.end])
        left, right = max(0, left - margin), len(plain) if right is None else max(0, right - margin)
        return "".join(char for char, own in zip(plain[left:right], chars[left:right], strict=True) if own).rstrip(" ")

    # --- what the screen says of it

    def _tell(self) -> None:
        text = self._hint_now()
        if text != self._hint:
            self._hint = text
            self.call_later(self._say)  # from here: a screen that lays out would be taken for its sender, and not be told

    def _say(self) -> None:
        self.post_message(self.Hint(self, self._hint))

    def _hint_now(self) -> str:
        if self._range is not None:
            lines = abs(self._range[1] - self._range[0]) + 1
            return f"{count(lines)} line{'' if lines == 1 else 's'} selected · y copies · v begins here · esc ends"
        below = self._lines - self.scroll_offset.y - self.size.height
        if self._follows or below <= 0 or not self._order or self._order[-1].body.finished:
            return ""
        sign = "v" if uses_ascii(self, self._wish) else "▼"
        return f"{sign} {count(below)} more line{'' if below == 1 else 's'} · G follows"

    # --- searching

    def find(self, text: str) -> bool:
        """Search from the top of the view on; empty ends the search."""
        while self._dirty and self._look.width:  # a search misses nothing, though it comes in the first half second
            self.flush()
        self._needle, self._match = text.casefold(), self.scroll_offset.y - 1
        self._strips.clear()
        self.refresh()
        return bool(text) and self.action_find(1)

    def action_find(self, step: int) -> bool:
        """To the next or previous line that holds the text searched."""
        at = next(self._matches(step), None) if self._needle else None
        if at is None:
            return False
        self._match = at
        self._show_match()
        return True

    def _show_match(self) -> None:
        """Bring the match to the middle of the view; lines above it may yet have to be drawn."""
        number = bisect_right(self._starts, self._match) - 1
        message, inside = self._order[number], self._match - self._starts[number]
        found = message.body.block_at(inside - message.head_height)
        for _ in range(4):
            self.scroll_to(y=max(0, self._match - self.size.height // 2), animate=False, force=True)
            self._redo_view()
            if found is None or message.body.start_of(found[0]) + found[1] == self._match - self._starts[number] - message.head_height:
                break
            self._match = self._starts[number] + message.head_height + message.body.start_of(found[0]) + min(found[1], found[0].height - 1)
        self._at = list(self._messages)[number]
        self._mark()
        self._strips.clear()
        self.refresh()

    def _matches(self, step: int) -> Iterator[int]:
        """Lines that hold the text searched, from the match on and round; blocks are drawn only as far as needed."""
        total = len(self._order)
        here = max(0, bisect_right(self._starts, max(0, self._match)) - 1)
        for distance in range(total + 1 if total else 0):
            number = (here + step * distance) % total
            start = self._starts[number]
            for inside in self._order[number].holding(self._needle, last_first=step < 0):
                if distance or (start + inside - self._match) * step > 0:
                    yield start + inside
