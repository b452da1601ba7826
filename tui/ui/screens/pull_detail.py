"""The lower part of the Pulls screen: one pull in detail."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.core.jobs import Job, JobState, Layer, WorkerState
from tui.text import rate
from tui.ui.frame import Line
from tui.ui.screens.parts import clock, part_of
from tui.ui.screens.pull_rows import RUNNING
from tui.ui.widgets.bars import bar
from tui.ui.widgets.graph import Graph

_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth")


def squeeze(values: Sequence[float], count: int) -> list[float]:
    """At most `count` values for the whole time: neighbours averaged."""
    if count <= 0 or len(values) <= count:
        return list(values)
    edges = [index * len(values) // count for index in range(count + 1)]
    return [sum(values[low:high]) / (high - low) for low, high in pairwise(edges)]


def layer_line(job: Job) -> str:
    """Which layer is fetched; the server names them one after another, so how many follow is not always known."""
    layers = job.layers
    if not layers:
        return job.note if job.state in RUNNING else ""
    at = next((index for index, layer in enumerate(layers) if layer.completed < layer.total), len(layers) - 1)
    layer = layers[at]
    largest = max(layers, key=lambda one: one.total)
    words = "weights " if layer is largest else ""
    if all(one.completed >= one.total for one in layers):
        return f"{len(layers)} layers, {words}{layer.digest.removeprefix('sha256:')[:12]}" if len(layers) > 1 else "1 layer"
    total = f" of {len(layers)}" if at + 1 < len(layers) else ""
    after = len(layers) - at - 1
    then = f"; then {after} more" if after else ""
    return f"layer {at + 1}{total}, {words}{layer.digest.removeprefix('sha256:')[:12]}{then}"


def history_line(job: Job) -> str:
    """When and by whom it was asked for, and which attempt this is."""
    parts = [f"asked for {clock(job.created_at)}" + (f" from the {job.asked_by}" if job.asked_by else "")] if job.created_at else []
    if job.started_at is not None:
        parts.append(f"started {clock(job.started_at)}")
    if job.ended_at is not None:
        parts.append(f"ended {clock(job.ended_at)}")
    if job.attempts:
        order = _ORDINALS[job.attempts] if job.attempts < len(_ORDINALS) else f"{job.attempts}th"
        parts.append(f"{order} attempt")
    return ", ".join(parts)


def worker_line(job: Job, worker: WorkerState) -> tuple[str, str]:
    """Whether it goes on without this app, and its style."""
    if job.state.ended or job.state is JobState.PAUSED:
        return (worker.note, "$warning") if worker.note else ("", "")
    if worker.note:
        return worker.note, "$warning"
    if not worker.running:
        return "nobody works the queue right now; the worker starts with the next change", "$warning"
    return "goes on while this machine is awake, also when you quit or the line drops", "$text-muted"


class PullDetail(VerticalScroll):
    """Everything about the pull under the cursor; with the focus it grows and lists the layers."""

    def __init__(self, *, ascii: bool, id: str) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self._layers: tuple[Layer, ...] = ()
        self._shown: tuple[Content, int] | None = None

    def compose(self) -> ComposeResult:
        """Lines, graph, layers."""
        yield Line(id="pull-layer")
        with Horizontal(id="pull-speed"):
            yield Graph(upper=None, id="pull-graph")
            yield Line(id="pull-figures")
        yield Line(id="pull-history")
        yield Static(id="pull-failure", markup=False)
        yield Line(id="pull-worker")
        yield Static(id="pull-layers", markup=False)

    def show_job(self, job: Job | None, worker: WorkerState, *, binary: bool) -> None:
        """Draw a pull; None empties the pane."""
        for name in ("layer", "history", "worker"):
            self.query_one(f"#pull-{name}", Line).display = job is not None
        speed = self.query_one("#pull-speed")
        if job is None:
            speed.display = False
            self.query_one("#pull-failure").display = self.query_one("#pull-layers").display = False
            return
        words = "; ".join(part for part in (layer_line(job), job.note if job.state in RUNNING and job.layers else "") if part)
        self.query_one("#pull-layer", Line).display = bool(words)
        self.query_one("#pull-layer", Line).show((f" {words}", "$foreground"))
        self._show_speed(job, binary=binary)
        history = history_line(job)
        self.query_one("#pull-history", Line).show((f" {history}", "$text-muted"))
        self._show_failure(job)
        text, style = worker_line(job, worker)
        self.query_one("#pull-worker", Line).show((f" {text}", style))
        self._show_layers(job, binary=binary)

    def _show_speed(self, job: Job, *, binary: bool) -> None:
        self.query_one("#pull-speed").display = bool(job.history)
        if job.history:
            graph = self.query_one("#pull-graph", Graph)
            graph.set_values(squeeze(job.history, max(2, graph.size.width * 2)))
            figures = []
            if job.peak is not None:
                figures.append(f"peak {rate(job.peak, binary=binary)}")
            if job.average is not None:
                figures.append(f"average {rate(job.average, binary=binary)}")
            self.query_one("#pull-figures", Line).show(("  " + ", ".join(figures), "$foreground"))

    def _show_failure(self, job: Job) -> None:
        box = self.query_one("#pull-failure", Static)
        failure = job.failure
        box.display = failure is not None
        if failure is None:
            return
        tone = "$text-error" if job.state is JobState.FAILED else "$text-warning"
        parts = [(f" {failure.sentence()}", tone)]
        if failure.remedy:
            parts.append((f"\n {failure.remedy}", "$foreground"))
        if failure.details and self.has_class("-open"):
            parts.append((f"\n {failure.details[:2000]}", "$text-muted"))
        self._update(box, Content.assemble(*parts))

    def _update(self, box: Static, content: Content) -> None:
        if getattr(box, "_last", None) != content:
            box._last = content  # type: ignore[attr-defined]
            box.update(content)

    def _show_layers(self, job: Job, *, binary: bool) -> None:
        box = self.query_one("#pull-layers", Static)
        box.display = bool(job.layers) and self.has_class("-open")
        if box.display:
            lines = []
            for number, layer in enumerate(job.layers, 1):
                share = layer.completed / layer.total if layer.total else None
                digest = layer.digest.removeprefix("sha256:")[:12]
                lines.append(
                    f" {number:>3}  {digest:<12}  {bar(share, 16, self._ascii)}  {part_of(layer.completed, layer.total, binary=binary)}"
                )
            self._update(box, Content("\n".join(lines)))
