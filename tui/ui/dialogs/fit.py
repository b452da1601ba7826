"""What fits on this machine: context by quantization, walked cell by cell, with the largest context that fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.core.capabilities import Capability
from tui.core.fit import FitRow, FitTable, Machine, Served, Source, Variant, contexts_of, make_table
from tui.core.names import same
from tui.services.library.fits_variants import longest
from tui.text import clean_name
from tui.ui.dialogs.fit_words import cell_of, cell_text, cell_words, head_of, heading, legend, machine_text, served_text
from tui.ui.screens.fits import Fits, with_measured
from tui.ui.widgets.bars import uses_ascii
from tui.ui.widgets.grid import Grid, GridRow

if TYPE_CHECKING:
    from tui.services.api import Services

_LOOK: Final = 1.0
"""Seconds between two looks at what is free."""
WIDE: Final = 100
"""Cells from which on there is room for wider columns."""
_AT: Final = 8192
"""Tokens of the column that has the cursor at first."""


class FitDialog(ModalScreen[None]):
    """The table of one model; pulls or loads what the cursor is on.

    Args:
        services: Everything.
        title: What it is about.
        provider: Where it would run.
        variants: Makes the rows; asked again whenever something moved.
        pull: Pulls a name; None: pulling is not possible.
    """

    DEFAULT_CSS = """
    FitDialog {
        align: center middle;
        .dialog { width: 100; max-width: 100%; height: auto; max-height: 96%; padding: 0 1; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .quiet { color: $text-muted; }
        #fit-cell { height: 4; }
        .hint { color: $text-muted; }
        &.-high Grid, &.-high #fit-cell, &.-high .hint { margin-top: 1; }
        &.-low .dialog { max-height: 100%; }
        &.-low #fit-cell { height: 3; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f", "leave", "back", key_display="esc", id="fit.back", tooltip="Close"),
        Binding("p", "pull", "pull", id="fit.pull", tooltip="Pull what the cursor is on"),
        Binding("L", "load", "load", id="fit.load", tooltip="Load what the cursor is on"),
        Binding("y", "copy", "copy", id="fit.copy", tooltip="Copy the table"),
    ]

    def __init__(
        self,
        services: Services,
        title: str,
        provider: str,
        variants: Callable[[], Sequence[Variant]],
        pull: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self._services, self._called, self._provider = services, title, provider
        self._variants, self._pull = variants, pull
        self._fits = Fits()
        self._table = FitTable()
        self._binary = services.config.current.value.appearance.units == "binary"
        self._first = True

    def compose(self) -> ComposeResult:
        """Heading, machine, table, the cell under the cursor, keys."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled(f"What fits: {clean_name(self._called, 60)}", "bold"))
            yield Static("", id="fit-machine", classes="quiet", markup=False)
            yield Grid(id="fit-grid")
            yield Static("", id="fit-cell", markup=False)
            yield Static("", id="fit-legend", classes="quiet", markup=False)
            yield Static("", id="fit-keys", classes="hint", markup=False)

    def on_mount(self) -> None:
        """Fill, and follow what is free."""
        self.query_one(Grid).focus()
        self._take()
        self.set_interval(_LOOK, self._take)

    # --- the table ----------------------------------------------------------------------------------------------------

    @property
    def _served(self) -> Served:
        return self._fits.served(self._provider)

    @property
    def _machine(self) -> Machine | None:
        return self._fits.room(self._provider)

    def _take(self) -> None:
        """Compute it again where something moved."""
        if self._fits.take(self._services) or self._first:
            self._draw()

    def _draw(self) -> None:
        machine = self._machine
        if machine is None:
            self.query_one("#fit-machine", Static).update(Content("This machine's memory is not known yet: nothing was measured."))
            return
        variants = tuple(self._variants())
        contexts = contexts_of(longest(variants))
        pace = self._fits.pace if machine is self._fits.machine else None
        table = make_table(variants, contexts, machine, self._served, self._fits.lessons, pace, self._held())
        self._table = self._with_speeds(table)
        told = f"{machine_text(machine, binary=self._binary)}; {served_text(self._served)}"
        self.query_one("#fit-machine", Static).update(Content(told))
        ascii, width = uses_ascii(self, None), self.size.width
        meaning = legend(self._table, short=width < WIDE, ascii=ascii, binary=self._binary)
        self.query_one("#fit-legend", Static).update(Content(meaning))
        room = max(20, min(width, WIDE) - 4)
        lines = sum(-(-len(text) // room) for text in (told, meaning))
        self._draw_grid(contexts, lines, ascii=ascii, wide=width >= WIDE)
        if self._first:
            self._first = False
            self._to_start(contexts)
        self._tell()

    def _draw_grid(self, contexts: Sequence[int], texts: int, *, ascii: bool, wide: bool) -> None:
        lead, cell = (36, 8) if wide else (28, 6)
        rows = [
            GridRow(
                head_of(row, lead, ascii=ascii, binary=self._binary),
                (*(cell_of(fit, binary=self._binary) for fit in row.fits), (cell_text(row.largest) if row.largest else "none", "accent")),
            )
            for row in self._table.rows
        ]
        grid, others = self.query_one(Grid), texts + (13 if self.size.height >= 36 else 8 if self.size.height < 24 else 9)
        grid.styles.height = max(3, min(len(rows) + 1, self.size.height - others))
        titles = [*(cell_text(context) for context in contexts), "largest" if wide else "most"]
        grid.show(heading(lead), titles, rows, lead=lead, width=cell)

    def _held(self) -> dict[str, int]:
        """GPU bytes of what this provider has loaded."""
        running = self._services.registry.running.value
        return {one.key: one.vram or 0 for one in running if one.provider == self._provider}

    def _with_speeds(self, table: FitTable) -> FitTable:
        """Speeds that were measured stand for those expected."""
        rows = []
        for row in table.rows:
            profile = self._fits.profiles.get((self._provider, clean_name(row.variant.subject.name)))
            fits = tuple(with_measured(fit, profile) if fit is not None and profile is not None else fit for fit in row.fits)
            rows.append(replace(row, fits=fits))
        return replace(table, rows=tuple(rows))

    def _to_start(self, contexts: Sequence[int]) -> None:
        """The cursor begins on the model itself, else on the largest that fits, at the context that the tables are for."""
        rows = self._table.rows
        fits = next((at for at, one in enumerate(rows) if one.largest is not None), 0)
        row = next((at for at, one in enumerate(rows) if same(one.variant.name, self._called)), fits)
        column = max((at for at, context in enumerate(contexts) if context <= _AT), default=0)
        self.query_one(Grid).move_to(row, column)

    @property
    def _row(self) -> FitRow | None:
        at = self.query_one(Grid).cursor[0]
        return self._table.rows[at] if at < len(self._table.rows) else None

    def _tell(self) -> None:
        """The cell under the cursor in words."""
        row, machine = self._row, self._machine
        if row is None or machine is None:
            return
        column = self.query_one(Grid).cursor[1]
        last = column == len(self._table.contexts)
        fit, context = (row.at_largest, row.largest or 0) if last else (row.fits[column], self._table.contexts[column])
        words = cell_words(row, fit, context, machine, binary=self._binary)
        self.query_one("#fit-cell", Static).update(Content(words))
        self.query_one("#fit-keys", Static).update(Content(self._keys(row.variant)))

    def _keys(self, variant: Variant) -> str:
        own = "L load  " if self._loadable(variant) else "p pull  " if self._pullable(variant) else ""
        arrows = "arrows" if uses_ascii(self, None) else "←→↑↓"
        return f"{arrows} look around  {own}y copy  esc back"

    def _loadable(self, variant: Variant) -> bool:
        return (
            variant.source is Source.INSTALLED and bool(self._provider) and not self._services.registry.can(self._provider, Capability.LOAD)
        )

    def _pullable(self, variant: Variant) -> bool:
        return variant.source is Source.CATALOGUE and bool(variant.name) and self._pull is not None

    # --- keys ---------------------------------------------------------------------------------------------------------

    def on_grid_moved(self, event: Grid.Moved) -> None:
        """Another cell."""
        event.stop()
        self._tell()

    def on_grid_selected(self, event: Grid.Selected) -> None:
        """Enter: what can be done with it."""
        event.stop()
        row = self._row
        if row is not None and self._loadable(row.variant):
            self.action_load()
        else:
            self.action_pull()

    def on_resize(self, event: events.Resize) -> None:
        """More or fewer columns."""
        self.call_after_refresh(self._draw)

    def action_pull(self) -> None:
        """Pull the variant under the cursor; the pull's own dialog says what that means."""
        row = self._row
        if row is None:
            return
        if not self._pullable(row.variant) or self._pull is None:
            computed = row.variant.source is Source.COMPUTED
            why = "This level is worked out by bits a weight: nobody is known to offer it." if computed else "It is installed."
            self.notify(why, markup=False)
            return
        self.dismiss(None)
        self._pull(row.variant.name)

    def action_load(self) -> None:
        """Load the installed variant under the cursor."""
        row = self._row
        if row is None or not self._loadable(row.variant):
            self.notify("Only what is installed here can be loaded.", markup=False)
            return
        self._services.registry.load(self._provider, row.variant.subject.name)
        self.dismiss(None)

    def action_copy(self) -> None:
        """Copy it as text."""
        table = self._table
        lines = ["\t".join(("", *(cell_text(context) for context in table.contexts), "largest"))]
        for row in table.rows:
            cells = [cell_of(fit, binary=self._binary)[0] for fit in row.fits]
            lines.append("\t".join((row.variant.label, *cells, cell_text(row.largest) if row.largest else "none")))
        self.app.copy_to_clipboard("\n".join(lines))

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
