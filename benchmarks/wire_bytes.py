"""Bytes to the terminal while text streams: `python benchmarks/wire_bytes.py [SECONDS]`.

100 tokens a second of Markdown-like text in a line-by-line widget, flushed 15 times a second, on a real pty.
The goal is at most 40 bytes a token with the filter, and nothing while nothing changes.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Label

from tui.ui.wire import driver_class

TOKENS_PER_SECOND = 100
FLUSHES = 15
WORDS = [
    "the", "model", "writes", "some", "words", "about", "a", "local", "server", "and", "its", "memory",
    "with", "several", "layers", "of", "context",
]  # fmt: skip


class Lines(ScrollView):
    """Follows the end line by line; refreshes only the lines that grew, to the text's end."""

    DEFAULT_CSS = "Lines {height: 1fr; scrollbar-size: 0 0}"

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[list[str]] = [[]]

    def add(self, tokens: list[str]) -> None:
        """Append tokens and draw the lines they changed."""
        first, count = self.first, len(self.lines)
        for token in tokens:
            if token == "\n" or sum(map(len, self.lines[-1])) + len(token) > self.size.width:
                self.lines.append([])
            if token != "\n":
                self.lines[-1].append(token)
        if self.first != first:
            self.refresh()
        else:
            self.refresh(Region(0, count - 1 - first, self.size.width, len(self.lines) - count + 1))

    @property
    def first(self) -> int:
        """The line at the top."""
        return max(0, len(self.lines) - self.size.height)

    def render_line(self, y: int) -> Strip:
        """See `ScrollView`."""
        index = self.first + y
        base = self.rich_style
        tokens = self.lines[index] if index < len(self.lines) else []
        segments = [Segment(token, base + Style(bold=True) if token.startswith("*") else base) for token in tokens]
        return Strip(segments).adjust_cell_length(self.size.width, base)


class Stream(App[None]):
    """The transcript between a status line and a composer."""

    CSS = "Label {background: $primary; width: 1fr}"

    def compose(self) -> ComposeResult:
        """A head, the lines, an input."""
        yield Label("chat", id="head")
        yield Lines()
        composer = Input()
        composer.cursor_blink = False
        yield composer

    def on_mount(self) -> None:
        """Fill the screen and start the clock."""
        self.source = random.Random(1)
        self.owed = 0.0
        self.seconds = float(sys.argv[3])
        self.begin = time.monotonic() + 1.0
        self.call_after_refresh(lambda: self.query_one(Lines).add([self.token() for _ in range(1000)]))
        self.timer = self.set_interval(1 / FLUSHES, self.tick)

    def tick(self) -> None:
        """Write what is due."""
        if time.monotonic() < self.begin:
            return
        if time.monotonic() > self.begin + self.seconds:
            self.timer.stop()
            self.set_timer(1.0, self.exit)
            return
        self.owed += TOKENS_PER_SECOND / FLUSHES
        self.query_one(Lines).add([self.token() for _ in range(int(self.owed))])
        self.owed -= int(self.owed)

    def token(self) -> str:
        """One token."""
        chance = self.source.random()
        if chance < 0.02:
            return "\n"
        word = self.source.choice(WORDS)
        return f"*{word}* " if chance < 0.05 else f"{word} "


def measure(wire: str, rows: int, cols: int, seconds: float) -> tuple[float, int]:
    """Bytes a token, and bytes in the last half second, when nothing changes."""
    from tests.support.pty import Terminal

    with Terminal([sys.executable, __file__, "--app", wire, str(seconds)], rows=rows, cols=cols, sync=True) as terminal:
        terminal.wait_for("chat")
        settled = time.monotonic() + 0.8
        terminal.wait_for(lambda: time.monotonic() > settled)
        before = len(terminal.raw)
        finished = time.monotonic() + seconds + 0.7
        terminal.wait_for(lambda: time.monotonic() > finished, timeout=seconds + 10)
        after = len(terminal.raw)
        quiet = time.monotonic() + 0.3
        terminal.wait_for(lambda: time.monotonic() > quiet)
        return (after - before) / (seconds * TOKENS_PER_SECOND), len(terminal.raw) - after


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 8.0
    for cols, rows in ((80, 24), (120, 40)):
        for wire in ("auto", "full"):
            per_token, idle = measure(wire, rows, cols, seconds)
            print(f"{cols}x{rows} wire={wire:4}  {per_token:7.1f} B/token  {idle} B idle")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--app"]:
        Stream(driver_class=driver_class(sys.argv[2])).run()
    else:
        main()
