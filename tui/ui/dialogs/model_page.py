"""Everything that is known of an installed model, on a page that scrolls and can be searched."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from tui.core.capabilities import Capability
from tui.core.errors import Failure
from tui.core.kept import kept_words
from tui.core.model_page import sections
from tui.core.models import Model, ModelDetail
from tui.core.observe import Observable
from tui.text import clean_label
from tui.ui.following import FollowingDialog
from tui.ui.frame import Line
from tui.ui.screens.parts import Rule
from tui.ui.widgets.pager import Pager, Part, Piece

if TYPE_CHECKING:
    from tui.ui.screens.library_installed import InstalledView
    from tui.ui.widgets.detail import Fact

_TOLD: Final = frozenset({"can", "is", "options", "system", "template", "requires"})
"""Facts of the pane that the page tells in full."""
_LABEL: Final = 13
"""Letters of the names that stand in their own column."""
_TONES: Final = {"$text-muted": "dim", "$text-warning": "warn", "$text-error": "warn", "$text-accent": "accent"}


class PageSearch(Input):
    """What is looked for; enter and down go back to the page."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down,tab", "screen.search_done", "to the page", id="page.search_done", tooltip="Back to the page"),
        Binding("escape", "screen.search_end", "end", id="page.search_end", tooltip="End the search"),
    ]


