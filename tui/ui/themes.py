"""Our own themes, as data."""

from __future__ import annotations

from textual.color import Color
from textual.theme import Theme

PADDOCK = Theme(
    name="paddock",
    primary="#7fb4ca",
    secondary="#938aa9",
    accent="#e6c384",
    foreground="#d5d3c6",
    background="#15171c",
    surface="#1b1e25",
    panel="#252a33",
    success="#8fbf7f",
    warning="#e6b566",
    error="#e46876",
    dark=True,
    variables={
        "border": "#3a404c",
        "border-blurred": "#2b303a",
        "block-cursor-background": "#2f4a5a",
        "block-cursor-foreground": "#f2f0e4",
        "block-cursor-text-style": "none",
        "input-selection-background": "#7fb4ca 30%",
        "input-cursor-background": "#d5d3c6",
        "footer-key-foreground": "#e6c384",
    },
)
PADDOCK_LIGHT = Theme(
    name="paddock-light",
    primary="#1f6f8b",
    secondary="#6a5d94",
    accent="#9a6700",
    foreground="#23262b",
    background="#f6f4ee",
    surface="#eeebe2",
    panel="#e3dfd3",
    success="#3d7a2c",
    warning="#946200",
    error="#b3263a",
    dark=False,
    variables={
        "border": "#b9b4a4",
        "border-blurred": "#d3cebf",
        "block-cursor-background": "#bcd8e2",
        "block-cursor-foreground": "#101214",
        "block-cursor-text-style": "none",
        "footer-key-foreground": "#9a6700",
    },
)
THEMES = (PADDOCK, PADDOCK_LIGHT)


_SHADES = {"text": 0.92, "text-muted": 0.62, "text-disabled": 0.42}


def concrete(variables: dict[str, str]) -> dict[str, str]:
    """The theme's variables with shades of text as colours: Textual's `auto 60%` is drawn white within styled text."""
    found = dict(variables)
    for name, share in _SHADES.items():
        if found.get(name, "").startswith("auto"):
            found[name] = Color.parse(found["background"]).blend(Color.parse(found["foreground"]), share).hex
    return found


def choose(wanted: str, known: frozenset[str], *, no_color: bool) -> str:
    """The theme to use: the terminal's own colours where NO_COLOR asks, ours where the wanted one is unknown."""
    if no_color:
        return "ansi-dark"
    return wanted if wanted in known else PADDOCK.name
