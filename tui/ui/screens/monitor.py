"""What this machine is doing, and for whom: graphs, memory of the GPUs, loaded models."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui.core.capabilities import Capability
from tui.core.models import Location, Model, RunningModel
from tui.hardware.sample import Gpu
from tui.services.api import MonitorView
from tui.text import duration, size
from tui.ui.base import AppScreen
from tui.ui.frame import Line, Part
from tui.ui.screens.monitor_rows import (
    MemoryShare,
    Meter,
    Moment,
    Value,
    bucketed,
    detail_text,
    gpu_memory,
    loaded_columns,
    meters,
    share_memory,
    unload_question,
)
from tui.ui.screens.parts import Rule
from tui.ui.widgets.bars import stack_marks, stacked_bar
from tui.ui.widgets.graph import Graph
from tui.ui.widgets.rows import Rows

SPANS: Final = (120.0, 600.0)
_FITTING: Final = 12
"""Lines of figures that fit on the smallest good screen; more can be scrolled."""
KEEP: Final = (("5m", "5 minutes"), ("30m", "30 minutes"), ("1h", "an hour"), ("4h", "4 hours"), ("24h", "a day"), ("-1", "until unloaded"))


class MeterRow(Horizontal):
    """One figure: name and value, graph, words."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(id=f"meter-{meter.key}", classes="meter")
        self._fixed = meter.fixed

    def compose(self) -> ComposeResult:
        """Left to right."""
        yield Line(classes="meter-label")
        yield Graph(upper=100.0 if self._fixed else None, classes="meter-graph")
        yield Line(classes="meter-words")

    def show(self, meter: Meter, newest: int, span: int, *, old: bool) -> None:
        """Draw what differs."""
        percent = "" if not self._fixed else "  –" if meter.value is None else f"{meter.value:3.0f} %"
        words = "$text-muted" if old else "$foreground"
        self.query_one(".meter-label", Line).show((f" {meter.label:<5}", "$text-muted"), (percent, words if old else "bold $foreground"))
        self.query_one(".meter-words", Line).show((f"  {meter.context}", words))
        graph = self.query_one(Graph)
        graph.set_class(old, "-old")
        graph.set_values(bucketed(meter.values, newest, graph.size.width * 2, span))


class MemoryBlock(Widget):
    """A GPU's memory as a bar, and whose it is."""

    DEFAULT_CSS = "MemoryBlock { height: 2; }"

    def compose(self) -> ComposeResult:
        """Bar and legend."""
        yield Line(classes="memory-bar")
        yield Line(classes="memory-legend")

    def show(self, share: MemoryShare, *, ascii: bool, binary: bool, old: bool) -> None:
        """Draw what differs."""
        width = max(10, min(60, self.size.width - 48))
        base = 2**30 if binary else 1e9
        unit = "GiB" if binary else "GB"
        text = stacked_bar([part for _name, part in share.parts], share.total, width, ascii)
        tone = "$text-muted" if old else "$primary"
        self.query_one(".memory-bar", Line).show(
            ("   memory   ", "$text-muted"),
            (text, tone),
            (f"  {share.used / base:.1f} of {share.total / base:.1f} {unit} used", "$text-muted" if old else "$foreground"),
        )
        marks = stack_marks(ascii)
        parts: list[Part] = [("            ", "")]
        for index, (name, part) in enumerate(share.parts):
            if part >= base / 20:
                mark = marks[index % len(marks)]
                parts.append((f"{mark} ", tone))
                parts.append((f"{name or ('other' if len(share.parts) > 1 else 'in use')} {part / base:.1f}  ", "$text-muted"))
        if share.about:
            parts.append((share.about, "$text-muted"))
        self.query_one(".memory-legend", Line).show(*parts)


