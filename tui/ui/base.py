"""What the six screens have in common: the frame, following values, and saying what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget

from tui.core.errors import Failure
from tui.core.jobs import JobState
from tui.ui.compositor import LeanCompositor
from tui.ui.following import Following
from tui.ui.frame import KeyLine, Line, TopBar
from tui.ui.status import StatusBar, attention

if TYPE_CHECKING:
    from tui.services.api import Services
    from tui.ui.app import TuiApp


class TooSmall(Widget):
    """One line instead of a screen that does not fit."""

    def render(self) -> Content:
        """See `Widget`."""
        size = self.app.size
        width, height = self.screen.MIN_SIZE if isinstance(self.screen, AppScreen) else AppScreen.MIN_SIZE
        return Content(f"Paddock needs {width}x{height}, has {size.width}x{size.height}")


class AppScreen(Following, Screen[None]):
    """A screen in the frame. Subclasses give `NAME`, `body()` and `start()`."""

    NAME: ClassVar[str] = ""
    HELP_LINES: ClassVar[str] = ""
    MIN_SIZE: ClassVar[tuple[int, int]] = (60, 16)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", show=False, id="app.back"),
    ]
    AUTO_FOCUS: ClassVar[str | None] = None

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._compositor = LeanCompositor()
        self._services = services
        self._held_focus: Widget | None = None

    # --- services -----------------------------------------------------------------------------------------------------

    @property
    def services(self) -> Services:
        """The one thing a screen gets."""
        return self._services

    @property
    def has_services(self) -> bool:
        """Whether they were built yet."""
        return self._services is not None

    @property
    def tui(self) -> TuiApp:
        """The app, typed."""
        return cast("TuiApp", self.app)

    @property
    def ascii(self) -> bool:
        """Draw without Unicode graphics."""
        return bool(getattr(self.app, "ascii_only", False))

    @property
    def demo(self) -> bool:
        """On the demo server: everything shown is simulated."""
        return bool(getattr(self.app, "demo", False))

    @property
    def binary(self) -> bool:
        """Sizes in GiB, as the settings say."""
        return bool(self.services.config.current.value.appearance.units == "binary")

    # --- frame --------------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """The frame round `body()`."""
        yield TopBar(self.NAME, self.services.monitor.machine(), demo=self.demo)
        yield Line(id="banner")
        with Vertical(id="body"):
            yield from self.body()
        yield StatusBar(self)
        yield KeyLine()
        yield TooSmall(id="toosmall")

    def body(self) -> Iterator[Widget]:
        """The widgets between the lines of the frame."""
        yield from ()

    def on_mount(self) -> None:
        """Follow what the frame shows, then let the screen start."""
        top = self.query_one(TopBar)
        self.follow(
            self.services.registry.providers, lambda providers: top.mark("providers", attention(providers, ascii=self.ascii)), fps=2
        )
        self.follow(
            self.services.jobs.view,
            lambda view: top.mark("pulls", self._pull_mark(view.count(JobState.FETCHING, JobState.CHECKING))),
            fps=2,
        )
        self.follow(
            self.services.monitor.alerts,
            lambda view: top.mark("monitor", f"!{count}" if (count := sum(not alert.acknowledged for alert in view.active)) else ""),
            fps=2,
        )
        self.follow(self.services.banner, self._show_banner, fps=4)
        self.query_one(StatusBar).follow_all()
        self.start()

    def _pull_mark(self, running: int) -> str:
        return f"{'v' if self.ascii else '↓'}{running}" if running else ""

    def names_key(self, action: str) -> bool:
        """Whether the key line has room for an action: not for what belongs to something that is not shown."""
        return True

    def start(self) -> None:
        """Called once, mounted: follow values, set the focus."""

    def _show_banner(self, failures: tuple[Failure, ...]) -> None:
        banner = self.query_one("#banner", Line)
        banner.display = bool(failures)
        if failures:
            first = failures[0]
            more = f"  (+{len(failures) - 1})" if len(failures) > 1 else ""
            banner.show((f" ! {first.sentence()}", "bold $warning"), (f"  {first.remedy}{more}", "$foreground"))

    # --- following ----------------------------------------------------------------------------------------------------

    def can_draw(self) -> bool:
        """See `follow.Host`: a screen below a dialog still moves."""
        return super().can_draw() and self.is_current

    def on_screen_resume(self) -> None:
        """Catch up with what changed while another screen was shown."""
        for follower in self._followers:
            follower.flush()

    def _screen_resized(self, size: Size) -> None:
        """See `Screen`; what the terminal shows is not known, so the frame that lays it out draws all of it."""
        self._compositor._dirty_regions.add(size.region)
        self._take_breakpoints(size)
        super()._screen_resized(size)

    def _take_breakpoints(self, size: Size) -> None:
        """Style for the new size before it is laid out; Textual lays out first, styles, and does both again."""
        chosen = {name: False for points in (self.app.HORIZONTAL_BREAKPOINTS, self.app.VERTICAL_BREAKPOINTS) for _, name in points or ()}
        for length, points in ((size.width, self.app.HORIZONTAL_BREAKPOINTS), (size.height, self.app.VERTICAL_BREAKPOINTS)):
            chosen |= dict.fromkeys(self._get_breakpoint_classes(length, points or []), True)
        if all(self.has_class(name) == on for name, on in chosen.items()):
            return
        self.update_classes(chosen, update=False)
        self.app.stylesheet.update_nodes(set(self.walk_children(with_self=True)), animate=False)

    def on_resize(self, event: events.Resize) -> None:
        """Below the smallest size one line says so."""
        small = event.size.width < self.MIN_SIZE[0] or event.size.height < self.MIN_SIZE[1]
        if small == self.has_class("-toosmall"):
            return
        if small:  # what is hidden loses the focus
            self._held_focus = self.focused
        self.set_class(small, "-toosmall")
        if not small:
            self.call_after_refresh(self._focus_again)

    def _focus_again(self) -> None:
        if self.focused is None:
            wanted = [self._held_focus] if self._held_focus is not None else self.query(self.AUTO_FOCUS or "*")
            self.set_focus(next((widget for widget in wanted if widget.is_attached and widget.focusable), None))

    # --- saying things ------------------------------------------------------------------------------------------------

    def say(self, text: str, *, error: bool = False) -> None:
        """A toast of literal text."""
        self.app.notify(text, severity="error" if error else "information", markup=False, timeout=6 if error else 4)

    def fail(self, failure: Failure) -> None:
        """A toast with what, where and remedy."""
        self.say("\n".join(part for part in (failure.sentence(), failure.remedy) if part), error=True)

    def action_back(self) -> None:
        """One step back; screens with filters and marks refine it."""
