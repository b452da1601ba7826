"""From the command line to the running app, and from its end to an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from tui.core.errors import PaddockError
from tui.core.machine_name import machine_name
from tui.core.options import AppOptions
from tui.core.record import record
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.config.paths import Paths
    from tui.services.api import Services

END_DEADLINE: Final = 4.0
"""Seconds after a signal until the process ends whatever hangs."""
START_DEMO: Final = -1
"""Result of an app that asks to be started again on the demo server."""
_SIGNALLED: Final = 128
_last_words: list[str] = []


@record(frozen=True)
class Early:
    """What the first frame needs, read without the settings library.

    Attributes:
        screen: Where to open; empty the first time.
        still: No motion.
    """

    theme: str = "paddock"
    keys: Mapping[str, str] = field(default_factory=dict)
    ascii: bool = False
    mouse: bool = True
    wire: str = "auto"
    link: int | None = None
    still: bool = False
    no_color: bool = False
    screen: str = ""
    machine: str = ""


def remember_last_words(text: str) -> None:
    """A sentence for the terminal once it is restored."""
    _last_words.append(text)


def forget_screen(driver: Any) -> None:
    """Tell the driver that what the terminal shows is not what it sent."""
    invalidate = getattr(driver, "invalidate", None)
    if invalidate is not None:
        invalidate()


def read_early(options: AppOptions, paths: Paths, environ: Mapping[str, str]) -> Early:
    """Read theme, keys, mouse and the like with tomllib alone."""
    from tui.config.peek import peek
    from tui.ui import termcheck

    seen = peek(paths, environ)
    start_screen = options.alone or seen.start_screen
    if start_screen == "last":
        start_screen = _last_screen(paths.state)
    return Early(
        theme=seen.theme,
        keys=seen.keys,
        ascii=options.ascii or (termcheck.ascii_only(environ) if seen.ascii == "auto" else seen.ascii == "on"),
        mouse=options.mouse and seen.mouse,
        wire=seen.wire,
        link=seen.link,
        still=seen.motion == "none" or (seen.motion == "auto" and termcheck.over_ssh(environ)),
        no_color=termcheck.no_color(environ),
        screen=start_screen,
        machine=machine_name(),
    )


def _last_screen(state: Path) -> str:
    try:
        screen = json.loads((state / "screen.json").read_text(encoding="utf-8"))["screen"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return screen if screen in ("providers", "library", "pulls", "chat", "monitor", "settings") else ""


def save_last_screen(state: Path, screen: str) -> None:
    """Remember where to open next time; a failure to write is of no matter."""
    path = state / "screen.json"
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump({"screen": screen}, file)
        temporary.replace(path)
    except OSError:
        return


def _services(options: AppOptions, paths: Paths, demo_server: Callable[[Path], str]) -> Services:
    from tui.services.hub import build_services

    demo_url = demo_server(paths.home or paths.data) if options.demo else ""
    return build_services(paths, options, os.environ, demo_url=demo_url)


def end_by_deadline(code: int) -> None:
    """End the process after `END_DEADLINE`, whatever hangs; the guard gives the terminal back."""

    def end() -> None:
        _say_last_words()
        os._exit(code)

    deadline = threading.Timer(END_DEADLINE, end)
    deadline.daemon = True
    deadline.start()


def _say_last_words() -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, "".join(f"{text}\n" for text in _last_words).encode(errors="replace"))


def _end_on_signals(app: Any) -> None:
    """TERM, HUP, INT and QUIT end the app within `END_DEADLINE`, also while the terminal is not read."""

    def handle(number: int, _frame: FrameType | None) -> None:
        code = 128 + number
        if getattr(app, "_ending", False):
            if number == signal.SIGHUP:
                return  # one closed window is told by the kernel, by the guard and by the terminal itself
            os._exit(code)
        app._ending = True
        end_by_deadline(code)
        loop = app._loop
        if loop is None:
            os._exit(code)
        loop.call_soon_threadsafe(lambda: app.exit(code, code))

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, handle)


def run(options: AppOptions, make_app: Callable[..., Any], demo_server: Callable[[Path], str]) -> int:
    """Build the app, run it, save and close; returns 0, 1 or 128 + a signal's number."""
    from tui.ui import termcheck

    termcheck.prepare_environment(os.environ)
    result = _run_once(options, make_app, demo_server)
    if result == START_DEMO:
        result = _run_once(replace(options, demo=True), make_app, demo_server)
    _say_last_words()
    return result


def _run_once(options: AppOptions, make_app: Callable[..., Any], demo_server: Callable[[Path], str]) -> int:
    from tui.config.paths import ensure_dirs, find_paths
    from tui.ui.wire import driver_class

    paths = find_paths(config=options.config, demo=options.demo, environ=os.environ)
    try:
        ensure_dirs(paths)
    except PaddockError as error:  # goes on without saving, and says so at the end too
        remember_last_words(error.failure.sentence())
    early = read_early(options, paths, os.environ)
    app = make_app(
        options,
        early,
        lambda: _services(options, paths, demo_server),
        paths=paths,
        driver_class=driver_class(early.wire, early.link),
    )
    _end_on_signals(app)
    result = app.run(mouse=early.mouse)
    if app.services is not None:
        if not options.alone:
            save_last_screen(paths.state, app.last_screen)
        app.services.close()
    code = result if isinstance(result, int) else int(app.return_code or 0)
    if code > _SIGNALLED:
        remember_last_words(f"Paddock was ended by {signal.Signals(code - _SIGNALLED).name}. The log is in {clean_name(str(paths.logs))}.")
    return code
