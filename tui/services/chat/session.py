"""One conversation in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tui.core.chat import ConversationSettings, Message
from tui.services.chat.answer import Answer
from tui.services.chat.context import CHARS_PER_TOKEN
from tui.services.chat.memory import ChatStore


@dataclass(eq=False)
class Session:
    """One conversation in use: shown, being answered, or both."""

    store: ChatStore
    id: int = 0
    title: str = ""
    provider: str = ""
    model: str = ""
    settings: ConversationSettings = field(default_factory=ConversationSettings)
    messages: list[Message] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    draft: str = ""
    restored: str = ""
    alarm: str = ""
    read_only: str = ""
    ratio: float = CHARS_PER_TOKEN
    busy: bool = False
    answer: Answer | None = None
    storing: asyncio.Task[Any] | None = None

    @property
    def draft_key(self) -> str:
        """Where its draft is kept; one that only reads leaves the writer's alone."""
        return f"chat:{self.id or 'new'}" + (":reader" if self.read_only else "")

    @property
    def unsent(self) -> str:
        """Queued prompts and what is typed: all that would be lost with us."""
        return "\n\n".join([*self.queued, *([self.draft] if self.draft else [])])
