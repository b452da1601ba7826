"""The edge to the terminal: a driver that sends only cells that changed and lets no foreign control byte through.

Textual writes a frame as one string of cursor addresses, each followed by text and SGR, and then calls `flush`
(textual/app.py, `App._display`; textual/_compositor.py). Everything else it writes is a control sequence of its own.
"""

from __future__ import annotations

import os
import re
import signal
import time
from asyncio import TimerHandle
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.geometry import Size

from tui.ui.line_filter import safe_text
from tui.ui.wire_marks import WindowMarks
from tui.ui.wire_model import WireModel
from tui.ui.wire_writer import HangUpWatch, Writer

_FRAME: Final = re.compile(r"\x1b\[\d*(?:;\d*)?H")
_OWN: Final = re.compile(
    r"\x1b\[\?[0-9;]{1,20}[hl]"  # modes on and off
    r"|\x1b\[\?[0-9]{1,6}\$p"  # asks whether a mode is known
    r"|\x1b\[[<>=][0-9;]{0,8}u"  # Kitty's keyboard protocol
    r"|\x1b\]22;[a-z-]{0,32}\x07"  # pointer shape
    r"|\x1b\]52;c;[A-Za-z0-9+/=]*\x07"  # sets the clipboard
    r"|\x07"
)
_IN_A_FRAME: Final = re.compile(r"(\x1b\[\d*(?:;\d*)?H|\x1b\[[0-9;]*m|\n)")
_SYNC_START, _SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
_ENTER, _LEAVE = "\x1b[?1049h", "\x1b[?1049l"
_SYNC_ABOVE: Final = 400
_WIDEST, _HIGHEST = 1000, 500
_RESIZE_KNOWN: Final = 0.1
"""Seconds until the app has had its own event about a new size."""


def clean_frame(data: str) -> str:
    """A frame as it is, without control characters that are not cursor addresses, SGR or line feeds."""
    pieces = _IN_A_FRAME.split(data)
    pieces[::2] = [safe_text(text) for text in pieces[::2]]
    return "".join(pieces)


