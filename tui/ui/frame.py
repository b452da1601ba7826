"""Lines of the frame: the screens' names above, the keys below. `status` has the one between them."""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len
from textual import events
from textual.binding import ActiveBinding, Binding
from textual.content import Content
from textual.keys import key_to_character
from textual.widget import Widget

SCREENS: Final = (
    ("providers", "Providers"),
    ("library", "Library"),
    ("pulls", "Pulls"),
    ("chat", "Chat"),
    ("monitor", "Monitor"),
    ("settings", "Settings"),
)
_LAST: Final = ("menu", "mark")
"""Actions whose keys come last and always have their room."""
_KEY_WORDS: Final = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "asterisk": "*",
    "equals_sign": "=",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "space": "space",
    "escape": "esc",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
}

Part = tuple[str, str]
"""A piece of literal text and its style."""


class Line(Widget):
    """One line of literal styled text; repaints only when it changes, never lays out again."""

    DEFAULT_CSS = "Line { height: 1; width: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._content = Content("")
        self._fitted = 0

    def redraw(self) -> None:
        """Lay the line out for the width there is, where it depends on that."""

    def show(self, *parts: Part) -> None:
        """Replace the line."""
        content = Content.assemble(*parts)
        if not content.is_same(self._content):  # `==` compares the text only, and colours change too
            self._content = content
            self.refresh()

    @property
    def plain(self) -> str:
        """What it says."""
        return self._content.plain

    def render(self) -> Content:
        """See `Widget`. Textual tells of a new width in most cases, not in all."""
        if self.size.width != self._fitted:
            self._fitted = self.size.width
            self.redraw()
        return self._content


class TopBar(Line):
    """The screens' names with what needs attention, and the machine (or DEMO) at the right; the status bar adds "simulated"."""

    def __init__(self, current: str, machine: str, *, demo: bool = False) -> None:
        super().__init__(id="topbar")
        self._current = current
        self._machine = "DEMO" if demo else machine
        self._demo = demo
        self._marks: dict[str, str] = {}
        self._ends: list[tuple[int, str]] = []

    def on_mount(self) -> None:
        """Draw the names before any service is there."""
        self.redraw()

    def mark(self, screen: str, text: str) -> None:
        """Set what needs attention on a screen: `✕2`, `↓2`, `!1` or nothing."""
        if self._marks.get(screen, "") != text:
            self._marks[screen] = text
            self.redraw()

    def on_resize(self, event: events.Resize) -> None:
        """The machine's name stands at the right edge."""
        self.redraw()

    def redraw(self) -> None:
        """Lay the names out for the width there is."""
        width = self.size.width or 80
        gap = "  " if width >= 70 else " "
        parts: list[Part] = [(" ", "")]
        used = 1
        self._ends = []
        alone = getattr(self.app, "alone", "")
        for number, (name, title) in enumerate(SCREENS, 1):
            if alone and name != alone:
                continue
            here = name == self._current
            label = title if width >= 70 or here else title[:4] if width >= 54 else ""
            mark = self._marks.get(name, "")
            if not alone:
                parts.append((f"{number} ", "$accent"))
                used += 2
            parts.append((label, "bold $primary" if here else "$foreground"))
            if mark:
                parts.append((f" {mark}", "bold $error" if mark[0] in "✕x!" else "$success"))
            used += cell_len(label) + (cell_len(mark) + 1 if mark else 0)
            self._ends.append((used, name))
            if number < len(SCREENS) and not alone:
                parts.append((gap, ""))
                used += len(gap)
        room = width - used - 2
        machine = self._machine
        if room >= 4:
            if cell_len(machine) > room:
                machine = machine[: room - 1] + "…"
            parts.append((" " * (width - used - cell_len(machine) - 1), ""))
            parts.append((machine, "bold $warning" if self._demo else "$text-muted"))
        self.show(*parts)

    def on_click(self, event: events.Click) -> None:
        """A click on a name goes there."""
        for end, name in self._ends:
            if event.x <= end:
                self.app.call_later(self.app.run_action, f"go('{name}')")
                return


class KeyLine(Line):
    """The keys of the focused part, greyed where they do nothing now."""

    def __init__(self) -> None:
        super().__init__(id="keyline")

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _screen: self.redraw())

    def on_resize(self, event: events.Resize) -> None:
        """More keys where there is room."""
        self.redraw()

    def redraw(self) -> None:
        """Show as many whole keys as fit."""
        if not self.is_attached:
            return
        width = self.size.width or 80
        parts: list[Part] = [(" ", "")]
        used = 1
        shown = self._shown()
        last = [active for active in shown if active.binding.action in _LAST]
        kept = sum(cell_len(" ".join((key_text(active.binding), active.binding.description))) + 2 for active in last)
        for active in shown:
            binding = active.binding
            key = key_text(binding)
            size = cell_len(key) + 1 + cell_len(binding.description) + 2
            kept -= size if active in last else 0
            if used + size + kept > width + 2:
                continue
            parts.append((key, "$accent" if active.enabled else "$text-disabled"))
            parts.append((f" {binding.description}  ", "$foreground" if active.enabled else "$text-disabled"))
            used += size
        self.show(*parts)

    def _shown(self) -> list[ActiveBinding]:
        """The keys with words, each action once; the menu, and marking, the same everywhere, come last and always have their room."""
        named = getattr(self.screen, "names_key", lambda _action: True)
        found: dict[str, ActiveBinding] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.description and named(binding.action.partition("(")[0]) and not self._typed(active):
                found.setdefault(binding.action, active)
        return sorted(found.values(), key=lambda active: active.binding.action in _LAST)

    def _typed(self, active: ActiveBinding) -> bool:
        """Whether the focused field writes this key down instead of doing what it says."""
        focused, key = self.screen.focused, active.binding.key
        if focused is None or active.node is focused:
            return False
        return focused.check_consume_key(key, "/" if key == "slash" else key_to_character(key))


def key_text(binding: Binding) -> str:
    """A binding's key as the screens write it: `ctrl+n`, `esc`, `?`."""
    if binding.key_display:
        return binding.key_display
    *modifiers, key = binding.key.split("+")
    return "+".join([*modifiers, _KEY_WORDS.get(key, key if len(key) == 1 else key.replace("_", " "))])
