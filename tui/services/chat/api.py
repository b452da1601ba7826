"""What screens and commands may ask of the chats: verbs return at once, effects come back as state (see `services.api`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol

from tui.core.chat import (
    AnswerState,
    Attachment,
    ConversationHead,
    ConversationSettings,
    Found,
    Message,
    Timeline,
    Votes,
)
from tui.core.errors import Failure
from tui.core.events import Metrics
from tui.core.models import ModelKey
from tui.core.observe import Observable
from tui.core.record import record


class AnswerBuffer:
    """The text of the answer being written; appended on the engine's thread, read by the interface's.

    Pieces are cleaned (`text.StreamCleaner`). A reader keeps two indices and takes what is new.
    """

    __slots__ = ("text", "thinking")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.thinking: list[str] = []


@record(frozen=True)
class LiveAnswer:
    """The answer being written; a new snapshot at most 15 times a second, the text in `buffer`.

    Attributes:
        message_id: Of the stored answer row.
        phase: "waiting", "loading", "reading", "thinking", "writing", "stalled": what is waited for, in words in `note`.
        since: Monotonic start of this phase.
        sent_at: Monotonic time of sending.
        pieces: Text pieces so far (about tokens).
    """

    conversation: int
    message_id: int
    model: str
    provider: str
    state: AnswerState
    phase: str
    note: str
    since: float
    sent_at: float
    pieces: int = 0
    timeline: Timeline = field(default_factory=Timeline)
    metrics: Metrics = field(default_factory=Metrics)
    buffer: AnswerBuffer = field(default_factory=AnswerBuffer, compare=False)
    failure: Failure | None = None


@record(frozen=True)
class CompareColumn:
    """One model's side of a comparison; its text is in `ConversationView.answers` and `ChatApi.compared`.

    Attributes:
        message_id: Of its answer; 0 before it is stored.
        waits: Why it has not begun, in words: "after gemma3:12b", "needs 9.1 GB, 4.2 GB is free"; empty once it has.
        name: What the column is called: the model, or A, B, C, D while a blind comparison is not decided.
    """

    provider: str
    model: str
    message_id: int = 0
    waits: str = ""
    name: str = ""


@record(frozen=True)
class CompareView:
    """The comparison shown in the open conversation.

    Attributes:
        number: `Message.comparison` of its answers.
        prompt_id: Of the prompt they answer.
        how: How it was decided to run them and why: "one after the other: together they need 31 GB of 24 GB".
        blind: Names are hidden until a vote.
        vote: Id of the answer voted for, 0 before one, -1 for none of them.
    """

    number: int
    prompt_id: int
    columns: tuple[CompareColumn, ...]
    how: str = ""
    blind: bool = False
    vote: int = 0


@record(frozen=True)
class ContextCheck:
    """What sending would mean for the context, before it is sent.

    Attributes:
        tokens: About how many tokens the next request has, attachments and tools included.
        window: Served context length, None while unknown.
        over: Whether it is more than fits with room for an answer.
        larger: The context length to offer (a power of two that fits, at most the trained one), None where there is none.
        costs: What that takes in words: "+1.2 GB, 7.9 of 24 GB free after it"; empty where not known.
    """

    tokens: int
    window: int | None = None
    over: bool = False
    larger: int | None = None
    costs: str = ""


@record(frozen=True)
class ConversationView:
    """The open conversation.

    Attributes:
        id: 0 while nothing was sent yet.
        messages: The branch that is shown, from its first message to its tip, the newest answer included (its text grows in
            `ChatApi.live`).
        branches: Of each message that has siblings: their ids in order, itself included.
        answers: The messages of the comparison shown, by id; they are branches of one prompt.
        queued: Prompts waiting until the answer is done.
        attached: What goes with the next prompt.
        used: Tokens of context used (reported or estimated), None while unknown.
        used_estimated: It is an estimate.
        window: Served context length in tokens, None while unknown.
        check: Of the next request, made anew as what is typed and attached changes.
        alarm: The model saw less than was sent: the sentence, or empty.
        settling: Id of the stopped answer whose server may still be reading the prompt; 0 once it was seen to be free.
        waits: What the whole conversation waits for before it can send: "qwen3:8b is being pulled, 43 %"; empty else.
        read_only: Another app holds the lease; says who.
        incognito: Nothing of it is stored.
        unfinished: Of an empty one: title of the conversation that was left in the middle when the program ended last.
        draft: Text that was typed in it and not sent; to be put into the composer.
        turn: Counts up each time another conversation is shown; with it the composer's text changes hands.
    """

    id: int = 0
    title: str = ""
    provider: str = ""
    model: str = ""
    settings: ConversationSettings = field(default_factory=ConversationSettings)
    messages: tuple[Message, ...] = ()
    branches: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    answers: Mapping[int, Message] = field(default_factory=dict)
    compare: CompareView | None = None
    queued: tuple[str, ...] = ()
    attached: tuple[Attachment, ...] = ()
    used: int | None = None
    used_estimated: bool = True
    window: int | None = None
    check: ContextCheck | None = None
    alarm: str = ""
    settling: int = 0
    waits: str = ""
    read_only: str = ""
    incognito: bool = False
    unfinished: str = ""
    tags: tuple[str, ...] = ()
    draft: str = ""
    turn: int = 0


class ChatApi(Protocol):
    """Conversations, and the answers being written in each.

    Where a verb takes a `message`, 0 means the last answer of the branch shown.
    """

    heads: Observable[tuple[ConversationHead, ...]]
    view: Observable[ConversationView]
    live: Observable[LiveAnswer | None]
    compared: Observable[tuple[LiveAnswer, ...]]
    """The answers of the comparison shown that are being written, in the order of its columns."""

    # conversations

    def open(self, conversation: int, message: int = 0) -> None:
        """Show a stored conversation; with a message, the branch that holds it."""

    def new(self, provider: str = "", model: str = "", *, incognito: bool = False) -> None:
        """Start an empty one (kept only once something is sent; an incognito one only in memory)."""

    def use_model(self, provider: str, model: str) -> None:
        """Go on with another model."""

    def configure(self, settings: ConversationSettings) -> None:
        """Set what is set for this conversation."""

    def rename(self, conversation: int, title: str) -> None:
        """Give it a title; an empty one asks the model for one."""

    def tag(self, conversation: int, tags: Sequence[str]) -> None:
        """Replace its tags."""

    def pin(self, conversation: int, on: bool) -> None:
        """Keep it at the top of the list, or not."""

    def delete(self, conversation: int) -> None:
        """Delete it; `undo_delete` brings it back."""

    def undo_delete(self) -> None:
        """Bring back what was deleted last: a conversation, or messages."""

    def search(self, text: str, then: Callable[[Sequence[Found]], None]) -> None:
        """Conversations holding every word (`#word`: a tag); `then` is called on the engine's thread."""

    def export(self, conversation: int, form: str = "md") -> None:
        """Write it as `md`, `json` or `html` to a 0600 file in the data folder; a notice names it."""

    def read_in(self, path: str) -> None:
        """Import a file that `export` wrote, in any of its three forms; the conversation is opened."""

    # prompts

    def send(self, text: str) -> None:
        """Store the prompt with what is attached, then send it; while an answer is written it is queued."""

    def unqueue(self, index: int, text: str | None = None) -> None:
        """Take a queued prompt back, or (with a text) change it."""

    def attach(self, paths: Sequence[str]) -> None:
        """Read files (text, or images for models that see) and attach them; what cannot be is said."""

    def attach_text(self, name: str, text: str) -> None:
        """Attach a large paste."""

    def detach(self, index: int) -> None:
        """Take one of `ConversationView.attached` away."""

    def save_draft(self, text: str, turn: int = -1) -> None:
        """Keep what is typed and not sent; on disk within 2 s. Nothing is kept where another conversation is shown than in this `turn`."""

    def history(self) -> Sequence[str]:
        """Prompts sent before, newest first."""
        ...

    # answers

    def stop(self, message: int = 0) -> None:
        """Stop an answer and keep what came; 0: all that are written in this conversation."""

    def regenerate(self, message: int = 0, provider: str = "", model: str = "", options: Mapping[str, Any] | None = None) -> None:
        """Answer that prompt again, beside the first answer where that holds text; with other options or another model for this once."""

    def go_on(self, message: int = 0) -> None:
        """Continue a stopped, cut or interrupted answer where it ends."""

    def edit(self, message: int, text: str) -> None:
        """Say something else instead: a new branch. An edited prompt is answered; an edited answer stands as if it had been given."""

    def branch(self, message: int) -> None:
        """Go on from this message: what followed stays as a branch."""

    def switch(self, message: int, step: int) -> None:
        """Show the next (1) or previous (-1) branch in place of this message."""

    def delete_message(self, message: int, *, following: bool = False) -> None:
        """Delete a message, or it and all that follows it; `undo_delete` brings it back."""

    def pin_message(self, message: int, on: bool) -> None:
        """Keep it in what is sent when the oldest are dropped, or not."""

    # context

    def drop_oldest(self, keep_from: int = 0) -> None:
        """Send nothing before this message any more (0: drop what does not fit). A mark in the branch says so."""

    def summarise(self, keep_from: int = 0) -> None:
        """The same, with a summary by the model in place of what is dropped."""

    # comparisons

    def compare(self, text: str, models: Sequence[ModelKey], *, blind: bool = False) -> None:
        """Ask two to four models the same; an empty text asks the last prompt of the branch again."""

    def show_comparison(self, message: int) -> None:
        """Show the comparison that an answer belongs to, side by side."""

    def vote(self, message: int) -> None:
        """Say which answer of the comparison shown is best; -1: none."""

    def take(self, message: int) -> None:
        """Go on with this answer and its model; the comparison is left."""

    def leave_comparison(self) -> None:
        """Show the conversation again; answers being written go on."""

    def votes(self, then: Callable[[Sequence[Votes]], None]) -> None:
        """How each model fared; `then` is called on the engine's thread."""


