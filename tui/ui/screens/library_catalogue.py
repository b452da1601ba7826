"""The Library's catalogue: what can be pulled, what of it fits, and pulling it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from tui.core.capabilities import Capability
from tui.core.names import normal
from tui.providers.library import CatalogueModel, CatalogueTag, Library, library_of
from tui.services.api import pullers
from tui.services.asks import excluded
from tui.services.library.catalogue import CatalogueView as ListView
from tui.services.library.catalogue_search import age_words, of_words, offered
from tui.services.library.fits_recommend import Recommendation, recommended
from tui.ui.frame import Part
from tui.ui.screens import catalogue_view
from tui.ui.screens.library_base import LibraryView
from tui.ui.screens.library_installed import InstalledVerbs
from tui.ui.widgets.columns import Column
from tui.ui.widgets.detail import Fact
from tui.ui.widgets.rows import Rows

_BEST: Final = 24
"""How many models are recommended."""
_MOST: Final = 600
"""Models of a list that are looked at for that, the first of it."""


class CatalogueTable(Rows[CatalogueModel]):
    """Models that can be pulled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "pull", id="rows.open", tooltip="pull this model: the largest of it that fits"),
        Binding("p", "open", "pull", show=False, id="catalogue.pull", tooltip="pull this model: the largest of it that fits"),
        Binding("i", "screen.tags", "tags", id="catalogue.tags", tooltip="all tags of this model, to pull another one"),
        Binding("b", "screen.best", "best here", id="catalogue.best", tooltip="only what is recommended for this machine, or all"),
        Binding("r", "screen.refresh_list", "newer list", id="catalogue.refresh", tooltip="fetch a newer list of models"),
    ]


class CatalogueView(LibraryView[CatalogueModel]):
    """Models that can be pulled."""

    NAME = "catalogue"
    TITLE = "Catalogue"

    def make(self) -> CatalogueTable:
        """See `LibraryView`."""
        self.only_best = False
        self._best: tuple[Recommendation, ...] = ()
        self._list = ListView()
        self._verdicts = catalogue_view.Verdicts(self.screen.fits)
        self._offered: tuple[Library, tuple[str, ...], Library] | None = None
        self._filled: tuple[Library, bool] | None = None
        return CatalogueTable(
            self.columns(80),
            key=lambda model: model.name,
            state=lambda model: "up" if any(f"{model.name}:{tag.tag}" in self.installed for tag in model.tags) else "",
            text=lambda model: model.told,
            markable=False,
            id="catalogue",
        )

    @property
    def library(self) -> Library:
        """The list that is shown: without what `models.excluded` hides."""
        settings, whole = self.screen.services.config.current.value, self._list.list
        if self._offered is None or self._offered[:2] != (whole, settings.models.excluded):
            hidden = (lambda name: excluded(name, settings)) if settings.models.excluded else None
            self._offered = (whole, settings.models.excluded, offered(whole, hidden))
        return self._offered[2]

    @property
    def installed(self) -> frozenset[str]:
        """Normal names of what is installed."""
        models = self.screen.services.registry.models.value
        if models is not getattr(self, "_models", None):
            self._models = models
            self._installed = frozenset(normal(model.name) for model in models)
        return self._installed

    def start(self) -> None:
        """See `LibraryView`."""
        self.screen.follow(self.screen.services.library.catalogue.view, self._take, fps=10)

    def _take(self, view: ListView) -> None:
        """A newer list, or why there is none."""
        moved = view.library is not self._list.library
        self._list = view
        if self.screen.view is self:
            if moved or not self.table.total:
                self._fill()
            self.screen.draw_detail()

    def columns(self, width: int) -> Sequence[Column[CatalogueModel]]:
        """See `LibraryView`."""
        return catalogue_view.columns(self.screen.fits, width, binary=self.screen.binary)

    def shown(self) -> None:
        """The list is read when it is first looked at; what is recommended is worked out each time."""
        self._recommend()
        if self._filled != (self.library, self.only_best):
            self._fill()

    def _fill(self) -> None:
        """All models, most pulled first; or what is recommended, best first."""
        self._verdicts.forget()
        self._recommend()
        library = self.library
        self._filled = (library, self.only_best)
        rank = {one.name.partition(":")[0]: number for number, one in enumerate(self._best)}
        models = sorted(library.models, key=lambda model: rank.get(model.name, len(rank))) if self.only_best else library.models
        self.table.set_items(models)
        self.screen.apply_filter()

    def narrow(self, text: str) -> None:
        """Words and terms; with `only_best`, of what is recommended."""
        if not self._best:
            self._recommend()
        best = {one.name.partition(":")[0] for one in self._best}
        words, holds = self._verdicts.accepts(text, self.installed)
        if self.only_best:
            inner = holds
            self.table.set_filter(words, lambda model: model.name in best and (inner is None or inner(model)))
        else:
            self.table.set_filter(words, holds)

    def _recommend(self) -> None:
        """What to run here, worked out when the list is shown: it must not jump with each sample."""
        machine, settings = self.screen.fits.machine, self.screen.services.config.current.value.models
        if machine is None:
            self._best = ()
            return
        library = self.library
        if len(library.models) > _MOST:
            library = library_of(library.models[:_MOST], library.snapshot)
        self._best = recommended(
            library,
            machine,
            preferred=settings.preferred,
            excluded=settings.excluded,
            max_size=settings.max_size,
            installed=self.installed,
            lessons=self.screen.fits.lessons,
            pace=self.screen.fits.pace,
            limit=_BEST,
        )

    def toggle_best(self) -> None:
        """Only what is recommended, best first; or all, most pulled first."""
        self.only_best = not self.only_best
        self.table.sort_by(None)
        self._fill()
        self.table.move_to(0)

    def counts(self) -> list[Part]:
        """See `LibraryView`: how many, and how old the list is."""
        rows, date, now = self.table, self.library.snapshot, time.time()
        count = f"{rows.shown} of {rows.total}" if rows.shown != rows.total else f"{rows.total} model{'s' if rows.total != 1 else ''}"
        roomy = self.screen.size.width >= 110
        old = of_words(date, now) if roomy else age_words(date, now)
        parts: list[Part] = [("refreshing ", "$text-accent")] if self._list.busy else []
        if self.only_best:
            parts.append(("recommended for this machine: " if roomy else "best here: ", "$accent"))
        return [*parts, (f"{count}, {old}", "$text-warning" if self._list.failure is not None else "$foreground")]

    def facts(self, item: CatalogueModel) -> list[Fact]:
        """See `LibraryView`."""
        best = {one.name.partition(":")[0]: one for one in self._best}
        screen = self.screen
        shown = catalogue_view.Shown(screen.fits, self.library, self.installed, best, self._list.failure, time.time(), screen.binary)
        return catalogue_view.catalogue_facts(item, shown)

    def entered(self, item: CatalogueModel) -> None:
        """Pull it."""
        if reason := self.screen.refusal("pull"):
            self.screen.say(reason)
        elif catalogue_view.cloud_only(item):
            self.screen.say(catalogue_view.not_pulled(item.name))
        elif isinstance(self.screen, CatalogueVerbs):
            self.screen.action_pull()

    def back(self) -> bool:
        """All models again."""
        if not self.only_best:
            return False
        self.toggle_best()
        return True

    def best_of(self, item: CatalogueModel) -> CatalogueTag | None:
        """What a pull would fetch: what is recommended, the largest that fits and is allowed, or what the library gives without a tag."""
        name = next((one.name for one in self._best if one.name.startswith(f"{item.name}:")), "")
        found = next((tag for tag in item.tags if name == f"{item.name}:{tag.tag}"), None)
        return found or catalogue_view.largest(item, self.screen.fits, self._max_size) or item.default

    @property
    def _max_size(self) -> int | None:
        return self.screen.services.config.current.value.models.max_size


