"""What a comparison says about its columns: states, figures, ends, and who was best; a blind one tells nothing before the vote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field
from typing import Final

from rich.cells import cell_len

from tui.core.chat import AnswerState, Message, Role, Timeline
from tui.core.errors import Failure
from tui.core.events import Metrics
from tui.core.record import record
from tui.services.chat.api import CompareColumn, CompareView, ConversationView, LiveAnswer
from tui.text import clean_block, clean_label, clean_name, count, duration
from tui.ui.screens.chat_words import time_line

LETTERS: Final = "ABCD"
MOST: Final = 4
"""Columns of a comparison."""
_ENDS: Final = {
    AnswerState.COMPLETE: "complete",
    AnswerState.LENGTH: "cut by length",
    AnswerState.STOPPED: "stopped",
    AnswerState.INTERRUPTED: "interrupted",
    AnswerState.FAILED: "failed",
}
_MARKS: Final = {
    AnswerState.COMPLETE: "done",
    AnswerState.LENGTH: "done",
    AnswerState.STOPPED: "paused",
    AnswerState.INTERRUPTED: "failed",
    AnswerState.FAILED: "failed",
}
_HIDDEN: Final = "figures after the vote"


@record(frozen=True)
class Side:
    """One column as it is now: what is stored, overtaken by what is being written. All texts are cleaned.

    Attributes:
        name: What it is called; a letter while it is hidden.
        provider: Empty while it is hidden.
        phase: What it does, in a word; how it ended, once it has.
        waits: What it waits for, in words.
        tokens: Written so far, about.
        hidden: Blind, and not voted yet.
    """

    name: str
    message_id: int = 0
    provider: str = ""
    state: AnswerState = AnswerState.WAITING
    phase: str = "waiting"
    waits: str = ""
    tokens: int | None = None
    timeline: Timeline = field(default_factory=Timeline)
    metrics: Metrics = field(default_factory=Metrics)
    hidden: bool = False

    @property
    def mark(self) -> str:
        """The state of its mark: see `bars.glyph`."""
        return _MARKS.get(self.state, "waiting" if self.state is AnswerState.WAITING and self.phase == "waiting" else "busy")


def is_hidden(compare: CompareView) -> bool:
    """Names and figures are not to be told yet."""
    return compare.blind and not compare.vote


def name_of(compare: CompareView, at: int) -> str:
    """What a column is called: its letter while hidden, `B: qwen3:8b` once a blind one is decided; two of one name say where they run."""
    column = compare.columns[at]
    letter = LETTERS[at % MOST]
    if is_hidden(compare):
        return letter
    name = clean_name(column.model, 80)
    if sum(other.model == column.model for other in compare.columns) > 1:
        name = f"{name} on {clean_name(column.provider, 40)}"
    return f"{letter}: {name}" if compare.blind else name


def side(view: ConversationView, compare: CompareView, at: int, live: LiveAnswer | None) -> Side:
    """One column; an answer that is being written says more than its row."""
    column, hidden = compare.columns[at], is_hidden(compare)
    name, provider = name_of(compare, at), "" if hidden else clean_name(column.provider, 60)
    stored = view.answers.get(column.message_id)
    if live is not None and (not live.state.ended or stored is None or not stored.state.ended):
        note = "" if hidden else clean_label(live.note, 120)
        return Side(
            name, column.message_id, provider, live.state, _ENDS.get(live.state, live.phase), note,
            live.metrics.output_tokens or live.pieces or None, live.timeline, live.metrics, hidden,
        )  # fmt: skip
    if stored is None:
        return Side(name, column.message_id, provider, waits=_waits(column, hidden), hidden=hidden)
    phase = _ENDS.get(stored.state, stored.state.value)
    return Side(
        name, column.message_id, provider, stored.state, phase, _waits(column, hidden) if not stored.state.ended else "",
        stored.metrics.output_tokens, stored.timeline, stored.metrics, hidden,
    )  # fmt: skip


def _waits(column: CompareColumn, hidden: bool) -> str:
    return ("waits for its turn" if hidden else clean_label(column.waits, 120)) if column.waits else ""


def _rate(one: Side) -> str:
    rate = one.timeline.rate
    return f"{'~' if one.timeline.rate_estimated else ''}{rate:.0f}" if rate else ""


def figures(one: Side, width: int) -> str:
    """`48 tok/s · first token 0.3s · 212 tokens`, in as many words as there is room for; while it waits, what for."""
    if one.state is AnswerState.WAITING or one.phase == "stalled":
        if cell_len(one.waits) > width:  # whose it is stands above
            return one.waits.replace(f" {one.name}", "", 1)
        return one.waits or ("" if one.hidden else _figures(one, width))
    return _HIDDEN if one.hidden else _figures(one, width)


def _figures(one: Side, width: int) -> str:
    rate, first, tokens = _rate(one), one.timeline.first_token, one.tokens
    for units in ((" tok/s", "first token ", " tokens"), (" tok/s", "first ", " tok"), ("/s", "", "")):
        parts = [f"{rate}{units[0]}"] if rate else []
        parts += [f"{units[1]}{duration(first)}"] if first is not None else []
        parts += [f"{count(tokens)}{units[2]}"] if tokens else []
        text = " · ".join(parts)
        if len(text) <= width:
            break
    return text


def tab_figures(one: Side) -> str:
    """What a tab says beside the name: the rate, else the state."""
    if one.hidden or one.state in (AnswerState.FAILED, AnswerState.INTERRUPTED, AnswerState.STOPPED) or not _rate(one):
        return one.phase
    return f"{_rate(one)} tok/s"


def ending(one: Side, stored: Message | None, failure: Failure | None, *, settling: bool = False) -> list[str]:
    """What is said below an answer about any but an ordinary end."""
    if not one.state.ended:
        return []
    at = f" at {count(one.tokens)} tokens" if one.tokens and not one.hidden else ""
    lines: list[str] = []
    if one.state is AnswerState.STOPPED:
        lines.append(f"stopped by you{at}{'; the server may still be reading the prompt' if settling else ''}")
    elif one.state is AnswerState.LENGTH:
        lines.append(f"cut by length{at}")
    elif one.state in (AnswerState.FAILED, AnswerState.INTERRUPTED):
        what = failure.sentence() if failure is not None else "the answer did not arrive whole"
        lines.append(f"{one.phase}{at}: {'why is told after the vote' if one.hidden else clean_label(what)}   r again")
        if failure is not None and failure.remedy and not one.hidden:
            lines.append(clean_label(failure.remedy))
    if stored is not None:
        if not stored.content.strip() and one.state is not AnswerState.FAILED:
            lines.append("the answer is empty")
        if stored.note and not one.hidden:
            lines.append(clean_label(stored.note))
    return lines


def times(one: Side) -> str:
    """Where an answer's time went; nothing while it is hidden."""
    return "" if one.hidden else time_line(one.timeline, one.metrics.prompt_tokens)


