"""One conversation in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tui.core.chat import Attachment, ConversationSettings, Message
from tui.core.record import record
from tui.services.chat.answer import Answer
from tui.services.chat.api import CompareView, ContextCheck
from tui.services.chat.memory import ChatStore
from tui.services.chat.tokens import UNMEASURED, Calibration
from tui.store.drafts import NEW


@record(frozen=True)
class Prompt:
    """What was sent while another answer was being written."""

    text: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(eq=False, repr=False, match_args=False)
class Session:
    """One conversation in use: shown, being answered, or both.

    Attributes:
        messages: The branch that is shown.
        answers: Those of the comparison shown, by id.
        active: Answers being written, by the id of their message.
        waiting: What esc ends while no answer is being written yet: a prompt being stored, a question, a pull; and for which answer
            (0: for none).
        waits: What it waits for, in words.
        stopping: All that is being written is to end, also what had not begun.
        unwanted: Ids of single answers that are to end, whatever they wait for.
        new_key: Where its draft is kept before it is stored.
        unfinished: Title of the conversation that was left in the middle when the program ended last.
        settling: Id of the stopped answer whose server was not seen to be free yet.
        elsewhere: It is `read_only` because another app writes it, or may write it alone.
        uses: Verbs that work on it and wait for something; it is not let go before they end.
    """

    store: ChatStore
    id: int = 0
    title: str = ""
    provider: str = ""
    model: str = ""
    settings: ConversationSettings = field(default_factory=ConversationSettings)
    tags: tuple[str, ...] = ()
    incognito: bool = False
    messages: list[Message] = field(default_factory=list)
    branches: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    compare: CompareView | None = None
    answers: dict[int, Message] = field(default_factory=dict)
    queued: list[Prompt] = field(default_factory=list)
    attached: tuple[Attachment, ...] = ()
    draft: str = ""
    restored: str = ""
    new_key: str = NEW
    alarm: str = ""
    waits: str = ""
    settling: int = 0
    unfinished: str = ""
    read_only: str = ""
    elsewhere: bool = False
    calibration: Calibration = UNMEASURED
    check: ContextCheck | None = None
    busy: bool = False
    stopping: bool = False
    uses: int = 0
    unwanted: set[int] = field(default_factory=set)
    active: dict[int, Answer] = field(default_factory=dict)
    waiting: dict[asyncio.Task[Any], int] = field(default_factory=dict)

    @property
    def draft_key(self) -> str:
        """Where its draft is kept; one that only reads leaves the writer's alone."""
        return (f"chat:{self.id}" if self.id else self.new_key) + (":reader" if self.read_only else "")

    @property
    def unsent(self) -> str:
        """Queued prompts and what is typed: all that would be lost with us."""
        return "\n\n".join([*(prompt.text for prompt in self.queued), *([self.draft] if self.draft else [])])

    @property
    def unsent_files(self) -> tuple[Attachment, ...]:
        """What goes with them."""
        return (*(file for prompt in self.queued for file in prompt.attachments), *self.attached)

    @property
    def tip(self) -> int:
        """Id of the last message of the branch shown; 0 before there is one."""
        return self.messages[-1].id if self.messages else 0

    def message(self, number: int) -> Message | None:
        """A message of the branch shown or of the comparison; 0: the last answer."""
        if number:
            return next((message for message in self.messages if message.id == number), None) or self.answers.get(number)
        return self.messages[-1] if self.messages else None

    def upto(self, number: int) -> list[Message]:
        """The branch shown from its first message to this one."""
        ids = [message.id for message in self.messages]
        return self.messages[: ids.index(number) + 1] if number in ids else []

    def put(self, message: Message) -> None:
        """Replace a message by its newer self, wherever it stands; whether it is pinned stays, that may have changed meanwhile."""
        self._put(message.id, lambda other: replace(message, pinned=other.pinned))

    def pin(self, number: int, on: bool) -> None:
        """Mark a message as pinned or not, wherever it stands."""
        self._put(number, lambda other: replace(other, pinned=on))

    def measured(self, number: int, joules: float) -> None:
        """Add an answer's energy, wherever it stands."""
        self._put(number, lambda other: replace(other, timeline=replace(other.timeline, joules=joules)))

    def _put(self, number: int, changed: Callable[[Message], Message]) -> None:
        self.messages = [changed(other) if other.id == number else other for other in self.messages]
        if number in self.answers:
            self.answers = {**self.answers, number: changed(self.answers[number])}

    def grow(self, stored: Sequence[Message]) -> None:
        """Add messages to the end of the branch shown, as they were stored."""
        self.messages.extend(stored)
        self.branches = self.store.branches(self.id)

    def reload(self) -> None:
        """Read the branch shown and its forks again."""
        self.messages = list(self.store.branch(self.id))
        self.branches = self.store.branches(self.id)

    def stop(self) -> None:
        """End everything that is being written or waited for."""
        self.stopping = self.busy
        for answer in tuple(self.active.values()):
            answer.stop()
        for task in tuple(self.waiting):
            task.cancel()

    def stop_one(self, message: int) -> None:
        """End one answer, or what it waits for."""
        self.unwanted.add(message)
        if message in self.active:
            self.active[message].stop()
        for task in [task for task, of in self.waiting.items() if of == message]:
            task.cancel()

    def ends(self, message: int) -> bool:
        """Whether an answer (0: anything but one) is not to be waited for any more."""
        return self.stopping or message in self.unwanted
