"""What the chat says about an answer: its header, the line of its time, and how it ended."""

from __future__ import annotations

import time
from typing import Final

from tui.core.chat import AnswerState, Message, Role, Timeline
from tui.core.jobs import JobKind, JobState, QueueView
from tui.core.names import same
from tui.services.chat.api import ConversationView, LiveAnswer
from tui.text import clean_block, clean_label, count, duration, tokens
from tui.ui.widgets.bars import bar

_ENDS: Final = {
    AnswerState.COMPLETE: "complete",
    AnswerState.LENGTH: "cut by length",
    AnswerState.STOPPED: "stopped",
    AnswerState.INTERRUPTED: "interrupted",
    AnswerState.FAILED: "failed",
    AnswerState.WAITING: "waiting",
    AnswerState.WRITING: "writing",
}


def speaker(message: Message) -> str:
    """Who speaks, as the rule above the message says."""
    if message.role is Role.USER:
        return "you"
    return clean_label(message.model or message.role.value, 40)


def figures(message: Message) -> str:
    """The right part of the rule: clock time of a prompt; rate, first token, tokens and end of an answer."""
    if message.role is not Role.ASSISTANT:
        return time.strftime("%H:%M", time.localtime(message.created_at)) if message.created_at else ""
    return _joined(message.timeline, message.metrics.output_tokens, _ENDS[message.state])


def _joined(timeline: Timeline, output: int | None, end: str) -> str:
    parts = []
    if timeline.rate:
        parts.append(f"{'~' if timeline.rate_estimated else ''}{timeline.rate:.0f} tok/s")
    if timeline.first_token is not None:
        parts.append(f"first token {duration(timeline.first_token)}")
    if output:
        parts.append(f"{count(output)} tokens")
    return " · ".join([*parts, end])


def live_figures(live: LiveAnswer) -> str:
    """The right part of the rule while an answer is written."""
    if live.state.ended:
        return _joined(live.timeline, live.metrics.output_tokens, _ENDS[live.state])
    if live.phase in ("waiting", "loading", "reading", "stalled"):
        return f"{live.note or live.phase} · esc stops"
    return f"{_joined(live.timeline, live.pieces or None, live.note or live.phase)} · esc stops"


def time_line(timeline: Timeline, prompt_tokens: int | None) -> str:
    """`waited 0.0  loaded 0.0  read 0.3s (31 tokens)  wrote 4.4s`; empty before anything is known."""
    parts = []
    for word, seconds in (("waited", timeline.waited), ("loaded", timeline.loaded), ("read", timeline.read), ("wrote", timeline.wrote)):
        if seconds is not None:
            more = f" ({count(prompt_tokens)} tokens)" if word == "read" and prompt_tokens else ""
            parts.append(f"{word} {duration(seconds)}{more}")
    return "  ".join(parts)


def times(message: Message) -> str:
    """An answer's time, as said below it."""
    return time_line(message.timeline, message.metrics.prompt_tokens) if message.role is Role.ASSISTANT else ""


def ending(message: Message) -> list[str]:
    """What is said below an answer about anything but an ordinary end."""
    if message.role is not Role.ASSISTANT:
        return []
    lines: list[str] = []
    output = message.metrics.output_tokens
    at = f" at {count(output)} tokens" if output else ""
    failure = message.failure
    if message.state is AnswerState.STOPPED:
        lines.append(f"stopped by you{at}; the server may still be reading the prompt   r again  /continue")
    elif message.state is AnswerState.LENGTH:
        lines.append(f"cut by length{at}   /continue goes on")
    elif message.state in (AnswerState.INTERRUPTED, AnswerState.FAILED):
        what = failure.sentence() if failure else "the answer did not arrive whole"
        lines.append(f"{_ENDS[message.state]}: {clean_label(what)}   r again  /continue")
        if failure is not None and failure.remedy:
            lines.append(clean_label(failure.remedy))
    if message.state.ended and not message.content.strip() and not message.tool_calls and message.state is not AnswerState.FAILED:
        lines.append("the answer is empty")
    lines += [f"asks for the tool {clean_label(str(_name(call)), 60)}" for call in message.tool_calls]
    return lines


def _name(call: object) -> object:
    function = call.get("function", call) if isinstance(call, dict) else {}
    return function.get("name", "?") if isinstance(function, dict) else "?"


def row(message: Message) -> tuple[int, str, str, str, str]:
    """A stored message as the transcript loads it: id, left, right, text, thoughts; cleaned."""
    return message.id, speaker(message), figures(message), clean_block(message.content), clean_block(message.thinking)


def gauge(view: ConversationView, *, ascii: bool) -> str:
    """`context ▓░░░░░░░░ 0.3k of 4k`."""
    if view.used is None and view.window is None:
        return ""
    about = "~" if view.used_estimated else ""
    used = f"{about}{tokens(view.used or 0)}"
    if view.window is None:
        return f"context {used}"
    share = min(1.0, (view.used or 0) / view.window) if view.window else 0.0
    return f"context {bar(share, 9, ascii)} {used} of {tokens(view.window)}"


def heading(view: ConversationView) -> tuple[str, str]:
    """Title at the left; model, provider, preset and thinking at the right."""
    model = f"{clean_label(view.model, 40)} on {clean_label(view.provider, 24)}" if view.model else "no model chosen, ctrl+t"
    preset = view.settings.preset or "model's own"
    think = "think" if view.settings.think == "auto" else f"think {view.settings.think}"
    return clean_label(view.title, 60) or "new chat", " · ".join((model, preset, think))


def pulling(view: ConversationView, queue: QueueView) -> str:
    """How the pull of the conversation's model does, with its place in the queue; empty where none is under way."""
    going = [job for job in queue.jobs if not job.state.ended and job.kind is JobKind.PULL]
    found = next((job for job in going if job.endpoint.name == view.provider and same(job.model, view.model)), None)
    if found is None:
        return ""
    name = clean_label(found.model, 40)
    if found.state.running:
        left = f", {duration(found.eta)} left" if found.eta is not None else ""
        done = f": {found.percent:.0f} %{left}" if found.percent is not None else ""
        return f"{name} is being pulled{done}."
    behind = going.index(found)
    place = "next in the queue" if not behind else f"number {behind + 1} in the queue"
    return f"The pull of {name} {'is paused' if found.state is JobState.PAUSED else f'waits, {place}'}. 3 Pulls says more."
