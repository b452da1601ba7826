"""What the driver says to the window round the terminal: a title, progress, notices. Nothing but these, and all of it undone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from tui.core.terminal import PROGRESS_END, notice_code, shows_progress, takes_title

_MOST: Final = 120
_PUSH, _POP = "\x1b[22;2t", "\x1b[23;2t"


def plain(text: str) -> str:
    """Text that may stand within a control sequence: printable characters only, at most 120."""
    return "".join(char for char in text if char.isprintable() and char != "\x9c")[:_MOST]


class WindowMarks:
    """The marks set now; each is sent once, taken away when the screen is given back, and set again when it is taken.

    Args:
        send: Gives a control sequence to the terminal.
    """

    def __init__(self, send: Callable[[str], Any], environ: Mapping[str, str] = os.environ) -> None:
        self._send = send
        self._progress_shown = shows_progress(environ)
        self._code = notice_code(environ)
        self._titles = takes_title(environ)
        self._title = ""
        self._progress = ""
        self._on = False

    def start(self) -> None:
        """The screen is ours: say what was set."""
        self._on = True
        if self._title:
            self._send(f"{_PUSH}{self._title}")
        if self._progress:
            self._send(self._progress)

    def stop(self) -> None:
        """The screen is given back: leave nothing behind, and the title as it was (empty where the terminal keeps none)."""
        if self._on:
            self._send((PROGRESS_END if self._progress else "") + (f"\x1b]2;\x07{_POP}" if self._title else ""))
        self._on = False

    def title(self, text: str) -> None:
        """Set the window's title; empty gives back the one there was."""
        if not self._titles:
            return
        new = f"\x1b]2;{plain(text)}\x07" if plain(text) else ""
        old, self._title = self._title, new
        if new == old or not self._on:
            return
        self._send((new if old else f"{_PUSH}{new}") if new else f"\x1b]2;\x07{_POP}")

    def progress(self, percent: float | None, *, known: bool = True) -> None:
        """Show progress, 0 to 100; None takes it away. `known` is false where only that something goes on is."""
        if not self._progress_shown:
            return
        number = 1 if known else 3
        new = "" if percent is None else f"\x1b]9;4;{number};{max(0, min(100, int(percent)))}\x1b\\"
        old, self._progress = self._progress, new
        if new != old and self._on:
            self._send(new or PROGRESS_END)

    def notice(self, text: str, *, ring: bool = True, tell: bool = True) -> None:
        """Ring, and have the desktop say something where the terminal can."""
        said = plain(text)
        codes = {"9": f"\x1b]9;Paddock: {said}\x07", "777": f"\x1b]777;notify;Paddock;{said.replace(';', ',')}\x07"}
        sent = ("\x07" if ring else "") + (codes.get(self._code, "") if tell else "")
        if self._on and sent:
            self._send(sent)
