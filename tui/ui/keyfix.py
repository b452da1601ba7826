"""Two corrections to the table by which Textual reads keys, and the reader that leaves out what is none.

Textual decodes ESC and a digit as the character macOS types with option; everywhere else that is alt and the digit.
And ESC CR, which terminals send for alt+enter, has no entry: it arrives as a plain enter.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, cast

from textual import _ansi_sequences

from tui.ui import replies


class _Key(Enum):
    """Keys that Textual's own enumeration has no name for."""

    ALT_ENTER = "alt+enter"


def apply() -> None:
    """Correct the table and the reader, in this process; a second call changes nothing."""
    replies.apply()
    table = cast(dict[str, Any], _ansi_sequences.ANSI_SEQUENCES_KEYS)
    for digit in "0123456789":
        table.pop(f"\x1b{digit}", None)
    table["\x1b\r"] = (_Key.ALT_ENTER,)
