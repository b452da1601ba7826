"""The status bar: this machine's figures, what another machine's server tells, alerts, pulls, and the model in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import events

from tui.core.jobs import JobState, QueueView
from tui.core.models import Location, ProviderState, ProviderStatus
from tui.core.monitor import AlertsView, ServerFigures
from tui.hardware.series import gpu_series
from tui.text import clean_name, rate
from tui.ui.frame import Line, Part
from tui.ui.widgets.graph import braille_line

if TYPE_CHECKING:
    from tui.ui.base import AppScreen


def spark(values: Sequence[float | None], width: int, *, ascii: bool) -> str:
    """A small graph of percentages."""
    return braille_line(values, width, 0.0, 100.0, ascii=ascii)


class StatusBar(Line):
    """This machine's figures, then another machine's under its name, alerts, pulls, and the model in use."""

    def __init__(self, screen: AppScreen) -> None:
        super().__init__(id="statusbar")
        self._screen_of = screen
        self._model = ""
        self._queue = QueueView()
        self._open: tuple[str, ...] = ()
        self._provider = ""
        self._alert: Part | None = None
        self._far = ""

    def follow_all(self) -> None:
        """Follow what it shows; once services are there."""
        services = self._screen_of.services
        self._screen_of.follow(services.monitor.latest, lambda _view: self.redraw(), fps=1)
        self._screen_of.follow(services.jobs.view, self._set_queue, fps=1)
        self._screen_of.follow(services.registry.providers, self._set_open, fps=1)
        self._screen_of.follow(services.monitor.alerts, self._set_alert, fps=1)
        self._screen_of.follow(services.monitor.servers, lambda _figures: self._set_far(), fps=1)
        self._screen_of.follow(services.chat.view, lambda view: self._set_model(view.model, view.provider), fps=4)

    def _set_queue(self, queue: QueueView) -> None:
        self._queue = queue
        self.redraw()

    def _set_open(self, providers: Sequence[ProviderState]) -> None:
        names = tuple(clean_name(state.name, 20) for state in providers if state.listens_wide)
        if names != self._open:
            self._open = names
            self.redraw()
        self._set_far()

    def _set_model(self, model: str, provider: str) -> None:
        self._model, self._provider = clean_name(model, 40), provider
        self._set_far()
        self.redraw()

    def _set_alert(self, view: AlertsView) -> None:
        """The newest alert that lasts; dim where it is muted or was seen."""
        alert: Part | None = None
        if view.active:
            from tui.ui.screens.monitor_alerts import newest_words

            fahrenheit = self._screen_of.services.config.current.value.monitor.temperature_unit == "F"
            words, quiet = newest_words(view, fahrenheit=fahrenheit)
            alert = (f"! {words}", "$text-muted" if quiet else "bold $warning")
        if alert != self._alert:
            self._alert = alert
            self.redraw()

    def _set_far(self) -> None:
        """What the chat's server tells, where it runs on another machine: under its own name."""
        services = self._screen_of.services
        state = services.registry.state(self._provider) if self._provider else None
        told = services.monitor.servers.value.get(self._provider)
        far = far_text(state, told) if state is not None and told is not None else ""
        if far != self._far:
            self._far = far
            self.redraw()

    def redraw(self) -> None:
        """Put the figures together for the width there is."""
        monitor = self._screen_of.services.monitor
        view = monitor.latest.value
        width = self.size.width or 80
        ascii = self._screen_of.ascii
        graph = 3 if width < 120 else 6
        groups: list[list[Part]] = [[(f" {monitor.machine()}", "bold")]]
        sample = view.sample
        if sample is not None:
            cpu, memory = sample.cpu, sample.memory
            graph_text = spark(monitor.series("cpu", graph * 2), graph, ascii=ascii)
            groups.append([("CPU ", "$text-muted"), (graph_text, "$success"), _percent(cpu.percent)])
            if memory.total and memory.used is not None:
                groups.append([("RAM", "$text-muted"), _percent(100 * memory.used / memory.total)])
            for gpu in sample.gpus[: 1 if width < 120 else 4]:
                graph_text = spark(monitor.series(gpu_series(gpu), graph * 2), graph, ascii=ascii)
                groups.append([(f"GPU{gpu.index} ", "$text-muted"), (graph_text, "$success"), _percent(gpu.percent)])
                if gpu.memory_used is not None and gpu.memory_total:
                    base, unit = (2**30, "Gi") if self._screen_of.binary else (1e9, "G")
                    groups.append([("VRAM ", "$text-muted"), (f"{gpu.memory_used / base:.1f}/{gpu.memory_total / base:.0f}{unit}", "")])
            if view.silent:
                groups.append([(view.note or "no data", "$warning")])
        elif view.note:
            groups.append([(view.note, "$text-muted")])
        tail: list[list[Part]] = []
        if self._open:  # P51: all the time
            who = self._open[0] if len(self._open) == 1 else f"{len(self._open)} servers"
            tail.append([(f"! {who} {'open' if width < 120 else 'reachable from outside'}", "bold $warning")])
        if self._alert is not None:
            tail.append([self._alert])
        if self._far:
            name, _, words = self._far.partition(" ")
            tail.append([(name, "bold"), (f" {words}", "")])
        running = self._queue.count(JobState.FETCHING, JobState.CHECKING)
        if running:
            tail.append([(pulls_text(self._queue, running, ascii=ascii), "$success")])
        if self._model:
            tail.append([(self._model, "$primary")])
        if self._screen_of.demo:
            tail.append([("demo, simulated", "$warning")])
        parts: list[Part] = []
        used = 0
        reserve = sum(cell_len("".join(text for text, _style in group)) + 3 for group in tail)
        for group in groups:
            size = cell_len("".join(text for text, _style in group)) + 2
            if used + size + reserve > width and parts:
                break
            parts.extend(group)
            parts.append(("  ", ""))
            used += size
        for group in tail:
            size = cell_len("".join(text for text, _style in group)) + 3
            if used + size > width + 1:
                break
            parts.append(("| " if ascii else "│ ", "$border"))
            parts.extend(group)
            parts.append((" ", ""))
            used += size
        self.show(*parts)

    def on_resize(self, event: events.Resize) -> None:
        """More figures where there is room."""
        if self._screen_of.has_services:
            self.redraw()


