"""What the window round the terminal can show, by the environment: progress, desktop notices, a title. Standard library only.

Nothing here asks the terminal: an answer that comes late would be read as typing, and a sequence that a terminal does
not know may be shown as a message (`OSC 9` is one to iTerm2 and kitty).
"""

from __future__ import annotations

TYPE_CHECKING = False  # the guard imports this: `typing` would cost as much as the rest
if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRESS_END = "\x1b]9;4;0\x1b\\"
"""Takes the progress of the window away (ConEmu's `OSC 9;4`)."""
_MULTIPLEXERS = ("TMUX", "STY", "ZELLIJ")


def shows_progress(environ: Mapping[str, str]) -> bool:
    """Whether the terminal is known to draw `OSC 9;4`; never within tmux and the like, which swallow it.

    ConEmu and Windows Terminal; Ghostty from 1.2 (older ones drop it silently); WezTerm from February 2025;
    iTerm2 from 3.6.6 (older ones show a notification); Konsole from 25.04; VTE from 0.80; mintty from 3.4.2.
    """
    if _inside(environ):
        return False
    program, version = environ.get("TERM_PROGRAM", ""), environ.get("TERM_PROGRAM_VERSION", "")
    if environ.get("ConEmuANSI") == "ON" or environ.get("WT_SESSION") or program == "ghostty" or environ.get("TERM") == "xterm-ghostty":
        return True
    if program == "WezTerm":
        return _number(version.split("-")[0]) >= 20250210
    if program == "iTerm.app":
        return _numbers(version) >= (3, 6, 6)
    if program == "mintty":
        return _numbers(version) >= (3, 4, 2)
    return _number(environ.get("KONSOLE_VERSION", "")) >= 250400 or _number(environ.get("VTE_VERSION", "")) >= 8000


def notice_code(environ: Mapping[str, str]) -> str:
    """Which sequence makes a desktop notice: `9` (iTerm2), `777` (rxvt), or empty where none is known; then a bell must do."""
    program, term = environ.get("TERM_PROGRAM", ""), environ.get("TERM", "")
    if _inside(environ):
        return ""
    if program in ("iTerm.app", "WezTerm", "ghostty") or term in ("xterm-ghostty", "xterm-kitty"):
        return "9"
    return "777" if term.startswith(("foot", "rxvt-unicode")) else ""


def takes_title(environ: Mapping[str, str]) -> bool:
    """Whether the window has a title that may be set; the bare console has none."""
    return environ.get("TERM", "") not in ("", "dumb", "linux", "unknown")


def _inside(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name) for name in _MULTIPLEXERS) or environ.get("TERM", "").startswith(("tmux", "screen"))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_number("".join(char for char in part if char in "0123456789")) for part in text.split(".")[:3])
