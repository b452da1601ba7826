"""The chat engine: the open conversation, and any number of answers being written. Runs on the engine's thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final

from tui.core.chat import AnswerState, ConversationHead, ConversationSettings, Message, Role
from tui.core.clock import Clock
from tui.core.errors import PaddockError
from tui.core.models import Severity
from tui.core.observe import Observable
from tui.services.chat import asking, context, sending, tools
from tui.services.chat.answer import CLOSED
from tui.services.chat.api import ConversationView, LiveAnswer
from tui.services.chat.archive import Archive
from tui.services.chat.branching import Branching
from tui.services.chat.comparing import Comparing
from tui.services.chat.composing import Composing
from tui.services.chat.host import ChatHost
from tui.services.chat.save import RETRY, Keeper
from tui.services.chat.session import Prompt, Session
from tui.services.chat.settling import Mark, Settled, Settling
from tui.services.chat.shelf import DRAFT_AFTER, Drafts, Shelf
from tui.services.chat.tooling import Tooling
from tui.services.chat.writing import LOOK, Stopped, Writer, held
from tui.store.conversations import CONVERSATIONS, MESSAGES
from tui.text import clean_door

CHECK_AFTER: Final = 0.3
"""Seconds after a change until what would be sent is estimated again."""
_WRITES_ON: Final = (AnswerState.COMPLETE, AnswerState.LENGTH, AnswerState.STOPPED)


class ChatEngine:
    """What `ChatVerbs` posts to; effects come back as the observables.

    Args:
        host: What surrounds it.
        clock: For durations and times.
        tick: Seconds between two looks of an answer's watchdog.
        retry: Seconds between attempts to save.
        draft_after: Seconds of typing that are collected.
        look: Seconds between two looks at a pull that is waited for.
    """

    def __init__(
        self,
        *,
        host: ChatHost,
        clock: Clock,
        tick: float = 0.25,
        retry: float = RETRY,
        draft_after: float = DRAFT_AFTER,
        look: float = LOOK,
    ) -> None:
        self.heads: Observable[tuple[ConversationHead, ...]] = Observable(())
        self.view: Observable[ConversationView] = Observable(ConversationView())
        self.live: Observable[LiveAnswer | None] = Observable(None)
        self.compared: Observable[tuple[LiveAnswer, ...]] = Observable(())
        self.history: tuple[str, ...] = ()
        self._host, self._clock = host, clock
        self._keeper = Keeper(host.banner, retry)
        self._shelf = Shelf(host, clock)
        self.archive = Archive(host, clock, self._shelf, self)
        self._drafts = Drafts(host, self._shelf, self._keeper, self._spawn, draft_after)
        self._writer = Writer(host, clock, self._keeper, self, tick=tick, look=look)
        self._tooling = Tooling(host, clock, self._keeper, self, self._writer)
        self.comparing = Comparing(host, self._shelf, self._keeper, self, self._writer)
        self.branching = Branching(host, self._keeper, self, self.archive)
        self._settling = Settling(host, clock)
        self._marks: dict[int, Mark] = {}
        self._open = Session(self._shelf.memory)
        self.composing = Composing(host, self._drafts, self)
        self._wanted, self.turn = 0, 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._check_timer: asyncio.TimerHandle | None = None
        self._began = self._closing = False

    # --- beginning and end

    async def start(self) -> None:
        """Read the list of conversations; answers of apps that died are marked interrupted."""
        try:
            await self._shelf.open()
        finally:  # what cannot be written now can be read all the same
            if self._shelf.stored is not None:
                self.history = self._shelf.stored.prompts()
            self.relist()
            await self.begin("", "")
            self._began = True
            self._open.unfinished = self._shelf.unfinished()
            self.show(self._open)
            self._spawn(self._shelf.clear_out())

    async def aclose(self) -> None:
        """End the answers truthfully and save them and the draft; takes at most about a second."""
        self._closing = True
        self._drafts.flush()
        if self._check_timer is not None:
            self._check_timer.cancel()
        for session in {*self._shelf.sessions.values(), self._open}:
            for answer in tuple(session.active.values()):
                answer.stop(AnswerState.INTERRUPTED, CLOSED)
            session.stop()
        if self._tasks:
            _done, left = await asyncio.wait(set(self._tasks), timeout=1.0)
            for task in left:
                task.cancel()
        await self._drafts.saved()  # prompts that were not stored are drafts again
        for session in {*self._shelf.sessions.values(), self._open}:
            with contextlib.suppress(PaddockError):
                await self._shelf.release(session)

    async def changed(self, topics: frozenset[str]) -> None:
        """Another process (or this one) changed something in the database."""
        if CONVERSATIONS in topics:
            self.relist()
        session = self._open
        if session.id > 0 and topics & {CONVERSATIONS, MESSAGES}:
            async with self.using(session):
                await self._follow(session)

    async def _follow(self, session: Session) -> None:
        """What another app changed; where that one is done with it, we become the writer and have its draft."""
        key = session.draft_key
        if not await self._shelf.follow(session):
            self._host.notice(session.read_only, Severity.WARNING)
        elif key != session.draft_key:
            await self._drafts.move(session, key)
        self.show(session)

    async def follow_host(self) -> None:
        """Providers, models, what is loaded or settings moved: figures anew, and a model for a chat that has none yet."""
        self.show(self._open)
        self.check_soon()
        session, provider = self._open, self._host.default_provider()
        if session.id or not provider or (session.model and session.provider):
            return
        model = session.model or sending.pick_model(self._host, provider, self.heads.value)
        if model:
            await self.use_model(provider, model)

    # --- what is shown

    def relist(self) -> None:
        """Publish the list of conversations."""
        self.heads.set(self._shelf.heads())

    @property
    def opened(self) -> Session:
        """The conversation shown."""
        return self._open

    def show(self, session: Session) -> None:
        """Publish the view, where this is the open conversation."""
        if session is not self._open:
            return
        options = sending.options_of(self._host.settings(), session.model, session.settings)
        offered = tools.offered(self._host.settings(), session.settings.tools)
        used = context.usage(session.messages, session.settings.system, session.calibration, offered)
        self.view.set(
            ConversationView(
                id=session.id, title=session.title, provider=session.provider, model=session.model, settings=session.settings,
                messages=tuple(session.messages), branches=session.branches, answers=session.answers, compare=session.compare,
                queued=tuple(prompt.text for prompt in session.queued), attached=session.attached, used=used.used,
                used_estimated=used.estimated, window=context.window(session.provider, session.model, self._host.running(), options),
                check=session.check, alarm=session.alarm, settling=session.settling, waits=session.waits, read_only=session.read_only,
                incognito=session.incognito, unfinished=session.unfinished, tags=session.tags, draft=session.restored, turn=self.turn,
            )
        )  # fmt: skip

    def snapshot(self, session: Session, snapshot: LiveAnswer) -> None:
        """Publish an answer being written, where its conversation is open."""
        written = snapshot.timeline.first_token is not None
        if written and session.settling and self._settling.proved(snapshot.provider, snapshot.model):
            session.settling = 0
            self.show(session)
        if session is not self._open:
            return
        columns = session.compare.columns if session.compare is not None else ()
        order = [column.message_id for column in columns]
        if snapshot.message_id in order:
            others = {live.message_id: live for live in self.compared.value} | {snapshot.message_id: snapshot}
            self.compared.set(tuple(others[number] for number in order if number in others))
        else:
            self.live.set(snapshot)

    def check_soon(self) -> None:
        """Estimate in a moment what would be sent."""
        if self._check_timer is None and not self._closing:
            self._check_timer = asyncio.get_running_loop().call_later(CHECK_AFTER, self._check)

    def _check(self) -> None:
        """What sending now would mean for the context."""
        self._check_timer = None
        session = self._open
        session.check = self.branching.check(session)
        self.show(session)

    async def _switch(self, session: Session) -> None:
        """Show another conversation; a stream of the one before goes on."""
        before, self._open = self._open, session
        self.turn += self._began and before is not session  # what was typed before the first one was there is its own
        self.check_soon()
        self.show(session)
        self.compared.set(())
        self.live.set(None)
        for answer in tuple(session.active.values()):
            self.snapshot(session, answer.snapshot)
        if before is not session:
            await self._let_go(before)

    async def _let_go(self, session: Session) -> None:
        if session is not self._open and not (session.busy or session.uses or self._closing) and session.id:
            await self._shelf.let_go(session)

    @contextlib.asynccontextmanager
    async def using(self, session: Session) -> AsyncIterator[None]:
        """Inside, a conversation stays in use though another one is shown."""
        session.uses += 1
        try:
            yield
        finally:
            session.uses -= 1
            await self._let_go(session)

    @contextlib.asynccontextmanager
    async def changing(self, session: Session) -> AsyncIterator[None]:
        """Inside, nothing is sent and nobody else changes the branches; a prompt sent meanwhile follows."""
        session.busy, waiting = True, len(session.queued)
        try:
            yield
        finally:
            session.busy = session.stopping = False
            if len(session.queued) > waiting and not self._closing:
                self.work(session, self._send_queued(session))
            else:
                await self._let_go(session)

    # --- conversations

    async def begin(self, provider: str, model: str, incognito: bool = False) -> None:
        """An empty conversation."""
        wanted = self._wanted = self._wanted + 1
        await self._drafts.saved()
        if wanted != self._wanted:  # something else was opened meanwhile
            return
        provider = provider or self._host.default_provider()
        model = model or sending.pick_model(self._host, provider, self.heads.value)
        store = self._shelf.store_for_new(incognito=incognito)
        settings = self._host.settings().chat
        session = Session(store, provider=provider, model=model, incognito=incognito, new_key=self._shelf.new_key)
        session.settings = ConversationSettings(system=settings.system, tools=settings.tools)
        if self._open.id or not self._open.busy:  # else the draft on disk is the prompt that is being stored
            self._drafts.restore(session)
        self._shelf.calibrate(session)
        await self._switch(session)

    async def show_stored(self, conversation: int, message: int = 0) -> None:
        """A stored conversation; with a message, the branch that holds it."""
        wanted = self._wanted = self._wanted + 1
        await self._drafts.saved()
        session = await self._shelf.take(conversation)
        async with self.using(session):
            if message and not session.busy and session.message(message) is None and not session.read_only:
                async with self.changing(session):
                    await self._keeper.keep(lambda: session.store.set_tip(session.id, session.store.leaf(message)))
                    session.reload()
            if wanted == self._wanted:  # else something else was opened meanwhile
                session.restored = session.draft
                await self._switch(session)

    async def use_model(self, provider: str, model: str) -> None:
        """Go on with another model."""
        await self.go_on_with(self._open, provider, model)

    async def go_on_with(self, session: Session, provider: str, model: str) -> None:
        """The same, of any conversation."""
        if self.refuses(session):
            return
        session.provider, session.model, session.alarm = provider, model, ""
        self._shelf.calibrate(session)
        self.show(session)
        self.check_soon()
        if session.id:
            await self._keeper.keep(lambda: session.store.use(session.id, provider, model))
            self.relist()

    async def configure(self, settings: ConversationSettings) -> None:
        """Set what is set for this conversation."""
        session = self._open
        if self.refuses(session):
            return
        session.settings = settings
        self.show(session)
        self.check_soon()
        if session.id:
            await self._keeper.keep(lambda: session.store.set_settings(session.id, settings))

    def refuses(self, session: Session, *, tree: bool = False) -> bool:
        """Whether nothing may be changed now, which is said; `tree`: the branches are to be changed."""
        if self._closing:
            return True
        why = session.read_only
        if not why and tree and session.busy:
            why = "An answer is being written; esc stops it"
        if not why and tree and not session.id:
            why = "Nothing was sent yet"
        if why:
            self._host.notice(why, Severity.WARNING)
        return bool(why)

    # --- prompts

    async def send(self, text: str) -> None:
        """Store and send a prompt, or queue it."""
        session, text = self._open, clean_door(text)
        async with self.using(session):
            read = await self.composing.settled()  # what was attached a moment ago goes along
            self._send(session, text, read)

    def _send(self, session: Session, text: str, read: bool) -> None:
        if not (text.strip() or session.attached) or self.refuses(session):
            return
        if not session.model:
            session.model = sending.pick_model(self._host, session.provider, self.heads.value)
        why = "" if session.provider and session.model else "There is no model to send this to"
        if session.compare is not None:
            why = "Go on with one of the answers first"
        if not read:
            why = "A file that goes along is still being read"
        if why:
            session.draft = session.restored = text
            self.show(session)
            self._drafts.soon(session)
            self._host.notice(f"{why}; it is kept as a draft", Severity.WARNING)
            return
        session.queued.append(Prompt(text, session.attached))
        session.draft, session.restored, session.attached = "", "", ()
        if session.busy:
            self.show(session)
            self._drafts.soon(session)
            return
        self.work(session, self._send_queued(session))

    def work(self, session: Session, work: Coroutine[Any, Any, Any], *, then_queued: bool = False) -> None:
        """Mark a conversation busy, and work on it until its answer has ended; then, unless it was stopped, on what is queued."""
        session.busy, session.stopping = True, False
        session.unwanted.clear()
        self._spawn(self._busy(session, work, then_queued))

    async def _busy(self, session: Session, work: Coroutine[Any, Any, Any], then_queued: bool) -> None:
        try:
            await work
            if then_queued and session.queued and not session.stopping:
                await self._send_queued(session)
        finally:
            session.busy = session.stopping = False
            if session is self._open:
                self.live.set(None)
            self.show(session)
            if not self._closing:
                self.check_soon()
            await self._let_go(session)

    async def _send_queued(self, session: Session) -> None:
        """Send what is queued, one after another, while answers end well."""
        while session.queued and not self._closing and session.compare is None:
            prompt, session.stopping = session.queued[0], False
            self.show(session)
            try:
                rows = await held(session, self, self.store_prompt(session, prompt))
            except (Stopped, asyncio.CancelledError, PaddockError) as error:
                self.back_to_draft(session)
                if not isinstance(error, Stopped):
                    raise
                return
            await self.remember(session, prompt)
            ended = await self._answered(session, rows[-1])
            if ended.state not in _WRITES_ON:
                return

    async def _answered_and_queued(self, session: Session, row: Message, changes: Mapping[str, Any] | None = None) -> None:
        """Have an answer written, and where it ends well what is queued."""
        ended = await self._answered(session, row, changes)
        if ended.state in _WRITES_ON and session.queued:
            await self._send_queued(session)

    async def _answered(self, session: Session, row: Message, changes: Mapping[str, Any] | None = None) -> Message:
        """Have an answer written, tools and all; what a stop leaves behind is watched."""
        ended = await self._tooling.answer(session, row, changes)
        self.relist()
        self.look_whether_free(session, ended.id)
        return ended

    def look_whether_free(self, session: Session, ended: int) -> None:
        """Whether the server of an answer that was stopped is done with it."""
        if (mark := self._marks.pop(ended, None)) is not None and not self._closing:
            session.settling = ended
            self._spawn(self._settles(session, ended, mark))

    async def _settles(self, session: Session, stopped: int, mark: Mark) -> None:
        """Until the server was seen to be free; where it cannot be seen, what is said stays."""
        settled = await self._settling.watch(mark)
        if words := self._settling.words(mark, settled):
            self._host.notice(words)
        if settled is Settled.FREE and session.settling == stopped:
            session.settling = 0
            self.show(session)

    def back_to_draft(self, session: Session) -> None:
        """What could not be stored was not sent: it is typed text again."""
        session.restored = session.draft = session.unsent
        session.attached = session.unsent_files
        session.queued.clear()
        self._drafts.soon(session)
        self.show(session)

    async def store_prompt(self, session: Session, prompt: Prompt, *, answer: bool = True) -> tuple[Message, ...]:
        """The prompt and the answer to be, on disk before anything is sent (P01)."""
        if session.id:
            return await self._store_prompt(session, prompt, answer)
        with self._drafts.sending(session):
            return await self._store_prompt(session, prompt, answer)

    async def _store_prompt(self, session: Session, prompt: Prompt, answer: bool) -> tuple[Message, ...]:
        if not session.id:
            session.title = asking.title_of(prompt.text) or (prompt.attachments[0].name if prompt.attachments else "")
            settings, who = session.settings, (session.provider, session.model)
            head = await self._keeper.keep_whole(
                lambda: session.store.create(session.provider, session.model, title=session.title, settings=session.settings)
            )
            session.id = head.id
            self._shelf.sessions[head.id] = session
            if session.settings is not settings:  # set while it was created
                await self._keeper.keep_whole(lambda: session.store.set_settings(session.id, session.settings))
            if (session.provider, session.model) != who:
                await self._keeper.keep_whole(lambda: session.store.use(session.id, session.provider, session.model))
        is_first = not session.store.tip(session.id)
        rows = [Message(0, session.id, 0, Role.USER, prompt.text, parent=session.tip, attachments=prompt.attachments)]
        if answer:
            rows.append(self._empty(session))
        stored = await self._keeper.keep_whole(lambda: session.store.add_messages(rows, chain=True))
        session.grow(stored)
        if is_first:  # not before: until now the draft was all that the disk had of it, images too
            await self._drafts.forget_new(session)
            if self._open is not session and not self._open.id:
                self._drafts.soon(self._open)  # the next one's is kept under the same key
        if session.queued and session.queued[0] is prompt:
            session.queued.pop(0)
        session.alarm = ""
        self._drafts.soon(session)
        self.relist()
        self.show(session)
        return stored

    async def remember(self, session: Session, prompt: Prompt) -> None:
        """For the up key, also of the next run."""
        if prompt.text.strip():
            self.history = (prompt.text, *(other for other in self.history if other != prompt.text))
        with contextlib.suppress(PaddockError):
            if not session.incognito and prompt.text.strip():
                await session.store.add_prompt(prompt.text)

    @staticmethod
    def _empty(session: Session, parent: int = 0, provider: str = "", model: str = "") -> Message:
        return Message(
            0, session.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING, provider=provider or session.provider,
            model=model or session.model, parent=parent,
        )  # fmt: skip

    # --- answers

    async def stop(self, message: int) -> None:
        """Stop one answer, or all."""
        session = self._open
        for number, answer in session.active.items():
            if number == message or not message:
                self._marks[number] = self._settling.mark(answer.message.provider, answer.message.model)
        if not message:
            session.stop()
        elif session.busy:
            session.stop_one(message)
            await self.comparing.skip(session, message)

    async def regenerate(self, message: int, provider: str, model: str, options: Mapping[str, Any] | None) -> None:
        """Answer a prompt again."""
        session = self._open
        target = session.message(message)
        if self.refuses(session, tree=True) or target is None:
            return
        if target.id in session.answers:
            self.work(session, self.comparing.again(session, target, options), then_queued=True)
            return
        if target.role is Role.SYSTEM:
            target = next((other for other in reversed(session.messages) if other.role is not Role.SYSTEM), target)
        self.work(session, self._answer_again(session, target, provider, model, options))

    async def _answer_again(self, session: Session, target: Message, provider: str, model: str, options: Mapping[str, Any] | None) -> None:
        """Write another answer beside one that holds something; replace one that holds nothing."""
        session.alarm = ""
        if target.role is Role.ASSISTANT and not (target.content or target.thinking or target.tool_calls) and target.id == session.tip:
            who = (provider or session.provider, model or session.model)
            row = replace(target, state=AnswerState.WAITING, failure=None, note="", provider=who[0], model=who[1])
            await self._keeper.keep(lambda: session.store.update_answer(row))
            session.put(row)
        else:
            parent = target.parent if target.role is Role.ASSISTANT else target.id
            empty = self._empty(session, parent, provider, model)
            (row,) = await self._keeper.keep(lambda: session.store.add_messages((empty,)))
            session.reload()
        self.show(session)
        await self._answered_and_queued(session, row, options)

    async def go_on(self, message: int) -> None:
        """Continue an answer where it ends."""
        session = self._open
        target = session.message(message)
        if self.refuses(session, tree=True) or target is None:
            return
        if not context.can_continue(target):
            self._host.notice(
                "This answer is complete" if target.state is AnswerState.COMPLETE else "No part of the answer came; r retries"
            )
            return
        self.work(session, self._continue(session, target))

    async def _continue(self, session: Session, target: Message) -> None:
        row = replace(target, state=AnswerState.WAITING, failure=None, provider=session.provider, model=session.model)
        await self._keeper.keep(lambda: session.store.update_answer(row))
        if target.id != session.tip:
            await self._keeper.keep(lambda: session.store.set_tip(session.id, target.id))
            session.reload()
        session.put(row)
        session.alarm = ""
        self.show(session)
        await self._answered_and_queued(session, row)

    async def edit(self, message: int, text: str) -> None:
        """Say something else instead; an edited prompt is answered."""
        session, text = self._open, clean_door(text)
        target = session.message(message)
        if self.refuses(session, tree=True) or target is None or target.role not in (Role.USER, Role.ASSISTANT):
            return
        if not text.strip():
            self._host.notice("An empty text changes nothing; d deletes a message", Severity.WARNING)
        elif text != target.content:
            self.work(session, self._edited(session, target, text))

    async def _edited(self, session: Session, target: Message, text: str) -> None:
        rows = await self.branching.edited(session, target, text, self._empty(session))
        self.relist()
        if rows[-1].state is AnswerState.WAITING:
            await self._answered_and_queued(session, rows[-1])

    # --- tasks

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._host.post(_raise, error)


async def _raise(error: BaseException) -> None:
    """Let the host report what one of our tasks met."""
    raise error
