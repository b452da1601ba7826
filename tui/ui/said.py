"""What the services have to say to a person in the app: notices as toasts, questions as dialogs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.app import App

    from tui.core.models import Notice
    from tui.services.api import Question, Services


class Said:
    """Shows each notice once, and asks each question once."""

    def __init__(self, app: App[Any], services: Services) -> None:
        self._app = app
        self._services = services
        self._noticed = 0
        self._asked: set[int] = set()
        self._last_text = ""

    def show(self, notices: Sequence[Notice]) -> None:
        """Show what is new; the same trouble twice in a row is said once."""
        from tui.core.models import Severity

        for notice in notices:
            if notice.number <= self._noticed:
                continue
            self._noticed = notice.number
            text = "\n".join(part for part in (notice.text, notice.failure.remedy if notice.failure else "") if part)
            if text == self._last_text and notice.severity is not Severity.INFO:
                continue
            self._last_text = text
            severity: Any = notice.severity.value
            self._app.notify(text, severity=severity, markup=False, timeout=8 if notice.severity is Severity.ERROR else 5)

    def ask(self, questions: Sequence[Question]) -> None:
        """Ask what is new; a dialog that is left means the safe answer."""
        for question in questions:
            if question.id in self._asked:
                continue
            from tui.ui.widgets.confirm import ConfirmDialog

            self._asked.add(question.id)

            def done(choice: str | None, question: Question = question) -> None:
                self._services.answer(question.id, choice or question.choices[0][0])

            self._app.push_screen(ConfirmDialog(question.text, question.choices), done)
