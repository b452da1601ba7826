"""Marks, bars and cells of text: what every table, bar and status line is made of.

The marks are those of the design paper screens.md; each is one cell wide in every terminal.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from rich.cells import cell_len, set_cell_size
from rich.style import Style

_MARKS: Final[dict[str, tuple[str, str, str]]] = {
    # state: (glyph, ascii, tone)
    "up": ("●", "+", "ok"),
    "done": ("●", "+", "ok"),
    "loaded": ("●", "+", "ok"),
    "busy": ("◐", "~", "busy"),
    "running": ("◐", "~", "busy"),
    "down": ("○", "-", "dim"),
    "waiting": ("○", "-", "dim"),
    "failed": ("✕", "x", "bad"),
    "paused": ("‖", "=", "dim"),
    "found": ("+", "?", "accent"),
    "": (" ", " ", ""),
}
MARKED: Final = "✓"
TONES: Final = ("ok", "busy", "warn", "bad", "dim", "accent", "bold")
"""Names of meanings that a widget maps to its theme's colours; never the only carrier of a meaning."""

Align = Literal["left", "right"]


def uses_ascii(widget: Any, wish: bool | None = None) -> bool:
    """Whether to draw without Unicode graphics: the widget's own wish, else its app's `ascii` attribute."""
    app = widget.app
    return bool(getattr(app, "ascii_only", getattr(app, "ascii", False))) if wish is None else wish


def own_style(widget: Any, name: str) -> Style:
    """What a component class sets itself, over whatever background: Textual's own leaves "auto 60%" white."""
    own: Style = widget.get_component_rich_style(name, partial=True)
    if own.color is None:
        return own
    seen: Style = widget.get_component_rich_style(name)
    return own + Style(color=seen.color)


def glyph(state: str, ascii: bool = False) -> str:
    """The mark of a state ("up", "done", "busy", "down", "waiting", "failed", "paused", "found"); a space for any other."""
    return _MARKS.get(state, _MARKS[""])[1 if ascii else 0]


def tone(state: str) -> str:
    """The tone (see `TONES`) in which a state's mark is drawn; empty for none."""
    return _MARKS.get(state, _MARKS[""])[2]


def check(ascii: bool = False) -> str:
    """The sign for "marked" in the first column."""
    return "*" if ascii else MARKED


def fit(text: str, width: int, align: Align = "left", ascii: bool = False) -> str:
    """Pad or cut text to exactly `width` cells; what is cut ends in an ellipsis."""
    if width <= 0:
        return ""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        text = set_cell_size(text, width - 1) + ("~" if ascii else "…")
        return text
    padding = " " * (width - length)
    return padding + text if align == "right" else text + padding


_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def bar(fraction: float | None, width: int, ascii: bool = False) -> str:
    """A progress bar of `width` cells in eighths of a cell; None or NaN is an empty bar."""
    width = max(0, width)
    full, empty = ("#", ".") if ascii else ("█", "░")
    share = 0.0 if fraction is None or fraction != fraction else min(1.0, max(0.0, fraction))
    eighths = int(share * width * 8)
    if ascii:
        return full * (eighths // 8) + empty * (width - eighths // 8)
    whole, rest = divmod(eighths, 8)
    partial = _EIGHTHS[rest] if rest else ""
    return full * whole + partial + empty * (width - whole - len(partial))


FREE: Final = ("·", ".")
"""What is free in a stacked bar, with and without Unicode."""
TAKEN: Final = ("╱", "/")
"""What would be taken."""
HIDDEN: Final = ("?", "?")
"""What cannot be seen."""
REST: Final = ("=", "=")
"""What nobody names."""


def stack_marks(ascii: bool = False) -> str:
    """The fills of the parts of a stacked bar, in order."""
    return "#|:+%" if ascii else "▓▒░▚▞"
