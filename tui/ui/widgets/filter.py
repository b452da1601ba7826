"""The line that narrows a list."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class FilterInput(Input):
    """The filter, in place: enter and down go back to the table, esc clears."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down,tab", "screen.filter_done", "to the list", id="filter.done", tooltip="Back to the list"),
        Binding("escape", "screen.filter_clear", "clear", id="filter.clear", tooltip="Clear the filter"),
    ]
