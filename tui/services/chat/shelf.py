"""The conversations: which are in use, who may write them, and what is typed in them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from tui.core.chat import AnswerState, ConversationHead
from tui.core.clock import Clock
from tui.core.errors import FailureKind, PaddockError
from tui.services.chat.host import ChatHost
from tui.services.chat.memory import ChatStore, Memory
from tui.services.chat.save import Keeper
from tui.services.chat.session import Session
from tui.services.chat.tokens import stored_calibration
from tui.store.conversations import Conversations
from tui.store.drafts import NEW

DRAFT_AFTER: Final = 1.0
"""Seconds of typing that are collected before a draft is saved."""


class Shelf:
    """Conversations in use, on disk or in memory; on the engine's thread."""

    def __init__(self, host: ChatHost, clock: Clock) -> None:
        self._host, self._clock = host, clock
        self.memory = Memory(clock)
        self.stored: Conversations | None = None
        self.sessions: dict[int, Session] = {}
        self.new_key = NEW

    async def open(self) -> None:
        """Answers of apps that died are marked interrupted, and what was deleted long ago goes for good."""
        if (database := self._host.database) is not None:
            self.stored = Conversations(database, self._clock)
            if not database.read_only:
                self.new_key = await self.stored.claim_new()
                await self.stored.mark_open_answers_interrupted()

    async def clear_out(self) -> None:
        """What was deleted long ago goes for good."""
        database = self._host.database
        if self.stored is not None and database is not None and not database.read_only:
            await self.stored.purge()

    def unfinished(self) -> str:
        """Title of the latest conversation, where its answer was cut off or what was typed in it was not sent; empty else."""
        latest = max(self.stored.heads(), key=lambda head: head.updated_at, default=None) if self.stored is not None else None
        if self.stored is None or latest is None:
            return ""
        tip = self.stored.message(self.stored.tip(latest.id))
        cut = tip is not None and tip.state is AnswerState.INTERRUPTED
        return latest.title if cut or self.stored.draft(f"chat:{latest.id}") else ""

    def heads(self) -> tuple[ConversationHead, ...]:
        """All conversations, those in memory first."""
        kept = self.memory.heads()
        return (*kept, *self.stored.heads()) if self.stored is not None else kept

    def store_for_new(self, *, incognito: bool = False) -> ChatStore:
        """Where a conversation that begins now is kept."""
        database = self._host.database
        if incognito or self.stored is None or database is None or database.read_only or not self._host.settings().chat.save:
            return self.memory
        return self.stored

    def store_of(self, conversation: int) -> ChatStore:
        """Where a conversation is kept."""
        return self.memory if conversation < 0 or self.stored is None else self.stored

    async def take(self, conversation: int) -> Session:
        """A conversation to be used, its lease taken where nobody else has it.

        Raises:
            PaddockError: It does not exist any more.
        """
        if (session := self.sessions.get(conversation)) is not None:
            return session
        store = self.store_of(conversation)
        head = store.head(conversation)
        if head is None:
            raise PaddockError.of("This chat no longer exists", f"chat {conversation}", "Open another one", FailureKind.NOT_FOUND)
        session = Session(store, head.id, head.title, head.provider, head.model, store.settings(head.id), head.tags)
        session.incognito = conversation < 0
        await self.lease(session)
        session.reload()
        session.draft, session.attached = store.draft(session.draft_key), store.draft_attachments(session.draft_key)
        self.calibrate(session)
        return self.sessions.setdefault(conversation, session)

    async def lease(self, session: Session) -> None:
        """Become its writer, or say who is."""
        database = self._host.database
        if session.id < 0 or database is None:
            return
        if database.read_only:
            session.elsewhere = True
            session.read_only = database.problem.what if database.problem is not None else "The database is open for reading only"
            return
        holder = await session.store.take_lease(session.id)
        session.elsewhere = holder is not None
        session.read_only = "" if holder is None else f"Another Paddock (pid {holder.pid}) writes this chat; here it is only read"

    async def follow(self, session: Session) -> bool:
        """Read again what another app may have changed; a conversation that it is done with is ours. False: it was deleted there.

        Raises:
            PaddockError: The database cannot be read.
        """
        head = session.store.head(session.id)
        if head is None and session.elsewhere:
            session.elsewhere, session.read_only = False, "This chat no longer exists: another Paddock deleted it; here it is only read"
            return False
        if head is None or (session.read_only and not session.elsewhere):
            return True
        session.title, session.tags = head.title, head.tags
        if not session.elsewhere:
            return True
        if session.store.lease_holder(session.id) is None:
            await self.lease(session)
        session.settings = session.store.settings(session.id)
        if (head.provider, head.model) != (session.provider, session.model):
            session.provider, session.model = head.provider, head.model
            self.calibrate(session)
        session.reload()
        return True

    async def let_go(self, session: Session) -> None:
        """Forget a conversation that is neither shown nor answered, and let other apps write it."""
        self.sessions.pop(session.id, None)
        await self.release(session)

    async def release(self, session: Session) -> None:
        """Let other apps write a conversation."""
        if session.id > 0 and not session.read_only:
            await session.store.release_lease(session.id)

    def calibrate(self, session: Session) -> None:
        """How much text a token of its model is."""
        session.calibration = stored_calibration(self._host.database, session.provider, session.model)


