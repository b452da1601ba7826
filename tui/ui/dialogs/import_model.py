"""Making a model of a file: a GGUF, a folder with safetensors, a Modelfile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from tui.core.errors import Failure, PaddockError
from tui.core.names import parse, same
from tui.core.record import record
from tui.services.library.importing import Source
from tui.text import clean_label, size
from tui.ui.following import FollowingDialog
from tui.ui.widgets.path_input import PathInput

_HELP: Final = "A GGUF file (of a split one any part), a folder with safetensors, or a Modelfile. Pickles are refused: they may run code."
LOOK_AFTER: Final = 0.3
"""Seconds without a key until the path is looked at."""


@record(frozen=True)
class Import:
    """What is to be made, and where."""

    provider: str
    name: str
    source: Source


class ImportDialog(FollowingDialog[Import | None]):
    """Path, name, server; what is found at the path is said at once.

    Args:
        services: Of the app.
        providers: Servers that can make models, the likeliest first.
    """

    DEFAULT_CSS = """
    ImportDialog {
        align: center middle;
        .dialog { width: 92; max-width: 98%; height: auto; max-height: 96%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        .dialog > Input, .dialog > Input:focus { border: none; height: 1; padding: 0 1; background: $surface; }
        .label { margin-top: 1; }
        #import-about { margin-top: 1; min-height: 2; max-height: 6; }
        .hint { color: $text-muted; margin-top: 1; }
        .problem { color: $text-error; }
        &.-low .dialog { padding: 0 1; max-height: 100%; }
        &.-low .label, &.-low #import-about, &.-low .hint { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="import.back", tooltip="Import nothing"),
        Binding("ctrl+o", "other", "other server", priority=True, id="import.provider", tooltip="Make it on another server"),
    ]

    def __init__(self, services: Any, providers: Sequence[str]) -> None:
        super().__init__()
        self._services, self._providers = services, tuple(providers)
        self._at = 0
        self._timer: Timer | None = None
        self._asked = ""
        self._named = ""

    def compose(self) -> ComposeResult:
        """Where, path, name, what was found."""
        with Vertical(classes="dialog"):
            yield Static("", id="import-where", markup=False)
            yield Static(Content("File or folder"), classes="label")
            yield PathInput(id="import-path")
            yield Static(Content("Name of the model"))
            name = Input("", compact=True, id="import-name")
            name.cursor_blink = False
            yield name
            yield Static("", id="import-about", markup=False)
            yield Static("", classes="problem", markup=False)
            yield Static(Content("enter imports   tab completes   ctrl+o other server   esc back"), classes="hint")

    def on_mount(self) -> None:
        """Type the path."""
        self.follow(self._services.library.making.source, lambda _found: self._draw(), fps=20, now=False)
        self.query_one(PathInput).focus_field()
        self._draw()

    @property
    def provider(self) -> str:
        """Where it goes."""
        return self._providers[self._at]

    @property
    def _found(self) -> Source | Failure | None:
        """What the path that stands there holds, as far as known."""
        path = self.query_one(PathInput).value
        return self._services.library.making.source.value if path and path == self._asked else None

    def on_path_input_changed(self, event: PathInput.Changed) -> None:
        """Look at it once nobody types."""
        event.stop()
        self._complain("")
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(LOOK_AFTER, self._look)
        self._draw()

    def _look(self) -> None:
        path = self.query_one(PathInput).value
        if path and path != self._asked:
            self._asked = path
            self._services.library.making.look_at(path)
        self._draw()

    def _draw(self) -> None:
        binary = self._services.config.current.value.appearance.units == "binary"
        self.query_one("#import-where", Static).update(Content(f"Make a model on {self.provider}"))
        found, path = self._found, self.query_one(PathInput).value
        if not path:
            text = _HELP
        elif found is None:
            text = "Looking \u2026"
        elif isinstance(found, Failure):
            text = f"{found.sentence()}. {found.remedy}."
        else:
            self._propose(found.name)
            name = self.query_one("#import-name", Input).value
            text = f"{_words(found, binary)}{self._taken(name)}"
        self.query_one("#import-about", Static).update(Content.styled(text, "$text-error" if isinstance(found, Failure) else ""))

    def _taken(self, name: str) -> str:
        models = self._services.registry.models.value
        there = any(other.provider == self.provider and same(other.key, name) for other in models)
        return f" {clean_label(name, 80)} is installed there: it is asked before it is replaced." if there else ""

    def _propose(self, name: str) -> None:
        field = self.query_one("#import-name", Input)
        if field.value == self._named and name != self._named:
            field.value = self._named = name

    def on_path_input_submitted(self, event: PathInput.Submitted) -> None:
        """Enter in the path: look at once, then the name."""
        event.stop()
        self._look()
        if isinstance(self._found, Source):
            self._take()
        else:
            self.query_one("#import-name", Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Another name may be taken."""
        event.stop()
        self._complain("")
        self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the name."""
        event.stop()
        self._take()

    def _take(self) -> None:
        found, name = self._found, self.query_one("#import-name", Input).value.strip()
        if isinstance(found, Failure):
            return  # which is said already
        if found is None:
            self._complain("The file is still looked at." if self.query_one(PathInput).value else "Name a file first.")
            return
        try:
            name = str(parse(name))
        except PaddockError as error:
            self._complain(f"{error.failure.what}. {error.failure.remedy}.")
            return
        self.dismiss(Import(self.provider, name, found))

    def action_other(self) -> None:
        """The next server."""
        self._at = (self._at + 1) % len(self._providers)
        self._draw()

    def _complain(self, text: str) -> None:
        self.query_one(".problem", Static).update(Content(text))

    def action_leave(self) -> None:
        """Without an import."""
        self.dismiss(None)


def _words(found: Source, binary: bool) -> str:
    files = [name for group in found.groups.values() for name in group]
    if not files:
        text = f"{found.kind}: made from {clean_label(found.base, 100)}, nothing is sent."
    else:
        many = clean_label(files[0], 80) if len(files) == 1 else f"{len(files)} files"
        text = f"{found.kind}: {many}, {size(found.size, binary=binary)} to send, less what the server has already."
    said = ", ".join(sorted(found.fields))
    more = [f"It sets {said}."] if said else []
    return " ".join([text, *more, *(f"{note}." for note in found.notes)])
