"""From a frame's text to the cells of a terminal: what each column holds."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from rich.cells import cell_len, get_character_cell_size

from tui.ui.line_filter import safe_text
from tui.ui.wire_style import DEFAULT, CellStyle, apply_sgr, blank

CONTINUED: Final = ""
"""What the second and further columns of a wide character hold."""
_NARROW: Final = (
    r"\x20-\x7e\u00a1-\u00a8\u00aa-\u00ac\u00af-\u02ff\u0370-\u0377\u037a-\u037f\u0384-\u0482\u048a-\u052f\u05d0-\u05ea"
    r"\u2010-\u2015\u2018-\u2027\u2030-\u203b\u203d-\u2048\u204a-\u205e\u20a0-\u20bf\u2190-\u2193\u21b0-\u21ff\u2200-\u22ff\u2400-\u2426"
    r"\u2500-\u25a9\u25ac-\u25b5\u25b7-\u25bf\u25c1-\u25fa\u2713\u2717\u2800-\u28ff\ufffd"
)
_WIDE: Final = r"\u3001-\u3029\u3041-\u3096\u30a0-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff60"
_JOINER, _SELECTORS = "\u200d", range(0xFE00, 0xFE10)
_LISTED: Final = re.compile(f"[{_NARROW}{_WIDE}]")
_JAMO: Final = ((0x1100, 0x11FF), (0xA960, 0xA97F), (0xD7B0, 0xD7FF))
_FLAG_LETTERS: Final = frozenset(map(chr, range(0x1F1E6, 0x1F200)))
_PIECE: Final = re.compile(r"\x1b\[([0-9;]*)m|\x1b\]8;[^\x00-\x1f\x7f]*(?:\x1b\\|\x07)")

Cells = tuple[list[str], list[CellStyle]]


@lru_cache(4096)
def uncertain(cell: str) -> bool:
    """Whether terminals disagree about this cell's width: emoji, combining marks, symbols of newer standards."""
    return cell != CONTINUED and (len(cell) > 1 or not _certain(cell))


@lru_cache(4096)
def _certain(char: str) -> bool:
    if _LISTED.match(char):
        return True
    code = ord(char)
    return unicodedata.category(char)[0] == "L" and not any(first <= code <= last for first, last in _JAMO) and not _attaches(char)


def _clusters(text: str) -> list[str]:
    """Cut text into what takes cells of its own: a character and what attaches to it, joined emoji, flags."""
    found: list[str] = []
    for char in text:
        last = found[-1] if found else ""
        flag = char in _FLAG_LETTERS and len(last) == 1 and last in _FLAG_LETTERS
        if last and (last.endswith(_JOINER) or flag or _attaches(char)):
            found[-1] += char
        else:
            found.append(char)
    return found


def _attaches(char: str) -> bool:
    return ord(char) in _SELECTORS or get_character_cell_size(char) == 0


def _lay_out(text: str, style: CellStyle, chars: list[str], styles: list[CellStyle]) -> None:
    if text.isascii():
        chars.extend(text)
    else:
        for cluster in _clusters(text):
            width = cell_len(cluster)
            if width:
                chars.append(cluster)
                chars.extend([CONTINUED] * (width - 1))
    on_blank = blank(style)
    styles.extend([on_blank if char == " " else style for char in chars[len(styles) :]])


def parse_payload(payload: str) -> Cells:
    """Read text and SGR into cells; every other control character is deleted, links are dropped. Do not change the lists."""
    return _parse_cached(payload) if len(payload) <= 4096 else _parse(payload)


def _parse(payload: str) -> Cells:
    chars: list[str] = []
    styles: list[CellStyle] = []
    style = DEFAULT
    start = 0
    for piece in _PIECE.finditer(payload):
        if piece.start() > start:
            _lay_out(safe_text(payload[start : piece.start()]), style, chars, styles)
        if piece[1] is not None:
            style = apply_sgr(style, piece[1])
        start = piece.end()
    if start < len(payload):
        _lay_out(safe_text(payload[start:]), style, chars, styles)
    return chars, styles


_parse_cached = lru_cache(512)(_parse)
