"""The first frame: the frame itself, before settings and services are read."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen

from tui.ui.frame import Line, TopBar


class BootScreen(Screen[None]):
    """Shown for some tenths of a second."""

    def __init__(self, machine: str, *, demo: bool) -> None:
        super().__init__()
        self._machine = machine
        self._demo = demo

    def compose(self) -> ComposeResult:
        """The frame, empty."""
        yield TopBar("", self._machine, demo=self._demo)
        with Vertical(id="body"):
            yield Line(id="starting")
        yield Line(id="statusbar")
        yield Line(id="keyline")

    def on_mount(self) -> None:
        """Say what is waited for."""
        self.query_one("#starting", Line).show((" reading settings and looking for servers", "$text-muted"))
