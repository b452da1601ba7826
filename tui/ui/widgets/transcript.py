"""`Transcript`: a conversation as lines, at a cost per token that does not grow with what is shown."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from rich.cells import cell_len
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
from tui.text import duration, strip_line
from tui.ui.widgets.bars import fit, uses_ascii
from tui.ui.widgets.markdown import render, wrap

PERIOD: Final = 1 / 15
PLAIN_ABOVE: Final = 200 * 1024
BLOCKS_ABOVE: Final = 300
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_STYLES: Final = ("heading", "code", "dim", "comment", "keyword", "string", "number", "name", "notice", "header")


@dataclass
class _Message:
    """A message: `text` as it came, `closed` its drawn blocks, `tail` the source of the open one from `at` on."""

    left: str
    right: str = ""
    parts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    thought_seconds: float | None = None
    unfolded: bool = False
    footer: tuple[str, ...] = ()
    finished: bool = False
    size: int = 0
    blocks: int = 0
    pending: str = ""  # source of the open block, whole lines already in `open_lines` aside
    block: list[str] = field(default_factory=list)  # whole source lines of the open block
    fence: str = ""
    closed: list[Text] = field(default_factory=list)
    open_lines: list[Text] = field(default_factory=list)
    lines: list[Text] = field(default_factory=list)


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
        self._messages: dict[Hashable, _Message] = {}
        self._dirty: set[Hashable] = set()
        self._timer: Timer | None = None
        self._drawn_at = -1e9
        self._width = 0
        self._strips: dict[int, Strip] = {}
        self._needle = ""
        self._match = -1

    # --- what stands in it

    def begin(self, message_id: Hashable, left: str, right: str = "") -> None:
        """Add a message at the end; its header names who speaks at the left."""
        self._messages[message_id] = _Message(left, right)
        self._touch(message_id)

    def append(self, message_id: Hashable, text: str) -> None:
        """Add cleaned text to a message."""
        message = self._messages[message_id]
        message.parts.append(text)
        message.size += len(text)
        message.pending += text
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

    def set_footer(self, message_id: Hashable, lines: Sequence[str]) -> None:
        """Our own lines below a message (timeline, notices)."""
        self._messages[message_id].footer = tuple(lines)
        self._touch(message_id)

    def finish(self, message_id: Hashable) -> None:
        """No more text comes: the open block is drawn as Markdown."""
        self._messages[message_id].finished = True
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
        self._dirty.clear()
        self._strips.clear()
        self._grow(0, True)
        self.refresh()

    def text_of(self, message_id: Hashable) -> str:
        """The text of a message, for the clipboard: without its last line break (X07)."""
        return "".join(self._messages[message_id].parts).rstrip("\n")

    def code_blocks(self, message_id: Hashable) -> list[str]:
        """The fenced blocks of a message."""
        from markdown_it import MarkdownIt

        return [token.content.rstrip("\n") for token in MarkdownIt("commonmark").parse(self.text_of(message_id)) if token.type == "fence"]

    def message_at(self, line: int | None = None) -> Hashable | None:
        """The message on a line (default: the first in view)."""
        at = self.scroll_offset.y if line is None else line
        for message_id, message in self._messages.items():
            if at < len(message.lines):
                return message_id
            at -= len(message.lines)
        return None

    @property
    def line_count(self) -> int:
        """Lines in all."""
        return sum(len(message.lines) for message in self._messages.values())

    # --- drawing at most 15 times a second, and not at all while nothing changes

    def _touch(self, message_id: Hashable) -> None:
        self._dirty.add(message_id)
        if self._timer is not None or not self.is_attached:
            return
        wait = PERIOD - (self._clock.monotonic() - self._drawn_at)
        self._timer = self.set_timer(max(0.001, wait), self.flush)

    def flush(self) -> None:
        """Draw what is pending now."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._drawn_at = self._clock.monotonic()
        if not self._dirty or not self._width:
            return
        follow = self.scroll_offset.y >= self.max_scroll_y
        dirty, self._dirty = self._dirty, set()
        at, first = 0, -1
        for message_id, message in self._messages.items():
            if message_id in dirty:
                same = self._lay_out(message)
                first = at + same if first < 0 else first
            at += len(message.lines)
        if first >= 0:
            for line in [line for line in self._strips if line >= first]:
                del self._strips[line]
            self._grow(at, follow)
            top = max(0, first - self.scroll_offset.y)
            if top < self.size.height:
                self.refresh(Region(0, top, self.size.width, self.size.height - top))

    def _grow(self, lines: int, follow: bool) -> None:
        """Take the new height without a relayout."""
        self.set_reactive(Widget.virtual_size, Size(0, lines))
        if follow or self.scroll_offset.y > self.max_scroll_y:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    def _style_of(self, name: str) -> Style:
        if name in _STYLES:
            return self.get_component_rich_style(f"transcript--{name}", partial=True)
        plain = {"strong": Style(bold=True), "emphasis": Style(italic=True), "struck": Style(strike=True)}
        return plain.get(name) or Style(underline=True)

    def _take(self, message: _Message) -> None:
        """Move pending text into lines; draw blocks that have closed, once."""
        width = self._width - 2
        while "\n" in message.pending:
            line, message.pending = message.pending.split("\n", 1)
            mark = _FENCE.match(line)
            if message.fence:
                closes = mark is not None and mark[1].startswith(message.fence) and not line[mark.end() :].strip("`~ ")
            else:
                closes = not line.strip()
            message.block.append(line)
            message.open_lines.extend(wrap(Text(line), width))
            if not message.fence and mark is not None:
                message.fence = mark[1]
            elif closes:
                self._close(message)
        if message.finished:
            message.block.append(message.pending)
            message.pending = ""
            self._close(message)

    def _close(self, message: _Message) -> None:
        source = "\n".join(message.block)
        message.fence = ""
        if source.strip():
            message.blocks += 1
            plain = message.size > PLAIN_ABOVE or message.blocks > BLOCKS_ABOVE
            drawn = message.open_lines if plain else render(source, self._width - 2, self._style_of, uses_ascii(self, self._wish))
            if message.closed:
                message.closed.append(Text())
            message.closed.extend(drawn)
        message.block, message.open_lines = [], []

    def _lay_out(self, message: _Message) -> int:
        """Bring a message's lines up to date; returns how many at its begin stayed as they were."""
        closed, opened = len(message.closed), len(message.open_lines)
        self._take(message)
        head = self._head(message)
        old = message.lines
        same = len(head) + closed + (opened if len(message.closed) == closed else 0)
        if old[: len(head)] != head:
            same = 0
        indent = Text(" ")
        new = [indent + line for line in (*message.closed, *message.open_lines)[max(0, same - len(head)) :]]
        if message.pending:
            new.extend(indent + line for line in wrap(Text(message.pending), self._width - 2))
        kept = old[:same] if same else head
        del old[len(kept) :]
        old[: len(head)] = head
        old.extend(new)
        old.extend(Text(" ") + line for foot in message.footer for line in wrap(Text(foot, self._style_of("notice")), self._width - 2))
        old.append(Text())
        return same

    def _head(self, message: _Message) -> list[Text]:
        rule = "-" if uses_ascii(self, self._wish) else "─"
        right = f" {strip_line(message.right)} " if message.right else ""
        left = f"{rule} {strip_line(message.left)} "
        room = max(0, self._width - cell_len(right))
        left = fit(left, room) if cell_len(left) > room else left + rule * (room - cell_len(left))
        head = [Text(left + right, self._style_of("header"))]
        if message.thoughts:
            sign = "v" if message.unfolded else ">"
            if not uses_ascii(self, self._wish):
                sign = "▾" if message.unfolded else "▸"
            took = f" for {duration(message.thought_seconds)}" if message.thought_seconds is not None else ""
            head.append(Text(f" {sign} thought{took}", self._style_of("dim")))
            if message.unfolded:
                head.extend(Text("   ") + line for line in wrap(Text("".join(message.thoughts), self._style_of("dim")), self._width - 4))
            head.append(Text())
        return head

    def _redo(self) -> None:
        """Draw everything anew (width or colours changed)."""
        for message_id, message in self._messages.items():
            message.pending = "".join(message.parts)
            message.block, message.fence, message.blocks = [], "", 0
            message.closed, message.open_lines, message.lines = [], [], []
            self._dirty.add(message_id)
        self._strips.clear()
        self.flush()
        self.refresh()

    def on_resize(self) -> None:
        """Wrap for the new width."""
        if self.size.width != self._width:
            self._width = self.size.width
            self._redo()

    def notify_style_update(self) -> None:
        """Colours changed: strips are made again when drawn."""
        super().notify_style_update()
        self._strips.clear()

    def selection_updated(self, selection: Selection | None) -> None:
        """Show the selection."""
        self._strips.clear()
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text."""
        lines = "\n".join(line.plain for message in self._messages.values() for line in message.lines)
        return selection.extract(lines), "\n"

    def _line(self, at: int) -> Text | None:
        for message in self._messages.values():
            if at < len(message.lines):
                return message.lines[at]
            at -= len(message.lines)
        return None

    def render_line(self, y: int) -> Strip:
        """A line of the conversation."""
        at, width = self.scroll_offset.y + y, self.size.width
        strip = self._strips.get(at)
        if strip is None or strip.cell_length != width:
            line = self._line(at)
            base = self.rich_style
            if line is None:
                return Strip.blank(width, base)
            text = Text(strip_line(line.plain), base, end="") if strip_line(line.plain) != line.plain else line.copy()
            text.end, text.style = "", base + text.style if isinstance(text.style, Style) else base
            if self._needle and at == self._match:
                text.stylize(self.get_component_rich_style("transcript--match", partial=True))
            span = self.text_selection.get_span(at) if self.text_selection is not None else None
            if span is not None:
                chosen = self.screen.get_component_rich_style("screen--selection")
                text.stylize(chosen, span[0], len(text) if span[1] == -1 else span[1])
            strip = Strip(text.render(self.app.console)).adjust_cell_length(width, base)
            self._strips[at] = strip
        return strip.apply_offsets(0, at)

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
        starts, at = [], 0
        for message in self._messages.values():
            starts.append(at)
            at += len(message.lines)
        top = self.scroll_offset.y
        goals = [start for start in starts if (start > top if step > 0 else start < top)]
        if goals:
            self.scroll_to(y=goals[0 if step > 0 else -1], animate=False, force=True)

    def action_fold(self) -> None:
        """Fold or unfold the thoughts of the first message in view that has some."""
        start = self.message_at()
        seen = False
        for message_id, message in self._messages.items():
            seen = seen or message_id == start
            if seen and message.thoughts:
                message.unfolded = not message.unfolded
                self._dirty.add(message_id)
                self.flush()
                return

    def find(self, text: str) -> bool:
        """Search from the top of the view on; empty ends the search."""
        self._needle, self._match = text.casefold(), self.scroll_offset.y - 1
        self._strips.clear()
        self.refresh()
        return bool(text) and self.action_find(1)

    def action_find(self, step: int) -> bool:
        """To the next or previous line that holds the text searched."""
        lines = [line.plain for message in self._messages.values() for line in message.lines]
        for distance in range(1, len(lines) + 1):
            at = (self._match + step * distance) % len(lines)
            if self._needle and self._needle in lines[at].casefold():
                self._match = at
                self._strips.clear()
                self.scroll_to(y=max(0, at - self.size.height // 2), animate=False, force=True)
                self.refresh()
                return True
        return False
