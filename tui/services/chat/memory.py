"""Where conversations are kept: the database, or memory where nothing may or can be saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tui.core.chat import AnswerState, ConversationHead, ConversationSettings, Message
from tui.core.clock import Clock
from tui.store.conversations import Conversations
from tui.store.identity import Identity


class Memory:
    """As much of `Conversations` as the engine needs, until the program ends; its numbers are below zero, none is a stored one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heads: dict[int, ConversationHead] = {}
        self._deleted: set[int] = set()
        self._settings: dict[int, ConversationSettings] = {}
        self._messages: dict[int, list[Message]] = {}
        self._drafts: dict[str, str] = {}
        self._prompts: list[str] = []
        self._number = 0

    def _next(self) -> int:
        self._number -= 1
        return self._number

    def heads(self) -> tuple[ConversationHead, ...]:
        """Latest first."""
        shown = [self._shown(number) for number in self._heads if number not in self._deleted]
        return tuple(sorted(shown, key=lambda head: -head.updated_at))

    def _shown(self, number: int) -> ConversationHead:
        return replace(self._heads[number], messages=len(self._messages[number]))

    def head(self, conversation: int) -> ConversationHead | None:
        """One conversation."""
        return self._shown(conversation) if conversation in self._heads and conversation not in self._deleted else None

    async def search_async(self, words: str) -> tuple[ConversationHead, ...]:
        """Conversations that hold every word."""
        wanted = words.lower().split()
        found = []
        for head in self.heads():
            texts = [head.title.lower(), *(message.content.lower() for message in self._messages[head.id])]
            if all(any(word in text for text in texts) for word in wanted):
                found.append(head)
        return tuple(found)

    async def create(self, provider: str, model: str, *, title: str = "", settings: ConversationSettings | None = None) -> ConversationHead:
        """Begin one."""
        now, number = self._clock.time(), self._next()
        self._heads[number] = ConversationHead(number, title, provider, model, now, now, 0)
        self._settings[number] = settings or ConversationSettings()
        self._messages[number] = []
        return self._heads[number]

    async def rename(self, conversation: int, title: str) -> None:
        """Give it a title."""
        self._heads[conversation] = replace(self._heads[conversation], title=title)

    async def use(self, conversation: int, provider: str, model: str) -> None:
        """Go on with another model."""
        self._heads[conversation] = replace(self._heads[conversation], provider=provider, model=model)

    async def set_settings(self, conversation: int, settings: ConversationSettings) -> None:
        """Replace the settings."""
        self._settings[conversation] = settings

    def settings(self, conversation: int) -> ConversationSettings:
        """What is set."""
        return self._settings.get(conversation, ConversationSettings())

    async def delete(self, conversation: int) -> int:
        """Hide it."""
        self._deleted.add(conversation)
        return conversation

    async def undo_delete(self, token: int) -> None:
        """Show it again."""
        self._deleted.discard(token)

    async def take_lease(self, conversation: int) -> Identity | None:
        """Nobody else can see it."""
        return None

    async def release_lease(self, conversation: int) -> None:
        """Nobody else can see it."""

    def lease_holder(self, conversation: int) -> Identity | None:
        """Nobody else can see it."""
        return None

    def messages(self, conversation: int) -> tuple[Message, ...]:
        """In their order."""
        return tuple(self._messages.get(conversation, ()))

    async def add_messages(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Append."""
        now, stored = self._clock.time(), []
        for message in messages:
            rows = self._messages[message.conversation]
            rows.append(replace(message, id=self._next(), seq=len(rows) + 1, created_at=message.created_at or now))
            stored.append(rows[-1])
        self._touch(messages[0].conversation)
        return tuple(stored)

    def _touch(self, conversation: int) -> None:
        self._heads[conversation] = replace(self._heads[conversation], updated_at=self._clock.time())

    async def append_answer(self, number: int, content: str = "", thinking: str = "", state: AnswerState = AnswerState.WRITING) -> None:
        """The text is in memory anyway: `finish_answer` brings it."""

    async def update_answer(self, message: Message) -> None:
        """Replace a message."""
        rows = self._messages[message.conversation]
        rows[[row.id for row in rows].index(message.id)] = message

    async def finish_answer(self, message: Message) -> None:
        """Replace a message at its end."""
        await self.update_answer(message)
        self._touch(message.conversation)

    def draft(self, key: str) -> str:
        """What was typed."""
        return self._drafts.get(key, "")

    async def set_draft(self, key: str, text: str) -> None:
        """Keep what was typed."""
        self._drafts[key] = text

    def prompts(self) -> tuple[str, ...]:
        """Latest first."""
        return tuple(reversed(self._prompts))

    async def add_prompt(self, text: str) -> None:
        """Remember one."""
        self._prompts = [*(other for other in self._prompts if other != text), text]


ChatStore = Conversations | Memory