def prompt_of(view: ConversationView, compare: CompareView) -> str:
    """The prompt on one line."""
    found = next((message for message in view.messages if message.id == compare.prompt_id and message.role is Role.USER), None)
    if found is None:
        return ""
    files = len(found.attachments)
    more = f"  + {files} file{'s' if files > 1 else ''}" if files else ""
    return " ".join(clean_block(found.content[:2000]).split()) + more


def how_of(compare: CompareView) -> str:
    """How the columns are run; names in it are hidden where they must be."""
    text = clean_label(compare.how)
    if not is_hidden(compare):
        return text
    known = {column.model: LETTERS[at % MOST] for at, column in enumerate(compare.columns)}
    known |= {column.provider: "its server" for column in compare.columns if column.provider not in known}
    for name in sorted(known, key=len, reverse=True):
        if name:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", known[name], text)
    return text


@record(frozen=True)
class Best:
    """Who was best at one thing; the figure in full and short."""

    what: str
    who: str
    figure: str
    short: str


def best(sides: Sequence[Side]) -> list[Best]:
    """After the end: the fastest and the shortest; where all are alike nobody is named."""
    if any(one.hidden or not one.state.ended for one in sides):
        return []
    firsts = [(one.timeline.first_token, duration(one.timeline.first_token), one) for one in sides if one.timeline.first_token is not None]
    rates = [(-one.timeline.rate, _rate(one), one) for one in sides if one.timeline.rate]
    shorts = [(one.tokens, count(one.tokens), one) for one in sides if one.state is AnswerState.COMPLETE and one.tokens]
    found: list[Best] = []
    for what, figures, long, short in (
        ("first token", firsts, "", ""),
        ("fastest", rates, " tok/s", "/s"),
        ("shortest", shorts, " tokens", ""),
    ):
        if len(figures) > 1:
            words = min(figures, key=lambda figure: figure[0])[1]
            alike = [one.name for _value, text, one in figures if text == words]
            who = ", ".join(alike) if len(alike) < len(figures) else "all alike"
            found.append(Best(what, who, f"{words}{long}", f"{words}{short}"))
    return found


def verdict(compare: CompareView, sides: Sequence[Side]) -> str:
    """What was voted, or what to do now that all have ended; empty while answers are written."""
    if compare.vote < 0:
        return "you chose none of them"
    if compare.vote:
        chosen = next((one.name for one in sides if one.message_id == compare.vote), "")
        return f"you chose {chosen}" if chosen else "you chose an answer that is not here any more"
    if not sides or any(not one.state.ended for one in sides):
        return "names and figures come after the vote" if is_hidden(compare) else ""
    if is_hidden(compare):
        return "Which is best? b this one, 0 none of them; then names and figures are told"
    return ""


def cut(text: str, width: int, *, ascii: bool) -> str:
    """Text that fits, without padding."""
    from tui.ui.widgets.bars import fit

    return text if cell_len(text) <= width else fit(text, width, ascii=ascii)
