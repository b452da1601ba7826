"""What an exported conversation says to people besides its messages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tui.core.chat import AnswerState, ConversationSettings, Message, Role
from tui.services.chat.conversation_file import ConversationFile
from tui.text import clean_label, clean_name, count, duration

_ENDS = {
    AnswerState.LENGTH: "cut by its length",
    AnswerState.STOPPED: "stopped",
    AnswerState.INTERRUPTED: "interrupted",
    AnswerState.FAILED: "failed",
    AnswerState.WAITING: "waiting for its first word",
    AnswerState.WRITING: "still being written",
}


def when(at: float) -> str:
    """A time for people, empty where it is not known."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at)) if at else ""


def who(message: Message) -> str:
    """Who says a message."""
    if message.role is Role.USER:
        return "you"
    if message.role is Role.TOOL:
        return f"tool {clean_name(message.tool_name)}".rstrip()
    if message.role is Role.SYSTEM:
        return "what came before, in short" if message.content else "what came before is not sent any more"
    return clean_name(message.model) or "assistant"


def end_words(message: Message) -> str:
    """How an answer ended, where it is not complete or is empty."""
    why = f": {clean_label(message.failure.sentence())}" if message.failure is not None else ""
    if message.state is not AnswerState.COMPLETE:
        return f"{_ENDS[message.state]}{why}"
    return "an empty answer" if message.role is Role.ASSISTANT and not (message.content or message.tool_calls) else ""


def figure_words(message: Message) -> str:
    """Figures of an answer: what the server reports and what we measured, each named."""
    if message.role is not Role.ASSISTANT:
        return ""
    metrics, line = message.metrics, message.timeline
    said = [
        f"{count(metrics.prompt_tokens)} tokens read" if metrics.prompt_tokens is not None else "",
        f"{count(metrics.output_tokens)} written" if metrics.output_tokens is not None else "",
        f"{metrics.rate:.1f} tokens/s" if metrics.rate else "",
        f"loaded in {duration(metrics.load_seconds)}" if metrics.load_seconds else "",
    ]
    seen = [
        f"first token after {duration(line.first_token)}" if line.first_token is not None else "",
        f"thought for {duration(line.thought)}" if line.thought is not None else "",
        f"wrote for {duration(line.wrote)}" if line.wrote is not None else "",
        f"{'about ' if line.rate_estimated else ''}{line.rate:.1f} tokens/s" if line.rate is not None else "",
    ]
    both = (("the server says", said), ("measured", seen))
    return "; ".join(f"{name}: {', '.join(filter(None, parts))}" for name, parts in both if any(parts))


def settings_lines(settings: ConversationSettings) -> list[str]:
    """What is set besides the system prompt, on one line at most."""
    values: Mapping[str, Any] = {
        "think": settings.think if settings.think != "auto" else "",
        "preset": settings.preset,
        **settings.options,
        "keep_alive": settings.keep_alive,
        "format": "json" if settings.format == "json" else "a JSON schema" if settings.format else "",
        "tools": ", ".join(settings.tools),
    }
    known = [f"{clean_name(key, 60)} {clean_label(str(value), 120)}" for key, value in values.items() if value not in ("", None)]
    return [f"Set: {' · '.join(known)}"] if known else []


def left_out_words(file: ConversationFile, branch: Sequence[Message]) -> str:
    """What Markdown does not hold, in a sentence; empty where nothing is missing."""
    missing = []
    if others := len(file.messages) - len(branch):
        missing.append("one message of another branch" if others == 1 else f"{others:,} messages of other branches")
    if pictures := sum(one.media != "" for message in branch for one in message.attachments):
        missing.append("a picture" if pictures == 1 else f"{pictures:,} pictures")
    if any(figure_words(message) for message in branch):
        missing.append("figures and options in full")
    return f"*Not in this file: {', '.join(missing)}. The JSON and HTML forms hold everything.*" if missing else ""
