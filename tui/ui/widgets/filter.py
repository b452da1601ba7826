"""The line that narrows a list."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.widgets import Input

from tui.text import strip_line
from tui.ui.widgets.bars import fit, uses_ascii


class FilterInput(Input):
    """The filter, in place: enter and down go back to the table, esc clears. Where it rests and is too long, its end is marked as cut."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down,tab", "screen.filter_done", "to the list", id="filter.done", tooltip="Back to the list"),
        Binding("escape", "screen.filter_clear", "clear", id="filter.clear", tooltip="Clear the filter"),
    ]

    def render_line(self, y: int) -> Strip:
        """See `Input`; at rest it is drawn from its beginning."""
        if y or self.has_focus or not self.value:
            return super().render_line(y)
        width = self.scrollable_content_region.width
        text = fit(strip_line(self.value), width, ascii=uses_ascii(self))
        return Strip([Segment(text)]).extend_cell_length(width + 1).apply_style(self.rich_style)
