"""Two to four installed models side by side; what differs stands out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.core.models import Model
from tui.core.observe import Observable
from tui.core.record import record
from tui.services.monitor.profile_words import joules, rate
from tui.text import duration, size, tokens
from tui.ui.following import FollowingDialog
from tui.ui.frame import Line
from tui.ui.screens import library_columns
from tui.ui.screens.parts import Rule
from tui.ui.widgets.columns import GUTTER, Cell, Column
from tui.ui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.ui.screens.library_installed import InstalledView
    from tui.ui.screens.library_known import Known

_NAMES: Final = 12
_LEAST: Final = 19
"""Cells of a model's column."""


@record(frozen=True)
class Compared:
    """A line: what it is about, and what each model has."""

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether they are not all the same."""
        return len(set(self.values)) > 1


def compared(known: Known, models: Sequence[Model], *, binary: bool = False) -> list[Compared]:
    """The lines, without those that nothing is known for."""
    every = library_columns.every(known, binary=binary)
    now = time.time()

    def column(name: str) -> Callable[[Model], str]:
        def of(model: Model) -> str:
            drawn = every[name].render(model)
            return drawn if isinstance(drawn, str) else drawn.text if isinstance(drawn, Cell) else drawn.plain

        return of

    def measured(pick: Callable[[Any], str]) -> Callable[[Model], str]:
        return lambda model: pick(profile) if (profile := known.profile(model)) is not None else "–"

    def needs(model: Model) -> str:
        fit = known.fit(model)
        need = fit.need if fit is not None else None
        return "–" if need is None else f"{'' if need.measured else '~'}{size(need.total + need.ram, binary=binary)} at 8k"

    def heads(model: Model) -> str:
        detail = known.detail(model)
        layers = detail.info.get(f"{detail.info.get('general.architecture')}.block_count") if detail is not None else None
        return str(layers) if isinstance(layers, int) else "–"

    lines: list[tuple[str, Callable[[Model], str]]] = [
        ("provider", column("on")), ("size", column("size")), ("parameters", column("parameters")), ("quantization", column("quant")),
        ("family", column("family")), ("layers", heads), ("format", column("format")), ("context", lambda m: tokens(known.context(m))),
        ("can", column("can")), ("licence", column("licence")), ("fits at 8k", column("fits")), ("needs", needs),
        ("tok/s here", measured(lambda p: rate(p.rate))), ("prompt tok/s", measured(lambda p: rate(p.prompt_rate))),
        ("first token", measured(lambda p: duration(p.first_token))), ("loads in", measured(lambda p: duration(p.load_seconds))),
        ("energy", measured(lambda p: "–" if p.joules is None else f"{joules(p.joules)} an answer")),
        ("answers", measured(lambda p: str(p.answers))),
        ("update", column("update")), ("used", lambda m: library_columns.age(known.used(m), now)),
        ("changed", lambda m: library_columns.age(m.modified_at, now)), ("digest", column("digest")),
    ]  # fmt: skip
    found = [Compared(name, tuple(of(model) for model in models)) for name, of in lines]
    return [line for line in found if any(value not in ("", "–") for value in line.values)]


class CompareTable(Rows[Compared]):
    """Lines of a comparison."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "screen.shift(1)", "right", id="compare.right", tooltip="Models further right"),
        Binding("left,h", "screen.shift(-1)", "left", id="compare.left", tooltip="Models further left"),
        Binding("d,equals_sign", "screen.differences", "differences", id="compare.differences", tooltip="Only what differs, or all"),
    ]


class CompareModels(FollowingDialog[None]):
    """The comparison; it fills as the servers answer, and a model that goes says so."""

    DEFAULT_CSS = """
    CompareModels { background: $background; layout: vertical; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "back", "back", key_display="esc", id="compare.back", tooltip="Back to the table"),
    ]

    def __init__(self, view: InstalledView, models: Sequence[Model]) -> None:
        super().__init__()
        self._view, self._models = view, tuple(models)
        self._from = 0
        self._only = False

    def compose(self) -> ComposeResult:
        """Title, table, foot."""
        yield Rule(ascii=self._view.screen.ascii, id="compare-title")
        yield CompareTable(self._columns(), key=lambda line: line.name, markable=False, id="compare-table")
        yield Line(id="compare-foot")

    def on_mount(self) -> None:
        """Ask for what is not known, and follow it."""
        services = self._view.screen.services
        registry = services.registry
        for model in self._models:
            if (model.provider, model.key) not in registry.details.value and not registry.can(model.provider, Capability.SHOW):
                registry.show(model.provider, model.key)
        sources: tuple[Observable[Any], ...] = (
            registry.details, registry.models, registry.running, services.monitor.profiles, services.library.updates.states,
        )  # fmt: skip
        for source in sources:
            self.follow(source, lambda _value: self._draw(), fps=4, now=False)
        self.query_one("#compare-title", Rule).set_title(f"{len(self._models)} models")
        self._draw()
        self.query_one(CompareTable).focus()

    def can_draw(self) -> bool:
        """See `follow.Host`."""
        return super().can_draw() and self.is_current

    def on_resize(self) -> None:
        """As many models as there is room for."""
        self._draw()

    # --- content

    @property
    def _room(self) -> int:
        """Models that stand side by side."""
        width = self.app.size.width - GUTTER - _NAMES
        return max(1, min(len(self._models), width // (_LEAST + 2)))

    def _columns(self) -> list[Column[Compared]]:
        first, room = self._from, self._room
        each = max(_LEAST, (self.app.size.width - GUTTER - _NAMES - 2 * room) // room)

        def cell(index: int) -> Callable[[Compared], Cell]:
            def of(line: Compared) -> Cell:
                value = line.values[index] if index < len(line.values) else ""
                return Cell(value, "bold" if line.differs else "dim")

            return of

        names = [self._title(model) for model in self._models]
        return [
            Column("name", "", lambda line: Cell(line.name, "" if line.differs else "dim"), width=_NAMES),
            *(Column(f"m{index}", names[index], cell(index), width=each) for index in range(first, min(len(names), first + room))),
        ]

    def _title(self, model: Model) -> str:
        there = self._view.screen.services.registry.models.value
        gone = not any((other.provider, other.key) == (model.provider, model.key) for other in there)
        return f"{model.name}{' (gone)' if gone else ''}"

    def _draw(self) -> None:
        self._view.draw_facts()  # what is known is kept there, and the screen below may look later
        self._from = max(0, min(self._from, len(self._models) - self._room))
        lines = compared(self._view.known, self._models, binary=self._view.screen.binary)
        table = self.query_one(CompareTable)
        table.set_columns(self._columns())
        table.set_items([line for line in lines if line.differs or not self._only])
        last = self._from + self._room
        hidden = f"  models {self._from + 1} to {last} of {len(self._models)}, " if self._room < len(self._models) else "  "
        self.query_one("#compare-foot", Line).show(
            (f" {sum(line.differs for line in lines)} of {len(lines)} differ", "bold $primary"),
            (hidden, "$text-muted"),
            *((("← →", "$accent"), (" others  ", "$foreground")) if self._room < len(self._models) else ()),
            ("d", "$accent"), (f" {'all' if self._only else 'differences only'}  ", "$foreground"),
            ("esc", "$accent"), (" back", "$foreground"),
        )  # fmt: skip

    # --- keys

    def action_shift(self, step: int) -> None:
        """Other models, where not all stand side by side."""
        self._from += step
        self._draw()

    def action_differences(self) -> None:
        """Only what differs, or all."""
        self._only = not self._only
        self._draw()

    def action_back(self) -> None:
        """Close."""
        self.dismiss(None)
