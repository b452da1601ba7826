"""What is running, where, and is it well?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.timer import Timer
from textual.widget import Widget

from tui.core.models import Origin, ProviderState, ProviderStatus, RunningModel
from tui.services.server_log import tail
from tui.text import clean_block
from tui.ui.screens.parts import Rule
from tui.ui.screens.provider_detail import columns, facts, state_mark
from tui.ui.screens.refusing import ActivityLine, RefusingScreen
from tui.ui.widgets.detail import DetailPane
from tui.ui.widgets.rows import Rows

_LOG_TAIL = 16_384


class ProviderTable(Rows[ProviderState]):
    """The providers."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "its models", id="rows.open", tooltip="the models of this provider, on the Library screen"),
    ]


class ProvidersScreen(RefusingScreen):
    """Every configured and discovered server, and one in detail."""

    NAME = "providers"
    HELP_LINES = "Servers marked + were found on this machine; a adds one to the configuration. * is the default."
    AUTO_FOCUS = "#provider-table"
    VERBS = frozenset({"edit", "test", "power", "log", "default", "drop", "copy"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add", "add", id="providers.add", tooltip="add a provider by its address, or the found one under the cursor"),
        Binding("e", "edit", "edit", id="providers.edit", tooltip="address, key, timeout and more of this provider"),
        Binding("r", "test", "test", id="providers.test", tooltip="ask again, and look around for servers"),
        Binding("S", "power", "start/stop", id="providers.power", tooltip="start Ollama, or stop a server Paddock started; asks"),
        Binding("l", "log", "log", id="providers.log", tooltip="the end of the log of a server Paddock started"),
        Binding("asterisk", "default", "default", id="providers.default", tooltip="make it the default provider"),
        Binding("d", "drop", "drop", id="providers.drop", tooltip="take it out of the configuration; asks"),
        Binding("y", "copy", "copy", show=False, id="providers.copy", tooltip="copy the address"),
    ]

    def __init__(self, services: Any) -> None:
        super().__init__(services)
        self._timer: Timer | None = None
        self._width = 0
        self._about = ""

    def body(self) -> Iterator[Widget]:
        """Table, rule, detail."""
        yield ActivityLine(id="provider-activity")
        with Vertical(id="provider-parts"):
            yield ProviderTable(
                columns(80),
                key=lambda state: state.name,
                state=state_mark,
                empty="No server yet. a adds one by its address, r looks around.",
                gap=2,
                markable=False,
                id="provider-table",
            )
            yield Rule(ascii=self.ascii, id="provider-rule")
            yield DetailPane(id="provider-detail")

    def start(self) -> None:
        """Follow the registry."""
        registry = self.services.registry
        self.follow(registry.providers, self._draw, fps=4)
        self.follow(registry.running, lambda _running: self._draw_detail(), fps=4)
        self.follow(registry.discovery, lambda _view: self._say_empty(), fps=4)
        self.follow(registry.activities, self.query_one(ActivityLine).take, fps=4)

    # --- drawing ------------------------------------------------------------------------------------------------------

    @property
    def _table(self) -> ProviderTable:
        return self.query_one(ProviderTable)

    @property
    def state(self) -> ProviderState | None:
        """The provider under the cursor."""
        return self._table.highlighted

    def _loaded_of(self, name: str) -> list[RunningModel]:
        return [model for model in self.services.registry.running.value if model.provider == name]

    def _draw(self, states: tuple[ProviderState, ...]) -> None:
        self._fit(self.size.width or 80)
        self._table.set_items(states)
        self._table.styles.max_height = max(4, len(states) + 1)
        self._draw_detail()

    def _say_empty(self) -> None:
        view = self.services.registry.discovery.value
        looking = "Looking around on this machine …" if view.running else "No server yet. a adds one by its address, r looks around."
        self._table.set_empty(looking)

    def _fit(self, width: int) -> None:
        if width != self._width:
            self._width = width
            self._table.set_columns(columns(width))

    def _draw_detail(self) -> None:
        state = self.state
        self.query_one("#provider-rule", Rule).set_title(state.name if state is not None else "")
        self.query_one("#provider-rule").visible = state is not None
        pane = self.query_one(DetailPane)
        running = self._loaded_of(state.name) if state is not None else []
        if state is None:
            pane.show(())
        else:
            if state.name != self._about:
                self._about = state.name
                pane.to_top()
            log = self.services.registry.server_log(state.name)
            roomy = self.size.width >= 72
            cells = 20 if self.size.width < 100 else 48
            pane.show(facts(state, running, log=log, now=time.time(), ascii=self.ascii, binary=self.binary, cells=cells, roomy=roomy))
        moving = any(model.expires_at is not None for model in running)
        moving = moving or any(one.status is ProviderStatus.BUSY and one.busy_since is not None for one in self._table.items)
        self._tick(moving)
        self.refresh_bindings()

    def _tick(self, on: bool) -> None:
        """A second's clock, only while something counts."""
        if on and self._timer is None:
            self._timer = self.set_interval(1.0, self._second)
        elif not on and self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _second(self) -> None:
        if self.is_current:
            self._table.redraw()
            self._draw_detail()

    def on_screen_suspend(self) -> None:
        """No clock for a screen that is not shown."""
        self._tick(False)

    def on_screen_resume(self) -> None:
        """Catch up."""
        super().on_screen_resume()
        if self.is_mounted:
            self._draw_detail()

    def on_resize(self, event: events.Resize) -> None:
        """More columns where there is room."""
        super().on_resize(event)
        self._fit(event.size.width)
        self.call_after_refresh(self._draw_detail)

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Another provider in detail."""
        self._draw_detail()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter: its models."""
        if self.state is not None:
            from tui.ui.screens.library import only

            only(self.app, self.state.name)
            self.tui.action_go("library")

    def action_back(self) -> None:
        """Esc: from the detail to the list, else end the newest wait."""
        newest = self.query_one(ActivityLine).newest
        if self.query_one(DetailPane).has_focus:
            self._table.focus()
        elif newest is not None:
            self.services.registry.cancel(newest.id)

    # --- what may be done ---------------------------------------------------------------------------------------------

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        state = self.state
        if state is None:
            return "There is no provider here yet. a adds one by its address."
        if action == "drop" and state.origin is not Origin.CONFIG:
            return f"{state.name} is not in the configuration: there is nothing to drop."
        if action == "edit" and state.origin in (Origin.FLAG, Origin.DEMO):
            return f"{state.name} was given on the command line and is not saved."
        if action == "default" and state.is_default and self.services.config.current.value.general.default_provider == state.name:
            return f"{state.name} is the default already."
        if action == "log" and not self.services.registry.server_log(state.name):
            return f"Paddock did not start {state.name}, so its log is with whoever did."
        return self._power_refusal(state) if action == "power" else ""

    def _power_refusal(self, state: ProviderState) -> str:
        if self.services.config.current.value.security.access != "full":
            return "security.access does not allow starting or stopping servers."
        if self.services.registry.server_log(state.name):
            return ""
        if state.status is ProviderStatus.DOWN and state.endpoint.kind == "ollama":
            if not self.services.registry.discovery.value.ollama_program:
                return "Ollama is not installed on this machine."
            return ""
        if state.status is ProviderStatus.DOWN:
            return f"Paddock starts Ollama only; start {state.label or state.name} where it is installed."
        return f"Paddock did not start {state.name}{': ' + state.owner if state.owner else ''}; stop it where it was started."

    # --- verbs --------------------------------------------------------------------------------------------------------

    def action_add(self) -> None:
        """Save the found one under the cursor, else ask for an address."""
        state = self.state
        if state is not None and state.origin is Origin.FOUND:
            self.services.registry.adopt(state.name)
            return
        from tui.ui.dialogs.add_provider import add_provider_dialog

        self.app.push_screen(add_provider_dialog(), self._added)

    def _added(self, values: Mapping[str, str] | None) -> None:
        if values:
            self.say(f"Asking {values['address']} what it is")
            self.services.registry.add_provider(values["address"], values["name"], values["key"])

    def action_edit(self) -> None:
        """Change keys of its table."""
        from tui.ui.dialogs.edit_provider import changes, edit_provider_dialog, shown_values

        state = self.state
        if state is None:
            return
        settings = self.services.config.current.value
        before = shown_values(state, settings)

        def done(after: Mapping[str, str] | None, name: str = state.name) -> None:
            changed = changes(before, after) if after else {}
            if changed:
                self.services.registry.edit_provider(name, changed)

        self.app.push_screen(edit_provider_dialog(state, settings), done)

    def action_test(self) -> None:
        """Ask this one again; without one, look around."""
        self.services.registry.refresh(self.state.name if self.state is not None else "")
        if self.state is not None:
            self.services.registry.discover()

    def action_power(self) -> None:
        """Start or stop; asks."""
        from tui.ui.widgets.confirm import ConfirmDialog

        state = self.state
        if state is None:
            return
        registry = self.services.registry
        name = state.name
        if state.status is ProviderStatus.DOWN:
            question = f"Start Ollama? {registry.discovery.value.ollama_program} runs as you and goes on when you quit."
            choices = (("no", "Keep"), ("start", "Start"))
        else:
            loaded = f" {len(self._loaded_of(name))} loaded models go with it." if self._loaded_of(name) else ""
            question = f"Stop {name}? Answers being written and its unfinished pulls end.{loaded}"
            choices = (("no", "Keep"), ("stop", "Stop"))

        def done(answer: str | None) -> None:
            if answer == "start":
                registry.start_server(name)
            elif answer == "stop":
                registry.stop_server(name)

        self.app.push_screen(ConfirmDialog(question, choices), done)

    def action_log(self) -> None:
        """The end of its log."""
        from tui.ui.dialogs.log import LogDialog

        if self.state is not None:
            path = self.services.registry.server_log(self.state.name)
            self.app.push_screen(LogDialog(path, log_tail(path)))

    def action_default(self) -> None:
        """Use it unless another is chosen."""
        if self.state is not None:
            self.services.registry.set_default(self.state.name)

    def action_drop(self) -> None:
        """Out of the configuration; asks."""
        from tui.ui.widgets.confirm import ConfirmDialog

        state = self.state
        if state is None:
            return
        name = state.name
        question = f"Drop {name} from the configuration? The server and its models stay as they are; pulls already queued go on."

        def done(answer: str | None) -> None:
            if answer == "drop":
                self.services.registry.remove_provider(name)

        self.app.push_screen(ConfirmDialog(question, (("keep", "Keep"), ("drop", "Drop"))), done)

    def action_copy(self) -> None:
        """The address."""
        if self.state is not None:
            from tui.providers.address import display_url

            self.app.copy_to_clipboard(display_url(self.state.endpoint.url))


def log_tail(path: str) -> str:
    """The last lines of a log, cleaned; a sentence where it cannot be read."""
    try:
        text = tail(path, _LOG_TAIL).decode("utf-8", "replace")
    except OSError as error:
        return f"The log cannot be read: {error.strerror}"
    return clean_block(text).rstrip() or "The log is empty."
