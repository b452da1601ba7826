"""How the models fared in comparisons: votes and speeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tui.core.chat import Votes
from tui.core.observe import Observable
from tui.services.chat.api import ChatApi
from tui.text import clean_name, count, duration
from tui.ui.following import FollowingDialog
from tui.ui.widgets.bars import bar, uses_ascii
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.rows import Rows

_NONE = "No comparison has been voted on. = in a chat asks several models at once; b there names the best."


def share(votes: Votes) -> float | None:
    """Of the votes it took part in, those it won; None before the first."""
    total = votes.won + votes.lost
    return votes.won / total if total else None


class VotesDialog(FollowingDialog[None]):
    """A table of all models that were compared, the one that won most at the top."""

    DEFAULT_CSS = """
    VotesDialog {
        align: center middle;
        .dialog { width: 96; max-width: 98%; height: auto; max-height: 90%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .dialog Rows { height: 3; margin-top: 1; }
        .hint { color: $text-muted; margin-top: 1; }
        &.-low .dialog { padding: 0 1; }
        &.-low .dialog Rows { margin-top: 0; }
        &.-low .hint { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,V", "dismiss", "close", key_display="esc", id="votes.close", tooltip="Close the votes")
    ]

    def __init__(self, chat: ChatApi) -> None:
        super().__init__()
        self._chat = chat
        self._found: Observable[Sequence[Votes] | None] = Observable(None)

    def compose(self) -> ComposeResult:
        """Title, table, hint."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled("Votes", "bold"), id="votes-title")
            yield Rows[Votes](self._columns(), key=lambda one: (one.provider, one.model), empty="reading the votes…", markable=False)
            yield Static(Content("s sorts   esc closes"), classes="hint")

    def _columns(self) -> list[Column[Votes]]:
        def number(key: str, title: str, value: Callable[[Votes], float | None], width: int = 5) -> Column[Votes]:
            return Column(key, title, lambda one: count(value(one)), width=width, align="right", sort_key=value, descending=True)

        return [
            Column("model", "MODEL", lambda one: clean_name(one.model, 60), flex=3, min=14, sort_key=lambda one: one.model.lower()),
            Column("on", "ON", lambda one: clean_name(one.provider, 30), flex=1, min=6, sort_key=lambda one: one.provider.lower()),
            Column("share", "SHARE", self._share, width=15, sort_key=share, descending=True),
            number("won", "WON", lambda one: one.won),
            number("lost", "LOST", lambda one: one.lost),
            number("rate", "TOK/S", lambda one: one.rate),
            Column("first", "FIRST", lambda one: duration(one.first_token), width=5, align="right", sort_key=lambda one: one.first_token),
            number("blind", "BLIND", lambda one: one.blind),
        ]

    def _share(self, one: Votes) -> Cell:
        part = share(one)
        if part is None:
            return Cell("no vote", "dim")
        return Cell(f"{bar(part, 9, uses_ascii(self, None))} {part * 100:3.0f} %", "ok" if part > 0.5 else "")

    def on_mount(self) -> None:
        """Ask; the answer comes on the engine's thread."""
        rows = self.query_one(Rows)
        rows.focus()
        rows.sort_by("share")
        self._chat.votes(self._found.set)
        self.follow(self._found, self._fill)

    def _fill(self, found: Sequence[Votes] | None) -> None:
        if found is None:
            return
        rows = self.query_one(Rows)
        rows.set_empty(_NONE)
        rows.set_items(sorted(found, key=lambda one: (-(share(one) or -1.0), -one.won - one.lost, one.model)))
        rows.styles.height = max(2, min(len(found) + 1, self.app.size.height - 12))
        votes = sum(one.won for one in found)
        self.query_one("#votes-title", Static).update(
            Content.assemble(
                ("Votes", "bold"), (f"   {count(votes)} so far; figures are medians of compared answers" if found else "", "$text-muted")
            )
        )
