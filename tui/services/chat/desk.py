"""Where the open conversation lies, for those who work on a part of it."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from tui.core.chat import Message
from tui.core.observe import Observable
from tui.services.chat.api import LiveAnswer
from tui.services.chat.session import Prompt, Session
from tui.services.chat.writing import Shown


class Desk(Shown, Protocol):
    """Where the open conversation lies."""

    compared: Observable[tuple[LiveAnswer, ...]]
    turn: int

    def relist(self) -> None:
        """The list of conversations has changed."""

    @property
    def opened(self) -> Session:
        """The conversation shown."""
        ...

    def check_soon(self) -> None:
        """What would be sent has changed."""

    async def begin(self, provider: str, model: str, incognito: bool = False) -> None:
        """Show an empty conversation."""

    async def show_stored(self, conversation: int, message: int = 0) -> None:
        """Show a stored one."""

    def refuses(self, session: Session, *, tree: bool = False) -> bool:
        """Whether nothing may be changed now, which is said; `tree`: the branches are to be changed."""
        ...

    def work(self, session: Session, work: Coroutine[Any, Any, Any], *, then_queued: bool = False) -> None:
        """Mark a conversation busy, and work on it until its answers have ended; then, unless it was stopped, on what is queued."""

    def using(self, session: Session) -> AbstractAsyncContextManager[None]:
        """Inside, a conversation stays in use though another one is shown."""
        ...

    def changing(self, session: Session) -> AbstractAsyncContextManager[None]:
        """Inside, nothing is sent and nobody else changes the branches; a prompt sent meanwhile follows."""
        ...

    async def store_prompt(self, session: Session, prompt: Prompt, *, answer: bool = True) -> tuple[Message, ...]:
        """The prompt, and the answer to be, on disk before anything is sent."""
        ...

    async def remember(self, session: Session, prompt: Prompt) -> None:
        """For the up key, also of the next run."""

    def back_to_draft(self, session: Session) -> None:
        """What could not be stored was not sent: it is typed text again."""

    def look_whether_free(self, session: Session, ended: int) -> None:
        """Whether the server of an answer that was stopped is done with it."""

    async def go_on_with(self, session: Session, provider: str, model: str) -> None:
        """Go on with another model."""
