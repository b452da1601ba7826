"""First run: nothing is configured and nothing was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from tui.core.fit import largest_parameters
from tui.core.models import Origin, ProviderState
from tui.core.record import record
from tui.services.api import DiscoveryView
from tui.ui.base import AppScreen
from tui.ui.dialogs.add_provider import address_problem
from tui.ui.screens.fits import machine_of
from tui.ui.widgets.confirm import InputDialog
from tui.ui.widgets.detail import wrap_cells

_INDENT = 30
_NARROW_INDENT = 25


def _indent(width: int) -> int:
    return _INDENT if width >= 70 else _NARROW_INDENT


@record(frozen=True)
class Choice:
    """A line of the menu and what it means."""

    key: str
    label: str
    note: str


class Menu(Widget, can_focus=True):
    """A few choices with a note each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "step(1)", "choose", key_display="↑↓", id="welcome.down", tooltip="Next choice"),
        Binding("up,k", "step(-1)", "choose", show=False, id="welcome.up", tooltip="Previous choice"),
        Binding("enter", "go", "go", id="welcome.go", tooltip="Do what the cursor is on"),
    ]
    DEFAULT_CSS = "Menu { height: auto; width: 1fr; }"

    class Chosen(Message):
        """Enter or a click."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._choices: tuple[Choice, ...] = ()
        self._row = 0
        self._lines: list[int] = []

    def take(self, choices: Sequence[Choice]) -> None:
        """Show these; the cursor stays on its choice."""
        if tuple(choices) == self._choices:
            return
        held = self._choices[self._row].key if self._choices else ""
        self._choices = tuple(choices)
        self._row = next((index for index, choice in enumerate(choices) if choice.key == held), 0)
        self.refresh(layout=True)

    def render(self) -> Content:
        """See `Widget`."""
        indent = _indent(self.size.width)
        width = max(20, self.size.width - indent - 1)
        parts: list[tuple[str, str]] = []
        self._lines = []
        for index, choice in enumerate(self._choices):
            here = index == self._row
            for number, line in enumerate(wrap_cells(choice.note, width)):
                head = f"{' > ' if here else '   '}{choice.label}" if number == 0 else ""
                parts.append((f"{head:<{indent}}", "bold $primary" if here else "$foreground"))
                parts.append((line + "\n", "$text-muted"))
                self._lines.append(index)
        return Content.assemble(*parts).rstrip() if parts else Content("")

    def get_content_height(self, container: Any, viewport: Any, width: int) -> int:
        """As many lines as the notes need."""
        return sum(len(list(wrap_cells(choice.note, max(20, width - _indent(width) - 1)))) for choice in self._choices)

    def action_step(self, step: int) -> None:
        """Another choice."""
        if self._choices:
            self._row = (self._row + step) % len(self._choices)
            self.refresh()

    def action_go(self) -> None:
        """Choose."""
        if self._choices:
            self.post_message(self.Chosen(self._choices[self._row].key))

    def on_click(self, event: events.Click) -> None:
        """Choose what was clicked."""
        if event.y < len(self._lines):
            self._row = self._lines[event.y]
            self.refresh()
            self.action_go()


class WelcomeScreen(AppScreen):
    """What was looked at, and three ways on."""

    NAME = "welcome"
    HELP_LINES = "Shown while no server is configured and none was found. The demo server is simulated and nothing leaves this machine."
    AUTO_FOCUS = "#menu"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "again", "again", id="welcome.again", tooltip="look around again"),
        Binding("6", "app.go('settings')", "settings", id="welcome.settings", tooltip="the Settings screen"),
    ]

    def body(self) -> Iterator[Widget]:
        """Sentences, menu, machine."""
        yield Static("", id="welcome-found", markup=False)
        yield Menu(id="menu")
        yield Static("", id="welcome-machine", markup=False)

    def start(self) -> None:
        """Follow the search and the machine."""
        registry = self.services.registry
        self.follow(registry.discovery, lambda _view: self._draw(), fps=4)
        self.follow(registry.providers, lambda _states: self._draw(), fps=4)
        self.follow(self.services.monitor.latest, lambda _view: self._draw_machine(), fps=1)

    def _draw(self) -> None:
        registry = self.services.registry
        view = registry.discovery.value
        self.query_one("#welcome-found", Static).update(Content.assemble(*found_parts(view, registry.providers.value)))
        self.query_one(Menu).take(choices(view))

    def _draw_machine(self) -> None:
        parts = [("This machine: ", "$text-muted"), (self.services.monitor.summary() + "\n", "$foreground")]
        machine = machine_of(self.services)
        if machine is not None:
            billions = largest_parameters(machine)
            said = f"models up to about {billions}B at 4 bit" if billions else "only the smallest models, below 1B"
            parts += [("Fits well: ", "$text-muted"), (said, "$foreground")]
        content = Content.assemble(*parts)
        box = self.query_one("#welcome-machine", Static)
        if getattr(box, "_last", None) != content:
            box._last = content  # type: ignore[attr-defined]
            box.update(content)

    def action_again(self) -> None:
        """Look again."""
        self.services.registry.discover()

    def on_menu_chosen(self, event: Menu.Chosen) -> None:
        """Do it."""
        if event.key == "demo":
            self.tui.restart_demo()
        elif event.key == "ollama":
            self.services.registry.start_server("ollama")
        else:
            self.app.push_screen(
                InputDialog("Connect to a server", "", hint="gpu2, gpu2:8000, http://…", check=address_problem), self._connect
            )

    def _connect(self, address: str | None) -> None:
        if address:
            self.say(f"Asking {address.strip()} what it is")
            self.services.registry.add_provider(address.strip())


def choices(view: DiscoveryView) -> list[Choice]:
    """What can be done; starting Ollama only where it is installed."""
    out = [Choice("demo", "Try the demo server", "simulated models, no download, nothing leaves this machine")]
    if view.ollama_program:
        unit = " (a systemd unit exists too)" if view.ollama_unit else ""
        out.append(Choice("ollama", "Start Ollama", f"{view.ollama_program}, as you{unit}"))
    out.append(Choice("connect", "Connect to a server", "gpu2, gpu2:8000, http://…; ssh hints included"))
    return out


def found_parts(view: DiscoveryView, states: Sequence[ProviderState] = ()) -> list[tuple[str, str]]:
    """What was looked at and what failed."""
    named = next((state.failure for state in states if state.origin is Origin.ENVIRONMENT and state.failure is not None), None)
    if view.running or not view.done:
        return [("Looking for model servers on this machine …", "bold $foreground")]
    parts = [("No model server was found.\n", "bold $foreground")]
    if view.looked_at:
        took = f" in {view.seconds:.1f} s" if view.seconds else ""
        parts.append((f"Looked at {view.looked_at}{took}.  ", "$foreground"))
    parts += [("r", "$accent"), (" looks again", "$foreground")]
    failure = view.environment or named
    if failure is not None:
        said = "" if failure is view.environment else "OLLAMA_HOST is set. "
        parts.append((f"\n{said}{failure.sentence()}", "$text-warning"))
        if failure.remedy:
            parts.append((f"\n{failure.remedy}", "$text-muted"))
    return parts
