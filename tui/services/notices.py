"""What the user should hear (notices), see all the time (banners), and decide (questions)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tui.core.errors import Failure, PaddockError, limit_of
from tui.core.models import Notice, Severity
from tui.core.observe import Observable
from tui.services.api import Question

KEEP = 50
"""Notices kept for those who look later."""


class Notices:
    """All three, as observables; used on the engine's thread only."""

    def __init__(self) -> None:
        self.notices: Observable[tuple[Notice, ...]] = Observable(())
        self.questions: Observable[tuple[Question, ...]] = Observable(())
        self.banner: Observable[tuple[Failure, ...]] = Observable(())
        self._number = 0
        self._asked = 0
        self._banners: dict[str, Failure] = {}
        self._answers: dict[int, asyncio.Future[str]] = {}

    def say(self, text: str, severity: Severity = Severity.INFO, failure: Failure | None = None) -> None:
        """Add a notice; `text` is cleaned."""
        self._number += 1
        self.notices.set((*self.notices.value, Notice(self._number, text, severity, failure))[-KEEP:])

    def fail(self, failure: Failure) -> None:
        """Say what went wrong."""
        self.say(failure.sentence(), Severity.ERROR, failure)

    def report(self, error: BaseException) -> None:
        """Say what a task met; details of what is no `PaddockError` are in the log only."""
        if isinstance(error, PaddockError):
            self.fail(error.failure)
        elif (failure := limit_of(error)) is not None:
            self.fail(failure)
        else:
            self.fail(Failure("Something went wrong inside Paddock", type(error).__name__, "Please report it; the log has the details"))

    def stand(self, key: str, failure: Failure | None) -> None:
        """Show a standing problem under a key, or take it away."""
        if failure is None:
            self._banners.pop(key, None)
        else:
            self._banners[key] = failure
        self.banner.set(tuple(self._banners.values()))

    async def ask(self, text: str, choices: Sequence[tuple[str, str]], failure: Failure | None = None) -> str:
        """Ask, and wait for the answer; the first choice is the safe one."""
        self._asked += 1
        question = Question(self._asked, text, tuple(choices), failure)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[question.id] = future
        self.questions.set((*self.questions.value, question))
        try:
            return await future
        finally:
            self._answers.pop(question.id, None)
            self.questions.set(tuple(other for other in self.questions.value if other.id != question.id))

    def answer(self, question: int, choice: str) -> None:
        """Give an answer; an unknown choice means the safe one."""
        future = self._answers.get(question)
        asked = next((other for other in self.questions.value if other.id == question), None)
        if future is None or asked is None or future.done():
            return
        keys = [key for key, _label in asked.choices]
        future.set_result(choice if choice in keys else keys[0])
