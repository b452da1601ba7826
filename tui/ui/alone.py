"""One screen as a program of its own: `paddock monitor`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.core.options import AppOptions
from tui.ui import start
from tui.ui.app import TuiApp

_ELSEWHERE = ("go", "leader")


class AloneApp(TuiApp):
    """The app with nothing but `options.alone`; the others are there and not reached."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "quit", "quit", id="app.leave", tooltip="quit; downloads go on")]

    @property
    def alone(self) -> str:
        """The one screen."""
        return self.options.alone

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """See `App`."""
        return False if action in _ELSEWHERE else super().check_action(action, parameters)

    def action_go(self, name: str) -> None:
        """Nowhere."""
        if name != self.alone:
            self.notify("This is the Monitor alone: paddock opens all screens.", markup=False, timeout=4)


def run_app(options: AppOptions, demo_server: Callable[[Path], str]) -> int:
    """As `app.run_app`."""
    return start.run(options, AloneApp, demo_server)
