"""`Transcript`: a conversation as lines, at a cost per token that does not grow with what is shown."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from tui.core.clock import SYSTEM, Clock
from tui.text import strip_line
from tui.ui.widgets.bars import own_style, uses_ascii
from tui.ui.widgets.transcript_layout import Keep, Laid, Look, Message

PERIOD: Final = 1 / 15
"""Seconds between two flushes."""
SLICE: Final = 0.008
"""Seconds of drawing again (for another width) between two frames."""
PATIENCE: Final = 0.05
"""Seconds that a flush may take: 4 MB of conversation take 0.3 s (P22)."""
_STYLES: Final = ("heading", "code", "dim", "comment", "keyword", "string", "number", "name", "notice", "header")
_FONTS: Final = {"strong": Style(bold=True), "emphasis": Style(italic=True), "struck": Style(strike=True)}
_STRIPS: Final = 2000


class Transcript(ScrollView, can_focus=True, inherit_bindings=False):
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
        Binding("enter", "fold", "fold", id="transcript.fold", show=False, tooltip="Fold or unfold thoughts"),
        Binding("n", "find(1)", "next match", id="transcript.find_next", show=False, tooltip="Next match"),
        Binding("N", "find(-1)", "previous match", id="transcript.find_previous", show=False, tooltip="Previous match"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"transcript--{name}" for name in (*_STYLES, "match")}
    DEFAULT_CSS = """
    Transcript {
        height: 1fr; overflow: hidden hidden; background: transparent;
        .transcript--heading { text-style: bold; color: $text-primary; }
        .transcript--code { color: $text-accent; }
        .transcript--dim { color: $text-muted; }
        .transcript--header { color: $text-muted; text-style: bold; }
        .transcript--notice { color: $text-warning; }
        .transcript--comment { color: $text-muted; }
        .transcript--keyword { color: $text-primary; text-style: bold; }
        .transcript--string { color: $text-success; }
        .transcript--number { color: $text-warning; }
        .transcript--name { color: $text-accent; }
        .transcript--match { text-style: reverse; }
    }
    """

    def __init__(self, *, ascii: bool | None = None, clock: Clock = SYSTEM, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._wish, self._clock = ascii, clock
        self._messages: dict[Hashable, Message] = {}
        self._order: list[Message] = []
        self._starts: list[int] = []
        self._lines = 0
        self._keep = Keep()
        self._dirty: set[Hashable] = set()
        self._timer: Timer | None = None
        self._drawn_at = -1e9
        self._look = Look(0)
        self._styles: dict[str, Style] = {}
        self._again: Timer | None = None
        self._strips: dict[int, Strip] = {}
        self._needle = ""
        self._match = -1
        self._follows = True

    # --- what stands in it

    def begin(self, message_id: Hashable, left: str, right: str = "") -> None:
        """Add a message at the end; its header names who speaks at the left."""
        self._messages[message_id] = Message(left, right, self._keep)
        self._order = list(self._messages.values())
        self._touch(message_id)

    def append(self, message_id: Hashable, text: str) -> None:
        """Add cleaned text to a message."""
        self._messages[message_id].body.append(text)
        self._touch(message_id)

    def append_thinking(self, message_id: Hashable, text: str, seconds: float | None = None) -> None:
        """Add cleaned thoughts, and how long the model has thought."""
        message = self._messages[message_id]
        message.thoughts.append(text)
        message.thought_seconds = message.thought_seconds if seconds is None else seconds
        self._touch(message_id)

    def set_header(self, message_id: Hashable, left: str, right: str) -> None:
        """Change both ends of the header."""
        message = self._messages[message_id]
        message.left, message.right = left, right
        self._touch(message_id)

    def set_footer(self, message_id: Hashable, notices: Sequence[str], times: str = "") -> None:
        """Our own lines below a message."""
        self._messages[message_id].footer = [*([(times, "dim")] if times else []), *((notice, "notice") for notice in notices)]
        self._touch(message_id)

    def finish(self, message_id: Hashable) -> None:
        """No more text comes: the open block is drawn as Markdown."""
        self._messages[message_id].body.finish()
        self._touch(message_id)

    def load(self, messages: Sequence[tuple[Hashable, str, str, str, str]]) -> None:
        """Show a conversation: (id, header left, header right, cleaned text, cleaned thoughts) of each message."""
        self.clear()
        for message_id, left, right, text, thoughts in messages:
            self.begin(message_id, left, right)
            if thoughts:
                self.append_thinking(message_id, thoughts)
            self.append(message_id, text)
            self.finish(message_id)

    def clear(self) -> None:
        """Remove all messages."""
        self._messages.clear()
        self._keep = Keep()
        self._order, self._starts, self._lines = [], [], 0
        self._dirty.clear()
        self._strips.clear()
        self._grow(0, True)
        self.refresh()

    def text_of(self, message_id: Hashable) -> str:
        """The text of a message, for the clipboard: without its last line break (X07)."""
        return "".join(self._messages[message_id].body.parts).rstrip("\n")

    def code_blocks(self, message_id: Hashable) -> list[str]:
        """The fenced blocks of a message."""
        from markdown_it import MarkdownIt

        return [token.content.rstrip("\n") for token in MarkdownIt("commonmark").parse(self.text_of(message_id)) if token.type == "fence"]

    def message_at(self, line: int | None = None) -> Hashable | None:
        """The message on a line (default: the first in view)."""
        at = self.scroll_offset.y if line is None else line
        if not 0 <= at < self._lines:
            return None
        return list(self._messages)[bisect_right(self._starts, at) - 1]

    @property
    def line_count(self) -> int:
        """Lines in all."""
        return self._lines

    # --- drawing at most 15 times a second, and not at all while nothing changes

    def _touch(self, message_id: Hashable) -> None:
        self._dirty.add(message_id)
        if self._timer is not None or not self.is_attached:
            return
        wait = PERIOD - (self._clock.monotonic() - self._drawn_at)
        self._timer = self.set_timer(max(0.001, wait), self.flush)

    def flush(self) -> None:
        """Draw what is pending, the newest message first; after `PATIENCE` the rest has to wait for the next frame."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._drawn_at = self._clock.monotonic()
        if not self._dirty or not self._look.width:
            return
        follow = self._follows or self.scroll_offset.y >= self.max_scroll_y
        anchor = None if follow else self._anchor()
        dirty, self._dirty = self._dirty, set()
        rush, late = self._drawn_at + SLICE, self._drawn_at + PATIENCE
        laid_out: dict[Hashable, tuple[int, int, bool]] = {}
        for message_id in [name for name in reversed(self._messages) if name in dirty]:
            message = self._messages[message_id]
            if laid_out and self._clock.monotonic() > late:
                self._dirty.add(message_id)
                continue
            height = message.height
            changed = message.lay_out(self._look, lambda: self._clock.monotonic() > rush, lambda: self._clock.monotonic() > late)
            laid_out[message_id] = (height, *changed)
            if message.behind:
                self._dirty.add(message_id)
        before, self._lines, self._starts = self._lines, 0, []
        ranges: list[tuple[int, int]] = []
        shifted = -1
        for message_id, message in self._messages.items():
            at = self._lines
            self._starts.append(at)
            if message_id in laid_out:
                height, first, head = laid_out[message_id]
                if head:
                    ranges.append((at, at + 1))
                if message.height != height and shifted < 0:
                    shifted = at + first
                ranges.append((at + first, at + message.height))
            self._lines += message.height
        if shifted >= 0:
            ranges.append((shifted, max(before, self._lines)))
        for first, last in ranges:
            self._repaint(first, last)
        self._grow(self._lines, follow)
        if anchor is not None and 0 <= shifted < self.scroll_offset.y:
            self._drawn_anew(anchor, follow)
        if self._dirty:
            self._timer = self.set_timer(SLICE, self.flush)
        if self._again is None and any(message.body.sketched for message in self._order):
            self._again = self.set_timer(0.001, self._redo_some)

    def _repaint(self, first: int, end: int) -> None:
        """Draw lines again: from `first` up to `end`."""
        if end - first > len(self._strips):
            for line in [line for line in self._strips if first <= line < end]:
                del self._strips[line]
        else:
            for line in range(first, end):
                self._strips.pop(line, None)
        top, height = self.scroll_offset.y, self.size.height
        upper, lower = max(0, first - top), min(height, end - top)
        if upper < lower:
            self.refresh(Region(0, upper, self.size.width, lower - upper))

    def _grow(self, lines: int, follow: bool) -> None:
        """Take the new height without a relayout."""
        self.set_reactive(Widget.virtual_size, Size(0, lines))
        if follow or self.scroll_offset.y > self.max_scroll_y:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    def _style_of(self, names: str) -> Style:
        """The style of names joined by `+`, in the colours of now; the background is the widget's."""
        style = self._styles.get(names)
        if style is None:
            style = Style.null()
            for name in names.split("+"):
                if name in _STYLES:
                    own = own_style(self, f"transcript--{name}")
                    style += Style(color=own.color, bold=own.bold, dim=own.dim, reverse=own.reverse)
                else:
                    style += _FONTS.get(name, Style.null())
            self._styles[names] = style
        return style

    # --- another width, other colours

    def on_resize(self) -> None:
        """Wrap for the new width: what is in view now, the rest in slices."""
        follow = self._follows
        if self.size.width - 2 != self._look.width:
            self._redo(follow)
        elif follow:
            self._grow(self._lines, True)

    def notify_style_update(self) -> None:
        """Lines hold names of styles: only what is in view is drawn again."""
        super().notify_style_update()
        self._strips.clear()
        self._styles.clear()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """See `ScrollView`; at the end, what comes is followed."""
        super().watch_scroll_y(old_value, new_value)
        self._follows = self.scroll_offset.y >= self.max_scroll_y
        if self._again is not None:
            self._redo_view()

    def _redo(self, follow: bool) -> None:
        anchor = self._anchor()
        self._look = Look(max(1, self.size.width - 2), uses_ascii(self, self._wish))
        self._dirty.update(self._messages)
        self._match = -1
        self._redo_view()
        self.flush()
        self._drawn_anew(anchor, follow)
        if self._again is None:
            self._again = self.set_timer(SLICE, self._redo_some)

    def _redo_view(self) -> None:
        """Draw the blocks in view for what `_look` is now."""
        top = self.scroll_offset.y
        drawn = False
        for start, message in zip(self._starts, self._order, strict=False):
            if start > top + self.size.height or start + message.height < top:
                continue
            for body, look, inside in message.bodies(self._look):
                found = body.stale_between(look, top - start - inside, top + self.size.height - start - inside)
                for laid in found:
                    body.redraw(laid, look)
                if found:
                    drawn = True
                    message.take_heights()
        if drawn:
            self._place()

    def _redo_some(self) -> None:
        """Draw blocks for what `_look` is now, the newest first, for as long as a frame may wait."""
        if self._again is not None:
            self._again.stop()
            self._again = None
        follow, anchor = self._follows, self._anchor()
        end = self._clock.monotonic() + SLICE
        drawn = False
        for message in reversed(self._order):
            for body, look, _inside in message.bodies(self._look):
                for laid in body.stale(look):
                    if self._clock.monotonic() > end:
                        self._again = self.set_timer(SLICE, self._redo_some)
                        break
                    body.redraw(laid, look)
                    drawn = True
            message.take_heights()
            if self._again is not None:
                break
            message.body.sketched = False
        if drawn:
            self._drawn_anew(anchor, follow)

    def _place(self) -> None:
        """Find where each message begins."""
        self._starts, self._lines = [], 0
        for message in self._order:
            self._starts.append(self._lines)
            self._lines += message.height
        self._strips.clear()
        self.set_reactive(Widget.virtual_size, Size(0, self._lines))

    def _anchor(self) -> tuple[Message, Laid | None, int] | None:
        """What stands at the top of the view."""
        at = self.scroll_offset.y
        if not 0 <= at < self._lines:
            return None
        number = bisect_right(self._starts, at) - 1
        message = self._order[number]
        inside = at - self._starts[number]
        found = message.body.block_at(inside - message.head_height) if inside >= message.head_height else None
        return (message, found[0], found[1]) if found is not None else (message, None, inside)

    def _drawn_anew(self, anchor: tuple[Message, Laid | None, int] | None, follow: bool) -> None:
        """Heights have changed everywhere: keep in view what was."""
        self._place()
        self._grow(self._lines, follow)
        if anchor is not None and not follow:
            message, laid, inside = anchor
            at = self._starts[self._order.index(message)]
            if laid is not None:
                at += message.head_height + message.body.start_of(laid)
            self.scroll_to(y=at + min(inside, (laid or message).height - 1), animate=False, force=True)
        self.refresh()

    def selection_updated(self, selection: Selection | None) -> None:
        """Show the selection."""
        self._strips.clear()
        self.refresh()

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

    def _line(self, at: int) -> tuple[Text, int]:
        """A line and its margin."""
        number = bisect_right(self._starts, at) - 1
        return self._order[number].line(at - self._starts[number])

    def render_line(self, y: int) -> Strip:
        """A line of the conversation."""
        at, width = self.scroll_offset.y + y, self.size.width
        strip = self._strips.get(at)
        if strip is None or strip.cell_length != width:
            base = self.rich_style
            if not 0 <= at < self._lines:
                return Strip.blank(width, base)
            strip = Strip(self._segments(at, base)).adjust_cell_length(width, base)
            if len(self._strips) > _STRIPS:
                self._strips.clear()
            self._strips[at] = strip
        return strip.apply_offsets(0, at)

    def _segments(self, at: int, base: Style) -> Iterable[Segment]:
        """A line with its margin, the names of styles replaced by colours, match and selection marked."""
        line, margin = self._line(at)
        plain = strip_line(line.plain)
        style = base + self._style_of(line.style) if isinstance(line.style, str) and line.style else base
        chosen = self.text_selection.get_span(at) if self.text_selection is not None else None
        match = bool(self._needle) and at == self._match
        if not (line.spans or chosen or match):
            return [Segment(" " * margin + plain, style)]
        text = Text(" " * margin + plain, end="")
        text.stylize(style)  # Rich forgets the style of a text that has no spans
        if plain == line.plain:
            for span in line.spans:
                text.stylize(self._style_of(str(span.style)), span.start + margin, span.end + margin)
        if match:
            text.stylize(self.get_component_rich_style("transcript--match", partial=True))
        if chosen is not None:
            last = len(text) if chosen[1] == -1 else chosen[1]
            text.stylize(self.screen.get_component_rich_style("screen--selection"), chosen[0], last)
        return text.render(self.app.console)

    # --- keys

    @property
    def allow_vertical_scroll(self) -> bool:
        """Scrolls without a scrollbar."""
        return not self._check_disabled()

    def action_scroll(self, step: int) -> None:
        """Lines up or down."""
        self.scroll_to(y=self.scroll_offset.y + step, animate=False, force=True)

    def action_page(self, step: int) -> None:
        """A page up or down."""
        self.action_scroll(step * max(1, self.size.height - 2))

    def action_edge(self, step: int) -> None:
        """To the begin or the end."""
        self.scroll_to(y=0 if step < 0 else self.max_scroll_y, animate=False, force=True)

    def action_jump(self, step: int) -> None:
        """To the next or previous header."""
        top = self.scroll_offset.y
        goals = [start for start in self._starts if (start > top if step > 0 else start < top)]
        if goals:
            self.scroll_to(y=goals[0 if step > 0 else -1], animate=False, force=True)

    def action_fold(self) -> None:
        """Fold or unfold the thoughts of the first message in view that has some."""
        start = self.message_at()
        seen = False
        for message_id, message in self._messages.items():
            seen = seen or message_id == start
            if seen and message.thoughts.parts:
                message.unfolded = not message.unfolded
                self._dirty.add(message_id)
                self.flush()
                return

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
        self._strips.clear()
        self.refresh()

    def _matches(self, step: int) -> Iterator[int]:
        """Lines that hold the text searched, from the match on and round; blocks are drawn only as far as needed."""
        count = len(self._order)
        here = max(0, bisect_right(self._starts, max(0, self._match)) - 1)
        for distance in range(count + 1 if count else 0):
            number = (here + step * distance) % count
            start = self._starts[number]
            for inside in self._order[number].holding(self._needle, last_first=step < 0):
                if distance or (start + inside - self._match) * step > 0:
                    yield start + inside
