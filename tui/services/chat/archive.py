"""The conversations as things to be named, found, deleted and carried elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tui.core.chat import Found
from tui.core.clock import Clock
from tui.core.errors import FailureKind, PaddockError
from tui.core.threads import in_daemon_thread
from tui.services.chat import asking, sending
from tui.services.chat.desk import Desk
from tui.services.chat.host import ChatHost
from tui.services.chat.memory import ChatStore
from tui.services.chat.shelf import Shelf
from tui.services.chat.writing import Stopped, held
from tui.store.conversations import clean_tags
from tui.text import clean_label, clean_name

if TYPE_CHECKING:
    from tui.services.chat.conversation_file import ConversationFile


class Archive:
    """Verbs on any conversation, open or not; on the engine's thread."""

    def __init__(self, host: ChatHost, clock: Clock, shelf: Shelf, desk: Desk) -> None:
        self._host, self._clock, self._shelf, self._desk = host, clock, shelf, desk
        self._undo: list[tuple[int, tuple[int, ...], int]] = []

    def deleted(self, conversation: int, messages: tuple[int, ...] = (), tip: int = 0) -> None:
        """Note what `undo_delete` is to bring back: a conversation, or messages of it, with the tip it had."""
        self._undo.append((conversation, messages, tip))

    async def rename(self, conversation: int, title: str) -> None:
        """Give a conversation a title."""
        title = clean_label(title.strip(), 200)
        await self._shelf.store_of(conversation).rename(conversation, title)
        if (session := self._shelf.sessions.get(conversation)) is not None:
            session.title = title
            self._desk.show(session)
        self._desk.relist()

    async def make_title(self, conversation: int) -> None:
        """Have the conversation's model find a title."""
        session = self._shelf.sessions.get(conversation)
        store = self._shelf.store_of(conversation)
        head = store.head(conversation)
        messages = session.messages if session is not None else store.branch(conversation)
        if head is None or not messages:
            raise PaddockError.of("There is nothing to make a title of", "", "Send something first", FailureKind.NOT_FOUND)
        load = sending.same_load(self._host, session) if session is not None and session.model == head.model else asking.Load()
        asked = asking.ask(self._host, head.provider, asking.title_request(head.model, messages, load), whole=False)
        if session is None or session.busy:
            title = await asked
        else:
            session.waits = f"{clean_name(head.model)} is asked for a title"
            self._desk.show(session)
            try:
                async with self._desk.using(session):
                    title = await held(session, self._desk, asked)
            except Stopped:
                return
        await self.rename(conversation, asking.title_of(title))

    async def tag(self, conversation: int, tags: Sequence[str]) -> None:
        """Replace the tags of a conversation."""
        clean = clean_tags(tags)
        await self._shelf.store_of(conversation).set_tags(conversation, clean)
        if (session := self._shelf.sessions.get(conversation)) is not None:
            session.tags = clean
            self._desk.show(session)
        self._desk.relist()

    async def pin(self, conversation: int, on: bool) -> None:
        """Keep a conversation at the top of the list, or not."""
        await self._shelf.store_of(conversation).set_pinned(conversation, on)
        self._desk.relist()

    async def delete(self, conversation: int) -> None:
        """Delete a conversation; what is being written in it ends."""
        store = self._shelf.store_of(conversation)
        if store.lease_holder(conversation) is not None:
            raise PaddockError.of("Another Paddock writes this chat", "", "Delete it there", FailureKind.REFUSED)
        session = self._shelf.sessions.get(conversation)
        if session is not None:
            session.queued.clear()
            session.stop()
        await store.delete(conversation)
        self._host.audit("delete chat", str(conversation))
        self.deleted(conversation)
        self._desk.relist()
        if session is not None and session is self._desk.opened:
            await self._desk.begin(session.provider, session.model)

    async def undo_delete(self) -> None:
        """Bring back what was deleted last."""
        if not self._undo:
            self._host.notice("Nothing was deleted")
            return
        conversation, messages, tip = self._undo[-1]
        store, session = self._shelf.store_of(conversation), self._shelf.sessions.get(conversation)
        if messages and session is not None and self._desk.refuses(session, tree=True):
            return
        if messages and store.lease_holder(conversation) is not None:
            raise PaddockError.of("Another Paddock writes this chat", "", "Bring it back there", FailureKind.REFUSED)
        back = self._undo.pop()
        try:
            if not messages:
                await store.undo_delete(conversation)
                self._desk.relist()
            elif session is None:
                await self._bring_back(store, *back)
            else:
                async with self._desk.changing(session):
                    await self._bring_back(store, conversation, messages, tip)
                    session.reload()
                    self._desk.show(session)
        except PaddockError as error:
            if error.failure.kind is not FailureKind.NOT_FOUND:  # it can be tried again
                self._undo.append(back)
            raise

    async def _bring_back(self, store: ChatStore, conversation: int, messages: tuple[int, ...], tip: int) -> None:
        await store.undo_delete_messages(messages)
        await store.set_tip(conversation, tip)

    async def search(self, text: str, then: Callable[[Sequence[Found]], None]) -> None:
        """Conversations that hold every word."""
        found = await self._shelf.memory.search_async(text)
        if self._shelf.stored is not None:
            found = (*found, *await self._shelf.stored.search_async(text))
        then(found)

    async def export(self, conversation: int, form: str) -> None:
        """Write a conversation to a file."""
        store, database = self._shelf.store_of(conversation), self._host.database
        folder = database.path.parent / "exports" if database is not None else Path.cwd()
        from tui.services.chat import transfer

        def gather() -> ConversationFile:
            return transfer.gather(store, conversation)

        file = gather() if store is self._shelf.memory else await in_daemon_thread(gather)  # memory belongs to this thread
        path = await in_daemon_thread(lambda: transfer.write(folder, conversation, form, file, self._clock.time()))
        self._host.audit("export chat", str(conversation))
        self._host.notice(f"Exported to {clean_name(str(path))}")

    async def read_in(self, path: str) -> None:
        """Import a file as a new conversation and open it."""
        from tui.services.chat import transfer

        file = await in_daemon_thread(lambda: transfer.read(Path(path).expanduser()))
        head = await transfer.keep(self._shelf.store_for_new(), file)
        self._host.audit("import chat", clean_name(path))
        self._desk.relist()
        await self._desk.show_stored(head.id)