@record(frozen=True)
class CompletionView:
    """What is completed: text before and after a gap, and what a model writes into it.

    Attributes:
        candidates: What was suggested so far, exact: to be cleaned where it is drawn. `shown` is the index of the one in view;
            the last one may be being written.
        state: Of the one in view.
        filled: The model fills the gap; False: it only goes on from the text before (it knows no suffix), which `note` says.
        note: A remark, or what is waited for.
        timeline: Of the last one.
    """

    provider: str = ""
    model: str = ""
    raw: bool = False
    candidates: tuple[str, ...] = ()
    shown: int = -1
    state: AnswerState = AnswerState.COMPLETE
    filled: bool = True
    note: str = ""
    failure: Failure | None = None
    timeline: Timeline = field(default_factory=Timeline)
    metrics: Metrics = field(default_factory=Metrics)


class CompletionApi(Protocol):
    """Completing text, one at a time; nothing of it is stored but its figures."""

    view: Observable[CompletionView]

    def ask(self, provider: str, model: str, prefix: str, suffix: str = "", *, raw: bool = False, again: bool = False) -> None:
        """Suggest what stands between; `again` adds a candidate with another seed."""

    def show(self, step: int) -> None:
        """The next or previous candidate."""

    def stop(self) -> None:
        """Stop; what came stays."""

    def clear(self) -> None:
        """Forget the candidates."""
