"""What the servers keep for us: the trash, and earlier versions; brought back, compared, deleted for good."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tui.core.errors import Failure, PaddockError
from tui.core.kept import KeptKind
from tui.core.library import KeptModel
from tui.core.models import Model
from tui.core.names import normal, parse, same
from tui.services.library.keeping_words import ago, day, freed, kept_words, listed
from tui.services.library.keeping_words import frees as frees_words
from tui.text import clean_label, size
from tui.ui.following import FollowingDialog
from tui.ui.widgets.board import Board, BoardLine
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.confirm import ConfirmDialog, InputDialog
from tui.ui.widgets.detail import wrap_cells
from tui.ui.widgets.rows import Rows

_CSS: Final = """
    align: center middle;
    .dialog { width: 110; max-width: 98%; height: 90%; padding: 1 2; background: $panel; border: round $primary; }
    .dialog Static { width: 1fr; height: auto; }
    .dialog Rows, .dialog Board { height: 1fr; margin-top: 1; }
    .hint { color: $text-muted; margin-top: 1; }
    &.-low .dialog { padding: 0 1; height: 100%; }
    &.-low .dialog Rows, &.-low .dialog Board, &.-low .hint { margin-top: 0; }
"""
_TONES: Final = {"+": "ok", "-": "bad"}


class KeptDialog(FollowingDialog[None]):
    """A list of what is kept; it stays open while things happen to it.

    Args:
        only: Provider and name of the one model whose versions are shown; None: the whole trash, and all versions.
    """

    DEFAULT_CSS = f"KeptDialog {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", key_display="esc", id="kept.back", tooltip="Close"),
        Binding("d", "drop", "delete for good", id="kept.drop", tooltip="Delete it for good, or the marked ones; asks"),
        Binding("e", "empty", "empty", id="kept.empty", tooltip="Empty the trash; asks"),
        Binding("equals_sign", "compare", "compare", key_display="=", id="kept.compare", tooltip="Compare it with what is installed"),
    ]

    def __init__(self, services: Any, only: tuple[str, str] | None = None) -> None:
        super().__init__()
        self._services, self._only = services, only
        self._keeping = services.library.keeping
        self._there: Mapping[tuple[str, str], Model] = {}

    def compose(self) -> ComposeResult:
        """Heading, list, keys."""
        with Vertical(classes="dialog"):
            title = "Trash and earlier versions" if self._only is None else f"Earlier versions of {self._only[1]} on {self._only[0]}"
            yield Static(Content.styled(title, "bold"))
            yield Rows[KeptModel](
                self._columns(),
                key=lambda one: (one.provider, one.key),
                text=lambda one: f"{one.original} {one.provider}",
                empty="the trash is empty, and there are no earlier versions",
            )
            yield Static(Content(""), classes="hint")

    def _columns(self) -> list[Column[KeptModel]]:
        return [
            Column("name", "NAME", lambda one: one.original, min=14, flex=3, sort_key=lambda one: one.original.casefold()),
            Column("what", "WHAT", lambda one: Cell(self._what(one), "dim"), width=11),
            Column("since", "SINCE", lambda one: ago(one.at, time.time()), width=10, align="right", sort_key=lambda one: one.at),
            Column("size", "SIZE", lambda one: size(one.size, binary=self._binary), width=7, align="right", sort_key=lambda one: one.size),
            Column("goes", "GOES", lambda one: Cell(self._goes(one), "dim"), width=10),
            Column("on", "ON", lambda one: one.provider, min=6, max=16, flex=1),
        ]

    def _what(self, one: KeptModel) -> str:
        if one.kind is KeptKind.TRASH:
            return "in trash"
        now = self._installed(one)
        return "same as now" if now is not None and now.digest and now.digest == one.digest else "version"

    @staticmethod
    def _goes(one: KeptModel) -> str:
        if one.goes_at is None:
            return "stays"
        return day(one.goes_at, time.time()) if one.goes_at > time.time() else "now"

    @property
    def _binary(self) -> bool:
        return bool(self._services.config.current.value.appearance.units == "binary")

    def on_mount(self) -> None:
        """Follow what is kept."""
        self.follow(self._keeping.kept, self._fill)
        self.query_one(Rows).focus()

    def _fill(self, kept: Sequence[KeptModel]) -> None:
        rows, only = self.query_one(Rows), self._only
        self._look()
        if only is not None:
            kept = [one for one in kept if one.kind is KeptKind.VERSION and one.provider == only[0] and same(one.original, only[1])]
        rows.set_items(sorted(kept, key=lambda one: -one.at))
        keys = f"enter brings back  d deletes for good  = compares{'' if only is not None else '  e empties'}  esc back"
        self.query_one(".hint", Static).update(Content(keys))

    @property
    def chosen(self) -> list[KeptModel]:
        """Marked ones, else the one under the cursor."""
        return list(self.query_one(Rows).chosen)

    def _look(self) -> None:
        models: Sequence[Model] = self._services.registry.models.value
        self._there = {(model.provider, model.key.lower()): model for model in models}

    def _installed(self, one: KeptModel) -> Model | None:
        return self._there.get((one.provider, one.original.lower()))

    # --- keys ---------------------------------------------------------------------------------------------------------

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Bring it back; a version that would replace what is installed asks first."""
        event.stop()
        self._look()
        chosen = self.chosen
        if not chosen:
            return
        one = chosen[0]
        if len(chosen) == 1 and one.kind is KeptKind.VERSION:
            self._bring_back(one)
            return
        taken = [one for one in chosen if self._taken(one)]
        if len(chosen) == 1 and taken:
            self._ask_name(one)
            return
        for one in chosen:
            if one.kind is KeptKind.TRASH and one not in taken:
                self._keeping.restore(one.provider, one.key)
        self.query_one(Rows).clear_marks()

    def _taken(self, one: KeptModel) -> bool:
        """Another model has its name."""
        now = self._installed(one)
        return now is not None and (not now.digest or now.digest != one.digest)

    def _bring_back(self, one: KeptModel) -> None:
        words = kept_words(one, time.time(), binary=self._binary)
        which = f"{one.original} on {one.provider}"
        question = f"Make this version ({words}) {which} again? What is installed now is kept as a version: nothing is lost."

        def done(answer: str | None) -> None:
            if answer == "back":
                self._keeping.bring_back(one.provider, one.key)

        self.app.push_screen(ConfirmDialog(question, (("keep", "Leave it"), ("back", "Bring back"))), done)

    def _ask_name(self, one: KeptModel) -> None:
        def check(text: str) -> str | None:
            try:
                parse(text)
            except PaddockError as error:
                return f"{error.failure.what}. {error.failure.remedy}"
            models = self._services.registry.models.value
            taken = any(model.provider == one.provider and same(model.key, text) for model in models)
            return f"{normal(text)} exists already" if taken else None

        def done(text: str | None) -> None:
            if text is not None:
                self._keeping.restore(one.provider, one.key, normal(text))

        title = f"There is another {one.original} on {one.provider} now. Bring this one back as"
        self.app.push_screen(InputDialog(title, "", hint="Takes no space of its own: layers are shared.", check=check), done)

    def action_drop(self) -> None:
        """Delete for good; asks."""
        chosen = self.chosen
        if chosen:
            names = listed([one.original for one in chosen])
            self._ask_to_drop(f"Delete {names} for good?", chosen)

    def action_empty(self) -> None:
        """Empty the trash; asks."""
        chosen = [one for one in self._keeping.kept.value if one.kind is KeptKind.TRASH or one.goes_at is not None]
        if chosen and self._only is None:
            names = listed(list(dict.fromkeys(one.original for one in chosen)))
            self._ask_to_drop(f"Empty the trash: delete {names} for good?", chosen)

    def _ask_to_drop(self, question: str, chosen: Sequence[KeptModel]) -> None:
        registry = self._services.registry
        everything: list[Model] = [*registry.models.value, *registry.kept.value]
        keys = {(one.provider, one.key) for one in chosen}
        doomed = [model for model in everything if (model.provider, model.key) in keys]
        frees = frees_words(freed(doomed, everything, self._services.library.disk.freed), binary=self._binary)

        def done(answer: str | None) -> None:
            if answer == "delete":
                self._keeping.drop([(one.provider, one.key) for one in chosen])
                self.query_one(Rows).clear_marks()

        text = f"{question} {frees} This cannot be undone."
        self.app.push_screen(ConfirmDialog(text, (("keep", "Keep"), ("delete", "Delete now"))), done)

    def action_compare(self) -> None:
        """Show what is different from what is installed; of two marked ones, from each other."""
        self._look()
        chosen = self.chosen
        if not chosen:
            return
        one = chosen[0]
        if len(chosen) == 2 and chosen[0].provider == chosen[1].provider:
            older, newer = sorted(chosen, key=lambda kept: kept.at)
            self.app.push_screen(KeptDiff(self._services, older, newer.key, f"the version replaced {ago(newer.at, time.time())}"))
            return
        now = self._installed(one)
        if now is None:
            self.app.notify(f"{one.original} is not installed now: mark two versions to compare them.", markup=False)
            return
        self.app.push_screen(KeptDiff(self._services, one, now.key, "what is installed"))

    def action_leave(self) -> None:
        """Unmark, then close."""
        if not self.query_one(Rows).clear_marks():
            self.dismiss(None)


