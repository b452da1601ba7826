"""What fits on this machine, in the words of the tables: the estimator fed with the newest sample and what loads taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tui.core.errors import Failure
from tui.core.fit import (
    NOTHING,
    Fit,
    Lessons,
    Machine,
    Pace,
    Served,
    Subject,
    Verdict,
    judge,
    need_of,
    subject_of,
)
from tui.core.models import Location, Model, ModelDetail, ModelKey, ProviderState, RunningModel
from tui.core.monitor import Profile
from tui.services import machine
from tui.services.api import Services
from tui.services.library.fits_text import BASIS, rate_text
from tui.services.library.fits_words import served_for
from tui.text import clean_name, size
from tui.ui.widgets.columns import Cell

if TYPE_CHECKING:
    from tui.config.settings import Optimise

CONTEXT = 8192
"""Tokens of context the verdicts are for; fewer where the model has fewer."""
TONES: Final = {
    Verdict.LOADED: "ok",
    Verdict.GOOD: "ok",
    Verdict.TIGHT: "warn",
    Verdict.AFTER_UNLOAD: "warn",
    Verdict.SLOW: "warn",
    Verdict.NO: "bad",
}
_SPEED: Final = 9
"""Cells that a speed has in the tables."""
ALIKE: Final = 0.02
"""Share by which a model may be placed differently and still be as fast as it was measured."""


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
    lessons: Lessons = NOTHING
    seen: Mapping[str, Served] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    profiles: Mapping[ModelKey, Profile] = field(default_factory=dict)
    optimise: Optimise | None = None
    rooms: Mapping[str, int] = field(default_factory=dict)
    binary: bool = False
    _judged: dict[ModelKey, Fit | None] = field(default_factory=dict)
    _served: dict[str, Served] = field(default_factory=dict)

    def take(self, services: Services) -> bool:
        """Look at the newest facts; whether any verdict may have changed."""
        registry, learned = services.registry, services.library.fits
        running: Sequence[RunningModel] = registry.running.value
        new = (
            machine_of(services),
            {state.name: state for state in registry.providers.value},
            frozenset((model.provider, model.key) for model in running),
            registry.details.value,
            learned.pace.value,
            services.monitor.profiles.value,
            services.config.current.value.optimise,
            {name: one.vram for name, one in services.config.current.value.providers.items() if one.vram},
        )
        self.binary = services.config.current.value.appearance.units == "binary"
        taught = learned.lessons.value is self.lessons and learned.seen.value is self.seen
        known = (self.machine, self.providers, self.loaded, self.details, self.pace, self.profiles, self.optimise, self.rooms)
        if taught and new == known:
            return False
        self.machine, self.providers, self.loaded, self.details, self.pace, self.profiles, self.optimise, self.rooms = new
        self.lessons, self.seen = learned.lessons.value, learned.seen.value
        self._judged.clear()
        self._served.clear()
        return True

    def detail(self, model: Model) -> ModelDetail | None:
        """What the server said about it, where it was asked."""
        found = self.details.get((model.provider, model.key))
        return found if isinstance(found, ModelDetail) else None

    def here(self, provider: str) -> bool:
        """Whether a provider runs on this machine; a tunnel nobody was asked about does not count."""
        state = self.providers.get(provider)
        return state is not None and state.location is Location.HERE

    def room(self, provider: str) -> Machine | None:
        """The memory a provider has: of this machine, or what the settings say of another; None where nobody knows."""
        if not provider or self.here(provider):
            return self.machine
        vram = self.rooms.get(provider)
        return Machine(0, 0, vram, vram, 1) if vram else None

    def knows(self, provider: str) -> bool:
        """Whether there are verdicts for a provider."""
        return self.room(provider) is not None

    def is_loaded(self, model: Model) -> bool:
        """In memory now."""
        return model.loaded or (model.provider, model.key) in self.loaded

    def served(self, provider: str) -> Served:
        """How a provider runs models."""
        if provider not in self._served:
            state = self.providers.get(provider)
            kind, version = (state.endpoint.kind, state.version) if state is not None else ("ollama", "")
            self._served[provider] = served_for(self.optimise, kind, version, self.seen.get(provider))
        return self._served[provider]

    def subject(self, model: Model) -> Subject | None:
        """An installed model, as the estimates take it."""
        return subject_of(model, self.detail(model))

    def of(self, model: Model) -> Fit | None:
        """The verdict; None where there is none to give (elsewhere, in a cloud, size not known)."""
        key = (model.provider, model.key)
        if key not in self._judged:
            self._judged[key] = self.at(model, min(CONTEXT, model.context or CONTEXT), loaded=self.is_loaded(model))
        return self._judged[key]

    def judged(self, model: Model) -> bool:
        """Whether the verdict of now was worked out already."""
        return (model.provider, model.key) in self._judged

    def at(self, model: Model, context: int, *, loaded: bool = False) -> Fit | None:
        """The verdict for so many tokens of context."""
        room = self.room(model.provider) if model.size and not model.remote else None
        subject = self.subject(model) if room is not None else None
        if room is None or subject is None:
            return None
        served = self.served(model.provider)
        pace = self.pace if self.here(model.provider) else None
        fit = judge(need_of(subject, context, served, self.lessons), room, served, loaded=loaded, pace=pace)
        return with_measured(fit, self.profiles.get((clean_name(model.provider), clean_name(model.key))))

    def of_bytes(self, weights: int, context: int | None = None, provider: str = "") -> Fit | None:
        """The verdict for something not installed of which only the size is known."""
        return self.of_subject(Subject(weights, context=context), provider)

    def of_subject(self, subject: Subject, provider: str = "", context: int = CONTEXT) -> Fit | None:
        """The verdict for something not installed."""
        room = self.room(provider)
        if room is None:
            return None
        served = self.served(provider)
        return judge(need_of(subject, context, served, self.lessons), room, served, pace=self.pace if room is self.machine else None)

    def cell(self, model: Model) -> Cell:
        """FITS of an installed model."""
        if model.remote:
            return Cell("in a cloud", "accent")
        fit = self.of(model)
        if fit is None:
            return Cell("loaded", "ok") if self.is_loaded(model) else Cell("–", "dim")
        return Cell(words(fit, binary=self.binary), TONES.get(fit.verdict, ""))


def with_measured(fit: Fit, profile: Profile | None) -> Fit:
    """The verdict with the speed that was measured, where the model was placed then as it would be now."""
    if profile is None or not profile.rate or not profile.memory or profile.vram is None:
        return fit
    share = 1 - min(1.0, profile.vram / profile.memory)
    if fit.verdict is Verdict.NO or abs(share - fit.cpu_share) > ALIKE:
        return fit
    return replace(fit, rate=profile.rate, measured_rate=True)


def words(fit: Fit, *, binary: bool = False) -> str:
    """`good`, `after unload`, `slow, ~4 tok/s`, `no: 26 GB over`."""
    if fit.verdict is Verdict.NO:
        return f"no: {size(fit.over, binary=binary)} over"
    if fit.verdict is Verdict.SLOW:
        speed = rate_text(fit)
        speed = speed if len(speed) <= _SPEED else speed.replace(" tok/s", "/s")
        return f"slow, {speed}" if speed else f"slow, {fit.cpu_share * 100:.0f} % CPU"
    return fit.verdict.value


def need_text(fit: Fit, machine: Machine, context: int, *, binary: bool = False) -> str:
    """`19.9 weights + 2.1 cache + 0.6 = ~22.6 GB at 8k; 16.4 GB VRAM free`; `~` marks an estimate."""
    need = fit.need
    if need is None:
        return ""
    base = 2**30 if binary else 1e9
    unit = "GiB" if binary else "GB"
    parts = f"{(need.weights + need.projector) / base:.1f} weights + {need.kv_cache / base:.1f} cache + {need.compute / base:.1f}"
    if abs(need.correction) >= base / 20:
        parts += f" {'+' if need.correction > 0 else '-'} {abs(need.correction) / base:.1f} learned"
    free = machine.gpu_free if machine.gpus else machine.ram_free
    kind = "VRAM" if machine.gpus else "RAM"
    about = "" if need.measured else "~"
    return f"{parts} = {about}{need.total / base:.1f} {unit} at {context // 1024}k; {free / base:.1f} {unit} {kind} free"


def known_text(fit: Fit, machine: Machine) -> str:
    """`by formula, ~102 tok/s expected`: how the figures are known, and what they mean for the speed."""
    if fit.need is None:
        return ""
    speed = rate_text(fit)
    speed += " expected" if speed and not fit.measured_rate else ""
    share = f"{fit.cpu_share * 100:.0f} % of it on the CPU" if machine.gpus and fit.cpu_share else ""
    return ", ".join(part for part in (BASIS[fit.need.basis], share, speed) if part)
