"""What do I have, and what fits?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from tui.core.capabilities import Capability
from tui.core.errors import PaddockError
from tui.core.models import Model, ProviderStatus
from tui.core.names import normal, parse
from tui.core.observe import Observable
from tui.providers.library import CatalogueModel, load_library
from tui.services.api import pullers
from tui.services.asks import asks_before, reasons
from tui.services.pins import pinned
from tui.text import size
from tui.ui.frame import Line, Part
from tui.ui.screens import catalogue_view, library_columns
from tui.ui.screens.fits import Fits, machine_of
from tui.ui.screens.parts import Rule
from tui.ui.screens.refusing import ActivityLine, RefusingScreen
from tui.ui.widgets.detail import DetailPane, Fact
from tui.ui.widgets.filter import FilterInput
from tui.ui.widgets.rows import Rows

VIEWS = (("installed", "Installed"), ("catalogue", "Catalogue"))
KEEP = (
    ("5m", "5 minutes", ""),
    ("30m", "30 minutes", ""),
    ("1h", "1 hour", ""),
    ("24h", "24 hours", ""),
    ("forever", "forever", "until unloaded"),
)
_NEEDS = {
    "copy": Capability.COPY,
    "delete": Capability.DELETE,
    "load": Capability.LOAD,
    "unload": Capability.UNLOAD,
    "keep": Capability.KEEP_ALIVE,
    "update": Capability.PULL,
}
_SHOW_AFTER = 0.15
"""Seconds the cursor rests on a model before its details are asked for."""


def only(app: App[Any], provider: str) -> None:
    """Have the Library screen show one provider's models when it is shown next."""
    app._library_only = provider  # type: ignore[attr-defined]


class ModelTable(Rows[Model]):
    """Installed models."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "chat", id="rows.open", tooltip="chat with this model"),
    ]


class CatalogueTable(Rows[CatalogueModel]):
    """Models that can be pulled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "pull", id="rows.open", tooltip="pull this model"),
    ]


