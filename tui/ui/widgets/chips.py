"""The line of attachments above the composer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from textual import events
from textual.message import Message

from tui.core.chat import Attachment
from tui.text import clean_label, size
from tui.ui.frame import Line, Part
from tui.ui.widgets.bars import fit, uses_ascii

_NAME: Final = 28
"""Cells of a name."""


class Chips(Line):
    """`[report.md 12 kB ✕] [cat.png 1.2 MB ✕]`, as many as there is room for; a click on one takes it off."""

    DEFAULT_CSS = "Chips { height: 1; width: 1fr; padding: 0 1; display: none; }"

    class Removed(Message):
        """A chip was clicked: its index."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._attached: tuple[Attachment, ...] = ()
        self._ends: list[int] = []

    def show(self, attached: Sequence[Attachment]) -> None:  # type: ignore[override]
        """Draw these."""
        if tuple(attached) != self._attached:
            self._attached = tuple(attached)
            self.display = bool(attached)
            self._draw()

    def on_resize(self) -> None:
        """More of them where there is room."""
        self._draw()

    def _draw(self) -> None:
        ascii = uses_ascii(self)
        room = (self.content_size.width or 78) - 10
        parts: list[Part] = []
        self._ends = []
        used = 0
        for number, one in enumerate(self._attached):
            name = clean_label(one.name, 100)
            name = fit(name, _NAME, ascii=ascii) if cell_len(name) > _NAME else name
            words = f"{name} {size(one.size)}"
            width = cell_len(words) + 4
            if number and used + width > room:
                parts.append((f"+{len(self._attached) - number} more", "$text-muted"))
                break
            parts += [("[", "$border"), (words, "$accent"), (" x" if ascii else " ✕", "$text-muted"), ("] ", "$border")]
            used += width + 1
            self._ends.append(used)
        super().show(*parts)

    def on_click(self, event: events.Click) -> None:
        """Take it off."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        event.stop()
        for index, end in enumerate(self._ends):
            if offset.x < end - 1:
                self.post_message(self.Removed(index))
                return
