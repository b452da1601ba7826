"""What the chat says about a conversation and its messages; all of it cleaned."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tui.core.chat import AnswerState, Message, Role, Timeline
from tui.core.jobs import JobKind, JobState, QueueView
from tui.core.names import same
from tui.services.chat.api import ConversationView, LiveAnswer
from tui.text import clean_block, clean_label, clean_name, count, duration, size, tokens
from tui.ui.screens.chat_times import footer, time_line
from tui.ui.widgets.bars import bar
from tui.ui.widgets.transcript_message import Fold, Row, Said

__all__ = ["time_line"]
_ENDS: Final = {
    AnswerState.COMPLETE: "complete",
    AnswerState.LENGTH: "cut by length",
    AnswerState.STOPPED: "stopped",
    AnswerState.INTERRUPTED: "interrupted",
    AnswerState.FAILED: "failed",
    AnswerState.WAITING: "waiting",
    AnswerState.WRITING: "writing",
}
_WAITS: Final = ("waiting", "loading", "reading", "stalled")


# --- one message -------------------------------------------------------------------------------------------------------


def speaker(message: Message) -> str:
    """Who speaks, as the rule above the message says."""
    if message.role is Role.USER:
        return "you"
    if message.role is Role.TOOL:
        return f"result of {clean_name(message.tool_name, 40) or 'a tool'}"
    return clean_label(message.model or message.role.value, 40)


def marks(message: Message, branch: tuple[int, int] | None, *, ascii: bool = False) -> str:
    """` ‹2/3› · pinned`: which of its branches it is, and whether it is always sent."""
    which = "" if branch is None else f" {'<' if ascii else '‹'}{branch[0]}/{branch[1]}{'>' if ascii else '›'}"
    return which + (f" {'-' if ascii else '·'} pinned" if message.pinned else "")


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
    if live.phase in _WAITS:
        return f"{clean_label(live.note, 200) or live.phase} · esc stops"
    return f"{_joined(live.timeline, live.pieces or None, clean_label(live.note, 200) or live.phase)} · esc stops"


def is_waiting(live: LiveAnswer) -> bool:
    """Nothing comes at present."""
    return not live.state.ended and live.phase in _WAITS


def ending(message: Message, *, settling: bool = False) -> list[str]:
    """What is said below an answer about anything but an ordinary end."""
    if message.role is not Role.ASSISTANT:
        return []
    lines: list[str] = []
    output = message.metrics.output_tokens
    at = f" at {count(output)} tokens" if output else ""
    failure = message.failure
    if message.state is AnswerState.STOPPED:
        reads = "; the server may still be reading the prompt" if settling else ""
        lines.append(f"stopped by you{at}{reads}   r again  /continue")
    elif message.state is AnswerState.LENGTH:
        lines.append(f"cut by length{at}   /continue goes on")
    elif message.state in (AnswerState.INTERRUPTED, AnswerState.FAILED):
        what = failure.sentence() if failure else "the answer did not arrive whole"
        lines.append(f"{_ENDS[message.state]}: {clean_label(what)}   r again  /continue")
        if failure is not None and failure.remedy:
            lines.append(clean_label(failure.remedy))
    if message.state.ended and not message.content.strip() and not message.tool_calls and message.state is not AnswerState.FAILED:
        lines.append("the answer is empty")
    return lines


def attachments(message: Message, *, binary: bool = False) -> str:
    """`report.md 12 kB · cat.png 1.2 MB`."""
    return " · ".join(f"{clean_name(one.name, 60)} {size(one.size, binary=binary)}" for one in message.attachments)


def thought_tokens(message: Message) -> int | None:
    """About how many of the answer's tokens were thoughts: the server counts them together."""
    whole = len(message.thinking) + len(message.content)
    if not message.metrics.output_tokens or not message.thinking:
        return None
    return round(message.metrics.output_tokens * len(message.thinking) / whole)


def call_words(call: Mapping[str, Any]) -> tuple[str, str]:
    """A tool call's name and its arguments as JSON of several lines."""
    function = call.get("function", call)
    if not isinstance(function, Mapping):
        return "?", ""
    given = function.get("arguments", {})
    try:
        text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, indent=2, default=str)
    except ValueError:
        text = str(given)
    return clean_name(str(function.get("name") or "?"), 60), clean_block(text)


def _folds(message: Message) -> tuple[Fold, ...]:
    if message.role is Role.TOOL:
        lines = clean_block(message.content)
        first = next((line.strip() for line in lines.split("\n") if line.strip()), "nothing")
        more = f" ({count(len(lines))} characters)" if len(lines) > 80 or "\n" in lines.strip() else ""
        return (Fold(clean_label(first, 80) + more, lines),)
    found = []
    for call in message.tool_calls:
        name, arguments = call_words(call)
        found.append(Fold(f"calls {name} {clean_label(' '.join(arguments.split()), 200)}", arguments))
    return tuple(found)


