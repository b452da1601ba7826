"""What the Library's keys do to make a model faster or smaller."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from tui.core.capabilities import Ability, Capability
from tui.core.models import Model
from tui.ui.screens.library_base import LibraryBase
from tui.ui.widgets.columns import Cell

_OWN: Final = frozenset({"optimise", "quantize", "levels"})


class TuningVerbs(LibraryBase):
    """Optimise, quantize, compare levels."""

    VERBS = _OWN
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("O", "optimise", "optimise", show=False, id="library.optimise", tooltip="propose options for this machine, measured"),
        Binding("Q", "quantize", "quantize", show=False, id="library.quantize", tooltip="make smaller levels of whole weights"),
        Binding("B", "levels", "levels", show=False, id="library.levels", tooltip="levels of a model side by side, measured"),
    ]
    MORE: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("optimise", "Optimise", "options for this machine, measured before and after, kept only if better"),
        ("quantize", "Quantize", "smaller levels of a model with whole weights, through the queue"),
        ("levels", "Compare levels", "size, memory, speed and agreement of the levels of a model, measured"),
    )

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action not in _OWN:
            return super().refusal(action)
        chosen = self.chosen
        if reason := self.refused_for(Capability.CREATE if action == "quantize" else Capability.LOAD, chosen):
            return reason
        if action == "levels":
            return self._no_levels(chosen)
        if len(chosen) > 1:
            return f"{'Quantize' if action == 'quantize' else 'Optimise'} one model at a time; esc unmarks."
        return self._no_quantizing(chosen[0]) if action == "quantize" else self._no_optimising(chosen[0])

    def _no_optimising(self, model: Model) -> str:
        if not self.services.config.current.value.optimise.enabled:
            return "optimise.enabled is off: nothing is proposed."
        if model.remote:
            return f"{model.name} runs in a cloud: nothing of it depends on this machine."
        if not self._answers(model):
            return f"{model.name} does not answer, so there is nothing to measure."
        if not self.fits.here(model.provider):
            return f"{model.provider} is not on this machine: what is good for it is not known here."
        return ""

    def _answers(self, model: Model) -> bool:
        known = self.fits.detail(model)
        abilities = model.abilities or (known.abilities if known is not None else frozenset[Ability]())
        return not abilities or Ability.COMPLETION in abilities

    def _no_quantizing(self, model: Model) -> str:
        from tui.services.library.tuning_words import not_quantizable

        if reason := not_quantizable(model):
            return f"{reason}."
        return "" if model.size else f"{model.provider} does not tell how large {model.name} is."

    def _no_levels(self, chosen: list[Model]) -> str:
        if len({model.provider for model in chosen}) > 1:
            return "Levels are compared on one server; esc unmarks."
        remote = next((model for model in chosen if model.remote), None)
        if remote is not None:
            return f"{remote.name} runs in a cloud: there are no levels of it."
        silent = next((model for model in chosen if not self._answers(model)), None)
        return f"{silent.name} does not answer, so nothing can be compared." if silent is not None else ""

    def action_optimise(self) -> None:
        """Show what could be better."""
        from tui.ui.dialogs.optimise import OptimiseDialog

        model = self.chosen[0]

        def done(wanted: str | None) -> None:
            if wanted == "quantize":
                if reason := self.refusal("quantize"):
                    self.say(reason)
                else:
                    self.action_quantize()
            elif wanted:
                from tui.ui.dialogs.pull import PullDialog

                self.ask(PullDialog(self.services, wanted, provider=model.provider, asked_by="library"))

        self.ask(OptimiseDialog(self.services, model.provider, model.key, model.name), done)

    def action_quantize(self) -> None:
        """Ask for the levels."""
        from tui.core.levels import head_share
        from tui.ui.dialogs.quantize import QuantizeDialog
        from tui.ui.screens.fits import words

        model = self.chosen[0]

        def fits(weights: int) -> Cell:
            fit = self.fits.of_bytes(weights, model.context, model.provider) if self.fits.here(model.provider) else None
            return Cell("–", "dim") if fit is None else Cell(words(fit, binary=self.binary))

        def done(wanted: list[tuple[str, str]] | None) -> None:
            if wanted:
                self.services.library.tuning.quantize(model.provider, model.key, wanted)

        installed = [other for other in self.services.registry.models.value if other.provider == model.provider]
        self.ask(QuantizeDialog(model, installed, head_share(self.fits.detail(model)), fits, binary=self.binary), done)

    def action_levels(self) -> None:
        """Show the marked models beside each other, else what seems to be the same model at other levels."""
        from tui.services.library.tuning_words import ordered, siblings
        from tui.ui.dialogs.levels import LevelsDialog

        chosen = self.chosen
        found = chosen if len(chosen) > 1 else siblings(chosen[0], self.services.registry.models.value)
        self.ask(LevelsDialog(self.services, ordered(found)))