def far_text(state: ProviderState, told: ServerFigures) -> str:
    """`vllm-a 2 run 212 tok/s`; empty for a server on this machine, and for one that tells nothing."""
    if state.location is not Location.ELSEWHERE:
        return ""
    words = []
    if told.running is not None:
        words.append(f"{told.running} run{'s' if told.running == 1 else ''}")
    if told.waiting:
        words.append(f"{told.waiting} wait{'s' if told.waiting == 1 else ''}")
    if told.rate is not None:
        words.append(f"{told.rate:.0f} tok/s")
    return f"{clean_name(state.name, 20).replace(' ', '_')} {' '.join(words)}" if words else ""


def pulls_text(queue: QueueView, running: int, *, ascii: bool) -> str:
    """`↓2 38M/s 62%`: how many run, how fast together, and how much of the queue is there."""
    speed = "" if queue.rate is None else " " + rate(queue.rate).replace(" ", "").replace("B/s", "/s")
    percent = "" if queue.percent is None else f" {queue.percent:.0f}%"
    return f"{'v' if ascii else '↓'}{running}{speed}{percent}"


def _percent(value: float | None) -> Part:
    return (" –" if value is None else f" {value:.0f}%", "")


def attention(providers: Sequence[ProviderState], *, ascii: bool) -> str:
    """The mark of the Providers screen: how many configured ones failed."""
    failed = sum(1 for provider in providers if provider.status is ProviderStatus.FAILED)
    return f"{'x' if ascii else '✕'}{failed}" if failed else ""
