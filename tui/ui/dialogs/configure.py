"""Configuring a model: its options with their ranges, system prompt, template, stop words and keep-alive."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tui.core.errors import Failure, PaddockError
from tui.core.modelfile import GONE, Modelfile, plain
from tui.core.models import Model
from tui.core.names import parse, same
from tui.core.recipe import Recipe, difference, recipe_of, shown
from tui.core.record import record
from tui.services.library.configuring import KEEP_ALIVE, checked, configured, options
from tui.services.library.configuring import Option as Setting
from tui.text import clean_label
from tui.ui.dialogs.diff import DiffDialog, LongTextDialog
from tui.ui.following import FollowingDialog
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.confirm import InputDialog
from tui.ui.widgets.rows import Rows

HERE: Final = "here"
SAME: Final = "same"
NEW: Final = "new"
_PLACES: Final = {HERE: "Paddock's configuration", SAME: "this model", NEW: "a new model"}
_ABOUT: Final = {
    HERE: "Sent by this Paddock with every request. It can hold options and keep_alive only.",
    SAME: "Made part of the model on its server: counts for everybody. The earlier version is kept.",
    NEW: "A second model with the same weights: it costs no disk to speak of.",
}
TEXTS: Final = ("system", "template")
_DASH: Final = "\u2013"


@record(frozen=True)
class Configured:
    """What is to be done: `values` for the configuration, or a model `name` that is `new`."""

    place: str
    values: dict[str, Any]
    name: str = ""
    old: Recipe = Recipe()
    new: Recipe = Recipe()


class ConfigureDialog(FollowingDialog[Configured | None]):
    """A form of what a model is asked with; the result was seen as a diff and agreed to.

    Args:
        services: Of the app.
        model: The model.
        refused: Why it cannot be made part of a model, in words; empty where it can.
        place: What the form begins with.
    """

    DEFAULT_CSS = """
    ConfigureDialog {
        align: center middle;
        .dialog { width: 104; max-width: 98%; height: 96%; max-height: 34; padding: 0 1; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .dialog Rows { height: 1fr; margin-top: 1; }
        .hint { color: $text-muted; }
        .problem { color: $text-error; }
        &.-low .dialog { height: 100%; }
        &.-low .dialog Rows { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="configure.back", tooltip="Change nothing"),
        Binding("ctrl+s", "save", "save", id="configure.save", tooltip="Show the diff; then it is asked whether to do it"),
        Binding("tab", "place(1)", "where", id="configure.place", priority=True, tooltip="Into the configuration, this model, a new one"),
        Binding("shift+tab", "place(-1)", "where", show=False, id="configure.place_back", priority=True),
        Binding("delete,backspace,d", "take_out", "take out", id="configure.take_out", tooltip="Not set here any more"),
        Binding("e", "edit", "edit", show=False, id="configure.edit", tooltip="Change the value"),
    ]

    def __init__(self, services: Any, model: Model, *, refused: str = "", place: str = HERE) -> None:
        super().__init__()
        self._services, self._model, self._refused = services, model, refused
        self._place = HERE if refused else place
        settings = services.config.current.value
        own = configured(settings, model.key)
        self._old = {HERE: own, SAME: Recipe()}
        self._new = dict(self._old)
        self._made: Modelfile | Failure | None = None
        self._options = options()
        self._warned = False

    # --- what stands there --------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Where, the options, what the one under the cursor does."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled(f"Configure {self._model.name} on {self._model.provider}", "bold"))
            yield Static("", id="configure-places", markup=False)
            yield Static("", id="configure-about", classes="hint", markup=False)
            yield Rows[Setting](self._columns(), key=lambda option: option.name, markable=False)
            yield Static("", id="configure-doc", classes="hint", markup=False)
            yield Static("", classes="problem", markup=False)
            yield Static(Content("enter edit   d take out   tab where   ctrl+s see the diff   esc back"), classes="hint")

    def _columns(self) -> list[Column[Setting]]:
        return [
            Column("name", "OPTION", lambda option: option.name, width=18),
            Column("model", "IN THE MODEL", lambda option: self._cell(SAME, option.name), min=12, flex=2),
            Column("here", "IN PADDOCK", lambda option: self._cell(HERE, option.name), min=10, flex=2),
            Column("range", "RANGE", lambda option: Cell(clean_label(option.range_text, 40), "dim"), min=10, flex=1, min_screen_width=70),
        ]

    def on_mount(self) -> None:
        """Ask what the model is made of."""
        rows = self.query_one(Rows)
        making = self._services.library.making
        self.follow(making.made, self._take)
        if not self._refused:
            making.look_into(self._model.provider, self._model.key)
        self._draw()
        rows.focus()

    def _take(self, found: Any) -> None:
        made = found.get((self._model.provider, self._model.key))
        if made is None or made == self._made:
            return
        self._made = made
        if isinstance(made, Modelfile):
            changed = self._new[SAME] != self._old[SAME]
            self._old[SAME] = recipe_of(made)
            if not changed:
                self._new[SAME] = self._old[SAME]
        self._draw()

    @property
    def _at(self) -> str:
        """Which of the two recipes is edited."""
        return HERE if self._place == HERE else SAME

    def _rows(self) -> list[Setting]:
        names = {option.name for option in self._options}
        more = [Setting(name, "Set in the model.", "") for name in self._old[SAME].options if name not in names]
        found = [*self._options, *more]
        if self._place == HERE:
            return [option for option in found if option.name in names]
        texts = [
            Setting("system", "What the model is told before every conversation.", "text"),
            Setting("template", "How messages become the prompt: a Go template.", "text"),
        ]
        return [*texts, *(option for option in found if option.name not in GONE and option.name != KEEP_ALIVE)]

    def _value(self, recipe: Recipe, name: str) -> Any:
        if name in TEXTS:
            return getattr(recipe, name) or None
        return (recipe.keep_alive or None) if name == KEEP_ALIVE else recipe.options.get(name)

    def _cell(self, place: str, name: str) -> Cell:
        if place == HERE and name in TEXTS:
            return Cell(_DASH, "dim")
        if place == SAME and self._made is None and not self._refused:
            return Cell("\u2026", "dim")
        before, now = self._value(self._old[place], name), self._value(self._new[place], name)
        text = _DASH if now is None else _brief(now) if name in TEXTS else shown(now)
        if before != now:
            return Cell(text if now is not None else "taken out", "warn")
        return Cell(text, "" if place == self._at and now is not None else "dim")

    def _draw(self) -> None:
        parts = [(f"[{words}] " if key == self._place else f" {words}  ", self._style(key)) for key, words in _PLACES.items()]
        self.query_one("#configure-places", Static).update(Content.assemble(*parts))
        about = _ABOUT[self._place]
        if self._place != HERE and isinstance(self._made, Failure):
            about = f"It is not known what the model carries: {self._made.sentence()}."
        elif self._place == HERE and self._refused:
            about = f"{about} {self._refused}"
        self.query_one("#configure-about", Static).update(Content(about))
        rows = self.query_one(Rows)
        rows.set_items(self._rows())
        rows.redraw()
        self._draw_doc()

    def _style(self, place: str) -> str:
        return "bold $primary" if place == self._place else "$text-disabled" if self._refused else "$text-muted"

    def _draw_doc(self) -> None:
        option = self.query_one(Rows).highlighted
        self.query_one("#configure-doc", Static).update(Content(option.doc if option is not None else ""))

    def _complain(self, text: str) -> None:
        self.query_one(".problem", Static).update(Content(text))

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """What the option does."""
        event.stop()
        self._draw_doc()

    # --- changing -----------------------------------------------------------------------------------------------------

    def action_place(self, step: int) -> None:
        """Where it goes."""
        if self._refused:
            self._complain(self._refused)
            return
        places = list(_PLACES)
        self._place = places[(places.index(self._place) + step) % len(places)]
        self._complain("")
        self._draw()
        self.query_one(Rows).move_to(0)

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Enter."""
        event.stop()
        self.action_edit()

    def _ready(self) -> bool:
        if self._at == SAME and not isinstance(self._made, Modelfile):
            why = f": {self._made.what}" if isinstance(self._made, Failure) else " yet"
            self._complain(f"It is not known{why} what the model carries.")
            return False
        self._complain("")
        return True

    def action_edit(self) -> None:
        """Ask for the value."""
        option = self.query_one(Rows).highlighted
        if option is None or not self._ready():
            return
        now = self._value(self._new[self._at], option.name)
        if option.name in TEXTS:
            paths = getattr(self.app, "paths", None) or self._services.config.paths
            dialog = LongTextDialog(f"{option.name} of {self._model.name}", now or "", paths.state)
            self.app.push_screen(dialog, lambda text: self._put(option.name, None if text is None else plain(text), text is not None))
            return

        def done(text: str | None) -> None:
            if text is not None:
                self._put(option.name, self._checked(option.name, text), True)

        self.app.push_screen(
            InputDialog(
                f"{option.name} of {self._model.name}",
                _typed(now),
                hint=f"{option.range_text}. Empty: not set. {option.doc}".removeprefix(". "),
                check=lambda text: self._problem(option.name, text),
            ),
            done,
        )

    def _checked(self, name: str, text: str) -> Any:
        return checked(name, text.strip() if name != "stop" else text, baked=self._at == SAME)

    def _problem(self, name: str, text: str) -> str | None:
        try:
            self._checked(name, text)
        except PaddockError as error:
            return f"{error.failure.what}. {error.failure.remedy}.".removeprefix("models.options.model.")
        return None

    def _put(self, name: str, value: Any, given: bool) -> None:
        if not given:
            return
        recipe = self._new[self._at]
        if name == "system":
            recipe = replace(recipe, system=value or "")
        elif name == "template":
            recipe = replace(recipe, template=value or "")
        elif name == KEEP_ALIVE:
            recipe = replace(recipe, keep_alive=value or "")
        else:
            recipe = recipe.with_option(name, value)
        self._new[self._at] = recipe
        self._warned = False
        self._draw()

    def action_take_out(self) -> None:
        """Not set any more."""
        option = self.query_one(Rows).highlighted
        if option is not None and self._ready():
            self._put(option.name, None, True)

    # --- ending -------------------------------------------------------------------------------------------------------

    def action_save(self) -> None:
        """The diff; for a new model its name first."""
        if not self._ready():
            return
        if not difference(self._old[self._at], self._new[self._at]):
            self._complain("Nothing is different yet: enter changes the option under the cursor.")
            return
        if self._place == NEW:
            hint = "With the same weights, which both share."
            self.app.push_screen(InputDialog("Name of the new model", _proposed(self._model), hint=hint, check=self._taken), self._ask)
        else:
            self._ask(self._model.key)

    def _taken(self, text: str) -> str | None:
        try:
            parse(text)
        except PaddockError as error:
            return f"{error.failure.what}. {error.failure.remedy}."
        models = self._services.registry.models.value
        if any(other.provider == self._model.provider and same(other.key, text) for other in models):
            return f"{clean_label(text, 80)} exists already"
        return None

    def _ask(self, name: str | None) -> None:
        if name is None:
            return
        old, new = self._old[self._at], self._new[self._at]
        where = {
            HERE: f"{self._model.name} in {_PLACES[HERE]}:",
            SAME: f"{self._model.name} on {self._model.provider}; the version of now is kept, z brings it back:",
            NEW: f"{name} on {self._model.provider}, out of {self._model.name}:",
        }
        result = Configured(self._place, self._values(old, new) if self._place == HERE else {}, name, old, new)

        def done(answer: str | None) -> None:
            if answer == "do":
                self.dismiss(result)

        self.app.push_screen(DiffDialog(where[self._place], difference(old, new), (("keep", "Back"), ("do", "Do it"))), done)

    def _values(self, old: Recipe, new: Recipe) -> dict[str, Any]:
        names = {*old.options, *new.options}
        found = {name: new.options.get(name) for name in names if old.options.get(name) != new.options.get(name)}
        if old.keep_alive != new.keep_alive:
            found[KEEP_ALIVE] = new.keep_alive or None
        return found

    def action_leave(self) -> None:
        """Without a change; what was set is given up only when asked twice."""
        changed = any(difference(self._old[place], self._new[place]) for place in (HERE, SAME))
        if changed and not self._warned:
            self._warned = True
            self._complain("esc again gives up what you changed; ctrl+s shows the diff.")
        else:
            self.dismiss(None)


def _brief(text: str) -> str:
    lines = text.count("\n") + 1
    return clean_label(text, 60) if lines == 1 else f"{lines} lines"


def _typed(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, list):
        import json

        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else shown(value) if not isinstance(value, str) else value


def _proposed(model: Model) -> str:
    try:
        name = parse(model.key)
    except PaddockError:
        return ""
    return f"my-{name.model}:{name.tag}".lower()
