"""The app: modes, global keys, themes, toasts, questions, and an end that tells the truth."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.filter import LineFilter, Monochrome, NoColor
from textual.screen import Screen

from tui.core.options import AppOptions
from tui.core.watchdog import WATCHDOG
from tui.resources import resource
from tui.ui import keyfix, start
from tui.ui.commands import PaddockCommands
from tui.ui.crash import crash_sentence, write_crash
from tui.ui.follow import Follower
from tui.ui.frame import SCREENS, key_text
from tui.ui.garbage import Garbage
from tui.ui.keygate import KeyGate
from tui.ui.line_filter import TextSafetyFilter
from tui.ui.screens import build_screen
from tui.ui.screens.boot import BootScreen
from tui.ui.themes import THEMES, choose, concrete

if TYPE_CHECKING:
    from pathlib import Path

    from tui.config.paths import Paths
    from tui.services.api import Services
    from tui.ui.start import Early

keyfix.apply()


class TuiApp(App[int]):
    """Paddock on a terminal."""

    TITLE = "Paddock"
    CSS_PATH: ClassVar[Any] = sorted(resource("styles").glob("*.tcss"), key=lambda path: (path.name != "app.tcss", path.name))
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (80, "-normal"), (120, "-wide")]  # noqa: RUF012  (Textual's own form)
    VERTICAL_BREAKPOINTS = [(0, "-low"), (24, "-medium"), (36, "-high")]  # noqa: RUF012
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    COMMANDS: ClassVar[set[Any]] = {PaddockCommands}
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"go('{name}')", title, show=False, id=f"app.{name}", tooltip=f"the {title} screen")
            for number, (name, title) in enumerate(SCREENS, 1)
        ),
        Binding("ctrl+g", "leader", "screens", show=False, priority=True, id="app.leader", tooltip="a screen, also from a text field"),
        Binding("colon,ctrl+p", "command_palette", "palette", show=False, id="app.palette", tooltip="every command by name"),
        Binding("question_mark,f1", "help", "help", id="app.help", tooltip="keys of this screen, then all"),
        Binding("ctrl+l", "repaint", "redraw", show=False, priority=True, id="app.redraw", tooltip="draw the whole screen again"),
        Binding("ctrl+z", "suspend_process", "suspend", show=False, priority=True, id="app.suspend", tooltip="to the shell; fg comes back"),
        Binding("ctrl+q", "quit", "quit", show=False, priority=True, id="app.quit", tooltip="quit; downloads go on"),
    ]

    def __init__(
        self,
        options: AppOptions,
        early: Early,
        make_services: Callable[[], Services],
        *,
        paths: Paths | None = None,
        driver_class: type[Driver] | None = None,
    ) -> None:
        super().__init__(driver_class=driver_class)
        self._unwatch: Callable[[], None] = lambda: None
        self.options = options
        self.paths = paths
        self.early = early
        self.demo = options.demo
        self.ascii_only = early.ascii
        self.services: Services | None = None
        self._make_services = make_services
        self._app_followers: list[Follower[Any]] = []
        self._welcomed = False
        self.no_color = early.no_color
        self._own_filters: tuple[LineFilter, ...] = (*((NoColor(),) if early.no_color else ()), TextSafetyFilter())
        self._gate = KeyGate(self, super().on_event)
        self._garbage = Garbage()
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = choose(early.theme, frozenset(self.available_themes), no_color=early.no_color)
        self.animation_level = "none" if early.still else "basic"
        if early.keys:
            self.set_keymap(early.keys)

    # --- start --------------------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[None]:
        """The frame, drawn before any service is built."""
        return BootScreen(self.early.machine, demo=self.demo)

    def get_css_variables(self) -> dict[str, str]:
        """See `App`."""
        self.theme_variables = concrete(super().get_css_variables())
        return self.theme_variables

    def refresh_css(self, animate: bool = True) -> None:
        """See `App`; before the first screen the styles are yet to be parsed: once is enough (10 ms)."""
        if self._screen_stack:
            super().refresh_css(animate)
        else:
            self.stylesheet.set_variables(self.get_css_variables())

    def on_mount(self) -> None:
        """Build the services once the first frame is out: pydantic, httpx and SQLite are not needed for it."""
        self.call_after_refresh(lambda: threading.Thread(target=self._build, name="build", daemon=True).start())

    def _build(self) -> None:
        try:
            services = self._make_services()
        except Exception as error:  # said on the screen, then the end
            self.call_from_thread(self._handle_exception, error)
            return
        self.call_from_thread(self.use_services, services)

    async def on_event(self, event: events.Event) -> None:
        """See `App`; keys one at a time."""
        if isinstance(event, (events.InputEvent, events.Paste)):
            self._garbage.typed()
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            await self._gate.take(event)
        else:
            await super().on_event(event)

    def use_services(self, services: Services) -> None:
        """Add the screens and show the first."""
        self.set_timer(1, self._garbage.begin)  # not while the first screen is drawn
        self.services = services
        for name in (*(name for name, _title in SCREENS), "welcome"):
            self.add_mode(name, partial(build_screen, self, name, services))
        services.open()
        self._unwatch = WATCHDOG.watch("screen", asyncio.get_running_loop())
        from tui.ui.beyond import Beyond
        from tui.ui.said import Said

        said = Said(self, services)
        self._follow(services.notices, said.show)
        self._follow(services.questions, said.ask)
        self._follow(services.config.current, self._apply_settings)
        beyond = Beyond(self, services)
        self._follow(services.jobs.view, beyond.queue, 0.5)
        self._follow(services.chat.live, beyond.answer, 0.5)
        self._follow(services.monitor.alerts, beyond.alerts, 0.5)
        self.switch_mode(self.early.screen or "library")
        self._gate.open()
        if not self.early.screen:
            self._follow(services.registry.discovery, lambda _view: self._first_run())
            self._follow(services.registry.providers, lambda _states: self._first_run())

    def _follow(self, source: Any, draw: Callable[[Any], None], period: float = 0.1) -> None:
        follower: Follower[Any] = Follower(self, source, draw, period)
        self._app_followers.append(follower)
        follower.flush()

    def can_draw(self) -> bool:
        """See `follow.Host`."""
        return self.is_running

    def draw_failed(self, error: Exception) -> None:
        """See `follow.Host`."""
        self._handle_exception(error)

    def _first_run(self) -> None:
        """Where nothing is configured and nothing answers, say what was looked at; once something does, go on."""
        from tui.ui.first_run import turn

        assert self.services is not None
        mode, self._welcomed = turn(self.services.registry, self.current_mode, self._welcomed)
        if mode != self.current_mode:
            self.switch_mode(mode)

    def _apply_settings(self, settings: Any) -> None:
        appearance = settings.appearance
        self.theme = choose(appearance.theme, frozenset(self.available_themes), no_color=self.early.no_color)
        self.ascii_only = self.early.ascii if appearance.ascii == "auto" else appearance.ascii in (True, "true", "on", "always")
        self.set_class(self.ascii_only, "-ascii")
        self.set_class(appearance.density == "compact", "-compact")
        self.set_class(appearance.density == "roomy", "-roomy")
        if appearance.motion != "auto":
            self.animation_level = "none" if appearance.motion == "none" else "basic"
        if dict(settings.keys) != self._keymap:
            self.set_keymap(dict(settings.keys))

    # --- screens ------------------------------------------------------------------------------------------------------

    def action_go(self, name: str) -> None:
        """Show a screen."""
        if self.services is not None and name != self.current_mode:
            self.switch_mode(name)

    def action_leader(self) -> None:
        """Ask for a screen's number, also out of a text field."""
        from tui.ui.screens.leader import LeaderDialog

        if self.services is not None and not isinstance(self.screen, LeaderDialog):
            self.push_screen(LeaderDialog(), lambda name: self.action_go(name) if name else None)

    def action_help(self) -> None:
        """Keys of this screen, then all."""
        from tui.ui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_repaint(self) -> None:
        """Send every cell again: something else wrote on the terminal."""
        start.forget_screen(self._driver)
        self.screen.refresh(layout=True)

    # --- clipboard ----------------------------------------------------------------------------------------------------

    def copy_to_clipboard(self, text: str) -> None:
        """Copy and say where it went."""
        from tui.ui import clipboard

        self._clipboard = text
        self.run_worker(self._copy(clipboard, text), name="copy", description="copy", group="copy", exit_on_error=False)

    async def _copy(self, clipboard: Any, text: str) -> None:
        self.notify(await clipboard.copy(self, text, state=self.paths.state if self.paths else None), markup=False, timeout=4)

    def action_help_quit(self) -> None:
        """Ctrl+c without a selection."""
        self.notify("ctrl+q quits; downloads go on. With a selection, ctrl+c copies.", markup=False, timeout=4)

    def get_key_display(self, binding: Binding) -> str:
        """Keys as the key line writes them."""
        return key_text(binding)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """The last line of defence against foreign control characters comes last."""
        return [*(found for found in super().get_line_filters() if not isinstance(found, (Monochrome, NoColor))), *self._own_filters]

    def on_resize(self, event: events.Resize) -> None:
        """What the terminal shows after a resize is not known, not even after one to and fro that no layout saw."""
        start.forget_screen(self._driver)
        if self._screen_stack and (event.size == self.screen.size or self.screen.is_modal):  # else see `AppScreen._screen_resized`
            self.screen.refresh()

    # --- the end ------------------------------------------------------------------------------------------------------

    @property
    def last_screen(self) -> str:
        """Where to open next time."""
        mode = self.current_mode
        return mode if mode in dict(SCREENS) else ""

    def restart_demo(self) -> None:
        """End, and start again in the demo home."""
        self.exit(start.START_DEMO)

    async def action_quit(self) -> None:
        """Quit; what runs elsewhere goes on."""
        self.exit(0)

    def on_unmount(self) -> None:
        """End following."""
        self._garbage.end()
        self._unwatch()
        for follower in self._app_followers:
            follower.stop()

    def _handle_exception(self, error: Exception) -> None:
        """Write the traceback without locals to a file, and end with one sentence and exit code 1."""
        self._return_code = 1
        if self._exception is None:  # one mistake often makes others
            self._exception = error
            self._exception_event.set()
            path = write_crash(error, self.paths.state if self.paths else None)
            start.remember_last_words(crash_sentence(path))
            start.end_by_deadline(1)
        self._close_messages_no_wait()


def run_app(options: AppOptions, demo_server: Callable[[Path], str]) -> int:
    """Run the app until it ends; the exit code tells the truth (see `start.run`)."""
    return start.run(options, TuiApp, demo_server)
