"""What the Library's views and verbs have in common: the screen's parts, the view that is shown, what keys act on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

from rich.cells import cell_len
from textual import events
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input

from tui.core.capabilities import Capability
from tui.core.models import Model
from tui.ui.frame import Line, Part
from tui.ui.screens.fits import Fits
from tui.ui.screens.parts import Rule
from tui.ui.screens.refusing import ActivityLine, RefusingScreen
from tui.ui.widgets.columns import Column
from tui.ui.widgets.detail import DetailPane, Fact
from tui.ui.widgets.filter import FilterInput
from tui.ui.widgets.rows import Rows

T = TypeVar("T")
_FILTER: Final = 12
"""Cells that the filter has at least."""
_ROOMY: Final = 40
"""Cells that it has where there is room; more where it needs more."""


class LibraryView(Generic[T]):
    """One view of the Library: a table, its columns, and what the pane tells of an item."""

    NAME: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""

    def __init__(self, screen: LibraryBase) -> None:
        self.screen = screen
        self.filter = ""
        self.table: Rows[T] = self.make()

    def make(self) -> Rows[T]:
        """Build the table; its id is its own."""
        raise NotImplementedError

    def columns(self, width: int) -> Sequence[Column[T]]:
        """The columns for a table of `width` cells."""
        raise NotImplementedError

    def orders(self) -> Sequence[Column[T]]:
        """Columns that can be sorted by and need not be shown."""
        return ()

    def start(self) -> None:
        """Follow what it shows; once, when the screen is there."""

    def shown(self) -> None:
        """It is shown now: fill what was not needed before."""

    def narrow(self, text: str) -> None:
        """Show what the filter says."""
        self.table.set_filter(text)

    def counts(self) -> list[Part]:
        """What stands at the right of the views."""
        rows = self.table
        return [(f"{f'{rows.shown} of ' if rows.shown != rows.total else ''}{rows.total}", "$foreground")]

    def title(self, item: T) -> str:
        """What stands in the rule above the pane."""
        return str(getattr(item, "name", ""))

    def facts(self, item: T) -> list[Fact]:
        """What the pane tells."""
        return []

    def rested(self, item: T) -> None:
        """The cursor rests on an item: what costs a request may be asked for."""

    def entered(self, item: T) -> None:
        """Enter, or a double click."""

    def back(self) -> bool:
        """One step of esc that is its own; False where there is none."""
        return False


class LibraryBase(RefusingScreen):
    """The frame of the screen; verbs are mixed in, views are parts."""

    NAME = "library"
    AUTO_FOCUS = "#models"
    SHOW_AFTER: ClassVar[float] = 0.15
    """Seconds the cursor rests on an item before its details are asked for."""
    MORE: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    """What the menu of `o` offers: action, title, words."""

    def __init__(self, services: Any) -> None:
        super().__init__(services)
        self.fits = Fits()
        self.width = 0
        self._about: object = None
        self._rest_timer: Any = None
        self.views: tuple[LibraryView[Any], ...] = self.make_views()
        self.view: LibraryView[Any] = self.views[0]

    @property
    def ascii(self) -> bool:
        """See `AppScreen`; views are made before there is an app."""
        return self.is_attached and super().ascii

    def make_views(self) -> tuple[LibraryView[Any], ...]:
        """The views, left to right; the first is shown first."""
        raise NotImplementedError

    def body(self) -> Iterator[Widget]:
        """Views and filter, tables, rule, detail."""
        with Horizontal(id="library-head"):
            yield Line(id="library-views")
            yield FilterInput(placeholder="words", compact=True, select_on_focus=False, id="library-filter")
            yield Line(id="library-counts")
        yield ActivityLine(id="library-activity")
        with Horizontal(id="library-parts"):
            with Vertical(id="library-lists"):
                for view in self.views:
                    yield view.table
            yield Rule(ascii=self.ascii, id="library-rule")
            yield DetailPane(id="library-detail")

    def start(self) -> None:
        """Follow what decides whether models fit, and start the views."""
        self.query_one("#library-filter", Input).cursor_blink = False
        self.query_one("#library-filter").display = False
        for view in self.views:
            view.table.display = view is self.view
            view.start()
        self.follow(self.services.config.current, lambda _settings: self.settings_moved(), fps=4)
        self.follow(self.services.registry.activities, self.query_one(ActivityLine).take, fps=4)

    # --- what keys act on ---------------------------------------------------------------------------------------------

    @property
    def table(self) -> Rows[Any]:
        """The table that is shown."""
        return self.view.table

    @property
    def installed(self) -> bool:
        """Whether the installed models are shown."""
        return self.view is self.views[0]

    @property
    def away(self) -> str:
        """Why a verb for installed models does nothing; empty where they are shown."""
        if self.installed:
            return ""
        before = self.views.index(self.view)
        keys = min("[" * before, "]" * (len(self.views) - before), key=len)
        return f"{self.view.TITLE} is shown; {' '.join(keys)} leads back to what is installed."

    def names_key(self, action: str) -> bool:
        """See `AppScreen`: other views have no room for the verbs of installed models."""
        return self.installed or self.refusal(action) != self.away

    @property
    def chosen(self) -> list[Model]:
        """The installed models that a verb acts on: marked, else under the cursor; none in other views."""
        return list(self.views[0].table.chosen) if self.installed else []

    def refused_for(self, capability: Capability, models: Sequence[Model]) -> str:
        """Why a verb does nothing for these installed models; empty where all their providers can."""
        if self.away:
            return self.away
        if not models:
            return "There is no model under the cursor."
        for provider in sorted({model.provider for model in models}):
            reason = self.services.registry.can(provider, capability)
            if reason:
                return f"Not possible: {reason}."
        return ""

    # --- drawing ------------------------------------------------------------------------------------------------------

    def fit_columns(self, width: int) -> None:
        """`width` is the table's, which is not the screen's where the detail stands beside it."""
        self.width = width
        for view in self.views:
            view.table.set_columns(view.columns(width), view.orders())

    def settings_moved(self) -> None:
        """Units, columns and the like."""
        self.fit_columns(self.width or 80)
        self.draw_detail()

    def draw_head(self) -> None:
        """Views, filter and counts; for want of room the names of the other views are cut, then go, and the filter is cut at last."""
        counts = [(" ", ""), *self.view.counts()]
        field = self.query_one("#library-filter", Input)
        field.display = bool(self.view.filter) or field.has_focus
        wanted = max(_FILTER, cell_len(self.view.filter) + 1) if field.display else 0
        room = (self.size.width or 80) - sum(cell_len(text) for text, _style in counts)
        parts: list[Part] = []
        width = 0
        for letters in (99, 4, 0):
            parts = [*self._view_names(letters), *([(" /", "$accent")] if field.display else [])]
            width = sum(len(text) for text, _style in parts) + 1
            if width + wanted <= room:
                break
        field.styles.width = max(_FILTER, min(max(_ROOMY, wanted), room - width))
        line = self.query_one("#library-views", Line)
        line.styles.width = width
        line.show(*parts)
        self.query_one("#library-counts", Line).show(*counts)

    def _view_names(self, letters: int) -> list[Part]:
        """The view that is shown in brackets, of the others' names as many letters."""
        parts: list[Part] = [(" ", "")]
        for view in self.views:
            if view is self.view:
                parts += [(f"[{view.TITLE}]", "bold $primary"), (" ", "")]
            elif letters:
                parts += [(f" {view.TITLE[:letters]} ", "$text-muted"), (" ", "")]
        return parts

    def draw_detail(self) -> None:
        """Head, rule and pane; asks for more once the cursor rests."""
        self.draw_head()
        rule, pane = self.query_one("#library-rule", Rule), self.query_one(DetailPane)
        item = self.table.highlighted
        about = (self.view.NAME, self.table._cursor_key())
        rule.set_title("" if item is None else self.view.title(item))
        rule.visible = item is not None
        pane.show(self.view.facts(item) if item is not None else [])
        if about != self._about:
            self._about = about
            pane.to_top()
        self._await_rest()
        self.refresh_bindings()

    def _await_rest(self) -> None:
        """Once the cursor rests: holding j must not ask for every model passed."""
        if self._rest_timer is not None:
            self._rest_timer.stop()
            self._rest_timer = None
        if self.table.highlighted is not None:
            self._rest_timer = self.set_timer(self.SHOW_AFTER, self._rested)

    def _rested(self) -> None:
        item = self.table.highlighted
        if item is not None and self.is_current:
            self.view.rested(item)

    def on_resize(self, event: events.Resize) -> None:
        """More columns where there is room."""
        super().on_resize(event)
        self.call_after_refresh(self.resized)

    def resized(self) -> None:
        """Fit the columns to the table, once it was laid out."""
        width = self.table.size.width
        if width and width != self.width:
            self.fit_columns(width)
        self.draw_detail()

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Another item in detail."""
        self.draw_detail()

    def on_rows_marked(self, event: Rows.Marked) -> None:
        """Counts, and what keys may do."""
        self.draw_head()
        self.refresh_bindings()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter."""
        self.view.entered(event.item)

    # --- views and filter ---------------------------------------------------------------------------------------------

    def action_view(self, step: int) -> None:
        """The next view."""
        at = self.views.index(self.view)
        self.show_view(self.views[(at + step) % len(self.views)].NAME)

    def show_view(self, name: str) -> None:
        """Show a view by its name."""
        self.view = next(view for view in self.views if name == view.NAME)
        for view in self.views:
            view.table.display = view is self.view
        self.view.shown()
        self.query_one("#library-filter", Input).value = self.view.filter
        self.apply_filter()
        self.table.focus()
        self.call_after_refresh(self.resized)

    def apply_filter(self) -> None:
        """Show what the filter of this view says."""
        self.view.narrow(self.view.filter)
        self.draw_head()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        if event.input.id == "library-filter" and event.value != self.view.filter:
            self.view.filter = event.value
            self.apply_filter()
            self.draw_detail()

    def action_filter(self) -> None:
        """Type the filter."""
        field = self.query_one("#library-filter", Input)
        field.display = True
        field.focus()

    def use_filter(self, text: str) -> None:
        """Show what a filter says, as if it had been typed."""
        self.view.filter = text
        self.query_one("#library-filter", Input).value = text
        self.apply_filter()
        self.draw_detail()

    def action_filter_done(self) -> None:
        """Back to the list, the filter stays."""
        self.table.focus()
        self.call_after_refresh(self.draw_head)

    def action_filter_clear(self) -> None:
        """Clear, and back to the list."""
        self.query_one("#library-filter", Input).value = ""
        self.view.filter = ""
        self.apply_filter()
        self.action_filter_done()

    def action_back(self) -> None:
        """Esc: from the detail, then the filter, what the view has of its own, the marks, and at last the newest wait."""
        newest = self.query_one(ActivityLine).newest
        if self.query_one(DetailPane).has_focus:
            self.table.focus()
        elif self.view.filter:
            self.action_filter_clear()
        elif self.view.back() or self.table.clear_marks():
            self.draw_detail()
        elif newest is not None:
            self.services.registry.cancel(newest.id)

    def ask(self, dialog: Any, done: Callable[[Any], None] | None = None) -> None:
        """Show a dialog over the screen."""
        self.app.push_screen(dialog, done)
