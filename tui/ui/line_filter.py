"""The last filter over every drawn line: no control character of foreign origin gets past it."""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from tui.text import strip_line


@lru_cache(512)
def _safe_style(style: Style) -> Style:
    """The style without its link, where the link holds what a line must not."""
    link = style.link
    return style if link is None or strip_line(link) == link else style.update_link(None)


class TextSafetyFilter(LineFilter):
    """Deletes what `tui.text.strip_line` deletes, and links that contain it; deleted characters have no width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments, the same list where nothing was foreign."""
        cleaned: list[Segment] | None = None
        for index, segment in enumerate(segments):
            text, style, control = segment
            safe_text = text if text.isprintable() and text.isascii() else strip_line(text)
            safe_style = style if style is None or style._link is None else _safe_style(style)
            if safe_text is not text or safe_style is not style or control:
                if cleaned is None:
                    cleaned = segments[:index]
                if safe_text or not text:
                    cleaned.append(Segment(safe_text, safe_style))
            elif cleaned is not None:
                cleaned.append(segment)
        return segments if cleaned is None else cleaned
