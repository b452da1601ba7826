"""What the keys of the Monitor do to models and alerts."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final

from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.core.monitor import Loaded
from tui.ui.base import AppScreen
from tui.ui.screens.monitor_alerts import is_muted
from tui.ui.screens.monitor_loaded import unload_question
from tui.ui.screens.monitor_time import SPANS
from tui.ui.widgets.board import Board
from tui.ui.widgets.rows import Rows

KEEP: Final = (("5m", "5 minutes"), ("30m", "30 minutes"), ("1h", "an hour"), ("4h", "4 hours"), ("24h", "a day"), ("-1", "until unloaded"))
MUTE: Final = 3600.0
_SOMETIMES: Final = ("unload", "keep", "load", "copy", "walk", "leap", "freeze", "why", "export")
_NAMES: Final = {"2 min": "2 minutes", "10 min": "10 minutes", "1 h": "hour", "24 h": "24 hours"}


class MonitorKeys(AppScreen):
    """Verbs of the Monitor; `screens.monitor` draws."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("U", "unload", "unload", id="monitor.unload", tooltip="unload the model; asks"),
        Binding("L", "load", "load", id="monitor.load", tooltip="load an installed model; shows what it would take, makes room"),
        Binding("t", "keep", "keep", id="monitor.keep", tooltip="how long the model stays loaded; until unloaded pins it"),
        Binding("w", "why", "why slow?", id="monitor.why", tooltip="why the model is slow, and what to do"),
    ]
    _times: Any
    _page: str

    @property
    def _settings(self) -> Any:
        return self.services.config.current.value

    @property
    def _loaded(self) -> Rows[Loaded]:
        return self.query_one("#loaded", Rows)

    @property
    def _alert(self) -> str:
        """The key of the alert under the cursor, where that part has the focus."""
        board = self.query_one("#alerts", Board)
        return board.cursor if board.has_focus else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what does nothing now."""
        if not self.is_mounted or action not in _SOMETIMES:
            return super().check_action(action, parameters)
        if action == "load":
            return not self._page
        if action in ("walk", "leap"):
            return self._times.at is not None
        if action in ("freeze", "export"):
            return True if self.services.monitor.latest.value.sample is not None else None
        if action == "copy" and self._alert:
            return True
        found = self._loaded.highlighted
        if self._page:
            return False
        if found is None:
            return None
        wanted = {"unload": Capability.UNLOAD, "keep": Capability.KEEP_ALIVE}.get(action)
        return None if wanted is not None and self.services.registry.can(found.model.provider, wanted) else True

    def action_refresh(self) -> None:
        """Ask all servers what is loaded."""
        self.services.registry.refresh()

    def action_copy(self) -> None:
        """Copy the alert under the cursor, else the model's name."""
        board, found = self.query_one("#alerts", Board), self._loaded.highlighted
        if self._alert:
            self.app.copy_to_clipboard("\n".join(line.text.strip() for line in board.content if line.key == self._alert))
        elif found is not None:
            self.app.copy_to_clipboard(found.model.name)

    # --- models -------------------------------------------------------------------------------------------------------

    def action_unload(self) -> None:
        """Unload, after asking."""
        from tui.ui.widgets.confirm import ConfirmDialog

        found = self._loaded.highlighted
        if found is None:
            return
        model, live = found.model, self.services.chat.live.value
        own = (
            live is not None
            and not live.state.ended
            and (live.provider, live.model) in ((model.provider, model.key), (model.provider, model.name))
        )
        question = unload_question(found, int(own), binary=self.binary)

        def done(answer: str | None) -> None:
            if answer == "unload":
                self.services.registry.unload(model.provider, model.key)

        self.app.push_screen(ConfirmDialog(question, (("keep", "Keep"), ("unload", "Unload"))), done)

    def action_keep(self) -> None:
        """How long the model stays."""
        from tui.ui.widgets.confirm import ChoiceDialog

        found = self._loaded.highlighted
        if found is None:
            return
        model = found.model
        choices = [(key, label, "pinned" if key == "-1" else key) for key, label in KEEP]

        def done(answer: str | None) -> None:
            if answer is not None:
                self.services.registry.keep(model.provider, model.key, answer)

        current = "-1" if model.pinned else "30m"
        self.app.push_screen(ChoiceDialog(f"How long does {model.name} stay after its last use?", choices, current=current), done)

    def action_load(self) -> None:
        """Choose among the installed models that are not loaded."""
        from tui.ui.dialogs.load import LoadDialog

        self.app.push_screen(LoadDialog(self.services))

    def action_why(self) -> None:
        """Why the model is slow."""
        from tui.ui.dialogs.why_slow import WhySlowDialog

        found = self._loaded.highlighted
        if found is not None:
            self.app.push_screen(WhySlowDialog(self.services, found.model.provider, found.model.key, found.model.name))

    # --- alerts and history -------------------------------------------------------------------------------------------

    def action_mute(self) -> None:
        """Quiet for an hour, or no longer."""
        monitor = self.services.monitor
        muted = is_muted(monitor.alerts.value, time.time())
        monitor.mute(0.0 if muted else MUTE)
        self.say("Alerts ring again." if muted else "Alerts are muted for an hour; m ends it.")

    def action_log(self) -> None:
        """All alerts."""
        self.open_log("")

    def open_log(self, key: str) -> None:
        """The log at an entry; an alert that is looked at is acknowledged."""
        from tui.ui.dialogs.alert_log import AlertLogDialog

        kind, _, number = key.partition(":")
        if kind == "alert":
            self.services.monitor.acknowledge((int(number),))
        self.app.push_screen(AlertLogDialog(self.services, key))

    def action_export(self) -> None:
        """Which history, as what."""
        from tui.ui.widgets.confirm import ChoiceDialog

        choices = [
            (f"{kind} {seconds:g}", f"the last {_NAMES[name]}", title)
            for seconds, name in SPANS
            for kind, title in (("csv", "CSV"), ("jsonl", "JSON lines"))
        ]

        def done(answer: str | None) -> None:
            if answer is not None:
                kind, seconds = answer.split()
                self.services.monitor.export(kind, float(seconds))

        self.app.push_screen(ChoiceDialog("Write which part of the history?", choices, current=f"csv {self._times.span:g}"), done)
