"""The Chat screen's transcript: what is stored, and the answer while it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from textual.timer import Timer

from tui.core.chat import Message
from tui.services.chat.api import AnswerBuffer, ConversationView, LiveAnswer
from tui.services.monitor.profile_words import usual
from tui.text import clean_label, clean_name
from tui.ui.base import AppScreen
from tui.ui.screens import chat_words
from tui.ui.widgets.prompt import Composer, PromptArea
from tui.ui.widgets.transcript import Transcript
from tui.ui.widgets.transcript_message import Row

if TYPE_CHECKING:
    from tui.services.api import Services

LEAST_LOG: Final = 20
"""Cells that a line of the server's log must have to be shown."""
_Extras = tuple[Any, ...]


class ChatLive(AppScreen):
    """Keeps the transcript up to date; `ChatScreen` has the rest."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.transcript = Transcript(id="chat-transcript")
        """Where the conversation stands."""
        self._prompt = PromptArea(composer_id="chat-composer", id="chat-prompt")
        self._conversation = -1
        self._live: LiveAnswer | None = None
        self._streamed = 0  # id of the message whose text is appended to
        self._buffer: AnswerBuffer | None = None
        self._taken = (0, 0)
        self._ticker: Timer | None = None
        self._drawn: dict[int, tuple[Message, _Extras, Row]] = {}
        self._synced: tuple[Any, ...] = ()
        self._timed: set[int] = set()
        self._wanted = 0
        """Id of a message to go to as soon as it is shown."""

    @property
    def composer(self) -> Composer:
        """Where prompts are written."""
        return self._prompt.composer

    @property
    def view(self) -> ConversationView:
        """The conversation shown."""
        return self.services.chat.view.value

    @property
    def writing(self) -> bool:
        """An answer of this conversation is being written."""
        return self._live is not None and not self._live.state.ended

    # --- what is stored -----------------------------------------------------------------------------------------------

    def show_messages(self, view: ConversationView) -> None:
        """Bring the transcript up to date with the branch that is shown."""
        if view.id != self._conversation and self._conversation != -1:
            self.transcript.clear()
            self._drawn, self._timed = {}, set()
            self._taken, self._synced = (0, 0), ()
        self._conversation = view.id
        live = self._concerned(view)
        stored = {message.id: message for message in view.messages}
        if self._streamed in stored and stored[self._streamed].state.ended and (live is None or live.state.ended):
            self._finish(live)
        state = (view.messages, view.branches, view.settling, self._streamed, self.ascii, self.binary, frozenset(self._timed))
        if state == self._synced:
            self.go_to_wanted()
            return
        self._synced = state
        rows = [
            chat_words.mark_row(message, dropped) if chat_words.is_mark(message) else self._row(view, message)
            for message, dropped in chat_words.place_marks(view.messages)
        ]
        if live is not None and self._streamed and self._streamed not in stored:
            rows.append(Row(self._streamed, clean_label(live.model, 40), self._figures(live), None))
        self._drawn = {number: self._drawn[number] for number in stored if number in self._drawn}
        self.transcript.show(rows)
        if live is not None:
            self._take(live)
        self.go_to_wanted()

    def go_to_wanted(self) -> None:
        """Go to the message that is wanted, once it is shown."""
        if self._wanted in self.transcript:
            self.transcript.move_to(self._wanted)
            self.transcript.focus()
            self._wanted = 0

    def _row(self, view: ConversationView, message: Message) -> Row:
        """The row of a message; the very same one while nothing of it has changed."""
        siblings = view.branches.get(message.id, ())
        branch = (siblings.index(message.id) + 1, len(siblings)) if message.id in siblings and len(siblings) > 1 else None
        streamed = message.id == self._streamed
        full = message.id in self._timed
        usually = self._usual(message) if full else ""
        extras = (branch, view.settling == message.id, full, self.ascii, self.binary, streamed, usually)
        known = self._drawn.get(message.id)
        if known is not None and known[1] == extras and (known[0] is message or known[0] == message):
            return known[2]
        if streamed:
            name = clean_label(self._live.model, 40) if self._live is not None else chat_words.speaker(message)
            figures = self._figures(self._live) if self._live is not None else chat_words.figures(message)
            left = name + chat_words.marks(message, branch, ascii=self.ascii)
            row = Row(message.id, left, figures, None, notes=chat_words.row(message).notes)
        else:
            settling = view.settling == message.id
            row = chat_words.row(message, branch=branch, settling=settling, full=full, ascii=self.ascii, binary=self.binary, usual=usually)
        self._drawn[message.id] = (message, extras, row)
        return row

    def _usual(self, message: Message) -> str:
        """How the model of an answer usually does."""
        profile = self.services.monitor.profiles.value.get((clean_name(message.provider), clean_name(message.model)))
        return usual(profile) if profile is not None else ""

    # --- what is written ----------------------------------------------------------------------------------------------

    def _concerned(self, view: ConversationView) -> LiveAnswer | None:
        """The answer being written, where it is one of this conversation."""
        live = self._live
        return live if live is not None and live.conversation in (view.id, 0) else None

    def show_live(self, live: LiveAnswer | None) -> None:
        """Append what is new of the answer being written; the engine sets the pace."""
        with self.transcript.at_once():
            self._take_over(live)
        self._tick(live is not None and chat_words.is_waiting(live))

    def _take_over(self, live: LiveAnswer | None) -> None:
        before, self._live = self._live, live
        view = self.view
        if before is not None and (live is None or live.message_id != before.message_id):
            self._take(before)
        live = self._concerned(view)
        if live is not None and (live.message_id != self._streamed or live.buffer is not self._buffer):
            if self._streamed in self.transcript:
                self.transcript.finish(self._streamed)
            self._streamed, self._buffer, self._taken = live.message_id, live.buffer, (0, 0)
        self.show_messages(view)
        if live is not None and live.message_id == self._streamed:
            self._take(live)
            self._head(live)

    def _take(self, live: LiveAnswer) -> None:
        """Append the pieces that came."""
        if live.message_id != self._streamed or live.message_id not in self.transcript:
            return
        text, thinking = live.buffer.text, live.buffer.thinking
        ends = (len(text), len(thinking))
        if ends[1] > self._taken[1]:
            self.transcript.append_thinking(live.message_id, "".join(thinking[self._taken[1] : ends[1]]), live.timeline.thought, ends[1])
        if ends[0] > self._taken[0]:
            self.transcript.append(live.message_id, "".join(text[self._taken[0] : ends[0]]))
        self._taken = ends

    def _finish(self, live: LiveAnswer | None) -> None:
        """The stored message is whole: what was streamed stays as it is drawn."""
        if live is not None:
            self._take(live)
        if self._streamed in self.transcript:
            self.transcript.finish(self._streamed)
        self._streamed, self._buffer = 0, None

    def _head(self, live: LiveAnswer) -> None:
        known = self._drawn.get(live.message_id)
        branch = known[1][0] if known is not None else None
        more = chat_words.marks(known[0], branch, ascii=self.ascii) if known is not None else ""
        if live.message_id in self.transcript:
            self.transcript.set_header(live.message_id, clean_label(live.model, 40) + more, self._figures(live))

    def _figures(self, live: LiveAnswer) -> str:
        figures = chat_words.live_figures(live)
        room = self.size.width - len(figures) - len(live.model) - 12
        if live.phase != "loading" or room < LEAST_LOG:
            return figures
        says = self.services.registry.log_line(live.provider)[:room]
        return f"{figures} · {says}" if says else figures

    def _tick(self, on: bool) -> None:
        """Waits count seconds; nothing else does."""
        if on and self._ticker is None:
            self._ticker = self.set_interval(1.0, self._tock)
        elif not on and self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    def _tock(self) -> None:
        if self._live is not None and self.can_draw():
            self._head(self._live)

    # --- the message under the cursor ---------------------------------------------------------------------------------

    def message(self) -> Message | None:
        """The message under the cursor."""
        number = self.transcript.cursor
        return next((message for message in self.view.messages if message.id == number), None)

    def with_message(self, verb: Callable[[Message], object]) -> None:
        """Call the verb with the message under the cursor, where there is one."""
        message = self.message()
        if message is None:
            self.say("There is no message yet")
        else:
            verb(message)
