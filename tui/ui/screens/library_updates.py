"""What the Library's keys do about newer versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.core.library import UpdateStatus
from tui.core.models import Model
from tui.services.asks import OFFLINE, asks_before, reasons
from tui.services.pins import pinned
from tui.ui.screens import library_updates_words as words
from tui.ui.screens.library_base import LibraryBase

_OWN: Final = frozenset({"update", "update_all", "check_updates", "update_news"})


class UpdateVerbs(LibraryBase):
    """Update one, the marked ones or all; look what is newer; show what changed."""

    VERBS = _OWN
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "update", "update", id="library.update", tooltip="fetch what is newer of the model, or of the marked ones; asks"),
        Binding("ctrl+u", "check_updates", "check for updates", show=False, id="library.check_updates", tooltip="ask the registries now"),
    ]
    MORE: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("check_updates", "Check for updates", "ask the registries now what is newer, of the marked models or of all"),
        ("update_all", "Update all", "fetch everything that is newer; pinned models stay"),
        ("update_news", "What changed", "the difference to what the registry has now"),
    )

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action not in _OWN:
            return super().refusal(action)
        if self.services.config.current.value.general.network == "offline" and not self.demo and action != "update_news":
            return f"Not possible: {OFFLINE}."
        if action == "check_updates":
            return self.away
        if action == "update_all":
            return "" if self._newer() else "Nothing newer is known. ctrl+u looks."
        if reason := self.refused_for(Capability.PULL, self.chosen):
            return reason
        if action == "update_news":
            state = words.state_of(self.services.library.updates.states.value, self.chosen[0])
            return "" if state is not None and state.newer else "No difference is known. ctrl+u looks for updates."
        return self._update_refusal(self.chosen)

    def _update_refusal(self, chosen: Sequence[Model]) -> str:
        able = [model for model in chosen if words.can_update(model)]
        if not able:
            return "It runs in a cloud: there is nothing to update."
        if all(self._pinned(model) for model in able):
            return "models.pinned names it: it is never updated. P unpins it."
        if not self._old(able):
            return "Nothing newer was there at the last look. ctrl+u looks again."
        return ""

    def _old(self, models: Sequence[Model]) -> list[Model]:
        """Those of which the registry has something newer, or may have."""
        states = self.services.library.updates.states.value
        nothing = (UpdateStatus.CURRENT, UpdateStatus.GONE)
        return [model for model in models if (state := words.state_of(states, model)) is None or state.status not in nothing]

    def _pinned(self, model: Model) -> bool:
        return pinned(self.services.config.current.value, model.provider, model.name)

    def _newer(self) -> list[Model]:
        """Installed models that have something newer, without the pinned ones."""
        states = self.services.library.updates.states.value
        found = []
        for model in self.services.registry.models.value:
            state = words.state_of(states, model)
            if state is not None and state.newer and not self._pinned(model):
                found.append(model)
        return found

    def action_update(self) -> None:
        """Pull installed models again: what is newer is fetched; asks."""
        chosen = [model for model in self.chosen if words.can_update(model)]
        pins = [model for model in chosen if self._pinned(model)]
        if pins:
            self.say(f"models.pinned names {', '.join(model.name for model in pins)}: never updated.")
        self._ask_update(self._old([model for model in chosen if model not in pins]))

    def action_update_all(self) -> None:
        """The same for everything that is known to be newer."""
        self._ask_update(self._newer())

    def _ask_update(self, models: Sequence[Model]) -> None:
        from tui.ui.widgets.confirm import ConfirmDialog

        settings, states = self.services.config.current.value, self.services.library.updates.states.value
        fetch = {model: state.fetch for model in models if (state := words.state_of(states, model)) is not None}
        asks = {model: asks_before(settings, model.key, fetch.get(model)) for model in models}

        def done(answer: str | None) -> None:
            if answer == "update":
                for model in models:
                    self.services.jobs.add(model.key, model.provider, asked_by="library, update", allowed=asks[model], keep_changes=True)
                self.views[0].table.clear_marks()

        if models:
            needed = reasons(settings, None, frozenset().union(*asks.values()))
            question = words.question(models, states, settings.models.versions, binary=self.binary)
            because = f" This asks because {needed}." if needed else ""
            self.ask(ConfirmDialog(f"{question}{because}", (("keep", "Not now"), ("update", "Update"))), done)

    def action_check_updates(self) -> None:
        """Ask the registries now, about the marked models or about all; on a metered network after a yes."""
        from tui.ui.widgets.confirm import ConfirmDialog

        marked = self.views[0].table.marked_items
        keys = [(model.provider, model.key) for model in marked]
        if self.services.config.current.value.general.network != "metered":
            self.services.library.updates.check(keys)
            return
        some = f"{len(keys)} models" if keys else "all models"
        question = f"general.network is metered: ask the registries about {some} all the same? A request a tag, some KB in all."

        def done(answer: str | None) -> None:
            if answer == "look":
                self.services.library.updates.check(keys)

        self.ask(ConfirmDialog(question, (("keep", "Not now"), ("look", "Look"))), done)

    def action_update_news(self) -> None:
        """Show what changed, as a diff."""
        from tui.ui.dialogs.update_news import UpdateNews

        model = self.chosen[0]
        state = words.state_of(self.services.library.updates.states.value, model)
        if state is not None:
            self.ask(UpdateNews(model, state, binary=self.binary))
