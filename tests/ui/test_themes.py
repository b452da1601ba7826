"""Shades of text are colours of their own: `auto 60%` within styled text is drawn white."""

from __future__ import annotations

import pytest
from textual.app import App
from textual.color import Color

from tui.ui.themes import THEMES, concrete


def ratio(one: Color, other: Color) -> float:
    """Contrast as WCAG 2.2 defines it."""

    def luminance(color: Color) -> float:
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", ["paddock", "paddock-light", "nord", "textual-light"])
def test_muted_text_stands_between_text_and_background(name: str) -> None:
    app: App[None] = App()
    for theme in THEMES:
        app.register_theme(theme)
    app.theme = name
    found = concrete(app.get_css_variables())
    background, foreground = Color.parse(found["background"]), Color.parse(found["foreground"])
    contrasts = [ratio(background, Color.parse(found[shade])) for shade in ("text-disabled", "text-muted", "text")]
    assert contrasts == sorted(contrasts)
    assert contrasts[0] > 1.9
    assert contrasts[1] > 3.0
    assert contrasts[2] <= ratio(background, foreground)


def test_a_terminals_own_colours_stay() -> None:
    assert concrete({"text-muted": "ansi_default 50%", "background": "ansi_default", "foreground": "ansi_default"}) == {
        "text-muted": "ansi_default 50%",
        "background": "ansi_default",
        "foreground": "ansi_default",
    }