class ModelPage(FollowingDialog[None]):
    """The page; it follows what becomes known, and stays when the model goes."""

    DEFAULT_CSS = """
    ModelPage { background: $background; layout: vertical; }
    ModelPage #page-search, ModelPage #page-search:focus { display: none; border: none; height: 1; padding: 0 1; background: $panel; }
    ModelPage.-searching #page-search { display: block; }
    ModelPage.-searching #page-foot { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "back", "back", key_display="esc", id="page.back", tooltip="Back to the table"),
        Binding("slash", "search", "search", id="page.search", tooltip="Search the page"),
        Binding("y", "copy", "copy", id="page.copy", tooltip="Copy the part that is shown"),
    ]

    def __init__(self, view: InstalledView, model: Model) -> None:
        super().__init__()
        self._view, self._model = view, model
        self._key = (model.provider, model.key)
        self._gone = False
        self._field: PageSearch | None = None

    def compose(self) -> ComposeResult:
        """Title, page, foot."""
        yield Rule(ascii=self._view.screen.ascii, id="page-title")
        yield Pager(label_width=_LABEL + 2)
        yield Line(id="page-foot")

    def on_mount(self) -> None:
        """Ask for what is not known, and follow it."""
        services = self._view.screen.services
        registry, library = services.registry, services.library
        if self._key not in registry.details.value and not registry.can(self._model.provider, Capability.SHOW):
            registry.show(*self._key)
        library.events.look(*self._key)
        sources: tuple[Observable[Any], ...] = (
            registry.details, registry.models, registry.running, services.monitor.profiles, library.updates.states, library.disk.shares,
            library.disk.origins, library.events.history,
        )  # fmt: skip
        for source in sources:
            self.follow(source, lambda _value: self._moved(), fps=4, now=False)
        self._draw()
        self.query_one(Pager).focus()

    def can_draw(self) -> bool:
        """See `follow.Host`."""
        return super().can_draw() and self.is_current

    # --- content

    def _moved(self) -> None:
        self._view.draw_facts()  # what is known is kept there, and the screen below may look later
        self._draw()

    def _draw(self) -> None:
        registry = self._view.screen.services.registry
        now = next((model for model in registry.models.value if (model.provider, model.key) == self._key), None)
        self._gone = now is None
        self._model = now or self._model
        note = "   gone from its server: this is what was known" if self._gone else ""
        self.query_one("#page-title", Rule).set_title(f"{self._model.name} on {self._model.provider}{note}")
        self.query_one(Pager).set_parts(list(self._parts()))
        self._foot()

    def _parts(self) -> Iterator[Part]:
        view, model = self._view, self._model
        services = view.screen.services
        found = services.registry.details.value.get(self._key)
        detail = found if isinstance(found, ModelDetail) else None
        here = tuple(_piece(fact) for fact in view.facts(model) if fact.label not in _TOLD)
        if here:
            yield Part("here", here)
        for section in sections(model, detail, binary=view.screen.binary):
            rows = tuple(Piece(value, name) if len(name) <= _LABEL else Piece(f"{name}  {value}") for name, value in section.rows)
            yield Part(section.title, rows or (Piece(section.text),))
        if isinstance(found, Failure):
            yield Part("not known", (Piece(f"{found.sentence()}\n{found.remedy}".strip(), tone="warn"),))
        yield from self._known(services)

    def _known(self, services: Any) -> Iterator[Part]:
        """What other parts of the Library have found out, in full."""
        share = services.library.disk.shares.value.get(self._key)
        if share is not None and share.shared_with:
            yield Part("shares layers with", (Piece("\n".join(kept_words(name) for name in share.shared_with)),))
        update = self._view.known.update(self._model)
        if update is not None and update.diff:
            yield Part("what an update changes", tuple(_diff(update.diff)))
        events = services.library.events.history.value.get(self._key, ())
        if events:
            lines = (Piece(f"{event.kind} {event.text}".strip(), _day(event.at)) for event in events)
            yield Part("history", tuple(lines))

    # --- keys

    def on_pager_moved(self, event: Pager.Moved) -> None:
        """Say where."""
        event.stop()
        self._foot()

    def _foot(self) -> None:
        pager = self.query_one(Pager)
        row, rows = pager.place
        part = pager.part
        more = "" if pager.done else " …"
        self.query_one("#page-foot", Line).show(
            (f" {part.title if part is not None else ''}", "bold $primary"),
            (f"  line {row} of {rows}{more}   ", "$text-muted"),
            ("/", "$accent"), (" search  ", "$foreground"), ("n N", "$accent"), (" next  ", "$foreground"),
            ("[ ]", "$accent"), (" part  ", "$foreground"), ("y", "$accent"), (" copy  ", "$foreground"),
            ("esc", "$accent"), (" back", "$foreground"),
        )  # fmt: skip

    async def action_search(self) -> None:
        """Type what to look for."""
        if self._field is None:  # made when it is first needed: the page is there sooner
            self._field = PageSearch(placeholder="search the page", compact=True, select_on_focus=False, id="page-search")
            self._field.cursor_blink = False
            await self.mount(self._field, before="#page-foot")
        self.add_class("-searching")
        self._field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look while typing."""
        event.stop()
        self.query_one(Pager).search(event.value)

    def action_search_done(self) -> None:
        """Back to the page; n and N go on."""
        text = self._field.value if self._field is not None else ""
        if text and not self.query_one(Pager).search(text):
            self.app.notify(f"Nothing here holds {clean_label(text, 60)}", markup=False)
        self.remove_class("-searching")
        self.query_one(Pager).focus()

    def action_search_end(self) -> None:
        """Without it."""
        if self._field is not None:
            self._field.value = ""
        self.query_one(Pager).search("")
        self.action_search_done()

    def action_copy(self) -> None:
        """Copy the part that is shown."""
        part = self.query_one(Pager).part
        if part is not None:
            lines = (f"{piece.label}  {piece.text}" if piece.label else piece.text for piece in part.pieces)
            self.app.copy_to_clipboard("\n".join(lines))

    def action_back(self) -> None:
        """End the search, then close."""
        if self._field is not None and self._field.value:
            self.action_search_end()
        else:
            self.dismiss(None)


def _piece(fact: Fact) -> Piece:
    return Piece(fact.text, fact.label, _TONES.get(fact.style, ""))


def _diff(lines: Sequence[str]) -> Iterator[Piece]:
    for line in lines:
        yield Piece(line, tone="add" if line.startswith("+") else "gone" if line.startswith("-") else "dim")


def _day(at: float) -> str:
    return time.strftime("%d %b %Y", time.localtime(at))