class MonitorScreen(AppScreen):
    """This machine's figures and the models in memory."""

    NAME = "monitor"
    HELP_LINES = "Graphs show this machine. Loaded models are those of all servers; only models here count to its GPU."
    AUTO_FOCUS = "#loaded"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("U", "unload", "unload", id="monitor.unload", tooltip="unload the model; asks"),
        Binding("L", "load", "load", id="monitor.load", tooltip="load an installed model"),
        Binding("t", "keep", "keep", id="monitor.keep", tooltip="how long the model stays loaded"),
        Binding("left_square_bracket", "span(-1)", "span", key_display="[ ]", id="monitor.shorter", tooltip="[ shorter span, ] longer"),
        Binding("right_square_bracket", "span(1)", "longer", show=False, id="monitor.longer", tooltip="longer span"),
        Binding("p", "freeze", "freeze", id="monitor.freeze", tooltip="hold the graphs; ← → then walk through time"),
        Binding("left", "walk(1)", "back", key_display="← →", id="monitor.back", tooltip="← back in time while frozen, → forth"),
        Binding("right", "walk(-1)", "forth", show=False, id="monitor.forth", tooltip="forth in time while frozen"),
        Binding("r", "refresh", "refresh", show=False, id="monitor.refresh", tooltip="ask all servers again"),
        Binding("y", "copy", "copy name", show=False, id="monitor.copy", tooltip="copy the model's name"),
    ]

    def __init__(self, services: Any) -> None:
        super().__init__(services)
        self._span = 0
        self._frozen_at: int | None = None
        self._walked = 0
        self._built: tuple[str, ...] = ()
        self._building = False
        self._drawn_at = 0.0
        self._sampled = False

    def body(self) -> Iterator[Widget]:
        """Header, meters, loaded models."""
        yield Line(id="monitor-head")
        yield VerticalScroll(id="meters", can_focus=False)
        yield Line(id="monitor-note")
        yield Rule("loaded", ascii=self.ascii, id="loaded-rule")
        yield Rows[RunningModel](
            loaded_columns(self._card, time.time, binary=self.binary),
            key=lambda model: (model.provider, model.key),
            state=lambda model: "busy" if model.stopping else "loaded" if model.busy_slots or model.rate else "",
            text=lambda model: f"{model.name} {model.provider}",
            empty="No model is loaded. L loads one.",
            gap=1,
            markable=False,
            id="loaded",
        )
        yield Static(id="loaded-detail", markup=False)

    def start(self) -> None:
        """Follow the sampler and what is loaded."""
        self.follow(self.services.monitor.latest, self._draw, fps=4)
        self.follow(self.services.registry.running, self._draw_loaded, fps=4)
        self.set_interval(1.0, self._count_down)

    # --- what is shown ------------------------------------------------------------------------------------------------

    @property
    def _settings(self) -> Any:
        return self.services.config.current.value

    @property
    def _loaded(self) -> Rows[RunningModel]:
        return self.query_one("#loaded", Rows)

    def _is_here(self, provider: str) -> bool:
        state = self.services.registry.state(provider)
        return state is not None and state.location is Location.HERE

    def _card(self, model: RunningModel) -> str:
        sample = self.services.monitor.latest.value.sample
        if sample is not None and len(sample.gpus) == 1 and self._is_here(model.provider):
            return f"GPU{sample.gpus[0].index}"
        return "GPU"

    @property
    def _back(self) -> int:
        """How many samples before the newest is shown."""
        if self._frozen_at is None:
            return 0
        newest: int = self.services.monitor.latest.value.tick
        known = len(self.services.monitor.series("cpu", SPANS[-1]))
        return max(0, min(newest - self._frozen_at + self._walked, known - 1))

    @property
    def _samples(self) -> int:
        """Samples of the span."""
        interval: float = self._settings.monitor.interval
        return max(1, round(SPANS[self._span] / interval))

    def _series(self, name: str) -> Sequence[Value]:
        back = self._back
        interval: float = self._settings.monitor.interval
        values = self.services.monitor.series(name, (self._samples + back) * interval)
        return values[: len(values) - back] if back else values

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _draw(self, view: MonitorView) -> None:
        self._drawn_at = time.monotonic()
        old = view.silent > 0
        self._draw_head(view)
        note = self.query_one("#monitor-note", Line)
        note.display = bool(view.note)
        note.show((f" ! {view.note}" if old else f" {view.note}", "bold $warning" if old else "$text-muted"))
        if view.sample is not None:
            moment = Moment(
                view.sample, self._back, self._series, self._settings.monitor.temperature_unit == "F", self.binary
            )  # fmt: skip
            found = meters(moment)
            if not self._room_for_swap:
                found = [meter for meter in found if meter.key != "swap"]
            gpus = {f"gpu{gpu.index}": gpu for gpu in view.sample.gpus}
            with_memory = len(gpus) == 1
            if self._build(found, with_memory):
                self._show(found, gpus, moment, view, old)
        self._loaded.redraw()
        if (view.sample is not None) != self._sampled:
            self._sampled = view.sample is not None
            self.refresh_bindings()

    @property
    def _room_for_swap(self) -> bool:
        return self.size.height >= 30

    def _build(self, found: Sequence[Meter], with_memory: bool) -> bool:
        """Make the rows when the machine's parts change; says whether they are there."""
        keys = (*(meter.key for meter in found), *(("memory",) if with_memory else ()))
        if keys == self._built:
            return not self._building
        self._built, self._building = keys, True
        box = self.query_one("#meters", VerticalScroll)
        box.set_class(sum(key.startswith("gpu") for key in keys) > 2, "-many")
        self.run_worker(self._rebuild(box, list(found), with_memory), exclusive=True, group="meters", exit_on_error=True)
        return False

    async def _rebuild(self, box: VerticalScroll, found: list[Meter], with_memory: bool) -> None:
        async with box.batch():
            await box.remove_children()
            await box.mount_all([*(MeterRow(meter) for meter in found), *([MemoryBlock(id="gpu-memory")] if with_memory else [])])
        box.can_focus = len(found) > _FITTING
        self._building = False
        self.call_after_refresh(lambda: self._draw(self.services.monitor.latest.value))

    def _show(self, found: Sequence[Meter], gpus: dict[str, Gpu], moment: Moment, view: MonitorView, old: bool) -> None:
        newest = view.tick - self._back
        for meter in found:
            self.query_one(f"#meter-{meter.key}", MeterRow).show(meter, newest, self._samples, old=old)
        if len(gpus) == 1:
            gpu = next(iter(gpus.values()))
            used = gpu_memory(moment, gpu)
            here = [model for model in self.services.registry.running.value if self._is_here(model.provider)] if not moment.back else []
            share = share_memory(gpu, used, here, gpus=1)
            block = self.query_one("#gpu-memory", MemoryBlock)
            block.visible = share is not None
            if share is not None:
                block.show(share, ascii=self.ascii, binary=self.binary, old=old)

    def _draw_head(self, view: MonitorView) -> None:
        width = self.size.width or 80
        interval = self._settings.monitor.interval
        left = f" {self.services.monitor.machine()}, this machine"
        middle = f"every {interval:g}s, last {SPANS[self._span] / 60:.0f} min [ ]"
        right, style = "as of now", "$text-muted"
        if self._frozen_at is not None and view.sample is not None:
            at = view.sample.time - self._back * interval
            right = f"frozen at {time.strftime('%H:%M:%S', time.localtime(at))}, {duration(self._back * interval)} ago"
            style = "bold $warning"
        elif view.silent:
            right, style = f"as of {duration(view.silent)} ago", "bold $warning"
        gap = max(2, (width - len(left) - len(middle) - len(right) - 1) // 2)
        self.query_one("#monitor-head", Line).show(
            (left, "bold $primary"), (" " * gap, ""), (middle, "$text-muted"), (" " * gap, ""), (right, style)
        )

    def _draw_loaded(self, running: Sequence[RunningModel]) -> None:
        self._loaded.set_items(running)
        self._draw_detail()
        self._draw(self.services.monitor.latest.value)

    def _count_down(self) -> None:
        """Countdowns go on where no sample draws them."""
        if self.can_draw() and time.monotonic() - self._drawn_at > 1.5 and any(model.expires_at for model in self._loaded.items):
            self._loaded.redraw()

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

    def _draw_detail(self) -> None:
        model = self._loaded.highlighted
        self.query_one("#loaded-detail", Static).display = model is not None and self.has_class("-detail")
        if model is not None:
            self.query_one("#loaded-detail", Static).update(Content(detail_text(model, binary=self.binary)))
        self.refresh_bindings()

    # --- keys ---------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what does nothing now."""
        if not self.is_mounted or action not in ("unload", "keep", "copy", "walk", "freeze"):
            return super().check_action(action, parameters)
        if action == "walk":
            return self._frozen_at is not None
        if action == "freeze":
            return True if self.services.monitor.latest.value.sample is not None else None
        model = self._loaded.highlighted
        if model is None:
            return None
        wanted = {"unload": Capability.UNLOAD, "keep": Capability.KEEP_ALIVE}.get(action)
        return None if wanted is not None and self.services.registry.can(model.provider, wanted) else True

    def action_span(self, step: int) -> None:
        """A shorter or longer time across the graphs."""
        self._span = max(0, min(len(SPANS) - 1, self._span + step))
        self._draw(self.services.monitor.latest.value)

    def action_freeze(self) -> None:
        """Hold the moment, or go on."""
        self._frozen_at = self.services.monitor.latest.value.tick if self._frozen_at is None else None
        self._walked = 0
        self._draw(self.services.monitor.latest.value)
        self.refresh_bindings()

    def action_walk(self, step: int) -> None:
        """Walk through time while frozen."""
        before = self._back
        self._walked += step
        if self._back == before or self._walked < 0:
            self._walked -= step
        self._draw(self.services.monitor.latest.value)

    def action_back(self) -> None:
        """Esc: go on where frozen, else clear the table's filter."""
        if self.has_class("-detail"):
            self.remove_class("-detail")
            self._draw_detail()
        elif self._frozen_at is not None:
            self.action_freeze()
        else:
            self._loaded.step_back()

    def action_refresh(self) -> None:
        """Ask all servers what is loaded."""
        self.services.registry.refresh()

    def action_copy(self) -> None:
        """Copy the model's name."""
        model = self._loaded.highlighted
        if model is not None:
            self.app.copy_to_clipboard(model.name)

    def action_unload(self) -> None:
        """Unload, after asking."""
        from tui.ui.widgets.confirm import ConfirmDialog

        model = self._loaded.highlighted
        if model is None:
            return
        live = self.services.chat.live.value
        own = (
            live is not None
            and not live.state.ended
            and (live.provider, live.model) in ((model.provider, model.key), (model.provider, model.name))
        )
        question = unload_question(model, int(own), binary=self.binary)
        dialog = ConfirmDialog(question, (("keep", "Keep"), ("unload", "Unload")))

        def done(answer: str | None) -> None:
            if answer == "unload":
                self.services.registry.unload(model.provider, model.key)

        self.app.push_screen(dialog, done)

    def action_keep(self) -> None:
        """How long the model stays."""
        from tui.ui.widgets.confirm import ChoiceDialog

        model = self._loaded.highlighted
        if model is None:
            return
        choices = [(key, label, "" if key == "-1" else key) for key, label in KEEP]

        def done(answer: str | None) -> None:
            if answer is not None:
                self.services.registry.keep(model.provider, model.key, answer)

        self.app.push_screen(ChoiceDialog(f"How long does {model.name} stay after its last use?", choices, current="30m"), done)

    def action_load(self) -> None:
        """Choose among the installed models that are not loaded."""
        from tui.ui.widgets.confirm import ChoiceDialog

        registry = self.services.registry
        loaded = {(model.provider, model.key) for model in registry.running.value}
        offered: list[Model] = [
            model
            for model in registry.models.value
            if (model.provider, model.key) not in loaded and not registry.can(model.provider, Capability.LOAD)
        ]
        choices = [
            (str(index), model.name, f"{model.provider}  {size(model.size, binary=self.binary)}") for index, model in enumerate(offered)
        ]

        def done(answer: str | None) -> None:
            if answer is not None:
                model = offered[int(answer)]
                registry.load(model.provider, model.key)

        self.app.push_screen(ChoiceDialog("Load which model?", choices), done)