def detect_bce(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether terminfo says that the terminal erases with the background colour (GNU screen's outer name is not asked)."""
    if environ.get("STY"):
        return False
    try:
        import curses

        curses.setupterm(environ.get("TERM", "dumb"), 1)
        return bool(curses.tigetflag("bce") > 0)
    except Exception:  # no curses here, or no entry: the careful answer holds
        return False


class PaddockDriver(LinuxDriver):
    """Textual's driver with a model of the screen between frames and terminal.

    The loop never waits for the terminal: while it does not read, or the link's budget is spent, frames merge in
    the model and the newest state is sent when there is room.
    """

    full: ClassVar[bool] = False
    """Send Textual's own frames, cleaned."""
    budget: ClassVar[int | None] = None
    """Bytes a second that the link carries; None is no limit."""
    bce: ClassVar[bool] = False
    """The terminal erases with the background colour."""

    def __init__(self, app: Any, *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._writer: Writer | None = None
        self._watch: HangUpWatch | None = None
        width, height = self._get_terminal_size()
        self._model = WireModel(width, height, bce=self.bce)
        self._frames: list[str] = []
        self._sync = False
        self._drawing = False
        self._room_at = 0.0
        self._timer: TimerHandle | None = None
        self._resizing: TimerHandle | None = None
        self.marks = WindowMarks(self._send)
        """Title, progress and notices of the window."""
        self.sent = 0
        """Bytes given to the terminal since the start."""

    # --- Textual's side -----------------------------------------------------------------------------------------------

    def write(self, data: str) -> None:
        """Take a frame, or pass one of our own control sequences on; everything else is dropped."""
        if data in (_SYNC_START, _SYNC_END):
            self._sync = True
        elif _FRAME.match(data):
            self._fit()
            self._model.frame(data)
            if self.full and len(self._frames) < 2:
                self._frames.append(data)
        else:
            own = "".join(_OWN.findall(data))
            if _ENTER in own:
                self._drawing = True
                self._model.invalidate()
            if _LEAVE in own:
                self._drawing = False
                own = f"\x1b[m{own}"
            self._send(own)

    def flush(self) -> None:
        """Send what the frames since the last call changed, as soon as there is room for it."""
        if self._drawing and not self._held():
            self._draw()

    def invalidate(self) -> None:
        """Forget what the terminal shows; the next frame is sent whole. For repainting and after a resize."""
        self._model.invalidate()
        self._frames.clear()

    # --- sending ------------------------------------------------------------------------------------------------------

    def _held(self) -> bool:
        if self._writer is None or self._writer.busy:
            return True
        wait = self._room_at - time.monotonic()
        if wait <= 0:
            return False
        if self._timer is None:
            self._timer = self._loop.call_later(wait, self._catch_up)
        return True

    def _catch_up(self) -> None:
        self._timer = None
        self.flush()

    def _drained(self) -> None:
        """The terminal took everything (called on the writer's thread)."""
        try:
            self._loop.call_soon_threadsafe(self.flush)
        except RuntimeError:
            return  # the loop has ended

    def _fit(self) -> None:
        """The model is as large as the terminal; the app repaints after every change of size."""
        size = self._get_terminal_size()
        if size != (self._model.width, self._model.height):
            self._model.resize(*size)
        if size != self._app.size and self._resizing is None:
            self._resizing = self._loop.call_later(_RESIZE_KNOWN, self._tell_size)

    def _tell_size(self) -> None:
        """Tell the app a size that it missed: of two signals in a row Textual may take the first one's size for the last."""
        self._resizing = None
        size = Size(*self._get_terminal_size())
        if self._drawing and size != self._app.size:
            self._app.post_message(Resize(size, size))

    def _draw(self) -> None:
        self._fit()
        data = self._whole_frame() if self.full else self._model.difference()
        if not data:
            return
        if self._sync and len(data) > _SYNC_ABOVE:
            data = f"{_SYNC_START}{data}{_SYNC_END}"
        count = self._send(data)
        if self.budget:
            self._room_at = time.monotonic() + count / self.budget

    def _whole_frame(self) -> str:
        """Textual's frame as it came, or the whole screen where several had to wait."""
        frames, self._frames = self._frames, []
        if len(frames) == 1:
            return clean_frame(frames[0])
        self._model.invalidate()
        return self._model.difference() if frames else ""

    def _send(self, data: str) -> int:
        """Give bytes to the writer and return how many."""
        if not data or self._writer is None:
            return 0
        count = self._writer.write(data)
        self.sent += count
        return count

    # --- the terminal -------------------------------------------------------------------------------------------------

    def _get_terminal_size(self) -> tuple[int, int]:
        """Columns and lines as the terminal itself says, within reason; 80 by 24 where it says nothing."""
        try:
            width, height = os.get_terminal_size(self._file.fileno() if self._file else 2)
        except OSError:
            width, height = 0, 0
        return min(width or 80, _WIDEST), min(height or 24, _HIGHEST)

    def start_application_mode(self) -> None:
        """Take the screen."""
        self._writer = Writer(self._file.fileno() if self._file else 2, self._drained)
        self._watch = HangUpWatch(self.fileno, self._hung_up)
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self.marks.start()

    def stop_application_mode(self) -> None:
        """Leave nothing behind, in the window's frame neither."""
        self.marks.stop()
        super().stop_application_mode()

    def close(self) -> None:
        """Give the screen back; waits a second at most for a terminal that does not read."""
        super().close()
        for timer in (self._timer, self._resizing):
            if timer is not None:
                timer.cancel()
        self._timer = self._resizing = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _sigcont_application(self, *_: Any) -> None:
        """Go on after a stop; after one that could not be prepared for (SIGSTOP) the terminal is taken anew."""
        if self._auto_restart and self._drawing:
            self._loop.call_soon_threadsafe(self._take_again)
        else:
            super()._sigcont_application()

    def _take_again(self) -> None:
        self.suspend_application_mode()
        self.resume_application_mode()
        self.flush()

    def _hung_up(self) -> None:
        """The terminal is gone (called on the watching thread): stop reading it and end as on SIGHUP."""
        self.exit_event.set()
        if callable(signal.getsignal(signal.SIGHUP)):
            os.kill(os.getpid(), signal.SIGHUP)
        else:
            code = 128 + signal.SIGHUP
            self._loop.call_soon_threadsafe(self._app.exit, code, code)


def driver_class(wire: str = "auto", link_bytes_per_second: int | None = None, bce: bool | None = None) -> type[Driver]:
    """Make the driver for `App(driver_class=...)`.

    Args:
        wire: "auto" sends changed cells only, "full" Textual's own frames; both are cleaned.
        link_bytes_per_second: What the line to the terminal carries; None is no limit.
        bce: Whether the terminal erases with the background colour; None asks terminfo.
    """
    choices = {
        "full": wire == "full",
        "budget": link_bytes_per_second or None,
        "bce": detect_bce() if bce is None else bce,
    }
    return type("PaddockDriver", (PaddockDriver,), choices)
