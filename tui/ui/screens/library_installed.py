"""The Library's first view: the installed models of all providers."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Final

from textual.binding import Binding, BindingType
from textual.timer import Timer

from tui.core.capabilities import Ability, Capability
from tui.core.filtering import Term, parse, predicate
from tui.core.models import Model, ModelDetail, ModelKey, ProviderStatus
from tui.core.names import same
from tui.core.observe import Observable
from tui.text import size
from tui.ui.frame import Part
from tui.ui.screens import (
    catalogue_view,
    library_columns,
    library_disk_words,
    library_history_words,
    library_kept_words,
    library_updates_words,
)
from tui.ui.screens.fits import machine_of
from tui.ui.screens.library_base import LibraryBase, LibraryView
from tui.ui.screens.library_known import Known, text_of
from tui.ui.widgets.columns import Column
from tui.ui.widgets.detail import Fact
from tui.ui.widgets.rows import Rows

_MANY: Final = 1000
"""Models from which on what moved is filtered and sorted anew at most each `_AGAIN` seconds."""
_AGAIN: Final = 5.0
_AT_ONCE: Final = 0.008
"""Seconds of verdicts that a key waits for."""
_SHOWN: Final = frozenset({"ability", "can", "context", "licence"})
"""Terms of a filter that some servers answer for one model at a time."""
_ASKED_AT_ONCE: Final = 8
_MOST_DETAILS: Final = 1000
"""Models whose details are held; more are not asked for by a filter alone."""
_PAUSE: Final = 0.03
_STILL: Final = frozenset({"word", "size", "on", "quant"})
"""Terms of a filter that only a new list can make true."""


class ModelTable(Rows[Model]):
    """Installed models."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "chat", id="rows.open", tooltip="chat with this model"),
    ]
    view: InstalledView | None = None

    def sort_by(self, column: str | None, descending: bool | None = None) -> None:
        """See `Rows`; verdicts that take long come later."""
        if self.view is not None:
            self.view.known.give(_AT_ONCE)
        super().sort_by(column, descending)
        if self.view is not None:
            self.view.await_verdicts()
            self.view.ask_some()


