"""The last filter over every drawn line: no control character of foreign origin gets past it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from tui.text import strip_line

_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def safe_text(text: str) -> str:
    """The text without what no drawn line may hold, as wide as before.

    A lone surrogate counts as one column, so it alone is replaced instead of deleted.
    """
    return strip_line(_SURROGATES.sub("\ufffd", text))


@lru_cache(512)
def _safe_style(style: Style) -> Style:
    """The style without its link, where the link holds what a line must not."""
    link = style.link
    return style if link is None or strip_line(link) == link else style.update_link(None)


class TextSafetyFilter(LineFilter):
    """Passes every line through `safe_text`, and drops links that it would change."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments, the same list where nothing was foreign."""
        cleaned: list[Segment] | None = None
        for index, segment in enumerate(segments):
            text, style, control = segment
            drawn = text if text.isprintable() and text.isascii() else safe_text(text)
            safe_style = style if style is None or style._link is None else _safe_style(style)
            if drawn != text or safe_style is not style or control:
                if cleaned is None:
                    cleaned = segments[:index]
                if drawn or not text:
                    cleaned.append(Segment(drawn, safe_style))
            elif cleaned is not None:
                cleaned.append(segment)
        return segments if cleaned is None else cleaned
