"""The composer alone on a terminal: `python -m tests.widgets.prompt_app STATE`; what it sends stands in the first line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Static

from tui.ui import keyfix
from tui.ui.keygate import KeyGate
from tui.ui.widgets.prompt import Composer, PromptArea
from tui.ui.wire import driver_class

keyfix.apply()


class PromptApp(App[int]):
    """F5 ends."""

    BINDINGS = [("f5", "end", "End")]

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._gate = KeyGate(self, super().on_event)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            await self._gate.take(event)
        else:
            await super().on_event(event)

    def compose(self) -> ComposeResult:
        yield Static("ready", markup=False, id="seen")
        yield PromptArea()

    def on_mount(self) -> None:
        box = self.query_one(Composer)
        box.state_folder = Path(sys.argv[1])
        box.focus()
        self._gate.open()

    def action_end(self) -> None:
        self.exit(7)

    def show(self, what: str) -> None:
        self.query_one("#seen", Static).update(what)

    def on_composer_sent(self, event: Composer.Sent) -> None:
        self.show(f"sent {event.text!r}")

    def on_composer_dropped(self, event: Composer.Dropped) -> None:
        self.show(f"dropped {len(event.paths)}")

    def on_composer_pasted(self, event: Composer.Pasted) -> None:
        self.show(f"pasted {len(event.text)}")

    def on_composer_trouble(self, event: Composer.Trouble) -> None:
        self.show(event.failures[0].what)


if __name__ == "__main__":
    sys.exit(PromptApp(driver_class=driver_class("auto", None)).run() or 0)
