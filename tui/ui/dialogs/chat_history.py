"""All conversations: searched, opened, named, tagged, pinned, deleted, imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from tui.core.chat import ConversationHead, Found
from tui.core.clock import SYSTEM, Clock
from tui.core.observe import Observable
from tui.core.record import record
from tui.services.chat.api import ChatApi
from tui.text import clean_block, clean_label, clean_name, count, duration
from tui.ui.following import FollowingDialog
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.confirm import ConfirmDialog, InputDialog
from tui.ui.widgets.rows import Rows

DEBOUNCE: Final = 0.15
"""Seconds without a key until what was typed is searched."""
_IN_LIST: Final = ("rename", "pin", "tag", "delete", "undo", "import")


@record(frozen=True)
class Chosen:
    """What is to be opened; `message` is the one that matched, 0 for the end."""

    conversation: int
    message: int = 0


def about(head: ConversationHead, now: float) -> str:
    """`qwen3:8b · 12 messages · 3 d · #work`."""
    tags = " ".join(f"#{clean_name(tag, 40)}" for tag in head.tags)
    parts = [
        clean_name(head.model, 60),
        f"{count(head.messages)} message{'' if head.messages == 1 else 's'}",
        f"{duration(now - head.updated_at)} ago" if head.updated_at else "",
        "pinned" if head.pinned else "",
        tags,
    ]
    return " · ".join(part for part in parts if part)


class HistoryDialog(FollowingDialog[Chosen | None]):
    """A search field above the conversations; `tab` goes to the list, where letters act on the one under the cursor.

    Args:
        chat: Its heads are listed, its verbs called.
        current: Id of the conversation shown.
    """

    DEFAULT_CSS = """
    HistoryDialog {
        align: center middle;
        .dialog { width: 110; max-width: 98%; height: 90%; padding: 0 1; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        Input, Input:focus { border: none; height: 1; padding: 0 1; background: $surface; }
        Rows { height: 1fr; margin-top: 1; }
        .about { height: 1; color: $text-muted; }
        .excerpt { max-height: 2; }
        .hint { color: $text-muted; }
        &.-low Rows { margin-top: 0; }
        Rows .rows--cursor-blurred { color: $block-cursor-foreground; background: $block-cursor-background; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="history.back", tooltip="Open nothing"),
        Binding("tab,shift+tab", "turn", "list", id="history.turn", priority=True, tooltip="From the field to the list and back"),
        Binding("down", "move(1)", show=False, id="history.down", tooltip="Next conversation"),
        Binding("up", "move(-1)", show=False, id="history.up", tooltip="Previous conversation"),
        Binding("slash,i", "field", "search", id="history.search", tooltip="To the search field"),
        Binding("c", "rename", "rename", id="history.rename", tooltip="Give it another title; an empty one asks the model"),
        Binding("p", "pin", "pin", id="history.pin", tooltip="Keep it at the top, or no longer"),
        Binding("t", "tag", "tags", id="history.tag", tooltip="Change its tags"),
        Binding("d", "delete", "delete", id="history.delete", tooltip="Delete it; asks"),
        Binding("z", "undo", "undo", id="history.undo", tooltip="Bring back what was deleted last"),
        Binding("a", "import", "import", id="history.import", tooltip="Read a conversation that was exported"),
    ]

    def __init__(self, chat: ChatApi, *, current: int = 0, clock: Clock = SYSTEM) -> None:
        super().__init__()
        self._chat, self._current, self._clock = chat, current, clock
        self._asked = ""
        self._opens = False
        """Enter was pressed before the answer came."""
        self._found: Observable[tuple[str, Sequence[Found]]] = Observable(("", ()))
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Field, list, what is under the cursor, keys."""
        with Vertical(classes="dialog"):
            field = Input(placeholder="search every message; #tag", compact=True)
            field.cursor_blink = False
            yield field
            yield Rows[Found](self._columns(), key=lambda found: found.head.id, markable=False, header=False, empty="none is stored yet")
            yield Static("", classes="about", markup=False)
            yield Static("", classes="excerpt", markup=False)
            yield Static(Content(""), classes="hint")

    def _columns(self) -> list[Column[Found]]:
        return [
            Column("title", "", self._title, flex=3),
            Column("model", "", lambda found: Cell(clean_name(found.head.model, 60), "dim"), flex=1, max=24),
            Column("messages", "", lambda found: Cell(count(found.head.messages), "dim"), width=5, align="right"),
            Column("age", "", lambda found: Cell(self._age(found.head), "dim"), width=7, align="right"),
        ]

    def _title(self, found: Found) -> str:
        title = clean_label(found.head.title, 200) or "(untitled)"
        tags = "".join(f" #{clean_name(tag, 40)}" for tag in found.head.tags)
        return f"{'* ' if found.head.pinned else ''}{title}{tags}"

    def _age(self, head: ConversationHead) -> str:
        return duration(self._clock.time() - head.updated_at) if head.updated_at else ""

    def on_mount(self) -> None:
        """Show all of them; type at once."""
        self.follow(self._chat.heads, self._take_heads, fps=5)
        self.follow(self._found, self._take_found, fps=20)
        self.query_one(Rows).move_to_key(self._current)
        self.query_one(Input).focus()

    # --- searching ----------------------------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search once the typing pauses."""
        event.stop()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DEBOUNCE, self._search)

    def _search(self) -> None:
        self._timer = None
        asked = self._asked = self.query_one(Input).value.strip()
        if asked:
            self._chat.search(asked, lambda found: self._found.set((asked, tuple(found))))
        else:
            self._take_heads(self._chat.heads.value)

    def _take_heads(self, heads: Sequence[ConversationHead]) -> None:
        if self._asked:
            self._search()
        else:
            self._fill([Found(head) for head in sorted(heads, key=lambda head: not head.pinned)], "none is stored yet")

    def _take_found(self, found: tuple[str, Sequence[Found]]) -> None:
        if self._asked and found[0] == self._asked:
            self._fill(found[1], "no conversation holds all of these words")
            if self._opens:
                self.query_one(Rows).action_open()
        self._opens = False

    def _fill(self, found: Sequence[Found], empty: str) -> None:
        rows = self.query_one(Rows)
        rows.set_empty(empty)
        rows.set_items(found)
        self._show_about(rows.highlighted)

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Say more about it."""
        event.stop()
        self._show_about(event.item)

    def _show_about(self, found: Found | None) -> None:
        said, excerpt = self.query_one(".about", Static), self.query_one(".excerpt", Static)
        said.update(Content(about(found.head, self._clock.time()) if found is not None else ""))
        excerpt.update(Content(clean_block(found.excerpt).replace("\n", " ") if found is not None else ""))

    def on_descendant_focus(self) -> None:
        """What the keys do depends on where one is."""
        in_list = isinstance(self.focused, Rows)
        words = "c rename  p pin  t tags  d delete  z undo  a import  / search" if in_list else "tab to the list: rename, pin, tags, delete"
        self.query_one(".hint", Static).update(Content(f"enter opens   {words}   esc back"))
        self.refresh_bindings()

    # --- keys ---------------------------------------------------------------------------------------------------------

    @property
    def here(self) -> Found | None:
        """The conversation under the cursor."""
        found: Found | None = self.query_one(Rows).highlighted
        return found

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Open it; what was typed last is searched first."""
        event.stop()
        if self._timer is not None:
            self._timer.stop()
            self._search()
        if self._asked and self._found.value[0] != self._asked:
            self._opens = True
        else:
            self.query_one(Rows).action_open()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Open it."""
        event.stop()
        if event.item is not None:
            self.dismiss(Chosen(event.item.head.id, event.item.message))

    def action_move(self, step: int) -> None:
        """Move in the list while the field has the focus."""
        self.query_one(Rows).action_move(step)

    def action_turn(self) -> None:
        """From the field to the list and back."""
        (self.query_one(Rows) if isinstance(self.focused, Input) else self.query_one(Input)).focus()

    def action_field(self) -> None:
        """To the search field."""
        self.query_one(Input).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Letters act only in the list."""
        return not (action in _IN_LIST and isinstance(self.focused, Input))

    def action_rename(self) -> None:
        """Give it another title."""
        here = self.here
        if here is None:
            return

        def done(title: str | None) -> None:
            if title is not None:
                self._chat.rename(here.head.id, clean_label(title, 200).strip())

        self.app.push_screen(InputDialog("Title", clean_label(here.head.title, 200), hint="empty: the model finds one"), done)

    def action_pin(self) -> None:
        """Keep it at the top, or no longer."""
        if self.here is not None:
            self._chat.pin(self.here.head.id, not self.here.head.pinned)

    def action_tag(self) -> None:
        """Change its tags."""
        here = self.here
        if here is None:
            return

        def done(text: str | None) -> None:
            if text is not None:
                words = (clean_name(word.strip("#"), 40) for word in text.replace(",", " ").split())
                self._chat.tag(here.head.id, tuple(dict.fromkeys(word for word in words if word)))

        self.app.push_screen(InputDialog("Tags", " ".join(map(clean_name, here.head.tags)), hint="separated by spaces"), done)

    def action_delete(self) -> None:
        """Delete it; asks."""
        here = self.here
        if here is None:
            return

        def done(choice: str | None) -> None:
            if choice == "delete":
                self._chat.delete(here.head.id)

        title = clean_label(here.head.title, 60) or "(untitled)"
        question = f"Delete the conversation {title!r} with {count(here.head.messages)} messages? z brings it back."
        self.app.push_screen(ConfirmDialog(question, (("keep", "Keep"), ("delete", "Delete"))), done)

    def action_undo(self) -> None:
        """Bring back what was deleted last."""
        self._chat.undo_delete()

    def action_import(self) -> None:
        """Read a conversation that was exported; it is opened."""

        def done(path: str | None) -> None:
            if path and path.strip():
                self._chat.read_in(path.strip())
                self.dismiss(None)

        self.app.push_screen(InputDialog("Import", "", hint="a .md, .json or .html file that Paddock exported"), done)

    def action_leave(self) -> None:
        """Clear the search, then close."""
        field = self.query_one(Input)
        if field.value:
            field.value = ""
            field.focus()
        else:
            self.dismiss(None)