class KeptDiff(FollowingDialog[None]):
    """What is different between a kept model and another."""

    DEFAULT_CSS = f"KeptDiff {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", key_display="esc", id="kept_diff.back", tooltip="Close"),
        Binding("y", "copy", "copy", id="kept_diff.copy", tooltip="Copy the difference"),
    ]

    def __init__(self, services: Any, one: KeptModel, other: str, words: str) -> None:
        super().__init__()
        self._services, self._one, self._other, self._words = services, one, other, words
        self._keeping = services.library.keeping
        self._lines: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """Heading, diff, keys."""
        with Vertical(classes="dialog"):
            what = f"{self._one.original}: the version replaced {ago(self._one.at, time.time())}, and {self._words}"
            if self._one.kind is KeptKind.TRASH:
                what = f"{self._one.original}: what is in the trash, and {self._words}"
            yield Static(Content.styled(what, "bold"))
            yield Board()
            yield Static(Content("- only in the first  + only in the second   y copies  esc back"), classes="hint")

    def on_mount(self) -> None:
        """Ask, and show what comes."""
        one = self._one
        self.follow(self._keeping.comparisons, lambda _found: self._draw(), now=False)
        self._keeping.compare(one.provider, one.key, self._other)
        self.query_one(Board).focus()
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        one = self._one
        found = self._keeping.comparisons.value.get((one.provider, one.key, self._other))
        board = self.query_one(Board)
        width = max(20, (board.size.width or 100) - 4)
        lines: list[BoardLine] = []
        if found is None:
            lines.append(BoardLine(((f" asking {one.provider} …", "dim"),)))
        elif isinstance(found, Failure):
            lines += [BoardLine(((f" {text}", "bad"),)) for text in wrap_cells(found.sentence(), width)]
        elif not found:
            lines.append(BoardLine(((" They are the same.", ""),)))
        else:
            self._lines = found
            for line in found:
                head = line.endswith(":") and line[:2] not in ("+ ", "- ", "  ")
                first, *rest = list(wrap_cells(clean_label(line, 400), width)) or [""]
                tone = "bold" if head else _TONES.get(line[:1], "")
                lines += [BoardLine(((f" {first}", tone),)), *(BoardLine(((f"   {more}", tone),)) for more in rest)]
        board.show(lines)

    def action_copy(self) -> None:
        """Copy the difference."""
        self.app.copy_to_clipboard("\n".join(self._lines))

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
