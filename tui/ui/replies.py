"""What a terminal sends that is neither a key, a paste nor the mouse: it is never taken for typed text.

Textual types every sequence it does not know, letter by letter, and its input thread dies of a byte that is no UTF-8. Answers of the
terminal (titles, colours, clipboard, device attributes) are such sequences, and a program in another pane can put any there. The
grammar is that of ECMA-48, 5.4 and 5.6.
"""

from __future__ import annotations

import re
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, SPECIAL_SEQUENCES, XTermParser
from textual.message import Message

_CSI: Final = re.compile(r"\x1b\[(?:\[[A-E]|M[^\x1b]{3}|(?!\[|M[^\x1b]{0,2}\Z)[0-?]*[ -/]*[@-~])")
"""Control sequences; with them the function keys of the Linux console and the oldest report of the mouse, which break the rule."""
_CSI_BEGUN: Final = re.compile(r"\x1b\[(?:\[|M[^\x1b]{0,2}|[0-?]*[ -/]*)\Z")
_CSI_BROKEN: Final = re.compile(r"\x1b\[[0-?]+[ -/]*")
_STRING: Final = re.compile(r"\x1b(?:\][0-9lLI]|P[0-9;$>+=|!]|_[A-Za-z]|\^[!-~])")
"""Operating system and device control strings, application commands, privacy messages; alt and one of these letters are not."""
_STRING_BEGUN: Final = re.compile(r"\x1b[\]P_^]\Z")
_STRING_END: Final = re.compile("\x07|\x9c|\x1b\\\\|\x1b(?=[^\\\\])|\x18|\x1a")
_REPORT: Final = re.compile(r"\x1b\[(?:<?[-\d;]+[mM]|M...|\d+;\d+R|\?\d+;\d\$y)\Z", re.DOTALL)
"""The mouse, where the cursor is, and which modes are known."""
_SIZE: Final = re.compile(r"\x1b\[48;(\d{1,3})(?::[\d:]*)?;(\d{1,4})(?::[\d:]*)?;[\d:]+;[\d:]+t\Z")
_WIDEST: Final = 1000
_C1: Final = dict.fromkeys(range(0x80, 0xA0), "\ufffd")
_PATIENCE: Final = 0.1
"""Seconds that the rest of a sequence may take before its beginning counts as a key."""
_LONGEST: Final = 128
"""Characters of a control sequence."""
_FORGOTTEN: Final = 1.0
"""Seconds without its end after which a string is over."""


class Replies:
    """Takes what arrives in pieces, and gives on what is typed, pasted, or a report that somebody waits for.

    Args:
        known: Whether a control sequence is a key.
        clock: Monotonic seconds.
    """

    def __init__(self, known: Callable[[str], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._known, self._clock = known, clock
        self._held = ""
        self._given = False
        self._string = self._paste = False
        self._at = 0.0

    def feed(self, text: str) -> str:
        """What is to be read of it."""
        if not (self._held or self._string or self._paste or "\x1b" in text):
            return text.translate(_C1)
        self._at = self._clock()
        data, out = self._held + text, list[str]()
        given, self._held, self._given = self._given, "", False
        at = 0
        while at < len(data):
            step = self._swallow if self._string else self._pasted if self._paste else self._sequence
            kept, at = step(data, at)
            if given and kept:
                kept, given = kept.removeprefix("\x1b"), False
            out.append(kept)
        return "".join(out)

    def tick(self) -> str:
        """What is to be read because nothing followed it for a moment."""
        quiet = self._clock() - self._at
        if self._string and quiet >= _FORGOTTEN:
            self._string, self._held = False, ""
        if not self._held or quiet < _PATIENCE or self._string:
            return ""
        held, self._held, given, self._given = self._held, "", self._given, False
        is_reply = len(held) > 2 and held.startswith("\x1b[") and not self._known(held)
        return "" if is_reply or given else held

    # --- one step: what is to be read, and where to go on

    def _swallow(self, data: str, at: int) -> tuple[str, int]:
        """Inside a string."""
        end = _STRING_END.search(data, at)
        if end is not None:
            self._string = False
            return "", end.start() if end[0] == "\x1b" else end.end()
        self._held = "\x1b" if data.endswith("\x1b") else ""
        return "", len(data)

    def _pasted(self, data: str, at: int) -> tuple[str, int]:
        """Inside a paste nothing is looked at but its end."""
        end = data.find(BRACKETED_PASTE_END, at)
        if end >= 0:
            self._paste = False
            return data[at : end + len(BRACKETED_PASTE_END)], end + len(BRACKETED_PASTE_END)
        tail = next((size for size in range(len(BRACKETED_PASTE_END) - 1, 0, -1) if data.endswith(BRACKETED_PASTE_END[:size])), 0)
        self._held = data[len(data) - tail :] if tail else ""
        return data[at : len(data) - tail], len(data)

    def _sequence(self, data: str, at: int) -> tuple[str, int]:
        """Up to the next sequence, or that one."""
        start = data.find("\x1b", at)
        if start != at:
            end = len(data) if start < 0 else start
            return data[at:end].translate(_C1), end
        if (found := _CSI.match(data, at)) is not None:
            self._paste = found[0] == BRACKETED_PASTE_START
            return found[0] if self._read(found[0]) else "", found.end()
        rest = data[at:]
        if rest == "\x1b":  # the key of that name must not wait; what might follow is looked at together with it
            self._held, self._given = rest, True
            return rest, len(data)
        if rest not in ANSI_SEQUENCES_KEYS and (_CSI_BEGUN.match(data, at) or _STRING_BEGUN.match(data, at)):
            self._held = rest if len(rest) <= _LONGEST else ""
            return "", len(data)
        if _STRING.match(data, at):
            self._string = True
            return "", at + 2
        if (broken := _CSI_BROKEN.match(data, at)) is not None and rest not in ANSI_SEQUENCES_KEYS:
            return "", broken.end()
        return "\x1b", at + 1

    def _read(self, sequence: str) -> bool:
        """Whether somebody waits for a control sequence."""
        if size := _SIZE.match(sequence):
            return 0 < int(size[1]) <= _WIDEST // 2 and 0 < int(size[2]) <= _WIDEST
        return sequence in SPECIAL_SEQUENCES or _REPORT.match(sequence) is not None or self._known(sequence)


class Parser(XTermParser):
    """Textual's reader of keys, given only what is for it."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._replies = Replies(lambda sequence: any(True for _ in self._sequence_to_key_events(sequence)))

    def feed(self, data: str) -> Iterable[Message]:
        """Events of what arrived; an empty text is the end."""
        kept = self._replies.feed(data) if data else ""
        if kept or not data:
            yield from super().feed(kept)

    def tick(self) -> Iterable[Message]:
        """Events of what has waited long enough."""
        if kept := self._replies.tick():
            yield from super().feed(kept)
        yield from super().tick()


def apply() -> None:
    """Have the driver of this process read so, and take bytes that are no text for U+FFFD; a second call changes nothing."""
    from textual.drivers import linux_driver

    driver: dict[str, object] = vars(linux_driver)
    driver["XTermParser"] = Parser
    driver["getincrementaldecoder"] = lambda name: partial(getincrementaldecoder(name), "replace")
