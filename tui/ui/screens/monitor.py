"""What this machine is doing, and for whom: graphs, whose memory it is, loaded models, alerts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui.core.models import Location
from tui.core.monitor import AlertsView, Loaded, MemoryMap
from tui.hardware.sample import GPU_PROCESSES
from tui.services.api import MonitorView
from tui.text import duration
from tui.ui.frame import Line
from tui.ui.screens.monitor_alerts import alert_lines, alerts_title, compact_lines
from tui.ui.screens.monitor_far import far_lines
from tui.ui.screens.monitor_keys import MonitorKeys
from tui.ui.screens.monitor_loaded import detail_text, loaded_columns, state_of
from tui.ui.screens.monitor_meters import TALLEST, compact, graph_cells, memory_board, overview
from tui.ui.screens.monitor_pages import page_lines, page_title, wants_of
from tui.ui.screens.monitor_time import Times
from tui.ui.screens.monitor_words import Look, silent_keys, silent_words
from tui.ui.screens.parts import Rule
from tui.ui.widgets.board import Board, BoardLine
from tui.ui.widgets.rows import Rows

COLUMNS_FROM: Final = (160, 36)
"""From this size on graphs stand at the left, all else at the right."""
_COMPACT_BELOW: Final = (60, 20)
_MODELS: Final = 6
_ALERTS: Final = 3
_FAR: Final = 4
_TALLEST_ALONE: Final = 8


class MonitorScreen(MonitorKeys):
    """This machine's figures and the models in memory."""

    NAME = "monitor"
    MIN_SIZE = (40, 12)
    HELP_LINES = (
        "Graphs show this machine. Loaded models are those of all servers; only models here count to its GPU. "
        "enter opens the page of a line, the detail of a model, the log of an alert."
    )
    AUTO_FOCUS = "#loaded"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket", "span(-1)", "span", key_display="[ ]", id="monitor.shorter", tooltip="[ shorter span, ] longer"),
        Binding("right_square_bracket", "span(1)", "longer", show=False, id="monitor.longer", tooltip="longer span"),
        Binding("p", "freeze", "freeze", id="monitor.freeze", tooltip="hold the moment; ← → then walk through time"),
        Binding("left", "walk(1)", "back", key_display="← →", id="monitor.back", tooltip="← back in time by a dot while frozen, → forth"),
        Binding("right", "walk(-1)", "forth", show=False, id="monitor.forth", tooltip="forth in time by a dot while frozen"),
        Binding("shift+left", "leap(1)", "far back", show=False, id="monitor.far_back", tooltip="back by a tenth of the span while frozen"),
        Binding("shift+right", "leap(-1)", "far forth", show=False, id="monitor.far_forth", tooltip="forth by a tenth of the span"),
        Binding("m", "mute", "mute", id="monitor.mute", tooltip="alerts ring and tell nothing for an hour; again: they do"),
        Binding("E", "export", "export", id="monitor.export", tooltip="write the history to a file"),
        Binding("l", "log", "alert log", show=False, id="monitor.log", tooltip="all alerts and what limits did"),
        Binding("r", "refresh", "refresh", show=False, id="monitor.refresh", tooltip="ask all servers again"),
        Binding("y", "copy", "copy", show=False, id="monitor.copy", tooltip="copy the model's name, or the alert's words"),
    ]

    def __init__(self, services: Any) -> None:
        super().__init__(services)
        self._times = Times(services.monitor)
        self._page = ""
        self._drawn_at = 0.0
        self._sampled = False
        self._shape: tuple[object, ...] = ()
        self._held: tuple[object, ...] = ()
        self._maps: tuple[MemoryMap, ...] = ()
        self._maps_at: float | None = None
        self._parts: tuple[object, ...] = ()
        self._wanted: tuple[str, ...] | None = None

    def body(self) -> Iterator[Widget]:
        """Head; figures, loaded models and alerts; or a page."""
        yield Line(id="monitor-head")
        yield Line(id="monitor-note")
        with Container(id="monitor-parts"):
            yield Board(id="meters")
            with Vertical(id="monitor-side"):
                yield Rule("memory", ascii=self.ascii, id="memory-rule")
                yield Board(id="memory")
                yield Rule("loaded", ascii=self.ascii, id="loaded-rule")
                yield Rows[Loaded](
                    loaded_columns(time.time, binary=self.binary),
                    key=lambda found: (found.model.provider, found.model.key),
                    state=state_of,
                    text=lambda found: f"{found.model.name} {found.model.provider}",
                    empty="No model is loaded. L loads one.",
                    gap=1,
                    markable=False,
                    id="loaded",
                )
                yield Static(id="loaded-detail", markup=False)
                yield Rule("other machines, as their servers tell", ascii=self.ascii, id="far-rule")
                yield Board(id="far")
                yield Rule("alerts", ascii=self.ascii, id="alerts-rule")
                yield Board(whole=True, id="alerts")
        with Vertical(id="monitor-page"):
            yield Rule("", ascii=self.ascii, id="page-rule")
            yield Board(id="page")

    def start(self) -> None:
        """Follow the sampler, what is loaded, and alerts."""
        monitor = self.services.monitor
        self.query_one("#memory", Board).can_focus = False
        self.query_one("#far", Board).can_focus = False
        self.query_one("#monitor-page").display = False
        self.follow(monitor.latest, self._draw, fps=4)
        self.follow(monitor.loaded, self._draw_loaded, fps=4)
        self.follow(monitor.maps, self._draw_maps, fps=2)
        self.follow(monitor.servers, lambda _figures: self._draw_far(), fps=2)
        self.follow(monitor.machines, lambda _samples: self._draw_far(), fps=2)
        self.follow(self.services.registry.providers, lambda _states: self._draw_far(), fps=2)
        self.follow(monitor.profiles, lambda _profiles: self._draw_detail(), fps=1)
        self.follow(monitor.alerts, self._draw_alerts, fps=4)
        self.follow(monitor.enforced, lambda _done: self._draw_alerts(monitor.alerts.value), fps=4)
        self.set_interval(1.0, self._count_down)
        self.app.mode_change_signal.subscribe(self, lambda _mode: self._want())

    # --- what is measured ---------------------------------------------------------------------------------------------

    def _want(self) -> None:
        """Say what is shown, so that no more is measured."""
        shown = self.is_attached and self in self.app.screen_stack
        wanted: tuple[str, ...] = ()
        if shown:
            wanted = wants_of(self._page) if self._page else (GPU_PROCESSES,)
        if wanted != self._wanted:
            self._wanted = wanted
            self.services.monitor.want("monitor", wanted)

    def on_screen_resume(self) -> None:
        """Shown again: catch up."""
        super().on_screen_resume()
        self._want()

    def on_screen_suspend(self) -> None:
        """Another screen, or a dialog over this one."""
        self._want()

    def on_unmount(self) -> None:
        """Nothing is shown any more."""
        super().on_unmount()
        self.services.monitor.want("monitor", ())

    # --- what is shown ------------------------------------------------------------------------------------------------

    @property
    def _compact(self) -> bool:
        return self.size.width < _COMPACT_BELOW[0] or self.size.height < _COMPACT_BELOW[1]

    @property
    def _columns(self) -> bool:
        return self.size.width >= COLUMNS_FROM[0] and self.size.height >= COLUMNS_FROM[1]

    @property
    def _fahrenheit(self) -> bool:
        return bool(self._settings.monitor.temperature_unit == "F")

    def _look(self, view: MonitorView) -> Look | None:
        if view.sample is None:
            return None
        sample = self._times.sample(view.sample)
        now = self._times.at is None
        return Look(
            sample,
            self._times.points,
            self._times.span,
            self.services.monitor.maps.value if now else self._maps if self._times.at == self._maps_at else (),
            self._fahrenheit,
            self.binary,
            self.ascii,
            old=now and view.silent > 0,
            silent=silent_keys(sample) if now else frozenset(),
        )

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _draw(self, view: MonitorView) -> None:
        self._drawn_at = time.monotonic()
        self._draw_head(view)
        look = None
        room = self.query_one("#monitor-parts").size, self.query_one("#body").size
        held = (self._times.at, self._times.span, self.size, room, self._page, self._shape, self.ascii, self.binary)
        if self._times.at is None or held != self._held:
            look = self._look(view)
            self._held = held
        if look is not None and self.size.width:
            if self._page:
                self._draw_page(look)
            else:
                self._draw_parts(look)
        self._loaded.redraw()
        self.query_one("#loaded-rule", Rule).set_title("loaded" if self._times.at is None else "loaded now")
        if (view.sample is not None) != self._sampled:
            self._sampled = view.sample is not None
            self.refresh_bindings()

    def _draw_parts(self, look: Look) -> None:
        meters, side = self.query_one("#meters", Board), self.query_one("#monitor-side")
        room = self.query_one("#monitor-parts").size.height
        width = self.size.width
        if self._columns:
            left = width * 11 // 20
            lines = overview(look, left, room, memory=False, tallest=_TALLEST_ALONE)
            bars = memory_board(look, width - left - 2, room // 3)
            self._arrange(("columns", left, self._models(12)), meters=room, memory=len(bars))
            self.query_one("#memory", Board).show(bars)
        elif self._compact:
            lines = compact(look, width)
            taken = self._models(2) + self._alerts_height(1)
            self._arrange(("compact", taken), meters=max(3, min(len(lines), room - taken)))
        else:
            others = 2 + 1 + self._models(_MODELS) + self._detail_height + self._far_height + self._alerts_height(_ALERTS)
            least = max(4, room - others)
            lines = overview(look, width, least, tallest=TALLEST)
            self._arrange(("rows", others), meters=min(len(lines), least))
        side.styles.width = width - width * 11 // 20 if self._columns else "1fr"
        meters.show(lines)

    def _arrange(self, shape: tuple[object, ...], *, meters: int, memory: int = 0) -> None:
        """Give the parts their heights, where they are others than before."""
        shape = (*shape, meters, memory, self.size)
        if shape == self._shape:
            return
        self._shape = shape
        compact, columns = self._compact, self._columns
        self.set_class(compact, "-compact")
        self.set_class(columns, "-columns")
        board = self.query_one("#meters", Board)
        board.styles.height = "1fr" if columns else meters
        board.styles.width = self.size.width * 11 // 20 if columns else "1fr"
        bars = self.query_one("#memory", Board)
        bars.styles.height = memory
        bars.display = self.query_one("#memory-rule").display = columns and memory > 0
        alerts, lines = self.query_one("#alerts", Board), self._alerts_height(1 if compact else _ALERTS)
        alerts.styles.height = "1fr" if columns else lines
        alerts.display = lines > 0
        self._loaded.styles.height = 2 + self._models(12) if columns else "1fr"
        self._loaded.set_header(not compact)
        self._loaded.set_columns(loaded_columns(time.time, binary=self.binary, compact=self.size.width < _COMPACT_BELOW[0]))
        self._want()

    def _models(self, most: int) -> int:
        return max(1, min(most, self._loaded.total))

    @property
    def _detail_height(self) -> int:
        return 3 if self.has_class("-detail") and self._loaded.total else 0

    @property
    def _far_height(self) -> int:
        lines = len(self.query_one("#far", Board).content)
        return min(_FAR, lines) + 1 if lines else 0

    def _alerts_height(self, most: int) -> int:
        lines = self.query_one("#alerts", Board).content
        if self._compact:
            return min(most, len(self.services.monitor.alerts.value.active))
        return max(1, min(most, len(lines)))

    def _draw_page(self, look: Look) -> None:
        height = self.query_one("#body").size.height - 2 - int(self.query_one("#monitor-note").display)
        self.query_one("#page-rule", Rule).set_title(f"{page_title(self._page, look)}   esc back")
        self.query_one("#page", Board).show(page_lines(self._page, look, self.size.width, height))

    def _draw_head(self, view: MonitorView) -> None:
        width = self.size.width or 80
        note = self.query_one("#monitor-note", Line)
        quiet = "" if view.sample is None else silent_words(view.sample)
        words = view.note or quiet
        note.display = bool(words)
        bad = view.silent > 0 or bool(quiet)
        note.show((f" ! {words}" if bad else f" {words}", "bold $warning" if bad else "$text-muted"))
        interval = self._settings.monitor.interval
        left, middle = f" {self.services.monitor.machine()}, this machine", f"every {interval:g}s, last {self._times.span_name} [ ]"
        right, style = "as of now", "$text-muted"
        if self._times.at is not None:
            right, style = self._times.words(view.sample), "bold $warning"
        elif view.silent:
            right, style = f"as of {duration(view.silent)} ago", "bold $warning"
        if len(left) + len(middle) + len(right) + 5 > width:
            middle = f"{self._times.span_name} [ ]"
        if len(left) + len(middle) + len(right) + 5 > width:
            left = f" {self.services.monitor.machine()}"
        if len(left) + len(middle) + len(right) + 5 > width:
            right = right.split(", ", 1)[0]
        if len(left) + len(middle) + len(right) + 3 > width:
            left = ""
        gap = max(1, (width - len(left) - len(middle) - len(right) - 1) // 2)
        end = max(1, width - len(left) - gap - len(middle) - len(right) - 1)
        self.query_one("#monitor-head", Line).show(
            (left, "bold $primary"), (" " * gap, ""), (middle, "$text-muted"), (" " * end, ""), (right, style)
        )

    def _draw_loaded(self, loaded: Sequence[Loaded]) -> None:
        before = self._loaded.total
        self._loaded.set_items(loaded)
        self._draw_detail()
        self._draw_far()
        if self._loaded.total != before:
            self._draw(self.services.monitor.latest.value)

    def _draw_maps(self, maps: Sequence[MemoryMap]) -> None:
        """At once where there are other parts; else the next sample draws them."""
        parts = tuple((found.where, part.kind, part.name, part.who) for found in maps for part in found.parts)
        if parts != self._parts:
            self._parts = parts
            self._draw(self.services.monitor.latest.value)

    def _draw_far(self) -> None:
        """Servers elsewhere: what they say, under their names."""
        states = self.services.registry.providers.value
        far = [(state.name, urlsplit(state.endpoint.url).hostname or "") for state in states if state.location is Location.ELSEWHERE]
        monitor = self.services.monitor
        width = self.size.width * 9 // 20 if self._columns else self.size.width
        lines = far_lines(
            far, monitor.loaded.value, monitor.servers.value, monitor.machines.value, width, binary=self.binary, fahrenheit=self._fahrenheit
        )
        board = self.query_one("#far", Board)
        more = len(lines) != len(board.content)
        board.show(lines)
        board.styles.height = min(_FAR, len(lines))
        shown = bool(lines) and not self._compact
        if shown != board.display or more:
            board.display = self.query_one("#far-rule").display = shown
            self._draw(monitor.latest.value)

    def _draw_alerts(self, view: AlertsView) -> None:
        now = time.time()
        lines = self._alert_lines(view, now)
        self.query_one("#alerts-rule", Rule).set_title(alerts_title(view, now))
        board = self.query_one("#alerts", Board)
        before = len(board.content)
        board.show(lines)
        board.can_focus = board.has_focus or any(line.key for line in lines)
        self.refresh_bindings()
        if len(lines) != before:
            self._draw(self.services.monitor.latest.value)

    def _alert_lines(self, view: AlertsView, now: float) -> list[BoardLine]:
        if self._compact:
            return compact_lines(view, now, fahrenheit=self._fahrenheit)
        return alert_lines(view, self.services.monitor.enforced.value, now, fahrenheit=self._fahrenheit)

    def _count_down(self) -> None:
        """What counts time goes on where no sample draws it."""
        if not self.can_draw() or self._page:
            return
        if time.monotonic() - self._drawn_at > 1.5 and any(found.model.expires_at for found in self._loaded.items):
            self._loaded.redraw()
        alerts = self.services.monitor.alerts.value
        if alerts.active or alerts.muted_until is not None:
            now = time.time()
            lines = self._alert_lines(alerts, now)
            self.query_one("#alerts-rule", Rule).set_title(alerts_title(alerts, now))
            self.query_one("#alerts", Board).show(lines)

    def on_resize(self, event: events.Resize) -> None:
        """Other graphs for other sizes."""
        super().on_resize(event)
        self.call_after_refresh(lambda: self._draw(self.services.monitor.latest.value))

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Another model in detail."""
        self._draw_detail()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter: open or close the detail of the model."""
        self.toggle_class("-detail")
        self._draw_detail()
        self._draw(self.services.monitor.latest.value)

    def on_board_selected(self, event: Board.Selected) -> None:
        """Enter: the page of a figure, or the log of an alert."""
        event.stop()
        if event.key.startswith(("alert:", "enforced:")):
            self.open_log(event.key)
        elif event.board.id == "meters":
            self.open_page(event.key)

    def _draw_detail(self) -> None:
        found = self._loaded.highlighted
        detail = self.query_one("#loaded-detail", Static)
        detail.display = found is not None and self.has_class("-detail")
        if found is not None and detail.display:
            profile = self.services.monitor.profiles.value.get((found.model.provider, found.model.key))
            told = self.services.monitor.servers.value.get(found.model.provider)
            note = told.note if told is not None else ""
            detail.update(Content(detail_text(found, profile, time.time(), note=note, binary=self.binary)))
        self.refresh_bindings()

    # --- pages --------------------------------------------------------------------------------------------------------

    def open_page(self, page: str) -> None:
        """Show the page of a figure instead of the parts; empty shows the parts again."""
        self._page = page
        self.query_one("#monitor-parts").display = not page
        self.query_one("#monitor-page").display = bool(page)
        board = self.query_one("#page", Board)
        board.show(())
        board.scroll_to(y=0, animate=False, force=True)
        (board if page else self.query_one("#meters", Board)).focus()
        self._want()
        self.refresh_bindings()
        self._draw(self.services.monitor.latest.value)

    # --- time ---------------------------------------------------------------------------------------------------------

    def action_span(self, step: int) -> None:
        """A shorter or longer time across the graphs."""
        self._times.longer(step)
        self._draw(self.services.monitor.latest.value)

    def action_freeze(self) -> None:
        """Hold the moment, or go on."""
        self._times.freeze(self.services.monitor.latest.value.sample)
        self._maps, self._maps_at = self.services.monitor.maps.value, self._times.at  # of other moments they are not kept
        self._draw(self.services.monitor.latest.value)
        self.refresh_bindings()

    def action_walk(self, step: float) -> None:
        """Walk through time while frozen, by a dot of the graphs."""
        newest = self.services.monitor.latest.value.sample
        if newest is not None:
            width = self.size.width * 11 // 20 if self._columns else self.size.width
            self._times.walk(step, graph_cells(width), newest)
            self._draw(self.services.monitor.latest.value)

    def action_leap(self, step: int) -> None:
        """Walk by a tenth of the span."""
        width = self.size.width * 11 // 20 if self._columns else self.size.width
        self.action_walk(step * graph_cells(width) / 5)

    def action_back(self) -> None:
        """Esc: one step: the page, the detail, the frozen moment, the table's filter."""
        if self._page:
            self.open_page("")
        elif self.has_class("-detail"):
            self.remove_class("-detail")
            self._draw_detail()
            self._draw(self.services.monitor.latest.value)
        elif self._times.at is not None:
            self.action_freeze()
        else:
            self._loaded.step_back()
