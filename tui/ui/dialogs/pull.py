"""Pulling models: names with completion from the catalogue, and what each would mean here."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from tui.core.errors import PaddockError
from tui.core.names import normal, parse, same
from tui.providers.library import load_library
from tui.services.api import pullers
from tui.text import clean_name, size
from tui.ui.screens.fits import Fits, words

if TYPE_CHECKING:
    from tui.services.api import Services

MAX_NAMES = 50
_SHOWN = 6


class NamesArea(TextArea):
    """Names, one a line: enter is taken by the dialog, ctrl+j breaks the line."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+j", "new_line", "new line", id="pull.newline", tooltip="Another name")]

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            await self.screen.run_action("submit")
            return
        await super()._on_key(event)

    def action_new_line(self) -> None:
        """Another name."""
        self.insert("\n")


class PullDialog(ModalScreen[None]):
    """Asks which models to pull, and queues them.

    Args:
        prefill: A name to begin with.
        provider: Where to pull; empty or unable: the default one that can.
        asked_by: Who asked, for the queue.
    """

    DEFAULT_CSS = """
    PullDialog {
        align: center middle;
        .dialog { width: 74; max-width: 96%; height: auto; max-height: 95%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        TextArea, TextArea:focus { height: 3; border: none; padding: 0 1; background: $surface; margin-top: 1; }
        #pull-offers { color: $text-accent; }
        #pull-about { margin-top: 1; min-height: 2; }
        .hint { color: $text-muted; margin-top: 1; }
        .problem { color: $text-error; }
        &.-low .dialog { padding: 0 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="pull.back", tooltip="Pull nothing"),
        Binding("tab", "complete", "complete", priority=True, id="pull.complete", tooltip="Take the first name offered"),
        Binding("ctrl+o", "other", "other provider", priority=True, id="pull.provider", tooltip="Pull on another provider"),
    ]

    def __init__(self, services: Services, prefill: str = "", *, provider: str = "", asked_by: str = "pulls screen") -> None:
        super().__init__()
        self._services, self._prefill, self._asked_by = services, prefill, asked_by
        self._library = load_library()
        self._fits = Fits()
        self._fits.take(services)
        self._pullers = [state.name for state in pullers(services.registry)]
        self._provider = provider if provider in self._pullers else next(iter(self._pullers), "")

    def compose(self) -> ComposeResult:
        """Where, names, what is offered, what they mean."""
        with Vertical(classes="dialog"):
            yield Static("", id="pull-where", markup=False)
            names = NamesArea(self._prefill, tab_behavior="focus", soft_wrap=False, show_line_numbers=False, id="pull-names")
            names.cursor_blink = False
            yield names
            yield Static("", id="pull-offers", markup=False)
            yield Static("", id="pull-about", markup=False)
            yield Static("", classes="problem", markup=False)
            yield Static(Content("enter pulls   ctrl+j another name   tab completes   esc back"), classes="hint")

    def on_mount(self) -> None:
        """Type at once, behind what stands there."""
        area = self.query_one(NamesArea)
        area.focus()
        area.move_cursor(area.document.end)
        self._draw()

    # --- what is typed ------------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The names typed, as typed, without empty lines and repetitions."""
        lines = (line.strip() for line in self.query_one(NamesArea).text.splitlines())
        return list(dict.fromkeys(line for line in lines if line))

    def problem(self) -> str:
        """What keeps the names from being pulled, in words."""
        if not self._provider:
            return "No provider here can pull models. 1 Providers, a adds one."
        if not self.names:
            return "Write the name of a model, for example qwen3:8b"
        if len(self.names) > MAX_NAMES:
            return f"At most {MAX_NAMES} names at a time, these are {len(self.names)}"
        for name in self.names:
            try:
                parse(name)
            except PaddockError as error:
                return f"{error.failure.what}. {error.failure.remedy}."
        return ""

    def _line(self) -> str:
        area = self.query_one(NamesArea)
        return str(area.document.get_line(area.cursor_location[0])).strip()

    def _offers(self) -> tuple[str, ...]:
        line = self._line()
        return tuple(name for name in self._library.complete(line) if name != line) if line else ()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Say what the names mean."""
        self.query_one(".problem", Static).update("")
        self._draw()

    def on_text_area_selection_changed(self, event: TextArea.SelectionChanged) -> None:
        """Another line may have other completions."""
        self._draw()

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        where = [("Pull ", "bold"), (f"on {self._provider}" if self._provider else "nowhere: no provider can", "bold $primary")]
        if len(self._pullers) > 1:
            where.append((f"   ctrl+o: {', '.join(name for name in self._pullers if name != self._provider)}", "$text-muted"))
        self.query_one("#pull-where", Static).update(Content.assemble(*where))
        offers = self._offers()
        self.query_one("#pull-offers", Static).update(Content(f"tab  {'  '.join(offers[:6])}" if offers else " "))
        parts: list[tuple[str, str]] = []
        names = self.names
        for name in names[:_SHOWN]:
            parts += self._about(name)
        if len(names) > _SHOWN:
            parts.append((f"and {len(names) - _SHOWN} more\n", "$text-muted"))
        sizes = [self._library.size_of(name) for name in names]
        if len(names) > 1 and any(sizes):
            known = sum(value for value in sizes if value)
            parts.append((f"{size(known)} in all{'' if all(sizes) else ', and what is not in the catalogue'}", "$foreground"))
        self.query_one("#pull-about", Static).update(Content.assemble(*parts).rstrip() if parts else Content(" "))

    def _about(self, typed: str) -> list[tuple[str, str]]:
        name = clean_name(typed, 60)
        try:
            parse(typed)
        except PaddockError as error:
            return [(f"{name}  ", "$foreground"), (f"{error.failure.what}\n", "$text-error")]
        tag = self._library.tag_of(typed)
        parts = [(f"{normal(typed)}  ", "bold $foreground")]
        if any(same(model.name, typed) for model in self._services.registry.models.value if model.provider == self._provider):
            parts.append(("is there already; pulling updates it  ", "$text-muted"))
        if tag is None:
            known = self._library.model(typed)
            said = f"the catalogue knows no such tag of {known.name}" if known is not None else "not in the catalogue: size not known yet"
            parts.append((f"{said}\n", "$text-muted"))
            return parts
        if tag.cloud:
            parts.append(("runs in a cloud: nothing to fetch, and what you write leaves this machine\n", "$text-warning"))
            return parts
        parts.append((size(tag.bytes), "$foreground"))
        fit = self._fits.of_bytes(tag.bytes, tag.context) if tag.bytes and self._fits.here(self._provider) else None
        parts.append((f"   fits: {words(fit)}\n" if fit is not None else "\n", "$foreground"))
        return parts

    # --- verbs --------------------------------------------------------------------------------------------------------

    def action_complete(self) -> None:
        """Take the first name offered."""
        offers = self._offers()
        if not offers:
            return
        area = self.query_one(NamesArea)
        row = area.cursor_location[0]
        area.replace(offers[0], (row, 0), (row, len(area.document.get_line(row))))
        area.move_cursor((row, len(offers[0])))

    def action_other(self) -> None:
        """The next provider that can pull."""
        if self._pullers:
            self._provider = self._pullers[(self._pullers.index(self._provider) + 1) % len(self._pullers)]
            self._draw()

    def action_submit(self) -> None:
        """Queue them, or say what is wrong."""
        problem = self.problem()
        if problem:
            self.query_one(".problem", Static).update(Content(problem))
            return
        for name in self.names:
            self._services.jobs.add(normal(name), self._provider, asked_by=self._asked_by)
        self.dismiss(None)

    def action_leave(self) -> None:
        """Pull nothing."""
        self.dismiss(None)
