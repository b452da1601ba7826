"""Conversations as everything passes them around: frozen snapshots without behaviour.

Times are UTC epoch seconds, durations seconds, sizes bytes. `Message.content`, `Message.thinking` and `Attachment.text` are
exact (see `text.clean_door`) and must be cleaned to be drawn; every other text that came from outside was cleaned where it
entered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from tui.core.errors import Failure
from tui.core.events import Metrics
from tui.core.record import record


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class AnswerState(StrEnum):
    """Five different ends, and the two states before one."""

    WAITING = "waiting"  # sent, no token yet
    WRITING = "writing"
    COMPLETE = "complete"
    LENGTH = "length"  # cut by num_predict or the context
    STOPPED = "stopped"  # by the user
    INTERRUPTED = "interrupted"  # by the server, the line, or a crash of ours
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """No more text will come."""
        return self not in (AnswerState.WAITING, AnswerState.WRITING)


@record(frozen=True)
class Timeline:
    """One answer's time and energy as *we* measured them, seconds; None where that phase did not happen or was not seen (yet).

    What the server itself reports is `Metrics`; the two are shown side by side and never mixed.

    Attributes:
        waited: From sending until the load was seen, or the prompt was seen to be read, or the first byte.
        loaded: Loading the model, as seen in the list of what is in memory.
        read: Reading the prompt: from the first sign of it until the first token.
        wrote: From the first token to the last, or to the end of a silence after it.
        stalled: Of `wrote`, silences of `timing.STALL` seconds and more.
        first_token: From sending to the first token or thought.
        thought: From the first thought to the first text.
        rate: Tokens a second while it wrote, silences left out: of the server's count of tokens and our clock, else of pieces
            (`rate_estimated`).
        joules: Energy of the GPUs it ran on, from sending to the end.
    """

    waited: float | None = None
    loaded: float | None = None
    read: float | None = None
    wrote: float | None = None
    stalled: float | None = None
    first_token: float | None = None
    thought: float | None = None
    rate: float | None = None
    rate_estimated: bool = False
    joules: float | None = None


class AttachmentKind(StrEnum):
    """What can go with a prompt."""

    TEXT = "text"
    IMAGE = "image"


@record(frozen=True)
class Attachment:
    """A file or a large paste that goes with a prompt.

    Attributes:
        id: Row id; 0 before it is stored.
        name: Cleaned, without folders.
        path: Where it came from, cleaned; empty for a paste.
        size: Bytes of the file as it was read.
        text: Exact text of a text file.
        digest: Hex SHA-256 of the bytes.
        data: Bytes of an image; only filled where it is about to be sent or saved.
        media: `image/png`, `image/jpeg`, `image/webp` or `image/gif`, by its first bytes; empty for text.
    """

    name: str
    kind: AttachmentKind = AttachmentKind.TEXT
    size: int = 0
    id: int = 0
    path: str = ""
    text: str = ""
    digest: str = ""
    data: bytes = b""
    media: str = ""


@record(frozen=True)
class Message:
    """One stored message of a conversation, a node of its tree.

    Attributes:
        id: Row id; 0 before it is stored.
        seq: Order of storing in the conversation.
        parent: Id of the message it follows; 0 for a first one. Messages of one parent are branches.
        content: Exact text.
        thinking: Exact thoughts.
        tool_calls: Of an answer, as they will be sent back: `{"id", "function": {"name", "arguments"}}`.
        tool_name: Of a tool's result: which tool; `tool_call_id` which call.
        state: Of an answer; COMPLETE for other roles.
        provider: Of an answer: who gave it, by the user's name.
        metrics: What the server reported.
        timeline: What we measured.
        prompt_estimate: Tokens we think were sent, for the "model saw less" alarm.
        attachments: What went with a prompt.
        pinned: Stays in what is sent when the oldest messages are dropped.
        keep_from: Of a context mark (role SYSTEM): id of the first message that is still sent after it; `content` is the
            summary of those before, or empty.
        comparison: Number that the answers of one comparison share; 0 for none.
        options: What was sent with the request of an answer: sampling options by their Ollama names, `think`, `format`, `preset`.
        note: A remark of ours: who answered instead of whom, that it was taken from the history, that it was edited.
        request: Of an answer: hex SHA-256 of the request it answers, for `limits.reuse_answers`; empty where it may not be reused.
    """

    id: int
    conversation: int
    seq: int
    role: Role
    content: str
    thinking: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    state: AnswerState = AnswerState.COMPLETE
    failure: Failure | None = None
    provider: str = ""
    model: str = ""
    created_at: float = 0.0
    metrics: Metrics = field(default_factory=Metrics)
    timeline: Timeline = field(default_factory=Timeline)
    prompt_estimate: int | None = None
    parent: int = 0
    attachments: tuple[Attachment, ...] = ()
    pinned: bool = False
    keep_from: int = 0
    comparison: int = 0
    tool_name: str = ""
    tool_call_id: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    request: str = ""


@record(frozen=True)
class ConversationHead:
    """A conversation in a list."""

    id: int
    title: str
    provider: str
    model: str
    created_at: float
    updated_at: float
    messages: int
    pinned: bool = False
    tags: tuple[str, ...] = ()


@record(frozen=True)
class Found:
    """A conversation that holds what was searched.

    Attributes:
        message: Id of the message that matches best, 0 where only the title or a tag does.
        excerpt: Some words round the first match, on one line.
    """

    head: ConversationHead
    message: int = 0
    excerpt: str = ""


@record(frozen=True)
class ConversationSettings:
    """What is set for one conversation; None or empty means not set, and then nothing is sent.

    Attributes:
        think: "auto", "on", "off", "low", "medium", "high".
        options: Sampling and runner options by their Ollama names.
        keep_alive: How long the model stays loaded after an answer.
        format: "json", or a JSON schema as an object; None for free text.
        tools: Names of the tools the model may ask for; each call asks the user.
    """

    system: str = ""
    think: str = "auto"
    preset: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: str = ""
    format: Any = None
    tools: tuple[str, ...] = ()


@record(frozen=True)
class ChatRequest:
    """What a provider is asked; messages end with the user's (or a tool's, or, to continue, the assistant's).

    Attributes:
        tools: `{"type": "function", "function": {"name", "description", "parameters"}}`.
        format: See `ConversationSettings.format`.
    """

    model: str
    messages: tuple[Message, ...]
    system: str = ""
    think: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: str = ""
    format: Any = None
    tools: tuple[Mapping[str, Any], ...] = ()


@record(frozen=True)
class CompletionRequest:
    """Text to go on with, and for fill-in-the-middle what stands behind the gap.

    Attributes:
        raw: No template is applied by the server.
    """

    model: str
    prompt: str
    suffix: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: str = ""
    raw: bool = False


@record(frozen=True)
class Votes:
    """How a model fared in comparisons, over all of them.

    Attributes:
        won: Votes for it.
        lost: Votes for another one beside it.
        blind: Of both, those given without knowing the names.
        rate: Median generation rate in tokens a second of its compared answers, None where unknown.
        first_token: Median seconds to the first token of them.
    """

    provider: str
    model: str
    won: int = 0
    lost: int = 0
    blind: int = 0
    rate: float | None = None
    first_token: float | None = None
