"""What is known of installed models, in one place: for the table's columns, its filter, the pages and the comparison."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tui.core.capabilities import Ability
from tui.core.fit import Fit, Verdict
from tui.core.library import UpdateState
from tui.core.models import Model, ModelDetail
from tui.core.monitor import Profile
from tui.services.pins import pinned
from tui.text import clean_name
from tui.ui.screens import library_updates_words
from tui.ui.screens.fits import Fits

if TYPE_CHECKING:
    from tui.core.filtering import Look

FITTING: Final = frozenset({Verdict.LOADED, Verdict.GOOD, Verdict.TIGHT, Verdict.AFTER_UNLOAD})
"""What the word `fits` of a filter means."""
_VERDICTS: Final = {verdict: number for number, verdict in enumerate(Verdict)}


class Known:
    """Looks things up when they are asked for; every figure of a model that a screen shows comes through here."""

    def __init__(self, services: Any, fits: Fits) -> None:
        self.services = services
        self.fits = fits
        self.late = False
        """A verdict that was asked for is not known yet."""
        self._until = 0.0
        self._last: dict[tuple[str, str], Fit | None] = {}
        self._pins: Sequence[str] = ()
        self._tails: frozenset[str] = frozenset()

    def detail(self, model: Model) -> ModelDetail | None:
        """What the server said about it, where it was asked."""
        return self.fits.detail(model)

    def abilities(self, model: Model) -> frozenset[Ability]:
        """What it can do."""
        if model.abilities:
            return model.abilities
        known = self.fits.detail(model)
        return known.abilities if known is not None else frozenset()

    def context(self, model: Model) -> int | None:
        """Tokens of context it was trained for."""
        if model.context:
            return model.context
        known = self.fits.detail(model)
        return known.context if known is not None else None

    def parameters(self, model: Model) -> str:
        """`8.2B`."""
        if model.parameters:
            return model.parameters
        known = self.fits.detail(model)
        return known.parameters if known is not None else ""

    def licence(self, model: Model) -> str:
        """The first line of its licence; empty where there is none or nobody asked."""
        known = self.fits.detail(model)
        return licence_line(known) if known is not None and known.licence else ""

    def profile(self, model: Model) -> Profile | None:
        """How it did here; None where it was never used."""
        found: Mapping[tuple[str, str], Profile] = self.services.monitor.profiles.value
        profile = found.get((model.provider, model.key)) if found else None
        if profile is None and found and not (model.key.isascii() and model.key.isprintable()):
            return found.get((clean_name(model.provider), clean_name(model.key)))
        return profile

    def rate(self, model: Model) -> float | None:
        """Tokens a second it wrote here."""
        known = self.profile(model)
        return known.rate if known is not None else None

    def used(self, model: Model, now: float | None = None) -> float | None:
        """When it was used last, epoch seconds: now, where it is in memory."""
        if self.fits.is_loaded(model):
            return time.time() if now is None else now
        known = self.profile(model)
        return known.last_used if known is not None else None

    def update(self, model: Model) -> UpdateState | None:
        """What its registry has."""
        return library_updates_words.state_of(self.services.library.updates.states.value, model)

    def newer(self, model: Model) -> bool:
        """Whether its registry has something newer."""
        state = self.update(model)
        return state is not None and state.newer

    def fit(self, model: Model) -> Fit | None:
        """The verdict, None where there is none to give."""
        return self.fits.of(model)

    def soon(self, model: Model) -> Fit | None:
        """As `fit`, within `give`: what time does not suffice for is as it was last, and `late` says so."""
        key = (model.provider, model.key)
        if self.fits.judged(model) or (self._until and time.perf_counter() < self._until):
            found = self._last[key] = self.fits.of(model)
            return found
        self.late = self.late or bool(self._until)
        return self._last.get(key)

    def give(self, seconds: float) -> None:
        """Give the next verdicts so much time in all; none: they are as they were last."""
        self._until = time.perf_counter() + seconds if seconds else 0.0
        self.late = False

    def work_out(self, models: list[Model], seconds: float) -> None:
        """Take models from the list's end for so long, and work out their verdicts."""
        until = time.perf_counter() + seconds
        while models and time.perf_counter() < until:
            model = models.pop()
            self._last[(model.provider, model.key)] = self.fits.of(model)

    def fit_order(self, model: Model) -> tuple[int, float] | None:
        """What FITS sorts by: from what is loaded to what is furthest from fitting."""
        found = self.soon(model)
        return None if found is None else (_VERDICTS[found.verdict], found.over or found.cpu_share)

    def fitting(self, model: Model) -> bool:
        """Whether it can be used on this machine, if only after another one is unloaded."""
        found = self.soon(model)
        return found.verdict in FITTING if found is not None else self.fits.is_loaded(model)

    def pinned(self, model: Model) -> bool:
        """Whether `models.pinned` names it."""
        settings = self.services.config.current.value
        pins = settings.models.pinned
        if self._pins is not pins:
            self._pins = pins
            self._tails = frozenset(map(_tail, pins))
        return _tail(model.name) in self._tails and pinned(settings, model.provider, model.name)

    def is_default(self, model: Model) -> bool:
        """Whether new conversations begin with it."""
        name = self.services.config.current.value.general.default_model
        if not name:
            return False
        from tui.core.names import same

        return name == model.key or same(name, model.name)

    def rank(self, model: Model) -> str:
        """What its user made of it, in words."""
        parts = ["the default: new conversations begin with it"] if self.is_default(model) else []
        parts += ["pinned: never updated, never unloaded for room"] if self.pinned(model) else []
        return "; ".join(parts)

    def look(self) -> Look[Model]:
        """How the filter sees an installed model."""
        from tui.core.filtering import Look, parameter_count

        def parameters(model: Model) -> tuple[float, ...]:
            found = parameter_count(self.parameters(model))
            return () if found is None else (found,)

        def contexts(model: Model) -> tuple[float, ...]:
            found = self.context(model)
            return () if found is None else (found,)

        return Look(
            text=text_of,
            sizes=lambda model: () if model.size is None else (model.size,),
            parameters=parameters,
            contexts=contexts,
            abilities=self.abilities,
            on=lambda model: model.provider,
            quants=lambda model: (model.quantization,),
            licence=lambda model: known.licence if (known := self.detail(model)) is not None else "",
            fits=self.fitting,
            loaded=self.fits.is_loaded,
            pinned=self.pinned,
            update=self.newer,
        )


def _tail(name: str) -> str:
    """The last part of a name, which all its spellings share."""
    return name.rpartition("/")[2].casefold().removesuffix(":latest")


def text_of(model: Model) -> str:
    """What words of a filter are looked for in."""
    return f"{model.name} {model.provider} {model.quantization} {model.family} {model.parameters}"


def licence_line(detail: ModelDetail, limit: int = 60) -> str:
    """The first line of a licence, which is its name."""
    for line in detail.licence[:4000].splitlines():
        if line.strip():
            return line.strip()[:limit]
    return ""
