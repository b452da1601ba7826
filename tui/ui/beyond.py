"""When `outside` is needed: read at the first queue, answer or alert, not at the start."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.core.jobs import QueueView
    from tui.core.monitor import AlertsView
    from tui.services.api import Services
    from tui.services.chat.api import LiveAnswer
    from tui.ui.app import TuiApp
    from tui.ui.outside import Alarms, Answers, Outside


class Beyond:
    """Says beyond the screens what happens: each part is made when there is something to say."""

    def __init__(self, app: TuiApp, services: Services) -> None:
        self._app, self._services = app, services
        self._opened_at = time.time()
        self._outside: Outside | None = None
        self._answers: Answers | None = None
        self._alarms: Alarms | None = None

    def queue(self, view: QueueView) -> None:
        """Title, progress and notices of the window."""
        if self._outside is None and view.jobs:
            from tui.ui.outside import outside_of

            self._outside = outside_of(self._app, self._services, lambda: self._app.ascii_only)
        if self._outside is not None:
            self._outside.take(view)

    def answer(self, live: LiveAnswer | None) -> None:
        """A notice when a long answer ends."""
        if self._answers is None and live is not None:
            from tui.ui.outside import answers_of

            self._answers = answers_of(self._app, self._services)
        if self._answers is not None:
            self._answers.take(live)

    def alerts(self, view: AlertsView) -> None:
        """A notice when an alert begins or ends."""
        if self._alarms is None and view.active:
            from tui.ui.outside import alarms_of

            self._alarms = alarms_of(self._app, self._services, self._opened_at)
        if self._alarms is not None:
            self._alarms.take(view)
