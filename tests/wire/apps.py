"""Small Textual programs for the terminal tests: `python -m tests.wire.apps NAME [WIRE [BUDGET]]`."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.segment import Segment
from rich.text import Text
from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Button, Input, Label, Markdown, OptionList, Static, TabbedContent, TabPane

from tui.ui import keyfix
from tui.ui.line_filter import TextSafetyFilter
from tui.ui.wire import driver_class

keyfix.apply()

CANARY = (
    "\x1b]52;c;UFdORUQ=\x07 \x1b]0;owned\x07 \x1b]8;;http://evil\x1b\\link \x1b[2J \x1b[6n \x1bPq#0\x1b\\ \x9b31m \x07 \x08 \r \0 \x7f "
    "\u202egpj.exe \u200b \U000e0041 \ud800 [/INST] [/opt/x] [b + x [@click=app.quit]x[/] $name"
)


class Base(App[int]):
    """With the last filter, and F5 to end."""

    BINDINGS = [("f5", "end", "End"), ("f6", "repaint", "Repaint")]
    filter = TextSafetyFilter()
    filtered = True

    def get_line_filters(self) -> Any:
        return [*super().get_line_filters(), self.filter] if self.filtered else super().get_line_filters()

    def action_end(self) -> None:
        self.exit(7)

    def action_repaint(self) -> None:
        self._driver.invalidate()  # type: ignore[union-attr]
        self.screen.refresh()


class Hostile(Base):
    """The canary in many widgets."""

    CSS = "Label {height: 1}"

    def compose(self) -> ComposeResult:
        label = Label(CANARY, markup=False)
        label.border_title = Content(CANARY)  # type: ignore[assignment]
        label.tooltip = Text(CANARY)
        yield Label("ready")
        yield label
        yield Static(Text(CANARY, style=f"link {CANARY}"))
        yield Input(value=CANARY, placeholder=CANARY)
        yield Button(Content(CANARY))
        yield OptionList(Content(CANARY), Text(CANARY))
        yield Markdown(f"# {CANARY}\n\n{CANARY}\n\n```\n{CANARY}\n```\n\n[{CANARY}](http://x/{CANARY})")
        with TabbedContent(), TabPane(Content(CANARY)):  # type: ignore[arg-type]
            yield Label(Content(CANARY))

    def on_mount(self) -> None:
        self.notify(CANARY, title=CANARY, markup=False, timeout=60)


class Unfiltered(Hostile):
    """The wire alone must hold."""

    filtered = False


class Keys(Base):
    """Names every key it gets."""

    def compose(self) -> ComposeResult:
        yield Label("ready", id="keys", markup=False)

    def on_key(self, event: Any) -> None:
        self.query_one("#keys", Label).update(f"key {event.key}")


class Lines(ScrollView):
    """Lines that follow the end; draws only what changed."""

    can_focus = False
    DEFAULT_CSS = "Lines {height: 1fr; scrollbar-size: 0 0}"

    def __init__(self) -> None:
        super().__init__()
        self.lines = [""]

    def add(self, text: str) -> None:
        old_first, old_count = self._first(), len(self.lines)
        for word in text.split(" "):
            if len(self.lines[-1]) + len(word) + 1 > self.size.width - 2 or "\n" in word:
                self.lines.append("")
            self.lines[-1] += word.strip("\n") + " "
        if self._first() != old_first:
            self.refresh()
        else:
            self.refresh(Region(0, old_count - 1 - old_first, self.size.width, len(self.lines) - old_count + 1))

    def _first(self) -> int:
        return max(0, len(self.lines) - self.size.height)

    def render_line(self, y: int) -> Strip:
        index = self._first() + y
        text = self.lines[index] if index < len(self.lines) else ""
        return Strip([Segment(text, self.rich_style)]).adjust_cell_length(self.size.width, self.rich_style)


class Streams(Base):
    """Words for ever, and a clock of the event loop that shows it never stood still."""

    seconds = 0.02

    def compose(self) -> ComposeResult:
        yield Label("ready", id="head")
        yield Input()
        yield Lines()

    def on_mount(self) -> None:
        self.number = 0
        self.worst = 0.0
        self.last = time.monotonic()
        self.set_interval(self.seconds, self.tick)

    def tick(self) -> None:
        now = time.monotonic()
        self.worst, self.last = max(self.worst, now - self.last), now
        self.number += 1
        self.query_one(Lines).add(f"word{self.number} and filler text so that it grows quickly")

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one("#head", Label).update(f"worst {self.worst:.2f} typed {event.value}")


class Floods(Streams):
    """Far more than a slow line carries."""

    def tick(self) -> None:
        for _ in range(8):
            super().tick()


class Suspends(Base):
    """F8 gives the terminal away for a moment."""

    BINDINGS = [("f8", "away", "Away")]

    def compose(self) -> ComposeResult:
        yield Label("ready")
        yield Label("second line 模型 😀 end")

    def action_away(self) -> None:
        with self.suspend():
            sys.stdout.write("\x1b[2J\x1b[1;1Houtside was here\r\n")
            sys.stdout.flush()


class Marks(Suspends):
    """F2 sets the window's marks, F3 others, F4 takes them away; F9 is a crash."""

    BINDINGS = [("f2", "set(62)", "Set"), ("f3", "set(63)", "Set"), ("f4", "unset", "Unset"), ("f9", "crash", "Crash")]

    def action_set(self, percent: int) -> None:
        marks = self._driver.marks  # type: ignore[union-attr]
        marks.title(f"paddock ↓{percent}% qwen3:8b\x1b]52;c;UFdORUQ=\x07\x9c")
        marks.progress(percent + 0.9)
        marks.notice("done\x07; all \x1b[2Jof it")

    def action_unset(self) -> None:
        marks = self._driver.marks  # type: ignore[union-attr]
        marks.title("")
        marks.progress(None)

    def action_crash(self) -> None:
        raise RuntimeError


APPS = {
    "marks": Marks,
    "hostile": Hostile,
    "unfiltered": Unfiltered,
    "keys": Keys,
    "streams": Streams,
    "floods": Floods,
    "suspends": Suspends,
}

if __name__ == "__main__":
    name, wire, budget = [*sys.argv[1:], *("auto", "0")[len(sys.argv) - 2 :]]
    app = APPS[name](driver_class=driver_class(wire, int(budget) or None))
    sys.exit(app.run() or 0)
