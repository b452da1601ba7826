"""What fits on this machine, in the words of the tables: the estimator fed with the newest sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tui.core.errors import Failure
from tui.core.fit import Fit, Machine, Verdict, estimate, judge, shape_of
from tui.core.models import Location, Model, ModelDetail, ProviderState, RunningModel
from tui.services import machine
from tui.services.api import ModelKey, Services
from tui.text import size
from tui.ui.widgets.columns import Cell

CONTEXT = 8192
"""Tokens of context the verdicts are for; fewer where the model has fewer."""
_TONES = {
    Verdict.LOADED: "ok",
    Verdict.GOOD: "ok",
    Verdict.TIGHT: "warn",
    Verdict.AFTER_UNLOAD: "warn",
    Verdict.SLOW: "warn",
    Verdict.NO: "bad",
}


def machine_of(services: Services) -> Machine | None:
    """This machine's memory from the newest sample; None before the first."""
    registry = services.registry
    return machine.machine_of(services.monitor.latest.value.sample, registry.providers.value, registry.running.value)


@dataclass(slots=True)
class Fits:
    """Verdicts for the models shown; filled for the rows that are drawn, emptied when something moved."""

    machine: Machine | None = None
    providers: Mapping[str, ProviderState] = field(default_factory=dict)
    loaded: frozenset[ModelKey] = frozenset()
    details: Mapping[ModelKey, ModelDetail | Failure] = field(default_factory=dict)
    _seen: dict[ModelKey, Fit | None] = field(default_factory=dict)

    def take(self, services: Services) -> bool:
        """Look at the newest facts; whether any verdict may have changed."""
        registry = services.registry
        running: Sequence[RunningModel] = registry.running.value
        new = (
            machine_of(services),
            {state.name: state for state in registry.providers.value},
            frozenset((model.provider, model.key) for model in running),
            registry.details.value,
        )
        if new == (self.machine, self.providers, self.loaded, self.details):
            return False
        self.machine, self.providers, self.loaded, self.details = new
        self._seen.clear()
        return True

    def detail(self, model: Model) -> ModelDetail | None:
        """What the server said about it, where it was asked."""
        found = self.details.get((model.provider, model.key))
        return found if isinstance(found, ModelDetail) else None

    def here(self, provider: str) -> bool:
        """Whether a provider runs on this machine; a tunnel nobody was asked about does not count."""
        state = self.providers.get(provider)
        return state is not None and state.location is Location.HERE

    def is_loaded(self, model: Model) -> bool:
        """In memory now."""
        return model.loaded or (model.provider, model.key) in self.loaded

    def of(self, model: Model) -> Fit | None:
        """The verdict; None where there is none to give (elsewhere, in a cloud, size not known)."""
        key = (model.provider, model.key)
        if key not in self._seen:
            self._seen[key] = self._judge(model)
        return self._seen[key]

    def _judge(self, model: Model) -> Fit | None:
        if self.machine is None or not model.size or model.remote or not self.here(model.provider):
            return None
        detail = self.details.get((model.provider, model.key))
        shape = shape_of(detail) if isinstance(detail, ModelDetail) else None
        context = min(CONTEXT, model.context or CONTEXT)
        return judge(estimate(model.size, shape, context), self.machine, loaded=self.is_loaded(model))

    def of_bytes(self, weights: int, context: int | None = None) -> Fit | None:
        """The verdict for something not installed, by the rule of thumb."""
        if self.machine is None:
            return None
        return judge(estimate(weights, None, min(CONTEXT, context or CONTEXT)), self.machine)

    def cell(self, model: Model) -> Cell:
        """FITS of an installed model."""
        if model.remote:
            return Cell("in a cloud", "accent")
        fit = self.of(model)
        if fit is None:
            return Cell("loaded", "ok") if self.is_loaded(model) else Cell("–", "dim")
        return Cell(words(fit), _TONES.get(fit.verdict, ""))


def words(fit: Fit, *, binary: bool = False) -> str:
    """`good`, `after unload`, `no: 26 GB over`."""
    if fit.verdict is Verdict.NO:
        return f"no: {size(fit.over, binary=binary)} over"
    if fit.verdict is Verdict.SLOW:
        return f"slow, {fit.cpu_share * 100:.0f} % CPU"
    return fit.verdict.value


def need_text(fit: Fit, machine: Machine, context: int, *, binary: bool = False) -> str:
    """`19.9 weights + 2.1 cache + 0.6 = ~22.6 GB at 8k; 16.4 GB VRAM free`; `~` marks an estimate."""
    need = fit.need
    if need is None:
        return ""
    base = 2**30 if binary else 1e9
    unit = "GiB" if binary else "GB"
    parts = f"{need.weights / base:.1f} weights + {need.kv_cache / base:.1f} cache + {need.compute / base:.1f}"
    free = machine.gpu_free if machine.gpus else machine.ram_free
    kind = "VRAM" if machine.gpus else "RAM"
    about = "" if need.measured else "~"
    return f"{parts} = {about}{need.total / base:.1f} {unit} at {context // 1024}k; {free / base:.1f} {unit} {kind} free"
