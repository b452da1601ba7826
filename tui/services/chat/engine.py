"""The chat engine: one open conversation, and any number of answers being written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tui.core.chat import AnswerState, ChatRequest, ConversationHead, ConversationSettings, Message, Role, Timeline
from tui.core.clock import Clock
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Metrics, StreamEvent
from tui.core.models import Severity
from tui.core.observe import Observable
from tui.providers.base import Provider
from tui.services.chat import context, export, sending
from tui.services.chat.answer import CLOSED, Answer, Surroundings
from tui.services.chat.api import ChatApi, ConversationView, LiveAnswer
from tui.services.chat.host import ChatHost
from tui.services.chat.memory import ChatStore, Memory
from tui.services.chat.save import RETRY, AnswerSaver, Keeper
from tui.services.chat.session import Session
from tui.store.conversations import CONVERSATIONS, MESSAGES, Conversations
from tui.store.measurements import Measurements
from tui.text import clean_door, clean_label, clean_name

DRAFT_AFTER: Final = 1.0
"""Seconds of typing that are collected before a draft is saved."""
_WRITES_ON: Final = (AnswerState.COMPLETE, AnswerState.LENGTH, AnswerState.STOPPED)


class ChatEngine(ChatApi):
    """Implements `ChatApi`; everything but the verbs runs on the engine's thread.

    Args:
        host: What surrounds it.
        clock: For durations and times.
        tick: Seconds between two looks of an answer's watchdog.
        retry: Seconds between attempts to save.
        draft_after: Seconds of typing that are collected.
    """

    def __init__(self, *, host: ChatHost, clock: Clock, tick: float = 0.25, retry: float = RETRY, draft_after: float = DRAFT_AFTER) -> None:
        self.heads: Observable[tuple[ConversationHead, ...]] = Observable(())
        self.view: Observable[ConversationView] = Observable(ConversationView())
        self.live: Observable[LiveAnswer | None] = Observable(None)
        self._host, self._clock = host, clock
        self._tick, self._draft_after = tick, draft_after
        self._keeper = Keeper(host.banner, retry)
        self._memory = Memory(clock)
        self._stored: Conversations | None = None
        self._open = Session(self._memory)
        self._sessions: dict[int, Session] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draft_timer: asyncio.TimerHandle | None = None
        self._draft_of: Session | None = None
        self._draft_saving: asyncio.Task[Any] | None = None
        self._deleted: list[int] = []
        self._history: tuple[str, ...] = ()
        self._closing = False

    # --- beginning and end

    async def start(self) -> None:
        """Read the list of conversations; answers of apps that died are marked interrupted."""
        if (database := self._host.database) is not None:
            self._stored = Conversations(database, self._clock)
            if not database.read_only:
                await self._stored.mark_open_answers_interrupted()
            self._history = self._stored.prompts()
        self._list()
        await self._new("", "")

    async def aclose(self) -> None:
        """End the answers truthfully and save them and the draft; takes at most about a second."""
        self._closing = True
        self._flush_draft()
        for session in self._sessions.values():
            if session.answer is not None:
                session.answer.stop(AnswerState.INTERRUPTED, CLOSED)
        if self._tasks:
            _done, left = await asyncio.wait(set(self._tasks), timeout=1.0)
            for task in left:
                task.cancel()
        for session in {*self._sessions.values(), self._open}:
            if session.id > 0 and not session.read_only:
                with contextlib.suppress(PaddockError):
                    await session.store.release_lease(session.id)

    async def changed(self, topics: frozenset[str]) -> None:
        """Another process (or this one) changed something in the database."""
        if CONVERSATIONS in topics:
            self._list()
        session = self._open
        if session.read_only and session.id and topics & {CONVERSATIONS, MESSAGES}:
            if session.store.lease_holder(session.id) is None:
                await self._lease(session)
            session.messages = list(session.store.messages(session.id))
            self._show(session)

    def refresh(self) -> None:
        """Settings, models or what is loaded changed: figures of the open conversation are made anew; on the engine's thread."""
        self._show(self._open)

    # --- verbs, from any thread

    def open(self, conversation: int) -> None:
        """See `ChatApi`."""
        self._host.post(self._open_stored, conversation)

    def new(self, provider: str = "", model: str = "") -> None:
        """See `ChatApi`."""
        self._host.post(self._new, provider, model)

    def use_model(self, provider: str, model: str) -> None:
        """See `ChatApi`."""
        self._host.post(self._use_model, provider, model)

    def configure(self, settings: ConversationSettings) -> None:
        """See `ChatApi`."""
        self._host.post(self._configure, settings)

    def send(self, text: str) -> None:
        """See `ChatApi`."""
        self._host.post(self._send, text)

    def stop(self) -> None:
        """See `ChatApi`."""
        self._host.post(self._stop)

    def regenerate(self) -> None:
        """See `ChatApi`; both complete answers stay in view, the newest is what later prompts build on."""
        self._host.post(self._again, False)

    def go_on(self) -> None:
        """See `ChatApi`."""
        self._host.post(self._again, True)

    def rename(self, conversation: int, title: str) -> None:
        """See `ChatApi`."""
        self._host.post(self._rename, conversation, title)

    def delete(self, conversation: int) -> None:
        """See `ChatApi`."""
        self._host.post(self._delete, conversation)

    def undo_delete(self) -> None:
        """See `ChatApi`."""
        self._host.post(self._undo_delete)

    def save_draft(self, text: str) -> None:
        """See `ChatApi`."""
        self._host.post(self._note_draft, text)

    def history(self) -> Sequence[str]:
        """See `ChatApi`."""
        return self._history

    def search(self, text: str, then: Callable[[Sequence[ConversationHead]], None]) -> None:
        """See `ChatApi`."""
        self._host.post(self._search, text, then)

    def export(self, conversation: int) -> None:
        """See `ChatApi`."""
        self._host.post(self._export, conversation)

    # --- what is shown

    def _list(self) -> None:
        kept = self._memory.heads()
        self.heads.set((*kept, *self._stored.heads()) if self._stored is not None else kept)

    def _show(self, session: Session) -> None:
        """Publish the view, where this is the open conversation."""
        if session is not self._open:
            return
        options = sending.options_of(self._host.settings(), session.settings)
        system = session.settings.system
        used = context.usage(session.messages, system, session.ratio)
        self.view.set(
            ConversationView(
                id=session.id, title=session.title, provider=session.provider, model=session.model, settings=session.settings,
                messages=tuple(session.messages), queued=tuple(session.queued), used=used.used, used_estimated=used.estimated,
                window=context.window(session.provider, session.model, self._host.running(), options), alarm=session.alarm,
                read_only=session.read_only, draft=session.restored,
            )
        )  # fmt: skip

    def _store_for_new(self) -> ChatStore:
        database = self._host.database
        if self._stored is None or database is None or database.read_only or not self._host.settings().chat.save:
            return self._memory
        return self._stored

    def _store_of(self, conversation: int) -> ChatStore:
        return self._memory if conversation < 0 or self._stored is None else self._stored

    async def _switch(self, session: Session) -> None:
        """Show another conversation; a stream of the one before goes on."""
        before = self._open
        self._open = session
        self._show(session)
        self.live.set(session.answer.snapshot if session.answer is not None else None)
        if before is not session:
            await self._let_go(before)

    async def _let_go(self, session: Session) -> None:
        """Forget a conversation that is neither shown nor answered, and let other apps write it."""
        if session is self._open or session.busy or not session.id:
            return
        self._sessions.pop(session.id, None)
        if session.id > 0 and not session.read_only and not self._closing:
            await session.store.release_lease(session.id)

    async def _new(self, provider: str, model: str) -> None:
        await self._drafts_saved()
        provider = provider or self._host.default_provider()
        model = model or sending.pick_model(self._host, provider, self.heads.value)
        store = self._store_for_new()
        session = Session(store, provider=provider, model=model)
        session.settings = ConversationSettings(system=self._host.settings().chat.system)
        session.draft = session.restored = store.draft(session.draft_key)
        self._calibrate(session)
        await self._switch(session)

    async def _open_stored(self, conversation: int) -> None:
        await self._drafts_saved()
        session = self._sessions.get(conversation)
        if session is None:
            store = self._store_of(conversation)
            head = store.head(conversation)
            if head is None:
                raise PaddockError.of("This chat no longer exists", f"chat {conversation}", "Open another one", FailureKind.NOT_FOUND)
            session = Session(store, head.id, head.title, head.provider, head.model, store.settings(head.id))
            await self._lease(session)
            session.messages = list(store.messages(head.id))
            session.draft = store.draft(session.draft_key)
            self._calibrate(session)
            session = self._sessions.setdefault(conversation, session)
        session.restored = session.draft
        await self._switch(session)

    async def _lease(self, session: Session) -> None:
        """Become its writer, or say who is."""
        database = self._host.database
        if session.id < 0 or database is None:
            return
        if database.read_only:
            session.read_only = database.problem.what if database.problem is not None else "The database is open for reading only"
            return
        holder = await session.store.take_lease(session.id)
        session.read_only = "" if holder is None else f"Another Paddock (pid {holder.pid}) writes this chat; here it is only read"

    def _calibrate(self, session: Session) -> None:
        session.ratio = context.stored_ratio(self._host.database, session.provider, session.model)

    # --- changing what a conversation is

    async def _use_model(self, provider: str, model: str) -> None:
        session = self._open
        if self._refuses(session):
            return
        session.provider, session.model, session.alarm = provider, model, ""
        self._calibrate(session)
        self._show(session)
        if session.id:
            await self._keeper.keep(lambda: session.store.use(session.id, provider, model))
            self._list()

    async def _configure(self, settings: ConversationSettings) -> None:
        session = self._open
        if self._refuses(session):
            return
        session.settings = settings
        self._show(session)
        if session.id:
            await self._keeper.keep(lambda: session.store.set_settings(session.id, settings))

    def _refuses(self, session: Session) -> bool:
        if session.read_only:
            self._host.notice(session.read_only, Severity.WARNING)
        return bool(session.read_only)

    async def _rename(self, conversation: int, title: str) -> None:
        title = clean_label(title.strip(), 200)
        await self._store_of(conversation).rename(conversation, title)
        session = self._sessions.get(conversation)
        if session is not None:
            session.title = title
            self._show(session)
        self._list()

    async def _delete(self, conversation: int) -> None:
        store = self._store_of(conversation)
        if store.lease_holder(conversation) is not None:
            raise PaddockError.of("Another Paddock writes this chat", "", "Delete it there", FailureKind.REFUSED)
        session = self._sessions.get(conversation)
        if session is not None:
            session.queued.clear()
            if session.answer is not None:
                session.answer.stop()
        await store.delete(conversation)
        self._deleted.append(conversation)
        self._list()
        if session is not None and session is self._open:
            await self._new(session.provider, session.model)

    async def _undo_delete(self) -> None:
        if not self._deleted:
            self._host.notice("Nothing was deleted")
            return
        conversation = self._deleted.pop()
        await self._store_of(conversation).undo_delete(conversation)
        self._list()

    async def _search(self, text: str, then: Callable[[Sequence[ConversationHead]], None]) -> None:
        found = await self._memory.search_async(text)
        if self._stored is not None:
            found = (*found, *await self._stored.search_async(text))
        then(found)

    async def _export(self, conversation: int) -> None:
        session = self._sessions.get(conversation)
        store = self._store_of(conversation)
        messages = tuple(session.messages) if session is not None else store.messages(conversation)
        head, database = store.head(conversation), self._host.database
        if head is None or not messages:
            raise PaddockError.of("There is nothing to export yet", "", "Send something first", FailureKind.NOT_FOUND)
        folder = database.path.parent / "exports" if database is not None else Path.cwd()
        path = await asyncio.to_thread(export.write, folder, conversation, head.title, messages, self._clock.time())
        self._host.notice(f"Exported to {clean_name(str(path))}")

    # --- drafts

    async def _note_draft(self, text: str) -> None:
        session = self._open
        session.draft = clean_door(text)
        self._draft_soon(session)

    def _draft_soon(self, session: Session) -> None:
        if self._draft_of is not session:
            self._flush_draft()
        self._draft_of = session
        if self._draft_timer is None:
            self._draft_timer = asyncio.get_running_loop().call_later(self._draft_after, self._flush_draft)

    def _flush_draft(self) -> None:
        """Save now what waits to be saved."""
        session, self._draft_of = self._draft_of, None
        if self._draft_timer is not None:
            self._draft_timer.cancel()
            self._draft_timer = None
        if session is not None and (session.store is self._memory or self._can_write()):
            self._draft_saving = self._spawn(self._save_draft(session))

    async def _save_draft(self, session: Session) -> None:
        """Queued prompts are kept in front of what is typed: they were not sent either."""
        store = session.store if self._host.settings().chat.save else self._memory
        await self._keeper.keep(lambda: store.set_draft(session.draft_key, session.unsent))

    async def _drafts_saved(self) -> None:
        """Before a draft is read: what is typed here is on disk, unless the disk refuses."""
        self._flush_draft()
        if self._draft_saving is not None:
            await asyncio.wait({self._draft_saving}, timeout=1.0)

    def _can_write(self) -> bool:
        return self._host.database is not None and not self._host.database.read_only

    # --- sending

    async def _send(self, text: str) -> None:
        session = self._open
        text = clean_door(text)
        if not text.strip() or self._closing:
            return
        if self._refuses(session):
            return
        if not session.model:
            session.model = sending.pick_model(self._host, session.provider, self.heads.value)
        if not session.provider or not session.model:
            session.draft = session.restored = text
            self._show(session)
            self._draft_soon(session)
            self._host.notice("There is no model to send this to; it is kept as a draft", Severity.WARNING)
            return
        session.draft = session.restored = ""
        session.queued.append(text)
        if session.busy:
            self._show(session)
            self._draft_soon(session)
            return
        self._begin(session, self._send_next(session))

    def _begin(self, session: Session, work: Coroutine[Any, Any, None]) -> None:
        """Mark a conversation busy, and work on it until its answer has ended."""
        session.busy = True
        self._spawn(self._busy(session, work))

    async def _busy(self, session: Session, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            session.busy, session.answer = False, None
            if session is self._open:
                self.live.set(None)
            self._show(session)
        await self._let_go(session)

    async def _send_next(self, session: Session) -> None:
        """Send what is queued, one after another, while answers end well."""
        while session.queued and not self._closing:
            text = session.queued[0]
            session.storing = asyncio.ensure_future(self._store_prompt(session, text))
            self._show(session)
            try:
                await session.storing
            except asyncio.CancelledError:
                self._back_to_draft(session)
                return
            except PaddockError:
                self._back_to_draft(session)
                raise
            finally:
                session.storing = None
            ended = await self._write(session, session.messages[-1])
            if ended.state not in _WRITES_ON:
                return

    def _back_to_draft(self, session: Session) -> None:
        """What could not be stored was not sent: it is typed text again."""
        session.restored = session.draft = session.unsent
        session.queued.clear()
        self._draft_soon(session)
        self._show(session)

    async def _store_prompt(self, session: Session, text: str) -> None:
        """The prompt and the answer to be, on disk before anything is sent (P01)."""
        if not session.id:
            session.title = sending.title_of(text)
            head = await self._keeper.keep(
                lambda: session.store.create(session.provider, session.model, title=session.title, settings=session.settings)
            )
            session.id = head.id
            self._sessions[head.id] = session
            with contextlib.suppress(PaddockError):
                await session.store.set_draft("chat:new", "")
        prompt = Message(0, session.id, 0, Role.USER, text)
        answer = self._empty_answer(session)
        rows = await self._keeper.keep(lambda: session.store.add_messages((prompt, answer)))
        session.messages.extend(rows)
        session.queued.pop(0)
        session.alarm = ""
        self._history = (text, *(other for other in self._history if other != text))
        self._draft_soon(session)
        self._list()
        self._show(session)
        with contextlib.suppress(PaddockError):
            await session.store.add_prompt(text)

    @staticmethod
    def _empty_answer(session: Session) -> Message:
        return Message(0, session.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING, provider=session.provider, model=session.model)

    # --- again

    async def _again(self, continuing: bool) -> None:
        session = self._open
        if self._refuses(session) or self._closing:
            return
        if session.busy or not session.messages:
            self._host.notice("An answer is being written" if session.busy else "There is nothing to answer yet")
            return
        last = session.messages[-1]
        if continuing and not context.can_continue(last):
            self._host.notice("This answer is complete" if last.state is AnswerState.COMPLETE else "No part of the answer came; r retries")
            return
        self._begin(session, self._answer_again(session, last, continuing))

    async def _answer_again(self, session: Session, last: Message, continuing: bool) -> None:
        """Continue the last answer, replace it, or (a complete one) write another beside it."""
        if last.role is not Role.ASSISTANT or (not continuing and last.state in (AnswerState.COMPLETE, AnswerState.LENGTH)):
            stored = await self._keeper.keep(lambda: session.store.add_messages((self._empty_answer(session),)))
            session.messages.append(stored[0])
        else:
            kept = replace(last, state=AnswerState.WAITING, failure=None, provider=session.provider, model=session.model)
            if not continuing:
                kept = replace(kept, content="", thinking="", tool_calls=(), metrics=Metrics(), timeline=Timeline())
            await self._keeper.keep(lambda: session.store.update_answer(kept))
            session.messages[-1] = kept
        session.alarm = ""
        self._show(session)
        ended = await self._write(session, session.messages[-1])
        if ended.state in _WRITES_ON and session.queued:
            await self._send_next(session)

    # --- one answer

    async def _write(self, session: Session, row: Message) -> Message:
        """Have the stored empty (or partial) answer written; returns how it ended."""
        before = [message for message in session.messages if message.id != row.id]
        if not row.content:  # a second answer to the same prompt does not build on the first
            while before and before[-1].role is Role.ASSISTANT:
                before.pop()
        request = sending.build(self._host, row.provider, row.model, session.settings, [*before, row])
        row = replace(row, prompt_estimate=context.estimate(request.messages, request.system, session.ratio))
        provider = self._host.provider(row.provider)
        failure = await self._refusal(row, provider)
        answer = self._answer(session, row, request, provider, failure)
        session.answer = answer
        ended = await answer.run()
        session.messages = [ended if message.id == ended.id else message for message in session.messages]
        options = request.options
        served = context.window(row.provider, row.model, self._host.running(), options)
        session.alarm = context.alarm(ended, before, served) if ended.state.ended else ""
        self._show(session)
        self._list()
        await self._measure(session, ended, request)
        if ended.failure is not None and ended.failure.kind is FailureKind.NOT_FOUND and not self._closing:
            self._spawn(sending.offer_pull(self._host, row.provider, row.model))
        return ended

    async def _refusal(self, row: Message, provider: Provider | None) -> Failure | None:
        """Why nothing may be sent, where that is so."""
        if provider is None:
            what = f"There is no provider named {clean_name(row.provider)}"
            return Failure(what, "", "Choose a model with ctrl+t", FailureKind.CONFIG)
        if not await self._host.may_send(row.provider):
            return Failure(
                "Not sent: you did not allow it", clean_name(row.provider), "Retry with r to be asked again", FailureKind.REFUSED
            )
        return sending.missing(self._host, row.provider, row.model)

    def _answer(self, session: Session, row: Message, request: ChatRequest, provider: Provider | None, failure: Failure | None) -> Answer:
        def stream() -> AsyncIterator[StreamEvent]:
            if failure is not None or provider is None:
                raise PaddockError(failure or CLOSED)
            return provider.chat(request)

        def show(snapshot: LiveAnswer) -> None:
            if session is self._open:
                self.live.set(snapshot)

        last_load: float | None = None
        if self._host.database is not None:
            with contextlib.suppress(PaddockError):
                last_load = Measurements(self._host.database, self._clock).figures(row.provider, row.model).load_seconds
        around = Surroundings(self._clock, lambda: sending.is_loaded(self._host, row.provider, row.model), last_load, show, self._tick)
        return Answer(row, stream, AnswerSaver(session.store, self._keeper), around)

    async def _measure(self, session: Session, ended: Message, request: ChatRequest) -> None:
        """One row a complete answer: speed, load, and how much text a token is."""
        complete = ended.state in (AnswerState.COMPLETE, AnswerState.LENGTH)
        if not complete or session.store is self._memory or self._host.database is None or self._host.database.read_only:
            return
        note = ""
        if not session.alarm:
            weighed = context.prompt_weight(request.messages, request.system)
            note = context.ratio_note(weighed, len(request.messages), ended.metrics.prompt_tokens)
        with contextlib.suppress(PaddockError):  # figures are not worth a word when they are lost
            await Measurements(self._host.database, self._clock).add(session.provider, request.model, ended.metrics, note=note)
            self._calibrate(session)

    async def _stop(self) -> None:
        session = self._open
        if session.answer is not None:
            session.answer.stop()
        elif session.storing is not None:
            session.storing.cancel()

    # --- tasks

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
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
