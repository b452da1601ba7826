"""The lower part of the Pulls screen: one entry of the queue, or of the history, in detail."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.core.fit import Subject, parameters_of
from tui.core.jobs import Job, JobKind, JobState, Layer, PastJob, Plan, WorkerState
from tui.core.partials import dropped_by_restart
from tui.text import duration, rate, size
from tui.ui.frame import Line, Part
from tui.ui.screens.fits import Fits, words
from tui.ui.screens.parts import clock, part_of
from tui.ui.screens.pull_words import WORTH_NAMING, changed_names, there
from tui.ui.widgets.bars import bar
from tui.ui.widgets.graph import Graph

_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth")


_SMALL = ("metadata", "config")
"""Layers of a few hundred bytes that nobody asked for."""


def squeeze(values: Sequence[float], count: int) -> list[float]:
    """At most `count` values for the whole time: neighbours averaged."""
    if count <= 0 or len(values) <= count:
        return list(values)
    edges = [index * len(values) // count for index in range(count + 1)]
    return [sum(values[low:high]) / (high - low) for low, high in pairwise(edges)]


def kind_of(layer: Layer, layers: Sequence[Layer]) -> str:
    """What a layer holds: as the manifest says, else the largest is taken for the weights."""
    if layer.kind:
        return layer.kind
    guessed = not any(one.kind for one in layers) and layer is max(layers, key=lambda one: one.total)
    return "weights" if guessed else ""


def layer_line(job: Job) -> str:
    """Which layer is fetched, and what follows where the manifest is known."""
    layers = job.layers
    if not layers:
        return job.note if job.state.running else ""
    at = next((index for index, layer in enumerate(layers) if layer.completed < layer.total), len(layers) - 1)
    layer = layers[at]
    kind = kind_of(layer, layers)
    name = f"{f'{kind} ' if kind else ''}{layer.digest.removeprefix('sha256:')[:12]}"
    if all(one.completed >= one.total for one in layers):
        return f"{len(layers)} layers, {_kinds(layers) or name}" if len(layers) > 1 else f"1 layer, {name}"
    rest = [one for one in layers[at + 1 :] if one.completed < one.total]
    total = f" of {len(layers)}" if job.planned or rest else ""
    known = all(one.kind for one in rest)
    then = _kinds(rest) if known else f"{len(rest)} more"
    then = f"; then {then}" if then else ""
    return f"layer {at + 1}{total}, {name}{then}"


def _kinds(layers: Sequence[Layer]) -> str:
    """`template, licence, parameters`; empty where one of them is not known, or none is worth naming."""
    kinds = [layer.kind for layer in layers if layer.kind not in _SMALL]
    return ", ".join(dict.fromkeys(kinds)) if all(kinds) else ""


def asked_line(job: Job, names: Mapping[int, str], *, binary: bool = False) -> str:
    """When and by whom it was asked for, which attempt this is, and what was wished for it."""
    parts = [f"asked for {clock(job.created_at)}" + (f" from the {job.asked_by}" if job.asked_by else "")] if job.created_at else []
    if job.started_at is not None:
        parts.append(f"started {clock(job.started_at)}")
    if job.ended_at is not None:
        parts.append(f"ended {clock(job.ended_at)}")
    if job.attempts:
        order = _ORDINALS[job.attempts] if job.attempts < len(_ORDINALS) else f"{job.attempts}th"
        parts.append(f"{order} attempt")
    if job.state.ended:
        return ", ".join(parts)
    if job.not_before is not None and job.started_at is None:
        parts.append(f"to start {clock(job.not_before)}")
    if job.after:
        parts.append(f"after {names.get(job.after, 'another entry')}")
    if job.arguments.get("warm_up"):
        parts.append("loaded afterwards")
    if job.arguments.get("insecure"):
        parts.append("without TLS")
    parts.append("no limit" if job.limit is None else f"at most {rate(job.limit, binary=binary)}, in bursts")
    return ", ".join(parts)


def plan_line(job: Job, fits: Fits, *, width: int = 1000, binary: bool = False) -> str:
    """Size, what was there, whether it fits on this machine, and the manifest: as much of it as fits into `width` cells."""
    plan = job.plan
    if plan is None or job.kind is not JobKind.PULL:
        return ""
    begun = job.started_at is not None
    parts = []
    if begun and plan.total is not None:
        before = plan.there
        known = plan.present is not None and before >= plan.total * WORTH_NAMING
        was = f", {size(before, binary=binary)} of it was there at the start" if known else ""
        parts.append(f"{size(plan.total, binary=binary)}{was}")
    elif words_of := there(plan, binary=binary):
        parts.append(words_of)
    verdict = fit_words(plan, fits, job.endpoint.name, binary=binary)
    if verdict:
        parts.append(verdict)
    if plan.parameters or plan.quantization:
        parts.append(" ".join(part for part in (plan.parameters, plan.quantization) if part))
    if plan.requires:
        parts.append(f"needs {plan.requires} or newer")
    if plan.digest:
        parts.append(f"manifest {plan.digest[:12]}")
    while len(parts) > 1 and len("; ".join(parts)) > width:
        parts.pop()
    return "; ".join(parts)


def fit_words(plan: Plan, fits: Fits, provider: str, *, binary: bool = False) -> str:
    """`fits: good`, where the provider is on this machine and the size is known."""
    weights = sum(layer.size for layer in plan.layers if layer.kind in ("weights", "tensor", "projector")) or plan.total
    if not weights or not fits.knows(provider):
        return ""
    fit = fits.of_subject(Subject(weights, context=plan.context, parameters=parameters_of(plan.parameters)), provider)
    return f"fits: {words(fit, binary=binary)}" if fit is not None else ""


def worker_line(job: Job, worker: WorkerState) -> tuple[str, str]:
    """Whether it goes on without this app, and its style."""
    if job.state.ended or job.state is JobState.PAUSED:
        return (worker.note, "$warning") if worker.note else ("", "")
    if worker.note:
        return worker.note, "$warning"
    if not worker.running:
        return "nobody works the queue right now; the worker starts with the next change", "$warning"
    return "goes on while this machine is awake, also when you quit or the line drops", "$text-muted"


def facts(
    job: Job, worker: WorkerState, fits: Fits, names: Mapping[int, str], now: float, *, width: int, opened: bool, binary: bool
) -> list[Part]:
    """The lines below the graph, the pressing ones first; closed, the plan is cut to `width` cells."""
    lines: list[Part] = []
    if job.failure is not None:
        tone = "$text-error" if job.state is JobState.FAILED else "$text-warning"
        lines.append((job.failure.sentence(), tone))
        lines.append((job.failure.remedy, "$foreground"))
        if opened:
            lines.append((job.failure.details[:2000], "$text-muted"))
    if job.changes:
        lines.append((f"you had changed {changed_names(job.changes)}: u applies that again", "$text-accent"))
    lines.append((job.warmed, "$foreground"))
    lines.append((plan_line(job, fits, width=1000 if opened else width, binary=binary), "$foreground"))
    if job.plan is not None:
        lines.append((job.plan.note, "$text-muted"))
    if job.note and job.state is JobState.DONE:
        lines.append((job.note, "$text-muted"))
    lines.append((asked_line(job, names, binary=binary), "$text-muted"))
    dropped = dropped_by_restart(job, now, binary=binary)
    working = worker_line(job, worker)
    lines += [(dropped, "$warning"), working] if not job.state.running else [working, (dropped, "$warning")]
    return [line for line in lines if line[0]]


def past_facts(past: PastJob, *, binary: bool = False) -> list[Part]:
    """An entry of the history in words."""
    lines: list[Part] = []
    if past.failure is not None:
        lines += [(past.failure.sentence(), "$text-error"), (past.failure.remedy, "$foreground")]
    began = past.started_at or past.created_at
    span = f"{clock(past.started_at)} to {clock(past.ended_at)}" if past.started_at is not None else clock(past.ended_at)
    parts = [f"{past.state.value} {span}", duration(past.ended_at - began)]
    if past.total:
        parts.append(size(past.total, binary=binary))
    if past.total and past.fetched < past.total:
        parts.append(f"{size(past.fetched, binary=binary) if past.fetched else 'nothing'} of it came over the line")
    lines.append((", ".join(parts), "$foreground"))
    tries = f"{past.attempts} {'try' if past.attempts == 1 else 'tries'}"
    speed = [f"average {rate(past.average, binary=binary)}"] if past.average is not None else []
    asked = f"asked for {clock(past.created_at)}" + (f" from the {past.asked_by}" if past.asked_by else "")
    lines.append((", ".join([*speed, tries, asked]), "$text-muted"))
    where = f"{past.provider}, {past.url}" if past.url else past.provider
    lines.append((where + (f"; model {past.digest[:12]}" if past.digest else ""), "$text-muted"))
    return [line for line in lines if line[0]]


class PullDetail(VerticalScroll):
    """Everything about the entry under the cursor; with the focus it grows and lists the layers."""

    def __init__(self, *, ascii: bool, id: str) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self._said: dict[str, Content] = {}

    def compose(self) -> ComposeResult:
        """Lines, graph, facts, layers."""
        yield Line(id="pull-layer")
        with Horizontal(id="pull-speed"):
            yield Graph(upper=None, id="pull-graph")
            yield Line(id="pull-figures")
        yield Static(id="pull-facts", markup=False)
        yield Static(id="pull-layers", markup=False)

    def show_job(self, job: Job | None, worker: WorkerState, fits: Fits, names: Mapping[int, str], *, binary: bool) -> None:
        """Draw an entry; None empties the pane."""
        if job is None:
            self.show_lines([])
            return
        words = "; ".join(part for part in (job.note if job.state.running and job.layers else "", layer_line(job)) if part)
        line = self.query_one("#pull-layer", Line)
        line.display = bool(words)
        line.show((f" {words}", "$foreground"))
        self._show_speed(job, binary=binary)
        width, opened = self.size.width - 2, self.has_class("-open")
        self._say("facts", facts(job, worker, fits, names, time.time(), width=width, opened=opened, binary=binary))
        self._show_layers(job, binary=binary)

    def show_lines(self, lines: Sequence[Part]) -> None:
        """Draw lines only."""
        self.query_one("#pull-layer").display = self.query_one("#pull-speed").display = False
        self._say("facts", lines)
        self._say("layers", [])

    def _show_speed(self, job: Job, *, binary: bool) -> None:
        shown = bool(job.history)
        self.query_one("#pull-speed").display = shown
        if not shown:
            return
        graph = self.query_one("#pull-graph", Graph)
        graph.set_values(squeeze(job.history, max(2, graph.size.width * 2)))
        figures = [("peak", job.peak), ("average", job.average), ("now", job.rate if job.state.running else None)]
        known = ", ".join(f"{name} {rate(value, binary=binary)}" for name, value in figures if value is not None)
        # The unit once: `peak 44, average 29, now 31 MB/s`.
        units = {rate(value, binary=binary).rpartition(" ")[2] for _name, value in figures if value is not None}
        if len(units) == 1:
            unit = f" {units.pop()}"
            known = known.replace(unit, "") + unit
        self.query_one("#pull-figures", Line).show((f"  {known}", "$foreground"))

    def _say(self, part: str, lines: Sequence[Part]) -> None:
        content = Content("\n").join(Content.assemble((f" {text}", style)) for text, style in lines)
        if self._said.get(part) == content:
            return
        self._said[part] = content
        box = self.query_one(f"#pull-{part}", Static)
        box.display = bool(lines)
        box.update(content)

    def _show_layers(self, job: Job, *, binary: bool) -> None:
        if not job.layers or not self.has_class("-open"):
            self._say("layers", [])
            return
        lines = []
        width = max(len(kind_of(layer, job.layers)) for layer in job.layers)
        for number, layer in enumerate(job.layers, 1):
            share = layer.completed / layer.total if layer.total else None
            digest = layer.digest.removeprefix("sha256:")[:12]
            kind = kind_of(layer, job.layers)
            amount = part_of(layer.completed, layer.total, binary=binary)
            lines.append((f"{number:>3}  {digest:<12}  {kind:<{width}}  {bar(share, 16, self._ascii)}  {amount}", "$foreground"))
        self._say("layers", lines)
