"""Pulling models: names with completion from the catalogue, where to, and what each would mean here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static, TextArea

from tui.core.errors import PaddockError
from tui.core.jobs import Ask
from tui.core.names import normal
from tui.services.api import PreviewKey, pullers
from tui.services.asks import question
from tui.services.wishes import Wanted, lines_of, problem, read_name, read_names, read_time
from tui.text import clean_name
from tui.ui.dialogs.pull_about import About
from tui.ui.following import FollowingDialog
from tui.ui.frame import Part
from tui.ui.screens.fits import Fits
from tui.ui.screens.parts import clock

if TYPE_CHECKING:
    from tui.services.api import Services

MAX_NAMES = 200
MOST_PREVIEWS = 12
"""Pulls that are looked up while typing; of a long list the first."""
LOOK_AFTER = 0.4
"""Seconds without a key until the registry is asked."""


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


class PullDialog(FollowingDialog[None]):
    """Asks which models to pull, and queues them.

    Args:
        prefill: Names to begin with, one a line.
        provider: Where to pull; empty or unable: the default one that can.
        asked_by: Who asked, for the queue.
    """

    DEFAULT_CSS = """
    PullDialog {
        align: center middle;
        .dialog { width: 78; max-width: 98%; height: auto; max-height: 95%; padding: 1 2; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        TextArea, TextArea:focus { height: 3; border: none; padding: 0 1; background: $surface; margin-top: 1; }
        #pull-offers { color: $text-accent; text-wrap: nowrap; text-overflow: ellipsis; }
        #pull-about { margin-top: 1; min-height: 2; max-height: 6; }
        #pull-total { text-wrap: nowrap; text-overflow: ellipsis; }
        #pull-options { margin-top: 1; }
        &.-wrong #pull-about { margin-top: 0; }
        &.-wrong #pull-options { margin-top: 0; }
        .hint { color: $text-muted; }
        .problem { color: $text-error; display: none; }
        &.-wide .dialog { width: 96; }
        &.-high TextArea { height: 6; }
        &.-high #pull-about, &.-high.-wrong #pull-about { max-height: 16; }
        &.-low .dialog { padding: 0 1; max-height: 100%; }
        &.-low TextArea { margin-top: 0; height: 2; }
        &.-low #pull-about { max-height: 3; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="pull.back", tooltip="Pull nothing"),
        Binding("tab", "complete", "complete", priority=True, id="pull.complete", tooltip="Take the first name offered"),
        Binding("ctrl+o", "other", "other server", priority=True, id="pull.provider", tooltip="Pull on another server, or on several"),
        Binding("ctrl+t", "start_at", "start", priority=True, id="pull.start", tooltip="Start at a time"),
        Binding("ctrl+r", "warm_up", "load", priority=True, id="pull.load", tooltip="Load it into memory once it is there"),
    ]

    def __init__(self, services: Services, prefill: str = "", *, provider: str = "", asked_by: str = "pulls screen") -> None:
        super().__init__()
        self._services, self._prefill, self._asked_by = services, prefill, asked_by
        settings = services.config.current.value
        self._about = About(services.library.catalogue.view.value.list, Fits(), settings, binary=settings.appearance.units == "binary")
        self._pullers = [state.name for state in pullers(services.registry)]
        self._on = [provider if provider in self._pullers else self._pullers[0]] if self._pullers else []
        self._start: float | None = None
        self._warm_up = False
        self._looking: Timer | None = None

    def compose(self) -> ComposeResult:
        """Where, names, what is offered, what they mean, what follows."""
        with Vertical(classes="dialog"):
            yield Static("", id="pull-where", markup=False)
            names = NamesArea(self._prefill, tab_behavior="focus", soft_wrap=False, show_line_numbers=False, id="pull-names")
            names.cursor_blink = False
            yield names
            yield Static("", id="pull-offers", markup=False)
            yield Static("", id="pull-about", markup=False)
            yield Static("", id="pull-total", markup=False)
            yield Static("", classes="problem", markup=False)
            yield Static("", id="pull-options", markup=False)
            yield Static(Content("enter pulls   ctrl+j new line   tab completes   esc back"), classes="hint")

    def on_mount(self) -> None:
        """Type at once, behind what stands there."""
        area = self.query_one(NamesArea)
        area.focus()
        area.move_cursor(area.document.end)
        self.follow(self._services.jobs.previews, lambda _found: self._draw(), now=False)
        self._draw()
        self._look()

    # --- what is typed ------------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The names typed, as typed, without comments, empty lines and repetitions."""
        return lines_of(self.query_one(NamesArea).text)

    @property
    def wanted(self) -> list[Wanted]:
        """Those of them that are names."""
        found: dict[str, Wanted] = {}
        for line in self.names:
            try:
                wanted = read_name(line)
            except PaddockError:
                continue
            found.setdefault(wanted.name.lower(), wanted)
        return list(found.values())

    def problem(self) -> str:
        """What keeps the names from being pulled, in words."""
        if not self._on:
            return "No provider here can pull models. 1 Providers, a adds one."
        if not self.names:
            return "Write the name of a model, for example qwen3:8b"
        if len(self.names) > MAX_NAMES:
            return f"At most {MAX_NAMES} names at a time, these are {len(self.names)}"
        return problem(read_names, self.query_one(NamesArea).text) or self._about.refused(self.wanted, self._on)

    def _line(self) -> str:
        area = self.query_one(NamesArea)
        return str(area.document.get_line(area.cursor_location[0])).strip()

    def _offers(self) -> tuple[str, ...]:
        line = self._line()
        return tuple(name for name in self._about.library.complete(line) if name != line) if line else ()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Say what the names mean, and ask the registry once nobody types."""
        self._complain("")
        self._draw()
        if self._looking is not None:
            self._looking.stop()
        self._looking = self.set_timer(LOOK_AFTER, self._look)

    def on_text_area_selection_changed(self, event: TextArea.SelectionChanged) -> None:
        """Another line may have other completions."""
        self._draw_offers()

    def _look(self) -> None:
        """Ask what the pulls would mean."""
        self._looking = None
        pairs = [(one, provider) for one in self.wanted for provider in self._on][:MOST_PREVIEWS]
        for one, provider in pairs:
            tag = self._about.library.tag_of(one.name)
            if tag is None or not tag.cloud:
                self._services.jobs.preview(one.name, provider, insecure=one.insecure)
        self._about.asked = frozenset((provider, normal(one.name)) for one, provider in pairs)
        self._draw()

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        about = self._about
        about.fits.take(self._services)
        about.models = self._services.registry.models.value
        about.previews = self._services.jobs.previews.value
        self._draw_where()
        self._draw_offers()
        lines: list[list[Part]] = []
        wanted = self.wanted
        for one in wanted:
            lines += about.lines(one, self._on, brief=len(wanted) > 1)
        lines += [[(clean_name(name, 60), "$foreground"), ("  is no name of a model", "$text-error")] for name in self._no_names()]
        said = Content("\n").join(Content.assemble(*parts) for parts in self._cut(lines))
        self.query_one("#pull-about", Static).update(said if lines else Content(" "))
        total = about.total(wanted, self._on)
        box = self.query_one("#pull-total", Static)
        box.display = bool(total)
        box.update(Content.assemble(*total))

    def _cut(self, lines: list[list[Part]]) -> list[list[Part]]:
        """What there is room for, with the number of those left out."""
        size = self.app.size
        width = 90 if size.width >= 120 else min(72, size.width - 8)
        room = 16 if size.height >= 36 else 6 if size.height >= 24 else 3
        rows = 0
        for number, parts in enumerate(lines):
            rows += 1 + max(0, sum(cell_len(text) for text, _style in parts) - 1) // width
            if rows > room or (rows == room and number + 1 < len(lines)):
                return [*lines[:number], [(f"and {len(lines) - number} more lines", "$text-muted")]]
        return lines

    def _no_names(self) -> list[str]:
        out = []
        for line in self.names:
            try:
                read_name(line)
            except PaddockError:
                out.append(line)
        return out

    def _draw_where(self) -> None:
        on = ", ".join(self._on)
        where: list[Part] = [("Pull ", "bold"), (f"on {on}" if on else "nowhere: no provider can", "bold $primary")]
        others = [name for name in self._pullers if name not in self._on]
        if len(self._pullers) == 2:
            after = self._next()
            where.append((f"   ctrl+o: {'both' if len(after) > 1 else after[0]}", "$text-muted"))
        elif others:
            where.append((f"   ctrl+o: {', '.join(others)}", "$text-muted"))
        elif len(self._pullers) > 2:
            where.append(("   ctrl+o: fewer", "$text-muted"))
        self.query_one("#pull-where", Static).update(Content.assemble(*where))
        start = "at once" if self._start is None else f"at {clock(self._start)}"
        options: list[Part] = [
            ("ctrl+t", "$accent"),
            (f" start {start}   ", "$foreground" if self._start is not None else "$text-muted"),
            ("ctrl+r", "$accent"),
            (" load it afterwards: yes" if self._warm_up else " load it afterwards: no", "$foreground" if self._warm_up else "$text-muted"),
        ]
        self.query_one("#pull-options", Static).update(Content.assemble(*options))

    def _draw_offers(self) -> None:
        offers = self._offers()
        self.query_one("#pull-offers", Static).update(Content(f"tab  {'  '.join(offers[:6])}" if offers else " "))

    def _complain(self, text: str) -> None:
        box = self.query_one(".problem", Static)
        box.display = bool(text)
        self.set_class(bool(text), "-wrong")
        box.update(Content(text))

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

    def _next(self) -> list[str]:
        """Of two servers: one, the other, both."""
        first, second = self._pullers
        return [second] if self._on == [first] else [first, second] if self._on == [second] else [first]

    def action_other(self) -> None:
        """The other server, or both; of more a list to mark."""
        from tui.ui.widgets.confirm import MarkDialog

        if len(self._pullers) == 2:
            self._use(self._next())
        elif len(self._pullers) > 2:
            choices = [(state.name, state.name, state.endpoint.url) for state in pullers(self._services.registry)]
            self.app.push_screen(MarkDialog("Pull on which servers?", choices, marked=self._on), lambda names: self._use(names or self._on))

    def _use(self, names: list[str]) -> None:
        self._on = [name for name in self._pullers if name in names] or self._on
        self._complain("")
        self._look()

    def action_start_at(self) -> None:
        """Ask when."""
        from tui.ui.widgets.confirm import InputDialog

        def done(text: str | None) -> None:
            if text is not None:
                self._start = read_time(text, time.time())
                self._draw_where()

        hint = "23:00, in 2h, tomorrow 7:00; empty: at once"
        value = "" if self._start is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(self._start))
        self.app.push_screen(InputDialog("Start when?", value, hint=hint, check=lambda text: problem(read_time, text, time.time())), done)

    def action_warm_up(self) -> None:
        """Load it once it is there, or not."""
        self._warm_up = not self._warm_up
        self._draw_where()

    def action_submit(self) -> None:
        """Queue them, or say what is wrong; what needs a yes is asked once for all of them."""
        text = self.problem()
        if text:
            self._complain(text)
            return
        wanted = read_names(self.query_one(NamesArea).text)
        asks = self._about.asks(wanted, self._on)
        if not asks:
            self._queue(wanted, {})
            return
        from tui.ui.widgets.confirm import ConfirmDialog

        lines = []
        for (provider, name), reasons in list(asks.items())[:5]:
            preview = self._about.preview(name, provider)
            total = preview.plan.total if preview is not None and preview.plan is not None else None
            lines.append(question(self._about.settings, name, total, reasons))
        if len(asks) > 5:
            lines.append(f"And {len(asks) - 5} more.")

        def done(answer: str | None) -> None:
            if answer == "pull":
                self._queue(wanted, asks)

        self.app.push_screen(ConfirmDialog("\n".join(lines), (("keep", "Not now"), ("pull", "Pull"))), done)

    def _queue(self, wanted: list[Wanted], allowed: Mapping[PreviewKey, frozenset[Ask]]) -> None:
        for one in wanted:
            for provider in self._on:
                given = {
                    "insecure": one.insecure,
                    "allowed": allowed.get((provider, normal(one.name))),
                    "warm_up": self._warm_up,
                    "not_before": self._start,
                }
                more: dict[str, Any] = {name: value for name, value in given.items() if value}
                self._services.jobs.add(one.name, provider, asked_by=self._asked_by, **more)
        self.dismiss(None)

    def action_leave(self) -> None:
        """Pull nothing."""
        self.dismiss(None)