class LibraryScreen(RefusingScreen):
    """Installed models of all providers, and what can be pulled."""

    NAME = "library"
    HELP_LINES = "FITS is an estimate for 8k of context on this machine. Marks apply a key to several rows, hidden ones too."
    AUTO_FOCUS = "#models"
    VERBS = frozenset({"copy", "delete", "load", "unload", "keep", "name", "pull", "update"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "pull", "pull", id="library.pull", tooltip="pull a model by name, or the one of the catalogue under the cursor"),
        Binding("u", "update", "update", id="library.update", tooltip="fetch what is newer of the model, or of the marked ones; asks"),
        Binding("slash", "filter", "filter", id="library.filter", tooltip="show only rows that hold some words; esc clears"),
        Binding("L", "load", "load", id="library.load", tooltip="load the model into memory"),
        Binding("U", "unload", "unload", id="library.unload", tooltip="take the model out of memory"),
        Binding("t", "keep", "keep", id="library.keep", tooltip="how long the model stays loaded"),
        Binding("c", "copy", "copy", id="library.copy", tooltip="give the model a second name"),
        Binding("d", "delete", "delete", id="library.delete", tooltip="delete the model, or the marked ones; asks"),
        Binding("right_square_bracket", "view(1)", "view", key_display="[ ]", id="library.next_view", tooltip="next view"),
        Binding("left_square_bracket", "view(-1)", "view", show=False, id="library.previous_view", tooltip="previous view"),
        Binding("y", "name", "copy name", show=False, id="library.name", tooltip="copy the name to the clipboard"),
        Binding("r", "refresh", "refresh", show=False, id="library.refresh", tooltip="ask all providers again"),
    ]

    def __init__(self, services: Any) -> None:
        super().__init__(services)
        self._fits = Fits()
        self._view = "installed"
        self._filters = {"installed": "", "catalogue": ""}
        self._provider = ""
        self._width = 0
        self._about: object = None
        self._stale_names: frozenset[str] = frozenset()
        self._show_timer: Timer | None = None

    def body(self) -> Iterator[Widget]:
        """Views and filter, tables, rule, detail."""
        with Horizontal(id="library-head"):
            yield Line(id="library-views")
            yield FilterInput(placeholder="words", compact=True, select_on_focus=False, id="library-filter")
            yield Line(id="library-counts")
        yield ActivityLine(id="library-activity")
        with Horizontal(id="library-parts"):
            with Vertical(id="library-lists"):
                yield ModelTable(
                    self._model_columns(80),
                    key=lambda model: (model.provider, model.key),
                    state=lambda model: "loaded" if self._fits.is_loaded(model) else "busy" if model.state == "loading" else "",
                    text=lambda model: f"{model.name} {model.provider} {model.quantization} {model.family}",
                    id="models",
                )
                yield CatalogueTable(
                    catalogue_view.columns(self._fits, 80),
                    key=lambda model: model.name,
                    text=lambda model: f"{model.name} {model.words} {model.family} {model.licence}",
                    markable=False,
                    id="catalogue",
                )
            yield Rule(ascii=self.ascii, id="library-rule")
            yield DetailPane(id="library-detail")

    def start(self) -> None:
        """Follow the models and what decides whether they fit."""
        registry = self.services.registry
        self.query_one("#library-filter", Input).cursor_blink = False
        self.query_one("#library-filter").display = False
        self.query_one(CatalogueTable).display = False
        self._take_only()
        self.follow(registry.models, self._draw_models, fps=20)
        sources: tuple[Observable[Any], ...] = (registry.providers, registry.running, registry.details, registry.model_failures)
        for source in sources:
            self.follow(source, lambda _value: self._draw_facts(), fps=4)
        self.follow(self.services.monitor.latest, lambda _view: self._machine_moved(), fps=1)
        self.follow(self.services.config.current, lambda _settings: self._settings_moved(), fps=4)
        self.follow(self.services.monitor.profiles, lambda _profiles: self._profiles_moved(), fps=2)
        self.follow(registry.activities, self.query_one(ActivityLine).take, fps=4)

    def on_screen_resume(self) -> None:
        """Another screen may have asked for one provider's models."""
        super().on_screen_resume()
        if self.is_mounted:
            self._take_only()

    def _take_only(self) -> None:
        wanted = getattr(self.app, "_library_only", None)
        if wanted is None:
            return
        only(self.app, None)  # type: ignore[arg-type]
        self._provider = wanted
        self._filters["installed"] = ""
        self._show_view("installed")

    # --- drawing ------------------------------------------------------------------------------------------------------

    @property
    def _models(self) -> ModelTable:
        return self.query_one(ModelTable)

    @property
    def _catalogue(self) -> CatalogueTable:
        return self.query_one(CatalogueTable)

    @property
    def _table(self) -> Rows[Any]:
        return self._models if self._view == "installed" else self._catalogue

    def _model_columns(self, width: int) -> list[Any]:
        failures, profile = self.services.registry.model_failures.value, library_columns.profile_of(self.services)
        return library_columns.columns(self._fits, failures, width, binary=self.binary, profile=profile)

    def _fit_columns(self, width: int) -> None:
        """`width` is the table's, which is not the screen's where the detail stands beside it."""
        self._width = width
        self._models.set_columns(self._model_columns(width))
        self._catalogue.set_columns(catalogue_view.columns(self._fits, width, binary=self.binary))

    def _draw_models(self, models: tuple[Model, ...]) -> None:
        self._fits.take(self.services)
        self._models.set_items(models)
        self._apply_filter()
        self._draw_facts()

    def _draw_facts(self) -> None:
        moved = self._fits.take(self.services)
        stale = frozenset(self.services.registry.model_failures.value)
        if stale != self._stale_names:
            self._stale_names = stale
            self._fit_columns(self._width or 80)
        if moved:
            self._table.redraw()
        if not self._models.total:
            self._models.set_empty(self._empty_words())
        self._draw_detail()

    def _machine_moved(self) -> None:
        """Most samples change no verdict: then nothing is drawn."""
        if machine_of(self.services) != self._fits.machine:
            self._draw_facts()

    def _profiles_moved(self) -> None:
        """Another answer was measured."""
        self._models.redraw()
        self._draw_detail()

    def _settings_moved(self) -> None:
        """Units and the like."""
        self._fit_columns(self._width or 80)
        self._draw_facts()

    def _empty_words(self) -> str:
        states = self.services.registry.providers.value
        if not states:
            return "No server yet. On 1 Providers, a adds one."
        waiting = [state.name for state in states if state.status is ProviderStatus.BUSY]
        if waiting:
            return f"Asking {', '.join(waiting)} for its models …"
        usable = [state for state in states if state.status in (ProviderStatus.UP, ProviderStatus.FOUND)]
        if not usable:
            return "No server answers. 1 Providers says why."
        good = catalogue_view.fitting(load_library(), self._fits)
        if not good:
            return "No models yet. a pulls one."
        model, tag = good[0]
        weight = size(tag.bytes, binary=self.binary)
        return f"No models yet. a pulls one; {len(good)} fit well, for example {model.name}:{tag.tag}, {weight}."

    def _draw_head(self) -> None:
        parts: list[Part] = [(" ", "")]
        for name, title in VIEWS:
            here = name == self._view
            parts.append((f"[{title}]" if here else f" {title} ", "bold $primary" if here else "$text-muted"))
            parts.append((" ", ""))
        text = self._filters[self._view]
        field = self.query_one("#library-filter", Input)
        field.display = bool(text) or field.has_focus
        if field.display:
            parts.append((" /", "$accent"))
        self.query_one("#library-views", Line).show(*parts)
        rows = self._table
        if self._view == "installed":
            counts = library_columns.counts(self._models, self._provider)
            where = f"on {self._provider}: " if self._provider else ""
        else:
            day = catalogue_view.snapshot_day(load_library())
            counts = f"{f'{rows.shown} of ' if rows.shown != rows.total else ''}{rows.total} models, of {day}"
            where = ""
        self.query_one("#library-counts", Line).show((f" {where}", "$accent"), (counts, "$foreground"))

    def _draw_detail(self) -> None:
        self._draw_head()
        rule, pane = self.query_one("#library-rule", Rule), self.query_one(DetailPane)
        item = self._table.highlighted
        about = (self._view, self._table._cursor_key())
        rule.set_title("" if item is None else item.name)
        rule.visible = item is not None
        pane.show(self._facts(item))
        if about != self._about:
            self._about = about
            pane.to_top()
        self._ask_detail()
        self.refresh_bindings()

    def _facts(self, item: Model | CatalogueModel | None) -> list[Fact]:
        registry = self.services.registry
        if isinstance(item, Model):
            return library_columns.model_facts(
                item,
                registry.details.value.get((item.provider, item.key)),
                self._fits,
                registry.state(item.provider),
                registry.model_failures.value.get(item.provider),
                time.time(),
                binary=self.binary,
                profile=library_columns.profile_of(self.services)(item),
            )
        if item is not None:
            installed = frozenset(normal(model.name) for model in registry.models.value)
            day = catalogue_view.snapshot_day(load_library())
            return catalogue_view.catalogue_facts(item, self._fits, installed, day, binary=self.binary)
        return []

    def _ask_detail(self) -> None:
        """Once the cursor rests: holding j must not ask for every model passed."""
        if self._show_timer is not None:
            self._show_timer.stop()
            self._show_timer = None
        if isinstance(self._table.highlighted, Model):
            self._show_timer = self.set_timer(_SHOW_AFTER, self._show_now)

    def _show_now(self) -> None:
        """Ask about the model under the cursor; where its columns are there, about one of those in view after it, and so on."""
        item = self._table.highlighted
        if not isinstance(item, Model) or not self.is_current:
            return
        registry = self.services.registry
        wanted = [item, *(self._models.in_view if self._width >= library_columns.ROOMY else [])]
        for model in wanted:
            if (model.provider, model.key) not in registry.details.value and not registry.can(model.provider, Capability.SHOW):
                registry.show(model.provider, model.key)
                return

    def on_resize(self, event: events.Resize) -> None:
        """More columns where there is room."""
        super().on_resize(event)
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        width = self._table.size.width
        if width and width != self._width:
            self._fit_columns(width)
        self._draw_detail()

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Another model in detail."""
        self._draw_detail()

    def on_rows_marked(self, event: Rows.Marked) -> None:
        """Counts, and what keys may do."""
        self._draw_head()
        self.refresh_bindings()

    # --- views and filter ---------------------------------------------------------------------------------------------

    def action_view(self, step: int) -> None:
        """The next view."""
        names = [name for name, _title in VIEWS]
        self._show_view(names[(names.index(self._view) + step) % len(names)])

    def _show_view(self, name: str) -> None:
        self._view = name
        if name == "catalogue" and not self._catalogue.total:
            self._catalogue.set_items(load_library().models)
        self._models.display = name == "installed"
        self._catalogue.display = name == "catalogue"
        self.query_one("#library-filter", Input).value = self._filters[name]
        self._apply_filter()
        self._table.focus()
        self.call_after_refresh(self._resized)

    def _apply_filter(self) -> None:
        text = self._filters[self._view]
        name = self._provider if self._view == "installed" else ""
        self._table.set_filter(text, (lambda model: model.provider == name) if name else None)
        self._draw_head()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        if event.input.id == "library-filter" and event.value != self._filters[self._view]:
            self._filters[self._view] = event.value
            self._apply_filter()
            self._draw_detail()

    def action_filter(self) -> None:
        """Type the filter."""
        field = self.query_one("#library-filter", Input)
        field.display = True
        field.focus()

    def action_filter_done(self) -> None:
        """Back to the list, the filter stays."""
        self._table.focus()
        self.call_after_refresh(self._draw_head)

    def action_filter_clear(self) -> None:
        """Clear, and back to the list."""
        self.query_one("#library-filter", Input).value = ""
        self._filters[self._view] = ""
        self._apply_filter()
        self.action_filter_done()

    def action_back(self) -> None:
        """Esc: from the detail, then the filter, the one provider, the marks, and at last the newest wait."""
        newest = self.query_one(ActivityLine).newest
        if self.query_one(DetailPane).has_focus:
            self._table.focus()
        elif self._filters[self._view]:
            self.action_filter_clear()
        elif self._view == "installed" and self._provider:
            self._provider = ""
            self._apply_filter()
        elif self._table.clear_marks():
            return
        elif newest is not None:
            self.services.registry.cancel(newest.id)

    # --- what may be done ---------------------------------------------------------------------------------------------

    @property
    def _chosen(self) -> list[Model]:
        return self._models.chosen if self._view == "installed" else []

    def refusal(self, action: str) -> str:
        """See `RefusingScreen`."""
        if action == "pull":
            return "" if pullers(self.services.registry) else "No provider here can pull models: " + self._why_no_pull()
        if action == "name":
            return "" if self._table.highlighted is not None else "There is nothing to copy."
        if self._view != "installed":
            return "The catalogue lists what can be pulled; [ shows what is installed."
        chosen = self._chosen
        if not chosen:
            return "There is no model under the cursor."
        for provider in sorted({model.provider for model in chosen}):
            reason = self.services.registry.can(provider, _NEEDS[action])
            if reason:
                return f"Not possible: {reason}."
        if action == "update" and not any(library_columns.can_update(model) for model in chosen):
            return "It runs in a cloud: there is nothing to update."
        if action in ("unload", "keep") and not any(self._fits.is_loaded(model) for model in chosen):
            return "It is not loaded." if len(chosen) == 1 else "None of them is loaded."
        if action == "load" and all(self._fits.is_loaded(model) for model in chosen):
            return "It is loaded already."
        if action == "copy" and len(chosen) > 1:
            return "Copy one model at a time; esc unmarks."
        return ""

    def _why_no_pull(self) -> str:
        states = self.services.registry.providers.value
        reasons = [reason for state in states if (reason := self.services.registry.can(state.name, Capability.PULL))]
        return "; ".join(dict.fromkeys(reasons)) or "none is there."

    # --- verbs --------------------------------------------------------------------------------------------------------

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter: chat with it, or pull it."""
        if isinstance(event.item, Model):
            reason = self.services.registry.can(event.item.provider, Capability.CHAT)
            if reason:
                self.say(f"Not possible: {reason}.")
                return
            self.services.chat.use_model(event.item.provider, event.item.key)
            self.tui.action_go("chat")
        elif event.item is not None:
            reason = self.refusal("pull")
            if reason:
                self.say(reason)
            else:
                self.action_pull()

    def action_pull(self) -> None:
        """Ask which model, with the catalogue's under the cursor filled in."""
        from tui.ui.dialogs.pull import PullDialog

        item = self._catalogue.highlighted if self._view == "catalogue" else None
        name = ""
        if item is not None:
            best = catalogue_view.largest(item, self._fits) or item.default
            name = f"{item.name}:{best.tag}" if best is not None else item.name
        self.app.push_screen(PullDialog(self.services, name, provider=self._provider, asked_by="library"))

    def action_update(self) -> None:
        """Pull installed models again: what is newer is fetched; asks."""
        from tui.ui.widgets.confirm import ConfirmDialog

        models = [model for model in self._chosen if library_columns.can_update(model)]
        settings = self.services.config.current.value
        asks = {model: asks_before(settings, model.key, None) for model in models}

        def done(answer: str | None) -> None:
            if answer == "update":
                for model in models:
                    self.services.jobs.add(model.key, model.provider, asked_by="library, update", allowed=asks[model])
                self._models.clear_marks()

        if models:
            needed = reasons(settings, None, frozenset().union(*asks.values()))
            kept = [model.name for model in models if pinned(settings, model.provider, model.name)]
            question = f"{library_columns.update_question(models, kept)}{f' This asks because {needed}.' if needed else ''}"
            self.app.push_screen(ConfirmDialog(question, (("keep", "Not now"), ("update", "Update"))), done)

    def action_load(self) -> None:
        """Load what is not loaded."""
        for model in self._chosen:
            if not self._fits.is_loaded(model):
                self.services.registry.load(model.provider, model.key)

    def action_unload(self) -> None:
        """Unload what is loaded."""
        for model in self._chosen:
            if self._fits.is_loaded(model):
                self.services.registry.unload(model.provider, model.key)

    def action_keep(self) -> None:
        """Ask how long they stay loaded."""
        from tui.ui.widgets.confirm import ChoiceDialog

        loaded = [model for model in self._chosen if self._fits.is_loaded(model)]
        what = loaded[0].name if len(loaded) == 1 else f"{len(loaded)} models"

        def done(keep: str | None) -> None:
            for model in loaded if keep is not None else ():
                self.services.registry.keep(model.provider, model.key, keep or "")

        self.app.push_screen(ChoiceDialog(f"Keep {what} loaded after use for", KEEP), done)

    def action_copy(self) -> None:
        """Ask for the second name."""
        from tui.ui.widgets.confirm import InputDialog

        model = self._chosen[0]

        def check(text: str) -> str | None:
            try:
                parse(text)
            except PaddockError as error:
                return f"{error.failure.what}. {error.failure.remedy}"
            taken = any(other.provider == model.provider and normal(other.name) == normal(text) for other in self._models.items)
            return f"{normal(text)} exists already" if taken else None

        def done(text: str | None) -> None:
            if text is not None:
                self.services.registry.copy(model.provider, model.key, normal(text))

        hint = "Takes no space: both names share the layers."
        self.app.push_screen(InputDialog(f"Copy {model.name} to", "", hint=hint, check=check), done)

    def action_delete(self) -> None:
        """Delete the marked ones, or the one under the cursor; asks."""
        from tui.ui.widgets.confirm import ConfirmDialog

        models = list(self._chosen)
        shown = {(model.provider, model.key) for model in self._models.shown_items}
        hidden = [model for model in models if (model.provider, model.key) not in shown]
        question = library_columns.delete_question(models, hidden, self._fits, binary=self.binary)

        def done(answer: str | None) -> None:
            if answer != "delete":
                return
            for provider in dict.fromkeys(model.provider for model in models):
                self.services.registry.delete(provider, [model.key for model in models if model.provider == provider])
            self._models.clear_marks()

        self.app.push_screen(ConfirmDialog(question, (("keep", "Keep"), ("delete", "Delete"))), done)

    def action_name(self) -> None:
        """Copy names."""
        item = self._catalogue.highlighted if self._view == "catalogue" else None
        names = [item.name] if item is not None else [model.name for model in self._chosen]
        self.app.copy_to_clipboard("\n".join(names))

    def action_refresh(self) -> None:
        """Ask again."""
        self.services.registry.refresh()
