"""One prompt to several models: at once where memory allows, else one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tui.core.chat import AnswerState, Message, Role, Votes
from tui.core.errors import PaddockError
from tui.core.fit import RAM_SHARE, SERVED, Machine
from tui.core.models import Location, ModelKey, Severity
from tui.core.record import record
from tui.services.chat import sending
from tui.services.chat.api import CompareColumn, CompareView
from tui.services.chat.desk import Desk
from tui.services.chat.host import ChatHost
from tui.services.chat.save import Keeper
from tui.services.chat.session import Prompt, Session
from tui.services.chat.shelf import Shelf
from tui.services.chat.writing import Stopped, Writer, held
from tui.text import clean_door, clean_name, size

LETTERS: Final = "ABCD"


@record(frozen=True)
class Order:
    """Whether the models are asked at once, and why, in words."""

    at_once: bool
    how: str


class Comparing:
    """Verbs on comparisons in the open conversation; on the engine's thread."""

    def __init__(self, host: ChatHost, shelf: Shelf, keeper: Keeper, desk: Desk, writer: Writer) -> None:
        self._host, self._shelf, self._keeper, self._desk, self._writer = host, shelf, keeper, desk, writer

    async def compare(self, text: str, models: Sequence[ModelKey], blind: bool) -> None:
        """Ask several models the same."""
        session, text = self._desk.opened, clean_door(text)
        chosen = tuple(dict.fromkeys(models))
        if self._desk.refuses(session) or (session.busy and self._desk.refuses(session, tree=True)):
            return
        prompt = None if text.strip() else sending.last_prompt(session.messages)
        why = "" if 2 <= len(chosen) <= 4 else "A comparison is of two to four models"
        if not why and prompt is None and not text.strip():
            why = "There is no prompt to compare answers to"
        if why:
            self._host.notice(why, Severity.WARNING)
            return
        if prompt is None:
            session.queued.insert(0, Prompt(text, session.attached))
            session.draft, session.restored, session.attached = "", "", ()
        self._desk.work(session, self._compared(session, prompt, chosen, blind), then_queued=True)

    async def _compared(self, session: Session, prompt: Message | None, models: Sequence[ModelKey], blind: bool) -> None:
        if prompt is None:
            asked = session.queued[0]
            try:
                (prompt,) = await held(session, self._desk, self._desk.store_prompt(session, asked, answer=False))
            except (Stopped, asyncio.CancelledError, PaddockError) as error:
                self._desk.back_to_draft(session)
                if not isinstance(error, Stopped):
                    raise
                return
            await self._desk.remember(session, asked)
        self._desk.compared.set(())
        await self._run(session, prompt, models, blind)
        self._desk.relist()

    async def again(self, session: Session, target: Message, changes: Mapping[str, Any] | None = None) -> None:
        """Have one of the models shown answer again, in its column; what it said before stays as a branch."""
        number, view = target.comparison, session.compare
        if view is None:
            return
        before = replace(target, comparison=0)
        await self._keeper.keep(lambda: session.store.update_answer(before))
        empty = Message(
            0, session.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING, provider=target.provider, model=target.model,
            parent=target.parent, comparison=number,
        )  # fmt: skip
        (row,) = await self._keeper.keep(lambda: session.store.add_messages((empty,)))
        columns = tuple(replace(column, message_id=row.id) if column.message_id == target.id else column for column in view.columns)
        session.answers = {column.message_id: session.answers.get(column.message_id, row) for column in columns}
        session.compare = replace(view, columns=columns)
        session.reload()
        self._desk.show(session)
        await self._written(session, row, changes)

    async def _written(self, session: Session, row: Message, changes: Mapping[str, Any] | None = None) -> Message:
        ended = await self._writer.write(session, row, changes)
        self._desk.look_whether_free(session, ended.id)
        return ended

    async def show_comparison(self, message: int) -> None:
        """Show a comparison made before."""
        session = self._desk.opened
        target = session.message(message)
        if target is None or not target.comparison or not self._found(session, target.comparison):
            self._host.notice("This answer is of no comparison")
        else:
            self._desk.show(session)

    async def take(self, message: int) -> None:
        """Go on with one of the answers."""
        session = self._desk.opened
        chosen = session.answers.get(message)
        if session.compare is None or chosen is None or self._desk.refuses(session, tree=True):
            return
        async with self._desk.changing(session):
            await self._keeper.keep(lambda: session.store.set_tip(session.id, session.store.leaf(message)))
            self._leave(session)
            await self._desk.go_on_with(session, chosen.provider, chosen.model)

    async def leave_comparison(self) -> None:
        """Show the conversation again."""
        self._leave(self._desk.opened)

    def _leave(self, session: Session) -> None:
        session.compare, session.answers = None, {}
        if session.id:
            session.reload()
        if session is self._desk.opened:
            self._desk.compared.set(())
        self._desk.show(session)
        self._desk.check_soon()

    async def votes(self, then: Callable[[Sequence[Votes]], None]) -> None:
        """How each model fared."""
        then((self._shelf.stored or self._shelf.memory).votes())

    # --- one after the other, or at once

    async def _run(self, session: Session, prompt: Message, models: Sequence[ModelKey], blind: bool) -> None:
        """Have all of them answer the prompt; ends when all have ended."""
        number = session.store.next_comparison(session.id)
        empty = [
            Message(
                0, session.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING, provider=provider, model=model, parent=prompt.id,
                comparison=number,
            )
            for provider, model in models
        ]  # fmt: skip
        rows = await self._keeper.keep(lambda: session.store.add_messages(empty))
        await self._keeper.keep(lambda: session.store.set_tip(session.id, rows[0].id))
        order = self.order(session, models)
        columns = tuple(CompareColumn(row.provider, row.model, row.id) for row in rows)
        session.answers = {row.id: row for row in rows}
        session.compare = named(CompareView(number, prompt.id, columns, order.how, blind))
        session.reload()
        self._desk.show(session)
        if order.at_once:
            await asyncio.gather(*(self._written(session, row) for row in rows))
            return
        for at, row in enumerate(rows):
            if session.answers.get(row.id, row).state.ended:  # it was stopped before its turn
                continue
            left = [later for later in rows[at + 1 :] if later.id not in session.unwanted]
            for later in left:
                self._waits(session, later.id, f"after {_name(session, row.id)}")
            self._waits(session, row.id, "")
            ended = await self._written(session, row)
            if ended.state is AnswerState.STOPPED and session.stopping:
                await self._stopped(session, [later for later in left if later.id not in session.unwanted])
                return

    async def _stopped(self, session: Session, rows: Sequence[Message]) -> None:
        """They were stopped before they began."""
        for row in rows:
            self._waits(session, row.id, "")
            ended = replace(row, state=AnswerState.STOPPED)
            session.put(ended)
            await self._keeper.keep(lambda ended=ended: session.store.finish_answer(ended))  # type: ignore[misc]
        self._desk.show(session)

    async def skip(self, session: Session, message: int) -> None:
        """One that waits for its turn was stopped: it ends now, and its turn does not come."""
        columns = session.compare.columns if session.compare is not None else ()
        if any(column.message_id == message and column.waits for column in columns):
            await self._stopped(session, [session.answers[message]])

    def _waits(self, session: Session, message: int, why: str) -> None:
        view = session.compare
        if view is None:
            return
        columns = tuple(replace(column, waits=why) if column.message_id == message else column for column in view.columns)
        session.compare = replace(view, columns=columns)
        self._desk.show(session)

    def _found(self, session: Session, number: int) -> bool:
        """Show a comparison that was made before; whether there is one."""
        answers = session.store.compared(session.id, number)
        if not answers:
            return False
        vote = session.store.vote_of(session.id, number)
        columns = tuple(CompareColumn(answer.provider, answer.model, answer.id) for answer in answers)
        session.answers = {answer.id: answer for answer in answers}
        session.compare = named(CompareView(number, answers[0].parent, columns, vote=vote or 0))
        return True

    async def vote(self, message: int) -> None:
        """Keep which answer is best (-1: none), and say who is who."""
        session = self._desk.opened
        view, winner = session.compare, session.answers.get(message)
        if view is None or self._desk.refuses(session):
            return
        if view.vote or (winner is None and message != -1) or not all(row.state.ended for row in session.answers.values()):
            self._host.notice("A vote is given once, when all answers have ended")
            return
        others = [row for row in session.answers.values() if row.id != message]
        await self._keeper.keep(lambda: session.store.add_vote(session.id, view.prompt_id, view.number, winner, others, view.blind))
        if session.compare is view:
            session.compare = named(replace(view, vote=message))
        self._desk.show(session)

    # --- at once, or not

    def order(self, session: Session, models: Sequence[ModelKey]) -> Order:
        """Decide by the estimate of what each needs beside what is in memory already."""
        here = [(provider, model) for provider, model in models if self._here(provider)]
        fresh = [key for key in here if not sending.is_loaded(self._host, *key)]
        if not here:
            return Order(True, "at once: none of them runs on this machine")
        if not fresh:
            return Order(True, "at once: all of them are in memory" if len(here) == len(models) else "at once: those here are in memory")
        if len(here) == 1:
            return Order(True, "at once: only one of them runs on this machine")
        needs = [sending.need_of(self._host, *key, session.settings) for key in fresh]
        machine = self._host.machine()
        if machine is None or any(need is None for need in needs):
            return Order(False, "one after the other: what they need together is not known")
        needed, free = sum(need or 0 for need in needs), room(machine)
        words = f"together they need about {size(needed)} more, {size(max(0, free))} is free"
        return Order(True, f"at once: {words}") if needed <= free else Order(False, f"one after the other: {words}")

    def _here(self, provider: str) -> bool:
        state = self._host.provider_state(provider)
        return state is not None and state.location is Location.HERE


def room(machine: Machine) -> int:
    """Bytes that models may still take: of the GPUs where there are some, else of main memory."""
    if machine.gpus:
        return machine.gpu_free - SERVED.margin * machine.gpus
    return int(machine.ram_free * RAM_SHARE)


def named(view: CompareView) -> CompareView:
    """The columns with the names they may show: letters in a blind comparison until a vote."""
    hidden = view.blind and not view.vote
    columns = tuple(replace(column, name=LETTERS[at] if hidden else clean_name(column.model, 40)) for at, column in enumerate(view.columns))
    return replace(view, columns=columns)


def _name(session: Session, message: int) -> str:
    columns = session.compare.columns if session.compare is not None else ()
    return next((column.name for column in columns if column.message_id == message), "")
