"""All alerts and what limits did, with how long each lasted and who was to blame; searchable."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.core.alert_words import alert_seconds, alert_sentence
from tui.core.monitor import Alert, Enforcement
from tui.core.record import record
from tui.text import clean_label, duration
from tui.ui.frame import Line
from tui.ui.screens.monitor_alerts import is_muted
from tui.ui.screens.parts import clock
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.services.api import Services

_LOOK = 1.0


@record(frozen=True)
class Entry:
    """A line of the log: an alert, or something that `[limits]` did."""

    key: str
    at: float
    lasted: str
    words: str
    state: str = ""
    tone: str = ""


def entry_of_alert(alert: Alert, now: float, *, fahrenheit: bool) -> Entry:
    """An alert; one that lasts and nobody has seen stands out."""
    lasts = alert.ended_at is None
    words = clean_label(alert_sentence(alert, now, fahrenheit=fahrenheit))
    if alert.acknowledged:
        words += " (seen)"
    tone = "warn" if lasts and not alert.acknowledged else "" if lasts else "dim"
    return Entry(f"alert:{alert.id}", alert.started_at, duration(alert_seconds(alert, now)), words, "failed" if lasts else "", tone)


def entry_of_enforcement(done: Enforcement) -> Entry:
    """Something that was done."""
    words = clean_label(f"{done.what} {done.target}: {done.why}" if done.why else f"{done.what} {done.target}")
    return Entry(f"enforced:{done.at}", done.at, "", words)


class AlertLogDialog(ModalScreen[None]):
    """The log, newest first; what lasts on top.

    Args:
        key: Entry under the cursor at first.
    """

    DEFAULT_CSS = """
    AlertLogDialog {
        align: center middle;
        .dialog { width: 110; max-width: 98%; height: 90%; padding: 0 1; background: $panel; border: round $primary; }
        Static { width: 1fr; height: auto; }
        Input, Input:focus { border: none; height: 1; padding: 0 1; background: $surface; }
        Rows { height: 1fr; }
        #alert-words { height: 2; margin-top: 1; }
        .hint { color: $text-muted; }
        &.-low #alert-words { margin-top: 0; }
        &.-narrow .hint { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="alerts.back", tooltip="Close"),
        Binding("l", "close", "back", show=False, id="alerts.close", tooltip="Close"),
        Binding("a", "all", "seen all", id="alerts.all", tooltip="Mark all alerts as seen"),
        Binding("m", "mute", "mute", id="alerts.mute", tooltip="Quiet for an hour, or no longer"),
        Binding("y", "copy", "copy", id="alerts.copy", tooltip="Copy the entry"),
        Binding("slash", "filter", "filter", id="alerts.filter", show=False, tooltip="Show the entries that hold these words"),
    ]

    def __init__(self, services: Services, key: str = "") -> None:
        super().__init__()
        self._services, self._first = services, key
        self._fahrenheit = services.config.current.value.monitor.temperature_unit == "F"

    def compose(self) -> ComposeResult:
        """Filter, table, the whole sentence, keys."""
        with Vertical(classes="dialog"):
            yield Line(id="alerts-head")
            field = Input(placeholder="type to search", compact=True, select_on_focus=False)
            field.cursor_blink = False
            yield field
            yield Rows[Entry](
                [
                    Column("at", "SINCE", lambda entry: clock(entry.at), width=9, sort_key=lambda entry: entry.at, descending=True),
                    Column("lasted", "LASTED", lambda entry: entry.lasted, width=7, align="right"),
                    Column("words", "WHAT", lambda entry: Cell(entry.words, entry.tone), flex=1, min=8),
                ],
                key=lambda entry: entry.key,
                state=lambda entry: entry.state,
                text=lambda entry: entry.words,
                empty="No alert yet.",
                markable=False,
            )
            yield Static("", id="alert-words", markup=False)
            yield Static(Content("enter marks it as seen  a all  m mute  / search  y copy  esc back"), classes="hint")

    def on_mount(self) -> None:
        """Fill, and go on while it is open."""
        self.query_one(Rows).focus()
        self._show()
        self.query_one(Rows).move_to_key(self._first)
        self.set_interval(_LOOK, self._show)

    def _show(self) -> None:
        monitor, now = self._services.monitor, time.time()
        view = monitor.alerts.value
        entries = [entry_of_alert(alert, now, fahrenheit=self._fahrenheit) for alert in view.active]
        past = [entry_of_alert(alert, now, fahrenheit=self._fahrenheit) for alert in view.log]
        past += [entry_of_enforcement(done) for done in monitor.enforced.value]
        entries += sorted(past, key=lambda entry: entry.at, reverse=True)
        self.query_one(Rows).set_items(entries)
        words = f"{len(view.active)} last{'s' if len(view.active) == 1 else ''}, {len(view.log)} ended"
        if is_muted(view, now):
            words += f", muted until {clock(view.muted_until, now)}"
        keeper = f"watched by {view.keeper}" if view.keeper else "nobody watches the rules now"
        self.query_one("#alerts-head", Line).show(("Alerts  ", "bold"), (f"{words}  ", ""), (clean_label(keeper, 60), "$text-muted"))
        self._tell()

    def _tell(self) -> None:
        entry: Entry | None = self.query_one(Rows).highlighted
        self.query_one("#alert-words", Static).update(Content(entry.words if entry is not None else ""))

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """The whole sentence of another entry."""
        event.stop()
        self._tell()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter: seen."""
        event.stop()
        entry: Entry | None = event.item
        if entry is not None and entry.key.startswith("alert:"):
            self._services.monitor.acknowledge((int(entry.key.removeprefix("alert:")),))

    def on_rows_sorted(self, event: Rows.Sorted) -> None:
        """The order says nothing more."""
        event.stop()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search."""
        event.stop()
        self.query_one(Rows).set_filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """To the list."""
        event.stop()
        self.query_one(Rows).focus()

    def action_filter(self) -> None:
        """To the search field."""
        self.query_one(Input).focus()

    def action_all(self) -> None:
        """All seen."""
        self._services.monitor.acknowledge()

    def action_mute(self) -> None:
        """Quiet for an hour, or no longer."""
        monitor = self._services.monitor
        monitor.mute(0.0 if is_muted(monitor.alerts.value, time.time()) else 3600.0)

    def action_copy(self) -> None:
        """Copy the entry."""
        entry: Entry | None = self.query_one(Rows).highlighted
        if entry is not None:
            self.app.copy_to_clipboard(f"{clock(entry.at)} {entry.words}")

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)

    def action_leave(self) -> None:
        """From the search field back to the list, else close."""
        if self.query_one(Input).has_focus:
            self.query_one(Rows).focus()
        else:
            self.dismiss(None)
