"""A screen whose greyed keys say why, and the line that shows what is being waited for."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import events
from textual.timer import Timer

from tui.core.models import Activity
from tui.text import duration
from tui.ui.base import AppScreen
from tui.ui.frame import Line


class RefusingScreen(AppScreen):
    """An `AppScreen` that greys what does nothing now; pressing such a key says why."""

    VERBS: ClassVar[frozenset[str]] = frozenset()
    """Actions that `refusal` decides about."""

    def refusal(self, action: str) -> str:
        """Why an action does nothing now, in words; empty where it works."""
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what would be refused."""
        if action not in self.VERBS or not self.is_mounted:
            return super().check_action(action, parameters)
        return None if self.refusal(action) else True

    def on_key(self, event: events.Key) -> None:
        """A greyed key says why it is grey."""
        active = self.active_bindings.get(event.key)
        if active is None or active.enabled or active.node is not self:
            return
        reason = self.refusal(active.binding.action.partition("(")[0])
        if reason:
            event.stop()
            self.say(reason)


class ActivityLine(Line):
    """What is being waited for, since when; a clock runs only while there is something."""

    DEFAULT_CSS = "ActivityLine { display: none; height: 1; }"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._activities: tuple[Activity, ...] = ()
        self._timer: Timer | None = None

    @property
    def newest(self) -> Activity | None:
        """The wait that esc ends."""
        return self._activities[-1] if self._activities else None

    def take(self, activities: tuple[Activity, ...]) -> None:
        """Show these waits."""
        self._activities = activities
        self.display = bool(activities)
        if activities and self._timer is None:
            self._timer = self.set_interval(1.0, self._redraw)
        elif not activities and self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._redraw()

    def _redraw(self) -> None:
        if not self._activities or not self.screen.is_current:
            return
        last = self._activities[-1]
        more = f"  (+{len(self._activities) - 1})" if len(self._activities) > 1 else ""
        where = f" on {last.target}" if last.target and last.target not in last.text else ""
        waited = duration(max(0.0, time.monotonic() - last.since))
        says = self.screen.services.registry.log_line(last.target) if isinstance(self.screen, AppScreen) else ""
        self.show(
            (f" {last.text}{where}, {waited}{more}", "$text-accent"),
            ("  esc stops waiting", "$text-muted"),
            (f"  {says}" if says else "", "$text-muted"),
        )
