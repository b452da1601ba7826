"""What a conversation's tree can be made to be: edits, branches, deleted messages, and marks that shorten what is sent."""

from __future__ import annotations

from dataclasses import replace

from tui.core.chat import AnswerState, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.services.chat import asking, context, sending
from tui.services.chat.api import ContextCheck
from tui.services.chat.archive import Archive
from tui.services.chat.desk import Desk
from tui.services.chat.host import ChatHost
from tui.services.chat.save import Keeper
from tui.services.chat.session import Session
from tui.services.chat.writing import Stopped, held
from tui.text import clean_name

EDITED = "edited by you"


class Branching:
    """Verbs on the tree of the open conversation; on the engine's thread."""

    def __init__(self, host: ChatHost, keeper: Keeper, desk: Desk, archive: Archive) -> None:
        self._host, self._keeper, self._desk, self._archive = host, keeper, desk, archive

    async def edited(self, session: Session, target: Message, text: str, empty: Message) -> tuple[Message, ...]:
        """Store what is said instead of a message, and for a prompt the answer to be, as a new branch; returns what was stored."""
        fresh = replace(
            target, id=0, seq=0, content=text, created_at=0.0, comparison=0, pinned=False,
            note=EDITED if target.role is Role.ASSISTANT else "",
        )  # fmt: skip
        given = replace(fresh, state=AnswerState.COMPLETE, failure=None, tool_calls=())
        rows = [fresh, empty] if target.role is Role.USER else [given]
        stored: tuple[Message, ...] = await self._keeper.keep(lambda: session.store.add_messages(rows, chain=True))
        session.alarm = ""
        self._reload(session)
        return stored

    async def branch(self, message: int) -> None:
        """Go on from a message: what followed stays as a branch."""
        session = self._desk.opened
        target = session.message(message)
        if not self._desk.refuses(session, tree=True) and target is not None:
            await self._show(session, target.id)

    async def _show(self, session: Session, tip: int) -> None:
        async with self._desk.changing(session):
            await self._keeper.keep(lambda: session.store.set_tip(session.id, tip))
            self._reload(session)

    async def switch(self, message: int, step: int) -> None:
        """Show the branch of a sibling, as it was left."""
        session = self._desk.opened
        if self._desk.refuses(session, tree=True):
            return
        target = session.message(message)
        siblings = session.branches.get(target.id, ()) if target is not None else ()
        if target is None or len(siblings) < 2:
            self._host.notice("There is no other branch here")
            return
        other = siblings[(siblings.index(target.id) + step) % len(siblings)]
        await self._show(session, session.store.leaf(other))

    async def delete_message(self, message: int, following: bool) -> None:
        """Delete a message, or it and what follows.

        Raises:
            PaddockError: It is not there.
        """
        session = self._desk.opened
        if self._desk.refuses(session, tree=True):
            return
        target = session.message(message)
        if target is None:
            raise PaddockError.of("This message is not in the branch shown", "", "Move to another one", FailureKind.NOT_FOUND)
        tip = session.tip
        ids = tuple(session.store.subtree(target.id)) if following else (target.id,)
        before = session.upto(target.id)[:-1]
        async with self._desk.changing(session):
            await self._keeper.keep(lambda: session.store.delete_messages(ids))
            self._archive.deleted(session.id, ids, tip)
            if following or target.id == tip:
                await self._keeper.keep(lambda: session.store.set_tip(session.id, before[-1].id if before else 0))
            self._reload(session)

    async def pin_message(self, message: int, on: bool) -> None:
        """Keep a message in what is sent, or not."""
        session = self._desk.opened
        if not self._desk.refuses(session) and (target := session.message(message)) is not None:
            await self._keeper.keep(lambda: session.store.pin_message(target.id, on))
            session.pin(target.id, on)
            self._desk.show(session)
            self._desk.check_soon()

    def _reload(self, session: Session) -> None:
        session.reload()
        self._desk.show(session)
        self._desk.check_soon()

    # --- what is sent

    def check(self, session: Session) -> ContextCheck | None:
        """What sending what is typed would mean for the context; None where nothing is to be sent."""
        if not session.model or not (session.messages or session.draft or session.attached):
            return None
        drafted = Message(0, session.id, 0, Role.USER, session.draft, attachments=session.attached)
        return context.check([*session.messages, drafted], sending.place(self._host, session), **sending.weighing(self._host, session))

    async def drop_oldest(self, keep_from: int) -> None:
        """Send nothing before a message any more; 0: as much as fits is kept."""
        session = self._desk.opened
        if not self._desk.refuses(session, tree=True):
            async with self._desk.changing(session):
                await self._drop(session, keep_from, "")

    async def _drop(self, session: Session, keep_from: int, summary: str) -> None:
        """Put a mark at the end of the branch: nothing before `keep_from` is sent after it."""
        keep_from = keep_from or self._fitting(session)
        if not keep_from:
            self._host.notice("All of it fits; nothing has to be dropped")
            return
        mark = Message(0, session.id, 0, Role.SYSTEM, summary, parent=session.tip, keep_from=keep_from)
        await self._keeper.keep(lambda: session.store.add_messages((mark,)))
        session.alarm = ""
        self._reload(session)

    def _fitting(self, session: Session) -> int:
        """Id of the first message that still fits with room for an answer; 0 where all does, or it is not known what does."""
        about = sending.weighing(self._host, session)
        served = context.window(session.provider, session.model, self._host.running(), about["options"])
        return context.oldest_to_drop(session.messages, served, **about) if served else 0

    async def summarise(self, keep_from: int) -> None:
        """The same, with a summary by the model instead."""
        session = self._desk.opened
        if not self._desk.refuses(session, tree=True):
            self._desk.work(session, self._summarised(session, keep_from), then_queued=True)

    async def _summarised(self, session: Session, keep_from: int) -> None:
        keep_from = keep_from or self._fitting(session)
        before = session.upto(keep_from)[:-1] if keep_from else []
        sent = context.sent(before)
        if not sent.messages:
            self._host.notice("There is nothing before it to summarise")
            return
        count = len(sent.messages)
        session.waits = f"{clean_name(session.model)} summarises {count} message{'s' if count > 1 else ''}"
        self._desk.show(session)
        request = asking.summary_request(
            session.model, sent.messages, sent.system(session.settings.system), sending.same_load(self._host, session)
        )
        try:
            summary = await held(session, self._desk, asking.ask(self._host, session.provider, request))
        except Stopped:
            return
        await self._drop(session, keep_from, asking.cleaned_summary(summary))
