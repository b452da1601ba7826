"""Cleaning of text we did not write, and figures as people read them.

The classes of characters and what becomes of each are the table of the reliability reference, section 4.
Nothing here depends on anything else of Paddock.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

_TAB, _LF, _DEL = 0x09, 0x0A, 0x7F
_CONTROLS: Final = {code: chr(0x2400 + code) for code in range(0x20) if code not in (_TAB, _LF)} | {_DEL: "\u2421"}
_NEVER: Final = dict.fromkeys(
    (
        *range(0x80, 0xA0),
        *range(0xFDD0, 0xFDF0),
        *(plane * 0x10000 + low for plane in range(17) for low in (0xFFFE, 0xFFFF)),
    ),
    "\ufffd",
)
_BIDI_OVERRIDES: Final = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_BIDI_MARKS: Final = (0x061C, 0x200E, 0x200F)
_JOINERS: Final = (0x200C, 0x200D)
_INVISIBLE: Final = (
    0x00AD, 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x200B, *range(0x2060, 0x2066),
    *range(0x206A, 0x2070), 0x3164, 0xFEFF, 0xFFA0, *range(0xFFF0, 0xFFFC), *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000),
)  # fmt: skip
_SELECTORS: Final = tuple(range(0xFE00, 0xFE10))


_LOOKALIKES: Final = (
    0x0391, 0x0392, 0x0395, 0x0396, 0x0397, 0x0399, 0x039A, 0x039C, 0x039D, 0x039F, 0x03A1, 0x03A4, 0x03A5, 0x03A7, 0x03B1,
    0x03B9, 0x03BA, 0x03BD, 0x03BF, 0x03C1, 0x03C4, 0x03C5, 0x03C7, 0x0405, 0x0406, 0x0408, 0x0410, 0x0412, 0x0415, 0x041A,
    0x041C, 0x041D, 0x041E, 0x0420, 0x0421, 0x0422, 0x0423, 0x0425, 0x0430, 0x0435, 0x043E, 0x0440, 0x0441, 0x0443, 0x0445,
    0x0455, 0x0456, 0x0458, 0x04BB, 0x04CF, 0x0501, 0x051B, 0x051D,
)  # fmt: skip
"""Letters of Greek and Cyrillic that are drawn like Latin ones (Unicode TR 39, single-character confusables)."""


def _named(code: int) -> str:
    return f"\u2039U+{code:04X}\u203a"


_PROSE: Final[dict[int, str | None]] = {
    **_CONTROLS,
    **_NEVER,
    **{code: _named(code) for code in _BIDI_OVERRIDES},
    **dict.fromkeys((*_BIDI_MARKS, *_INVISIBLE)),
}
_STRICT: Final[dict[int, str]] = {
    **_CONTROLS,
    **_NEVER,
    **{code: _named(code) for code in (*_BIDI_OVERRIDES, *_BIDI_MARKS, *_JOINERS, *_INVISIBLE, *_SELECTORS)},
}


def _class(codes: Iterable[int]) -> str:
    return "".join(re.escape(chr(code)) for code in sorted(codes))


_PLAIN: Final = re.compile(r"[\x20-\x7e]*\Z")
_PLAIN_BLOCK: Final = re.compile(r"[\x20-\x7e\n]*\Z")
_LOOKALIKE: Final = re.compile(f"[{_class(_LOOKALIKES)}]")
_WORD: Final = re.compile(r"[^\W_]+")
_LATIN: Final = re.compile("[A-Za-z]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BREAK: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_BREAKS: Final = re.compile("[\r\x0b\x0c\x85\u2028\u2029]")
_SELECTOR_RUN: Final = re.compile("[\ufe00-\ufe0f]{2,}")
_NO_LINE_HOLDS: Final = (*range(0x20), _DEL, *range(0x80, 0xA0), *_BIDI_OVERRIDES, *_BIDI_MARKS, 0x2028, 0x2029)
_FOREIGN_TO_A_LINE: Final = re.compile(f"[{_class(_NO_LINE_HOLDS)}\ud800-\udfff\U000e0000-\U000e0fff]")
MAX_MARKS: Final = 10
"""Combining marks kept in a row; more only smear over neighbouring lines."""


@cache
def _odd() -> re.Pattern[str]:
    """Finds what prose may not hold, up to U+FFFF. Compiled when first needed (3 ms)."""
    return re.compile(f"[{_class(code for code in _PROSE if code < 0x10000)}]")


_FAR: Final = re.compile("[\U0001bca0-\U0010ffff]")
_MAY_BE_MARKS: Final = re.compile(
    "[^\x00-\u02ff\u0370-\u0482\u048a-\u0590\u2070-\u20cf\u2100-\u2ce0\u3030-\u3098\u309b-\ua66e\uac00-\ud7ff]{11}"
)
"""More characters in a row than `MAX_MARKS` of scripts that have combining marks; most texts hold none."""


def _limit_marks(text: str) -> str:
    if _MAY_BE_MARKS.search(text) is None:
        return text
    kept: list[str] = []
    run = 0
    for char in text:
        run = run + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if run <= MAX_MARKS:
            kept.append(char)
    return "".join(kept)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit * 2 // 3] + "\u2026" + text[-(limit // 3 - 1) :]


def clean_door(text: str) -> str:
    """Make text storable: lone surrogates, NUL and noncharacters replaced, everything else kept."""
    if _PLAIN_BLOCK.match(text):
        return text
    text = _SURROGATE.sub("\ufffd", text).removeprefix("\ufeff").replace("\0", "\u2400")
    return text if text.isascii() else text.translate({code: "\ufffd" for code in _NEVER if code > 0x9F})


def clean_block(text: str) -> str:
    """Make prose of many lines safe to draw: control characters become visible, line breaks stay, tabs become four spaces."""
    if _PLAIN_BLOCK.match(text):
        return text
    text = _SURROGATE.sub("\ufffd", text)
    if _BREAKS.search(text):
        text = _BREAK.sub("\n", text)
    if _FAR.search(text) or _odd().search(text):
        text = text.translate(_PROSE)
    text = text.replace("\t", "    ")
    return text if text.isascii() else _limit_marks(_SELECTOR_RUN.sub(lambda run: run[0][0], text))


def clean_label(text: str, limit: int = 300) -> str:
    """Make prose safe on one line (titles, toasts, error sentences); line breaks become a visible sign."""
    return _cut(clean_block(text).replace("\n", "\u23ce"), limit)


def clean_name(text: str, limit: int = 256) -> str:
    """Make a name safe to draw (models, hosts, URLs, paths, arguments); everything invisible becomes visible."""
    if not _PLAIN.match(text):
        text = _BREAK.sub("\n", _SURROGATE.sub("\ufffd", text)).translate(_STRICT)
        text = _limit_marks(text.replace("\n", "\u23ce").replace("\t", " "))
        if _LOOKALIKE.search(text):
            text = _WORD.sub(_unmixed, text)
    return _cut(text, limit)


def _unmixed(word: re.Match[str]) -> str:
    """A letter that only looks Latin, in a word with Latin letters, is made visible."""
    return _LOOKALIKE.sub(lambda letter: _named(ord(letter[0])), word[0]) if _LATIN.search(word[0]) else word[0]


def strip_line(text: str) -> str:
    """Delete what no drawn line may hold; the last filter before the terminal. Deleted characters have width 0."""
    return _FOREIGN_TO_A_LINE.sub("", text) if _FOREIGN_TO_A_LINE.search(text) else text


def hidden_characters(text: str) -> int:
    """Count the characters `clean_block` removes or replaces by a sign, line breaks and tabs aside."""
    return sum(1 for char in text if ord(char) in _PROSE and not _BREAK.match(char))


def _joins_the_last(char: str) -> bool:
    return ord(char) in _SELECTORS or unicodedata.category(char) in ("Mn", "Me")


class StreamCleaner:
    """`clean_block` for text that arrives in pieces: pieces cleaned one by one equal the whole cleaned at once.

    A trailing carriage return, variation selector or run of combining marks waits for the next piece.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what of this piece (and what was held) can be drawn now."""
        if not self._held and _PLAIN_BLOCK.match(piece):
            return piece
        text = self._held + piece
        end = len(text)
        while end > 0 and (text[end - 1] == "\r" or _joins_the_last(text[end - 1])):
            end -= 1
        if end < len(text) and end > 0:
            end -= 1
        if len(text) - end > 64:
            end = len(text)
        self._held = text[end:]
        return clean_block(text[:end])

    def close(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return clean_block(held)


_DECIMAL: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float | None, *, binary: bool = False) -> str:
    """Bytes for people: `5.2 GB`, `274 MB`; one decimal below ten, none from ten up. None is a dash."""
    if count is None or count != count or count < 0:
        return "\u2013"
    base, units = (1024.0, _BINARY) if binary else (1000.0, _DECIMAL)
    value, index = float(count), 0
    while index < len(units) - 1 and round(value, 1 if value < 9.95 else 0) >= base:
        value /= base
        index += 1
    if index == 0:
        return f"{value:.0f} B"
    return f"{value:.1f} {units[index]}" if value < 9.95 else f"{value:.0f} {units[index]}"


def rate(per_second: float | None, *, binary: bool = False) -> str:
    """Bytes a second for people: `38 MB/s`."""
    return "\u2013" if per_second is None else f"{size(per_second, binary=binary)}/s"


def duration(seconds: float | None) -> str:
    """A time span: `0.4s`, `14s`, `1m05s`, `38 min`, `2 h`, `3 d`. None is a dash."""
    if seconds is None or seconds != seconds or math.isinf(seconds):
        return "\u2013"
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 5400:
        return f"{round(whole / 60)} min"
    if whole < 172_800:
        return f"{round(whole / 3600)} h"
    return f"{round(whole / 86_400)} d"


def count(number: float | None) -> str:
    """A plain count with separators: `2,048`. None is a dash."""
    return "\u2013" if number is None else f"{number:,.0f}"


def tokens(number: int | None) -> str:
    """Tokens for people: `512`, `4k`, `0.3k`, `128k`; a thousand and twenty-four count as 1k. None is a dash."""
    if number is None:
        return "\u2013"
    if number < 1000:
        return str(number)
    thousands = number / 1024 if number % 1024 == 0 else number / 1000
    return f"{thousands:.0f}k" if thousands >= 9.95 or thousands == int(thousands) else f"{thousands:.1f}k"


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word most like this one, or None where none is near."""
    import difflib  # 4 ms, only when something was misspelt

    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else None
