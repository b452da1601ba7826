"""Where a file goes or lies, and how far a backup is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.core.errors import Failure
from tui.core.models import Model
from tui.services.library.backup_words import model_words, target_of
from tui.services.library.making import Opened, Progress
from tui.text import clean_label, size
from tui.ui.following import FollowingDialog
from tui.ui.widgets.bars import bar, uses_ascii
from tui.ui.widgets.path_input import PathInput

CONFIG = "the configuration"
_CSS = """
    align: center middle;
    .dialog { width: 84; max-width: 98%; height: auto; max-height: 96%; padding: 1 2; background: $panel; border: round $primary; }
    .dialog Static { width: 1fr; height: auto; }
    PathInput { margin-top: 1; }
    .hint { color: $text-muted; }
    .problem { color: $text-error; }
    &.-low .dialog { padding: 0 1; max-height: 100%; }
    &.-low PathInput { margin-top: 0; }
"""


class PathDialog(ModalScreen[str | None]):
    """A path; None for esc.

    Args:
        title: What it is for.
        value: What stands there at first.
        hint: What is to be known about it.
        check: Path to a problem in words, or None; asked at enter.
    """

    DEFAULT_CSS = f"PathDialog {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back", id="path.back", tooltip="Do nothing")]

    def __init__(self, title: str, value: str = "", *, hint: str = "", check: Callable[[str], str | None] | None = None) -> None:
        super().__init__()
        self._ask, self._value, self._hint, self._check = title, value, hint, check

    def compose(self) -> ComposeResult:
        """Title, path, hint."""
        with Vertical(classes="dialog"):
            yield Static(Content(self._ask))
            yield PathInput(self._value)
            yield Static(Content(self._hint), classes="hint")
            yield Static("", classes="problem", markup=False)
            yield Static(Content("enter takes it   tab completes   esc back"), classes="hint")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(PathInput).focus_field()

    def on_path_input_submitted(self, event: PathInput.Submitted) -> None:
        """Take it where it is fine."""
        event.stop()
        problem = "Write where." if not event.value else self._check(event.value) if self._check is not None else None
        if problem is None:
            self.dismiss(event.value)
        else:
            self.query_one(".problem", Static).update(Content(problem))

    def action_leave(self) -> None:
        """Nothing is done."""
        self.dismiss(None)


class ProgressDialog(FollowingDialog[None]):
    """How far a backup is; to be made before it begins, closes when it has ended."""

    DEFAULT_CSS = f"ProgressDialog {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "hide", id="progress.hide", tooltip="Go on in the background"),
        Binding("ctrl+x", "stop", "end it", id="progress.stop", tooltip="End it; nothing half done stays"),
    ]

    def __init__(self, services: Any) -> None:
        super().__init__()
        self._services = services
        self._before = services.library.making.ended.value

    def compose(self) -> ComposeResult:
        """What is done, how far, keys."""
        with Vertical(classes="dialog"):
            yield Static("", id="progress-what", markup=False)
            yield Static("", id="progress-bar", markup=False)
            yield Static(Content("esc goes on in the background   ctrl+x ends it: nothing half done stays"), classes="hint")

    def on_mount(self) -> None:
        """Draw how far it is; close once it has ended, which may be before this is drawn."""
        making = self._services.library.making
        self.follow(making.progress, self._take)
        self.follow(making.ended, self._ended)

    def _ended(self, count: int) -> None:
        if count > self._before:
            self.dismiss(None)

    def _take(self, value: Progress | None) -> None:
        """Draw it."""
        if value is None:
            return
        binary = self._services.config.current.value.appearance.units == "binary"
        share = min(1.0, value.done / value.total) if value.total else 0.0
        figures = f" {size(value.done, binary=binary)} of {size(value.total, binary=binary)}" if value.total else ""
        title = f"{value.title[:1].upper()}{value.title[1:]}: {clean_label(value.what, 80)}"
        self.query_one("#progress-what", Static).update(Content(title))
        drawn = bar(share, max(10, min(50, self.size.width - 40)), ascii=uses_ascii(self))
        self.query_one("#progress-bar", Static).update(Content(f"{drawn}{figures}"))

    def action_leave(self) -> None:
        """Hide it."""
        self.dismiss(None)

    def action_stop(self) -> None:
        """End it."""
        self._services.library.making.stop()


class OpeningDialog(FollowingDialog[Opened | None]):
    """Waits until a backup was looked at; the result is what it holds, None for esc and where it is none (then that is said)."""

    DEFAULT_CSS = f"OpeningDialog {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back", id="opening.back", tooltip="Do nothing")]

    def __init__(self, services: Any) -> None:
        super().__init__()
        self._services = services

    def compose(self) -> ComposeResult:
        """One line."""
        with Vertical(classes="dialog"):
            yield Static(Content("Looking at the backup \u2026"), id="opening-what")
            yield Static("", classes="problem", markup=False)

    def on_mount(self) -> None:
        """Wait for the answer."""
        self.follow(self._services.library.making.opened, self._take)

    def _take(self, value: Opened | Failure | None) -> None:
        """Go on, or say why not."""
        if isinstance(value, Opened):
            self.dismiss(value)
        elif isinstance(value, Failure):
            self.query_one("#opening-what", Static).update(Content("Nothing can be restored of it.   esc back"))
            self.query_one(".problem", Static).update(Content(f"{value.sentence()}. {value.remedy}."))

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss(None)


def choices(opened: Opened, makers: Sequence[str], *, binary: bool) -> list[tuple[str, str, str]]:
    """What can be restored of a backup, as a list to mark in: models by their place in it; where there are several servers, on which."""
    found = []
    for number, model in enumerate(opened.index.models):
        on = f" on {target_of(model, makers)}" if len(makers) > 1 else ""
        found.append((str(number), clean_label(model.name, 100) + on, model_words(model, binary=binary)))
    if opened.index.configuration:
        found.append((CONFIG, CONFIG, "what is there stays beside it"))
    return found


def where(models: list[Model]) -> str:
    """A proposal where a backup goes."""
    name = clean_label(models[0].name, 40).replace(":", "-").replace("/", "-") if len(models) == 1 else "paddock-backup"
    return f"~/{name}.tar"