def row(
    message: Message,
    *,
    branch: tuple[int, int] | None = None,
    settling: bool = False,
    full: bool = False,
    ascii: bool = False,
    binary: bool = False,
    usual: str = "",
) -> Row:
    """A stored message as the transcript shows it; `usual` is how its model usually does."""
    below: list[Said] = []
    if message.attachments:
        below.append((f"attached {attachments(message, binary=binary)}", "dim"))
    if message.role is Role.ASSISTANT:
        below += footer(message.timeline, message.metrics, full=full, ascii=ascii, usual=usual)
    below += [(line, "notice") for line in ending(message, settling=settling)]
    is_result = message.role is Role.TOOL
    return Row(
        message.id,
        speaker(message) + marks(message, branch, ascii=ascii),
        figures(message),
        "" if is_result else clean_block(message.content),
        clean_block(message.thinking),
        (message.timeline.thought, thought_tokens(message)),
        _folds(message),
        ((clean_label(message.note), "dim"),) if message.note else (),
        tuple(below),
        typed=message.role is Role.USER,
    )


def mark_row(message: Message, dropped: int) -> Row:
    """A context mark: what stands above it is not sent any more."""
    many = f"{count(dropped)} message{'' if dropped == 1 else 's'}"
    if not message.content:
        return Row(message.id, f"{many} above {'is' if dropped == 1 else 'are'} not sent")
    text = clean_block(message.content)
    fold = Fold(f"the summary, {count(len(text))} characters", text)
    return Row(message.id, f"summary of {many}, sent in place of them", folds=(fold,))


def is_mark(message: Message) -> bool:
    """Whether it is no message but the place from which on the conversation is sent."""
    return message.role is Role.SYSTEM and bool(message.keep_from)


def place_marks(messages: Sequence[Message]) -> list[tuple[Message, int]]:
    """The messages in the order in which they are shown, each mark before the first message that is still sent.

    Returns:
        Message, and for a mark how many above it are not sent.
    """
    known = {message.id for message in messages}
    before: dict[int, list[Message]] = {}
    for message in messages:
        if is_mark(message) and message.keep_from in known:
            before.setdefault(message.keep_from, []).append(message)
    out: list[tuple[Message, int]] = []
    said = 0
    for message in messages:
        out += [(mark, said) for mark in before.get(message.id, ())]
        if is_mark(message):
            if message.keep_from not in known:
                out.append((message, said))
            continue
        out.append((message, 0))
        said += not message.pinned
    return out


# --- the conversation --------------------------------------------------------------------------------------------------


def gauge(view: ConversationView, *, ascii: bool) -> str:
    """`context ▓░░░░░░░░ 0.3k of 4k`; with what is typed, once that is known: `+0.2k`."""
    check = view.check
    window = view.window if view.window is not None else check.window if check is not None else None
    if view.used is None and window is None:
        return ""
    about = "~" if view.used_estimated else ""
    used = f"{about}{tokens(view.used or 0)}"
    if check is not None and check.tokens > (view.used or 0):
        used = f"~{tokens(check.tokens)}"
    if window is None:
        return f"context {used}"
    share = min(1.0, max(view.used or 0, check.tokens if check is not None else 0) / window) if window else 0.0
    over = "! " if check is not None and check.over else ""
    return f"{over}context {bar(share, 9, ascii)} {used} of {tokens(window)}"


def heading(view: ConversationView) -> tuple[str, str]:
    """Title and tags at the left; model, provider, preset and thinking at the right."""
    model = f"{clean_label(view.model, 40)} on {clean_label(view.provider, 24)}" if view.model else "no model chosen, ctrl+t"
    if view.compare is not None:
        model = f"{len(view.compare.columns)} models side by side"
    preset = clean_label(view.settings.preset, 40) or "model's own"
    think = "think" if view.settings.think == "auto" else f"think {clean_label(view.settings.think, 10)}"
    title = clean_label(view.title, 60) or "new chat"
    left = f"incognito, not stored: {title}" if view.incognito else title
    tags = "".join(f" #{clean_name(tag, 40)}" for tag in view.tags)
    return left + tags, " · ".join((model, preset, think))


def queued(view: ConversationView) -> str:
    """`2 queued: "and for 16 GB?" · "why?"`."""
    if not view.queued:
        return ""
    words = " · ".join(f'"{clean_label(" ".join(text.split()), 40)}"' for text in view.queued[:4])
    return f"{len(view.queued)} queued: {words}"


def notice(view: ConversationView, queue: QueueView, *, reading: bool = False) -> tuple[str, bool]:
    """The line above the composer, and whether it warns; empty where there is nothing to say. `reading`: the transcript has the focus."""
    if view.read_only:
        return clean_label(view.read_only), True
    if view.alarm:
        return f"! {clean_label(view.alarm)}   {'c what to do' if reading else '/set num_ctx'}", True
    if view.check is not None and view.check.over:
        tokens, held = view.check.tokens, view.check.window
        window = f" of {count(held)}" if held else ""
        meant = "little room is left for an answer" if held and tokens <= held else "the oldest would be lost"
        key = "   c what to do" if reading else ""
        return f"! about {count(tokens)}{window} tokens would be sent; {meant}{key}", True
    if view.waits:
        return clean_label(view.waits), False
    said = pulling(view, queue)
    if not said and not view.messages:
        said = f"{clean_label(view.unfinished, 40)!r} was left in the middle; ctrl+o opens it." if view.unfinished else ""
        said = said or "Type and press enter. / lists commands, ctrl+t models, ctrl+o earlier chats."
    return said, False


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
