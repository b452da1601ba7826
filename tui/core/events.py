"""What a provider's streams yield, the same for every kind of server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from tui.core.record import record


@record(frozen=True)
class Delta:
    """A piece of the answer's text, as received (cleaned at the door only: `text.clean_door`)."""

    text: str


@record(frozen=True)
class Thinking:
    """A piece of the model's thoughts."""

    text: str


@record(frozen=True)
class ToolCall:
    """A whole tool call; `arguments` is the parsed object."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@record(frozen=True)
class PromptProgress:
    """The server is reading the prompt: tokens done of total."""

    done: int
    total: int


@record(frozen=True)
class Metrics:
    """What the server itself reports at the end; seconds and tokens, None where it does not say.

    Attributes:
        prompt_tokens: Tokens of the prompt the model saw (cache hits included).
        output_tokens: Tokens written, thinking included.
        prompt_seconds: Time to read the prompt (cache hits not included).
        output_seconds: Time to write.
        load_seconds: Waiting in the queue and loading the model.
        total_seconds: All of it, as the server saw it.
        cached_tokens: Tokens of the prompt that came from a cache and were not read.
    """

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    prompt_seconds: float | None = None
    output_seconds: float | None = None
    load_seconds: float | None = None
    total_seconds: float | None = None
    cached_tokens: int | None = None

    @property
    def rate(self) -> float | None:
        """Generation rate in tokens per second as the server reports it."""
        if not self.output_tokens or not self.output_seconds:
            return None
        return self.output_tokens / self.output_seconds

    @property
    def prompt_rate(self) -> float | None:
        """Tokens a second of the prompt read; None where it is not told how many came from a cache, or too few were read to say."""
        return None if self.cached_tokens is None else prompt_rate(self.prompt_tokens, self.cached_tokens, self.prompt_seconds)


FEW: Final = 64
"""Tokens of a prompt below which the time to read them says nothing of the speed."""


def prompt_rate(tokens: int | None, cached: int, seconds: float | None) -> float | None:
    """Tokens a second of a prompt of which `cached` were not read."""
    if tokens is None or not seconds or tokens - cached < FEW:
        return None
    return (tokens - cached) / seconds


@record(frozen=True)
class Done:
    """The end marker came: only after this is an answer complete.

    Attributes:
        reason: `stop`, `length`, `tool_calls`, `load`, `unload` or what the server said, cleaned.
        model: The name of the model that answered, where the server says so.
    """

    reason: str
    metrics: Metrics = field(default_factory=Metrics)
    model: str = ""


StreamEvent = Delta | Thinking | ToolCall | PromptProgress | Done


@record(frozen=True)
class JobStep:
    """One line of a pull, push or create stream.

    Attributes:
        status: The server's words, cleaned (`pulling manifest`, `verifying sha256 digest`, `success` …).
        digest: Of the layer this line is about, or empty.
        total: Bytes of that layer, None where not said.
        completed: Bytes of it on the server, None where not said.
    """

    status: str
    digest: str = ""
    total: int | None = None
    completed: int | None = None