class Drafts:
    """What is typed and attached and not sent yet, on disk within about a second."""

    def __init__(self, host: ChatHost, shelf: Shelf, keeper: Keeper, spawn: Callable[[Any], asyncio.Task[Any]], after: float) -> None:
        self._host, self._shelf, self._keeper, self._spawn, self._after = host, shelf, keeper, spawn, after
        self._timer: asyncio.TimerHandle | None = None
        self._of: Session | None = None
        self._saving: asyncio.Task[Any] | None = None
        self._sent: Session | None = None

    @contextlib.contextmanager
    def sending(self, session: Session) -> Iterator[None]:
        """While the first prompt of a conversation is stored: what the disk has under the key of a new one is that prompt."""
        self._sent = session
        try:
            yield
        finally:
            if self._sent is session:
                self._sent = None

    def restore(self, session: Session) -> None:
        """Give a new conversation what was typed for one and not sent."""
        if self._sent is None or self._sent.store is not session.store:
            session.draft = session.restored = session.store.draft(session.draft_key)
            session.attached = session.store.draft_attachments(session.draft_key)

    def soon(self, session: Session) -> None:
        """Save this one's in a moment."""
        if self._of is not session:
            self.flush()
        self._of = session
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._after, self.flush)

    def flush(self) -> None:
        """Save now what waits to be saved."""
        session, self._of = self._of, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if session is not None and (session.store is self._shelf.memory or self._can_write()):
            self._saving = self._spawn(self._save(session))

    async def saved(self) -> None:
        """Before a draft is read: what is typed here is on disk, unless the disk refuses."""
        self.flush()
        if self._saving is not None:
            await asyncio.wait({self._saving}, timeout=1.0)

    async def move(self, session: Session, before: str) -> None:
        """A conversation has become ours: what its writer had typed, and what we had under another key, are one draft."""
        store = session.store
        others, files = store.draft(session.draft_key), store.draft_attachments(session.draft_key)
        session.draft = session.restored = "\n\n".join(text for text in (others, session.draft) if text)
        session.attached = (*files, *session.attached)
        if session.draft or session.attached:
            await self._save(session)
            await self._forget(store, before)

    async def forget_new(self, session: Session) -> None:
        """A conversation that was new has a number now: nothing is left under the old key."""
        await self._forget(session.store, session.new_key)

    @staticmethod
    async def _forget(store: ChatStore, key: str) -> None:
        with contextlib.suppress(PaddockError):
            await store.set_draft(key, "")
            await store.set_draft_attachments(key, ())

    async def _save(self, session: Session) -> None:
        """Queued prompts are kept in front of what is typed: they were not sent either."""
        store = session.store if self._host.settings().chat.save else self._shelf.memory
        if not session.id and session is not self._sent:
            self._sent = None  # the disk has this one's now
        await self._keeper.keep(lambda: store.set_draft(session.draft_key, session.unsent))
        await self._keeper.keep(lambda: store.set_draft_attachments(session.draft_key, session.unsent_files))

    def _can_write(self) -> bool:
        return self._host.database is not None and not self._host.database.read_only
