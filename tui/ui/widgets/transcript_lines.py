"""The lines of a conversation on the screen, drawn at a cost per token that does not grow with what is shown."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from tui.core.clock import SYSTEM, Clock
from tui.text import strip_line
from tui.ui.later import later
from tui.ui.widgets.bars import own_style, uses_ascii
from tui.ui.widgets.transcript_layout import Keep, Laid, Look
from tui.ui.widgets.transcript_message import Message, Row

PERIOD: Final = 1 / 15
"""Seconds between two flushes."""
SLICE: Final = 0.008
"""Seconds of drawing again (for another width) at a time, and between two of them: keys and frames come in between."""
PATIENCE: Final = 0.05
"""Seconds that a flush may take: 4 MB of conversation take 0.3 s (P22)."""
FIRST: Final = 0.01
"""Seconds that one may take which is the first for another conversation or another width: what is in view comes first."""
STYLES: Final = ("heading", "code", "dim", "comment", "keyword", "string", "number", "name", "notice", "header", "here")
_FONTS: Final = {"strong": Style(bold=True), "emphasis": Style(italic=True), "struck": Style(strike=True)}
_STRIPS: Final = 2000


class Lines(ScrollView, can_focus=True, inherit_bindings=False):
    """Messages as lines, for `Transcript`. All texts given must be cleaned (`clean_block`); they are drawn literally."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"transcript--{name}" for name in (*STYLES, "match")}

    def __init__(self, *, ascii: bool | None = None, clock: Clock = SYSTEM, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._wish, self._clock = ascii, clock
        self._messages: dict[Hashable, Message] = {}
        self._rows: dict[Hashable, Row] = {}
        self._order: list[Message] = []
        self._starts: list[int] = []
        self._lines = 0
        self._keep = Keep()
        self._dirty: set[Hashable] = set()
        self._whole = False
        self._patience = PATIENCE
        self._held: tuple[Message, Laid | None, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._gathering = False
        self._drawn_at = -1e9
        self._look = Look(0)
        self._styles: dict[str, Style] = {}
        self._again: asyncio.TimerHandle | None = None
        self._strips: dict[int, Strip] = {}  # by line of the conversation, as they go to the screen
        self._made_for: tuple[Any, ...] = ()
        self._needle = ""
        self._match = -1
        self._follows = True

    # --- what stands in it

    def show(self, rows: Sequence[Row]) -> None:
        """Show these messages; those whose texts are the same stay as they are, folds and place included."""
        before, held = self._messages, None if self._follows else self._anchor()
        if list(before)[: len(rows)] != [row.id for row in rows[: len(before)]] or len(rows) < len(before):
            self._whole = True
        self._messages = {}
        for row in rows:
            message = before.get(row.id)
            if message is not None and self._rows.get(row.id) is row:
                self._messages[row.id] = message
                continue
            if message is None or not message.holds(row):
                old, message = message, Message(row.left, row.right, self._keep, typed=row.typed)
                message.thinking.unfolded = old is not None and old.thinking.unfolded
                message.fill(row)
                self._whole = self._whole or old is not None
            message.take(row)
            self._messages[row.id], self._rows[row.id] = message, row
            self._dirty.add(row.id)
        self._rows = {row.id: row for row in rows}
        self._order = list(self._messages.values())
        self._dirty &= set(self._messages)
        self._moved()
        if not before:
            self._patience = FIRST
        if self._whole and self.is_attached:
            self._held = held
            self._place()
            self.flush()
        elif not before and self.is_attached:  # another conversation: nothing of it is shown yet
            self.flush()
        else:
            self._wake()

    def begin(self, message_id: Hashable, left: str, right: str = "") -> None:
        """Add a message at the end; its header names who speaks at the left."""
        self._messages[message_id] = Message(left, right, self._keep)
        self._order = list(self._messages.values())
        self._moved()
        self._touch(message_id)

    def append(self, message_id: Hashable, text: str) -> None:
        """Add cleaned text to a message."""
        self._messages[message_id].body.append(text)
        self._touch(message_id)

    def append_thinking(self, message_id: Hashable, text: str, seconds: float | None = None, tokens: int | None = None) -> None:
        """Add cleaned thoughts, how long the model has thought and how many tokens."""
        message = self._messages[message_id]
        message.thinking.body.append(text)
        message.thought_seconds = message.thought_seconds if seconds is None else seconds
        message.thought_tokens = message.thought_tokens if tokens is None else tokens
        self._touch(message_id)

    def set_header(self, message_id: Hashable, left: str, right: str) -> None:
        """Change both ends of the header."""
        message = self._messages[message_id]
        if (message.left, message.right) != (left, right):
            message.left, message.right = left, right
            self._touch(message_id)

    def set_footer(self, message_id: Hashable, notices: Sequence[str], times: str = "") -> None:
        """Our own lines below a message."""
        self._messages[message_id].footer = [*([(times, "dim")] if times else []), *((notice, "notice") for notice in notices)]
        self._touch(message_id)

    def finish(self, message_id: Hashable) -> None:
        """No more text comes: the open block is drawn as Markdown."""
        message = self._messages[message_id]
        message.thinking.body.finish()
        message.body.finish()
        self._touch(message_id)

    def load(self, messages: Sequence[tuple[Hashable, str, str, str, str]]) -> None:
        """Show a conversation from its end: (id, header left, header right, cleaned text, cleaned thoughts) of each message."""
        self.clear()
        self.show([Row(*message) for message in messages])

    def clear(self) -> None:
        """Remove all messages."""
        self._messages, self._rows = {}, {}
        self._keep = Keep()
        self._order, self._starts, self._lines = [], [], 0
        self._dirty.clear()
        self._strips.clear()
        self._follows = True
        self._moved()
        self._grow(0, True)
        self.refresh()

    def __contains__(self, message_id: Hashable) -> bool:
        return message_id in self._messages

    def text_of(self, message_id: Hashable) -> str:
        """The text of a message, for the clipboard: without its last line break (X07)."""
        message = self._messages[message_id]
        text = message.source or "\n\n".join("".join(section.body.parts) for section in message.sections)
        return text.rstrip("\n")

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

    def _moved(self) -> None:
        """Messages were added or went."""

    # --- drawing at most 15 times a second, and not at all while nothing changes

    def _touch(self, message_id: Hashable) -> None:
        self._dirty.add(message_id)
        self._wake()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Draw what is changed within as one, at the end of it: for callers that keep to a pace of their own."""
        self._gathering = True
        try:
            yield
        finally:
            self._gathering = False
        self.flush()

    def _wake(self) -> None:
        """Flush when it is time."""
        if self._gathering or self._timer is not None or not self.is_attached:
            return
        wait = PERIOD - (self._clock.monotonic() - self._drawn_at)
        self._timer = later(self, max(0.001, wait), self.flush)

    def flush(self) -> None:
        """Draw what is pending, the newest message first; after `PATIENCE` the rest has to wait for the next frame."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._drawn_at = self._clock.monotonic()
        if not (self._dirty or self._whole) or not self._look.width:
            return
        patience, self._patience = self._patience, PATIENCE
        follow = self._follows or self.scroll_offset.y >= self.max_scroll_y
        anchor, self._held = None if follow else self._held or self._anchor(), None
        dirty, self._dirty = self._dirty, set()
        rush, late = self._drawn_at + SLICE, self._drawn_at + patience
        laid_out: dict[Hashable, tuple[int, int, bool]] = {}
        for message_id in self._in_turn(dirty):
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
        if self._whole:
            self._whole = False
            self._strips.clear()
            self.refresh()
            shifted = 0
        for first, last in ranges:
            self._repaint(first, last)
        self._grow(self._lines, follow)
        if anchor is not None and 0 <= shifted < self.scroll_offset.y and anchor[0] in self._order:
            self._drawn_anew(anchor, follow)
        if self._dirty:
            self._timer = later(self, SLICE, self.flush)
        if self._again is None and any(message.body.sketched for message in self._order):
            self._again = later(self, 0.001, self._redo_some)

    def _in_turn(self, dirty: set[Hashable]) -> list[Hashable]:
        """Messages in the order in which they are laid out: those in view, then the newest first."""
        names = [name for name in reversed(self._messages) if name in dirty]
        if len(names) > 1 and not self._follows:
            top = self.scroll_offset.y
            begin, end = bisect_right(self._starts, top) - 1, bisect_right(self._starts, top + self.size.height - 1)
            seen = set(list(self._messages)[max(0, begin) : end])
            names.sort(key=lambda name: name not in seen)
        return names

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
                if name in STYLES:
                    own = own_style(self, f"transcript--{name}")
                    style += Style(color=own.color, bold=own.bold, dim=own.dim, reverse=own.reverse)
                else:
                    style += _FONTS.get(name, Style.null())
            self._styles[names] = style
        return style

    # --- another width, other colours

    def _size_updated(self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True) -> bool:
        """See `ScrollView`; the frame in which the size is another one shows lines of that width."""
        changed = super()._size_updated(size, virtual_size, container_size, layout)
        if changed and self.is_attached:
            self.on_resize()
        return changed

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
        self._patience = FIRST
        self.flush()
        self._drawn_anew(anchor, follow)
        if self._again is None:
            self._again = later(self, SLICE, self._redo_some)

    def _redo_view(self) -> None:
        """Draw the blocks in view for what `_look` is now."""
        top = self.scroll_offset.y
        drawn = False
        begin = max(0, bisect_left(self._starts, top) - 1)
        for number in range(begin, min(len(self._order), bisect_right(self._starts, top + self.size.height))):
            start, message = self._starts[number], self._order[number]
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
            self._again.cancel()
            self._again = None
        follow, anchor = self._follows, self._anchor()
        end = self._clock.monotonic() + SLICE
        drawn = seen = late = False
        for number in reversed(range(len(self._order))):
            message, found = self._order[number], False
            for body, look, inside, laid in message.stale(self._look):
                if late := self._clock.monotonic() > end:
                    break
                seen = seen or self._in_view(self._starts[number] + inside + body.start_of(laid), laid.height)
                body.redraw(laid, look)
                found = True
            if found:
                drawn = True
                message.take_heights()
            if late:
                self._again = later(self, SLICE, self._redo_some)
                break
            message.body.sketched = False
        if drawn and follow and not seen and self.text_selection is None:
            self._moved_unseen()
        elif drawn:
            self._drawn_anew(anchor, follow)

    def _in_view(self, first: int, height: int) -> bool:
        top = self.scroll_offset.y
        return first < top + self.size.height and first + height > top

    def _moved_unseen(self) -> None:
        """Only heights above the view have changed: the lines in view have other numbers, and the screen is as it was."""
        self._place()
        self._styles_cache.clear()
        self.set_reactive(Widget.scroll_y, float(self.max_scroll_y))
        self.set_reactive(Widget.scroll_target_y, float(self.max_scroll_y))

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

    def _line(self, at: int) -> tuple[Text, int]:
        """A line and its margin."""
        number = bisect_right(self._starts, at) - 1
        return self._order[number].line(at - self._starts[number])

    def render_lines(self, crop: Region) -> list[Strip]:
        """See `Widget`: a line that only moved is not made again, with all that Textual does to a line."""
        if self.styles.gutter:
            return super().render_lines(crop)
        look = (self.size, self.background_colors, self.opacity, self.rich_style, tuple(self.get_line_filters()), self.hover_style)
        if look != self._made_for:
            self._made_for = look
            self._strips.clear()
        top, strips = self.scroll_offset.y, self._strips
        wanted = range(top + crop.y, top + crop.bottom)
        if len(strips) > _STRIPS:
            strips.clear()
        at = wanted.start
        while at < wanted.stop:
            end = at
            while end < wanted.stop and end not in strips:
                end += 1
            if end > at:
                made = super().render_lines(Region(0, at - top, self.size.width, end - at))
                strips.update(zip(range(at, end), made, strict=True))
            at = end + 1
        found = [strips[at] for at in wanted]
        return found if crop.column_span == (0, self.size.width) else [strip.crop(*crop.column_span) for strip in found]

    def render_line(self, y: int) -> Strip:
        """A line of the conversation."""
        at, width = self.scroll_offset.y + y, self.size.width
        base = self.rich_style
        if not 0 <= at < self._lines:
            return Strip.blank(width, base)
        return Strip(self._segments(at, base)).adjust_cell_length(width, base).apply_offsets(0, at)

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

    @property
    def allow_vertical_scroll(self) -> bool:
        """Scrolls without a scrollbar."""
        return not self._check_disabled()