class InstalledView(LibraryView[Model]):
    """Installed models."""

    NAME = "installed"
    TITLE = "Installed"

    def make(self) -> ModelTable:
        """See `LibraryView`."""
        self.provider = ""
        self.names: tuple[str, ...] = ()
        """The columns shown, by their names in `appearance.columns`."""
        self.preview: str | None = None
        """Columns that are being chosen in the dialog."""
        self._stale: frozenset[str] = frozenset()
        self._kinds: frozenset[tuple[str, str]] = frozenset()
        self._terms: tuple[Term, ...] = ()
        self._again_at = 0.0
        self._unasked = 0
        self._unjudged: list[Model] = []
        self._judging: Timer | None = None
        self._renaming: dict[ModelKey, str] = {}
        """Models whose name is about to become another."""
        self._renamed: dict[ModelKey, ModelKey] = {}
        """Old to new, of renames that can be undone."""
        fits = self.screen.fits
        self.known = Known(self.screen.services, fits)
        table = ModelTable(
            self.columns(80),
            key=lambda model: (model.provider, model.key),
            state=lambda model: "loaded" if fits.is_loaded(model) else "busy" if model.state == "loading" else "",
            text=text_of,
            id="models",
        )
        table.view = self
        return table

    def start(self) -> None:
        """Follow the models, and what decides about them."""
        screen, services = self.screen, self.screen.services
        registry = services.registry
        screen.follow(registry.models, self._draw_models, fps=20)
        sources: tuple[Observable[Any], ...] = (registry.providers, registry.running, registry.details, registry.model_failures)
        for source in sources:
            screen.follow(source, lambda _value: self.draw_facts(), fps=4)
        screen.follow(services.monitor.latest, lambda _view: self._machine_moved(), fps=1)
        known: tuple[Observable[Any], ...] = (
            services.monitor.profiles,
            services.library.updates.states,
            services.library.keeping.kept,
            services.library.disk.shares,
            services.library.disk.origins,
            services.library.disk.checks,
            services.library.events.history,
            services.library.tuning.optimised,
            services.library.tuning.levels,
        )
        for source in known:
            screen.follow(source, lambda _value: self._known_moved(), fps=2)

    def columns(self, width: int) -> Sequence[Column[Model]]:
        """See `LibraryView`."""
        services = self.screen.services
        self._every = library_columns.every(self.known, services.registry.model_failures.value, binary=self.screen.binary)
        chosen = services.config.current.value.appearance.columns.get("library", "")
        self.names = library_columns.chosen_names(chosen if self.preview is None else self.preview, width)
        return [self._every[name] for name in self.names]

    def orders(self) -> Sequence[Column[Model]]:
        """See `LibraryView`: every column can be sorted by."""
        return list(self._every.values())

    def narrow(self, text: str) -> None:
        """Words and terms; one provider's only, where another screen asked for that."""
        name, found = self.provider, parse(text)
        terms, self._terms = predicate(found, self.known.look()), found.terms
        self.known.give(_AT_ONCE)
        if name:
            self.table.set_filter(found.plain, lambda model: model.provider == name and (terms is None or terms(model)))
        else:
            self.table.set_filter(found.plain, terms)
        self.await_verdicts()
        self.ask_some()

    def ask_some(self) -> None:
        """Where filter or order want what only `show` tells, ask about some of the models; their answers ask about the next."""
        sorting = self.table.sorting
        wanted = any(term.kind in _SHOWN for term in self._terms) or (sorting is not None and sorting[0] in library_columns.ASKED)
        self._unasked = 0
        if not wanted:
            return
        registry = self.screen.services.registry
        details = registry.details.value
        all_of_it = (sorting is not None and sorting[0] == "licence") or any(term.kind == "licence" for term in self._terms)
        able = {state.name for state in registry.providers.value if not registry.can(state.name, Capability.SHOW)}
        lacking = [one for one in self.table.items if one.provider in able and (all_of_it or not (one.abilities and one.context))]
        lacking = [one for one in lacking if (one.provider, one.key) not in details]
        self._unasked = len(lacking)
        for model in lacking[: _ASKED_AT_ONCE if len(details) < _MOST_DETAILS else 0]:
            registry.show(model.provider, model.key)

    def await_verdicts(self) -> None:
        """Where filter or order want verdicts that take long to work out (thousands of models), go on between the keys."""
        if self.known.late:
            self._unjudged = [model for model in self.table.items if not self.known.fits.judged(model)]
            if self._judging is None:
                self._judging = self.screen.set_interval(_PAUSE, self._judge_some)

    def _judge_some(self) -> None:
        self.known.work_out(self._unjudged, _AT_ONCE)
        if not self._unjudged and self._judging is not None:
            self._judging.stop()
            self._judging = None
            self.known.give(0.0)
            self.table.arrange_again()
            self.screen.draw_head()

    def counts(self) -> list[Part]:
        """See `LibraryView`."""
        where = f"on {self.provider}: " if self.provider else ""
        sorting = self.table.sorting
        order = f"by {self._every[sorting[0]].title.lower()}, " if sorting is not None and sorting[0] not in self.names else ""
        unasked = f"{self._unasked} not asked yet, " if self._unasked else ""
        return [
            (where, "$accent"),
            (f"{unasked}{order}", "$text-muted"),
            (library_columns.counts(self.table, self.provider), "$foreground"),
        ]

    def follow_name(self, old: ModelKey, name: str) -> None:
        """A model is about to be renamed: where the cursor or a mark is on it, it goes with it once the list says so."""
        self._renaming[old] = name

    def follow_back(self) -> None:
        """A rename may be about to be undone; one whose old name is taken is not."""
        there = {(model.provider, model.key) for model in self.table.items}
        self._renaming.update({new: old[1] for old, new in self._renamed.items() if new in there and old not in there})

    def _moved_names(self, models: Sequence[Model]) -> dict[Hashable, Hashable]:
        """Old and new key of what is listed under its new name, and not under the old one any more."""
        there = {(model.provider, model.key) for model in models} if self._renaming else set()
        found: dict[Hashable, Hashable] = {}
        for old, name in [one for one in self._renaming.items() if one[0] not in there]:
            new = next((key for key in there if key[0] == old[0] and same(key[1], name)), None)
            if new is not None:
                del self._renaming[old]
                found[old] = new
                if self._renamed.get(new) == old:
                    del self._renamed[new]
                else:
                    self._renamed[old] = new
        return found

    def _draw_models(self, models: tuple[Model, ...]) -> None:
        self.screen.fits.take(self.screen.services)
        self.table.set_items(models, self._moved_names(models))
        names = frozenset((model.provider, model.quantization) for model in models)
        if names != self._kinds:  # which decides how wide these columns are
            self._kinds = names
            self.screen.fit_columns(self.screen.width or 80)
        if self.screen.view is self:
            self.screen.apply_filter()
        self.draw_facts()

    def draw_facts(self) -> None:
        """What decides about them moved."""
        moved = self.screen.fits.take(self.screen.services)
        stale = frozenset(self.screen.services.registry.model_failures.value)
        if stale != self._stale:
            self._stale = stale
            self.screen.fit_columns(self.screen.width or 80)
        if moved:
            self._again()
            self.ask_some()
            self.table.redraw()
        if not self.table.total:
            self.table.set_empty(self._empty_words())
        self.screen.draw_detail()

    def _machine_moved(self) -> None:
        """Most samples change no verdict: then nothing is drawn."""
        if machine_of(self.screen.services) != self.screen.fits.machine:
            self.draw_facts()

    def _known_moved(self) -> None:
        """An answer was measured, an update found."""
        self._again()
        self.table.redraw()
        self.screen.draw_detail()

    def _again(self) -> None:
        """Filter and sort anew by what moved; less often where there are many."""
        now = time.monotonic()
        if self.table.total > _MANY and now - self._again_at < _AGAIN:
            return
        self._again_at = now
        if any(term.kind not in _STILL for term in self._terms):
            self.narrow(self.filter)
        elif self.table.sorting is not None and self.table.sorting[0] in library_columns.MOVING:
            self.known.give(_AT_ONCE)
            self.table.arrange_again()
            self.await_verdicts()

    def _empty_words(self) -> str:
        states = self.screen.services.registry.providers.value
        if not states:
            return "No server yet. On 1 Providers, a adds one."
        waiting = [state.name for state in states if state.status is ProviderStatus.BUSY]
        if waiting:
            return f"Asking {', '.join(waiting)} for its models …"
        usable = [state for state in states if state.status in (ProviderStatus.UP, ProviderStatus.FOUND)]
        if not usable:
            return "No server answers. 1 Providers says why."
        good = catalogue_view.fitting(self.screen.services.library.catalogue.view.value.list, self.screen.fits)
        if not good:
            return "No models yet. a pulls one."
        model, tag = good[0]
        weight = size(tag.bytes, binary=self.screen.binary)
        return f"No models yet. a pulls one; {len(good)} fit well, for example {model.name}:{tag.tag}, {weight}."

    def facts(self, item: Model) -> list[Fact]:
        """See `LibraryView`."""
        registry = self.screen.services.registry
        facts = library_columns.model_facts(
            item,
            registry.details.value.get((item.provider, item.key)),
            self.screen.fits,
            registry.state(item.provider),
            registry.model_failures.value.get(item.provider),
            time.time(),
            binary=self.screen.binary,
            profile=self.known.profile(item),
            rank=self.known.rank(item),
        )
        update = library_updates_words.state_of(self.screen.services.library.updates.states.value, item)
        disk = library_disk_words.installed(self.screen.services, item, time.time(), binary=self.screen.binary)
        events = self.screen.services.library.events.history.value.get((item.provider, item.key), ())
        history = library_history_words.facts(events, self.known.profile(item), time.time())
        kept = library_kept_words.facts(item, self.screen.services.library.keeping.kept.value, binary=self.screen.binary)
        new = library_updates_words.facts(update, item, time.time(), binary=self.screen.binary)
        return library_columns.in_order([*facts, *new, *disk, *kept, *self._tuned(item), *history])

    def _tuned(self, item: Model) -> list[Fact]:
        """What was measured of it on purpose; the words are read where there is any."""
        tuning = self.screen.services.library.tuning
        if not tuning.optimised.value and not tuning.levels.value:
            return []
        from tui.ui.screens import library_tuning_words

        return library_tuning_words.facts(self.screen.services, item, time.time())

    def rested(self, item: Model) -> None:
        """Ask about the model under the cursor; where its columns are there, about one of those in view after it, and so on."""
        registry = self.screen.services.registry
        if (item.provider, item.key) not in self.screen.services.library.events.history.value:
            self.screen.services.library.events.look(item.provider, item.key)
        wanted = [item, *(self.table.in_view if library_columns.ASKED & set(self.names) else [])]
        for model in wanted:
            if (model.provider, model.key) not in registry.details.value and not registry.can(model.provider, Capability.SHOW):
                registry.show(model.provider, model.key)
                return

    def entered(self, item: Model) -> None:
        """Chat with it."""
        known = self.screen.services.registry.details.value.get((item.provider, item.key))  # the newest: `Known` follows in steps
        abilities = (known.abilities if isinstance(known, ModelDetail) else None) or item.abilities
        if Ability.EMBEDDING in abilities and Ability.COMPLETION not in abilities:
            self.screen.say(f"{item.name} only makes vectors: it cannot chat.")
            return
        reason = self.screen.services.registry.can(item.provider, Capability.CHAT)
        if reason:
            self.screen.say(f"Not possible: {reason}.")
            return
        self.screen.services.chat.use_model(item.provider, item.key)
        self.screen.tui.action_go("chat")

    def back(self) -> bool:
        """All providers again."""
        had = bool(self.provider)
        self.provider = ""
        if had:
            self.screen.apply_filter()
        return had


class InstalledVerbs(LibraryBase):
    """What verbs need that act on the installed models, whichever view is shown."""

    @property
    def first(self) -> InstalledView:
        """The view of installed models."""
        view = self.views[0]
        assert isinstance(view, InstalledView)
        return view