class CatalogueVerbs(InstalledVerbs):
    """Pulling, and the list of what can be pulled."""

    VERBS = frozenset({"pull"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "pull", "pull", id="library.pull", tooltip="pull a model by name, or the one of the catalogue under the cursor"),
    ]
    MORE: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("pull", "Pull a model", "by name, or the one of the catalogue under the cursor"),
        ("tags", "Tags of a model", "all quantizations of the catalogue's model under the cursor, with size and verdict"),
        ("best", "Recommended for this machine", "what fits best of the catalogue, or all of it again"),
        ("refresh_list", "Newer list of models", "from models.catalogue_url, or today's sizes of what is installed"),
    )

    @property
    def catalogue(self) -> CatalogueView | None:
        """The catalogue's view."""
        return next((view for view in self.views if isinstance(view, CatalogueView)), None)

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action == "pull":
            return "" if pullers(self.services.registry) else "No provider here can pull models: " + self._why_no_pull()
        if action == "tags":
            return (
                "" if isinstance(self.table.highlighted, CatalogueModel) else "Tags are listed for models of the Catalogue; ] leads there."
            )
        if action == "best":
            return "" if self.fits.machine is not None else "This machine has not been measured yet."
        return super().refusal(action)

    def _why_no_pull(self) -> str:
        states = self.services.registry.providers.value
        reasons = [reason for state in states if (reason := self.services.registry.can(state.name, Capability.PULL))]
        return "; ".join(dict.fromkeys(reasons)) or "none is there."

    def action_pull(self) -> None:
        """Ask which model, with the catalogue's under the cursor filled in."""
        item, name = self.table.highlighted, ""
        if isinstance(item, CatalogueModel) and self.catalogue is not None and not catalogue_view.cloud_only(item):
            best = self.catalogue.best_of(item)
            name = f"{item.name}:{best.tag}" if best is not None else item.name
        self.pull_named(name)

    def pull_named(self, name: str) -> None:
        """Show the pull dialog with a name filled in."""
        from tui.ui.dialogs.pull import PullDialog

        self.ask(PullDialog(self.services, name, provider=self.first.provider, asked_by="library"))

    def action_tags(self) -> None:
        """All tags of the model under the cursor; the one that is chosen is pulled."""
        from tui.ui.dialogs.tags import TagsDialog

        item, view = self.table.highlighted, self.catalogue
        if reason := self.refusal("tags"):
            self.say(reason)
            return
        if isinstance(item, CatalogueModel) and view is not None:
            best = view.best_of(item)
            dialog = TagsDialog(item, self.fits, view.installed, best.tag if best is not None else "", binary=self.binary)
            self.ask(dialog, lambda tag: self.pull_named(f"{item.name}:{tag}") if tag else None)

    def action_best(self) -> None:
        """What is recommended for this machine, or all."""
        view = self.catalogue
        if reason := self.refusal("best"):
            self.say(reason)
        elif view is not None:
            if self.view is not view:
                self.show_view(view.NAME)
                if view.only_best:
                    return
            view.toggle_best()
            self.draw_detail()

    def action_refresh_list(self) -> None:
        """Fetch a newer list."""
        self.services.library.catalogue.refresh()
