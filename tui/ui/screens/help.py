"""Help: the keys of the shown screen, then all; searchable. Made from the bindings themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static

from tui.ui.frame import key_text
from tui.ui.widgets.detail import wrap_cells

_TEXT_WIDTH = 50
_OTHER_SCREENS = "ctrl+g 1–6"
_ABOUT = (
    ("esc", "one step: close, clear the filter, unmark, back"),
    ("tab shift+tab", "next and previous part of the screen"),
    ("j k ↑ ↓ g G", "move in lists; page keys, home and end as usual"),
    (_OTHER_SCREENS, "a screen, also while you type"),
    ("ctrl+c", "copy a selection; without one it says how to quit"),
)


class HelpScreen(ModalScreen[None]):
    """A panel over the screen it explains."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen #help { width: 76; max-width: 96%; height: 90%; background: $surface; border: round $primary; padding: 0 1; }
    HelpScreen Input { border: none; height: 1; background: $panel; padding: 0 1; }
    HelpScreen VerticalScroll { height: 1fr; scrollbar-size: 1 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1", "dismiss", "close", key_display="esc", id="help.close"),
        Binding("down", "scroll(1)", show=False),
        Binding("up", "scroll(-1)", show=False),
        Binding("pagedown", "scroll(15)", show=False),
        Binding("pageup", "scroll(-15)", show=False),
    ]

    def __init__(self, about: Screen[Any]) -> None:
        super().__init__()
        self._rows = list(_rows_of(about))
        self._words = str(getattr(about, "HELP_LINES", ""))

    def compose(self) -> ComposeResult:
        """Search field and list."""
        with Vertical(id="help"):
            yield Input(placeholder="search keys", select_on_focus=False, compact=True)
            with VerticalScroll(can_focus=False):
                yield Static(self._text(""), id="helptext", markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one("#help").border_title = Content("Help · esc closes")
        self.query_one(Input).cursor_blink = False
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow the list."""
        self.query_one("#helptext", Static).update(self._text(event.value))

    def action_scroll(self, lines: int) -> None:
        """Scroll the list."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def _text(self, query: str) -> Content:
        words = query.lower().split()
        parts: list[tuple[str, str]] = []
        if self._words and not words:
            parts.append((self._words.strip() + "\n", "$foreground"))
        last = ""
        for group, keys, text in self._rows:
            if not all(word in f"{group} {keys} {text}".lower() for word in words):
                continue
            if group != last:
                parts.append((f"\n{group}\n", "bold $primary"))
                last = group
            first, *more = wrap_cells(text, _TEXT_WIDTH) or [""]
            parts.append((f"  {keys:<17} ", "$accent"))
            parts.append((f"{first}\n", "$foreground"))
            parts.extend((f"{'':20}{line}\n", "$foreground") for line in more)
        return Content.assemble(*parts) if parts else Content("nothing matches")


def _bindings_of(screen: Screen[Any]) -> Iterator[tuple[DOMNode, Binding]]:
    """What can be pressed, and what could be outside the field that is written in: that one swallows the keys that print."""
    for active in screen.active_bindings.values():
        yield active.node, active.binding
    for node in (screen, screen.app):
        for _, binding in node._bindings:
            if screen.app._check_action_state(binding.action, node) is not False:
                yield node, binding


def _rows_of(screen: Screen[Any]) -> Iterator[tuple[str, str, str]]:
    """(group, keys, words): what the screen does first, then moving about in its focused part, then what holds everywhere."""
    groups: dict[str, dict[str, tuple[list[str], str]]] = {"This screen": {}, "In the focused part": {}, "Everywhere": {}}
    placed: dict[str, str] = {}
    for node, binding in _bindings_of(screen):
        text = binding.tooltip or binding.description
        if binding.system or not binding.id or not text:
            continue
        own = node is screen or binding.show
        group = "Everywhere" if node is screen.app else "This screen" if own else "In the focused part"
        keys, _ = groups[placed.setdefault(binding.id, group)].setdefault(binding.id, ([], text))
        if (key := key_text(binding)) not in keys:
            keys.append(key)
    for group, found in groups.items():
        yield from ((group, " ".join(keys), text) for keys, text in found.values())
    one = getattr(screen.app, "alone", "")
    yield from (("Everywhere", keys, text) for keys, text in _ABOUT if not (one and keys == _OTHER_SCREENS))
