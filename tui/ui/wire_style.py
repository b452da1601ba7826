"""Colours and attributes of a terminal cell, read from and written as SGR (ECMA-48, section 8.3.117)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple


class CellStyle(NamedTuple):
    """How a cell is drawn: SGR parameters of both colours, and attributes as a bit set."""

    fg: str = ""
    bg: str = ""
    attrs: int = 0


DEFAULT: Final = CellStyle()
_BOLD, _DIM, _ITALIC, _UNDERLINE, _BLINK, _REVERSE, _HIDDEN, _STRIKE, _UNDERLINE2, _OVERLINE = (1 << bit for bit in range(10))
_ON: Final = {
    "1": _BOLD, "2": _DIM, "3": _ITALIC, "4": _UNDERLINE, "5": _BLINK, "7": _REVERSE, "8": _HIDDEN, "9": _STRIKE,
    "21": _UNDERLINE2, "53": _OVERLINE,
}  # fmt: skip
_OFF: Final = {
    "22": _BOLD | _DIM, "23": _ITALIC, "24": _UNDERLINE | _UNDERLINE2, "25": _BLINK, "27": _REVERSE, "28": _HIDDEN,
    "29": _STRIKE, "55": _OVERLINE,
}  # fmt: skip
_VISIBLE_ON_BLANK: Final = _UNDERLINE | _UNDERLINE2 | _REVERSE | _STRIKE | _OVERLINE
_BASIC: Final = frozenset(str(code) for first in (30, 90) for code in range(first, first + 8))
_BASIC_BG: Final = frozenset(str(code) for first in (40, 100) for code in range(first, first + 8))
_EXTENDED: Final = {"5": 1, "2": 3}


@lru_cache(2048)
def apply_sgr(style: CellStyle, parameters: str) -> CellStyle:
    """The style after `CSI parameters m`; what is not known is passed over."""
    fg, bg, attrs = style
    codes = iter(parameters.split(";"))
    for code in codes:
        if code in ("", "0", "00"):
            fg, bg, attrs = "", "", 0
        elif code in _ON:
            attrs |= _ON[code]
        elif code in _OFF:
            attrs &= ~_OFF[code]
        elif code in _BASIC:
            fg = code
        elif code in _BASIC_BG:
            bg = code
        elif code == "39":
            fg = ""
        elif code == "49":
            bg = ""
        elif code in ("38", "48", "58"):
            kind = next(codes, "")
            colour = ";".join((code, kind, *(next(codes, "0") for _ in range(_EXTENDED.get(kind, 0)))))
            if code == "38":
                fg = colour
            elif code == "48":
                bg = colour
    return CellStyle(fg, bg, attrs)


@lru_cache(2048)
def blank(style: CellStyle) -> CellStyle:
    """The style of a space, without what cannot be seen on one."""
    return style if style.attrs & _VISIBLE_ON_BLANK else CellStyle("", style.bg, 0)


def erasable(style: CellStyle) -> bool:
    """Whether a blank of this (blank) style is what an erase leaves, in a terminal that erases with the background."""
    return not style.attrs


@lru_cache(4096)
def change(pen: CellStyle | None, wanted: CellStyle, on_blank: bool) -> tuple[str, CellStyle]:
    """The shortest sequence from one style to another, and the pen after it; `pen` is None where it is not known.

    Args:
        pen: The style in force.
        wanted: The style to write with.
        on_blank: Only spaces follow: a pen that looks the same on them is left as it is.
    """
    on_blank = on_blank and not wanted.attrs
    if pen == wanted or (on_blank and pen is not None and blank(pen) == wanted):
        return "", pen or wanted
    whole = [code for code, bit in _ON.items() if wanted.attrs & bit] + [code for code in (wanted.fg, wanted.bg) if code]
    reset = f"\x1b[{';'.join(['0', *whole])}m" if whole else "\x1b[m"
    if pen is None:
        return reset, wanted
    codes: list[str] = []
    attrs = pen.attrs
    for code, bits in _OFF.items():
        if attrs & bits & ~wanted.attrs:
            codes.append(code)
            attrs &= ~bits
    codes += [code for code, bit in _ON.items() if wanted.attrs & bit & ~attrs]
    if pen.fg != wanted.fg and not on_blank:
        codes.append(wanted.fg or "39")
    if pen.bg != wanted.bg:
        codes.append(wanted.bg or "49")
    step = f"\x1b[{';'.join(codes)}m"
    if len(step) <= len(reset):
        return step, CellStyle(pen.fg if on_blank else wanted.fg, wanted.bg, wanted.attrs)
    return reset, wanted
