"""Tools during an answer: each call is asked for, run, and its result answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tui.core.chat import AnswerState, Attachment, Message, Role
from tui.core.clock import Clock
from tui.services.chat import tools
from tui.services.chat.host import ChatHost
from tui.services.chat.save import Keeper
from tui.services.chat.session import Session
from tui.services.chat.writing import Shown, Stopped, Writer, held
from tui.text import clean_name

ROUNDS: Final = 12
"""Answers in a row that may ask for tools; then the user has to go on by hand."""
CALLS: Final = 16
"""Calls of one answer that the user is asked about."""
_REFUSED: Final = "The user did not allow this call."
_TOO_MANY: Final = f"Only {CALLS} calls of one answer are looked at; ask again for what is still needed."


class Tooling:
    """Has answers written, with the tools they ask for."""

    def __init__(self, host: ChatHost, clock: Clock, keeper: Keeper, shown: Shown, writer: Writer) -> None:
        self._host, self._clock, self._keeper, self._shown, self._writer = host, clock, keeper, shown, writer

    async def answer(self, session: Session, row: Message, changes: Mapping[str, Any] | None = None) -> Message:
        """Have a stored answer written; while it asks for tools that are on, they are run and answered in turn."""
        ended = await self._writer.write(session, row, changes)
        rounds = 0
        while ended.state is AnswerState.COMPLETE and ended.tool_calls and session.settings.tools and session.compare is None:
            if rounds == ROUNDS:
                self._host.notice(f"{clean_name(ended.model)} has asked for tools {ROUNDS} times; go on with a prompt")
                break
            rounds += 1
            try:
                results = await held(session, self._shown, self._results(session, ended))
            except Stopped:
                return ended
            if not results:
                return ended
            empty = Message(0, session.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING, provider=ended.provider, model=row.model)
            stored = await self._keeper.keep(lambda rows=(*results, empty): session.store.add_messages(rows, chain=True))  # type: ignore[misc]
            session.grow(stored)
            self._shown.show(session)
            ended = await self._writer.write(session, stored[-1], changes)
        return ended

    async def _results(self, session: Session, ended: Message) -> list[Message]:
        """What the calls gave; empty where the user wants to stop here."""
        results: list[Message] = []
        questions = 0
        for at, call in enumerate(ended.tool_calls):
            asked = tools.call_of(call)
            around = tools.ToolContext(self._host.settings(), session.settings.tools, _files(session.messages), self._clock)
            if why := tools.refusal(asked, around) or (_TOO_MANY if questions == CALLS else ""):
                result = tools.ToolResult(why, failed=True)
            else:
                questions += 1
                session.waits = f"{clean_name(ended.model)} asks for the tool {clean_name(asked.name, 60)}"
                self._shown.show(session)
                text = f"{clean_name(ended.model)} wants to use a tool:\n{tools.describe(asked, around)}"
                choice = await self._host.ask(text, (("no", "Refuse"), ("run", "Run it once"), ("stop", "Stop here")))
                if choice == "stop":
                    return []
                if choice == "run":
                    self._host.audit("run tool", asked.name)
                    session.waits = f"the tool {clean_name(asked.name, 60)} runs"
                    self._shown.show(session)
                    result = await tools.run(asked, around)
                else:
                    result = tools.ToolResult(_REFUSED, failed=True)
            message = Message(
                0, session.id, 0, Role.TOOL, result.content, parent=0 if at else ended.id, tool_name=asked.name, tool_call_id=asked.id
            )  # fmt: skip
            results.append(message)
        return results


def _files(messages: Sequence[Message]) -> tuple[Attachment, ...]:
    """What was attached in the branch shown."""
    return tuple(file for message in messages for file in message.attachments)
