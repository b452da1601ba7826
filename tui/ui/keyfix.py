"""Two corrections to the table by which Textual reads keys.

Textual decodes ESC and a digit as the character macOS types with option; everywhere else that is alt and the digit.
And ESC CR, which terminals send for alt+enter, has no entry: it arrives as a plain enter.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, cast

from textual import _ansi_sequences


class _Key(Enum):
    """Keys that Textual's own enumeration has no name for."""

    ALT_ENTER = "alt+enter"


def apply() -> None:
    """Correct the table, in this process; a second call changes nothing."""
    table = cast(dict[str, Any], _ansi_sequences.ANSI_SEQUENCES_KEYS)
    for digit in "0123456789":
        table.pop(f"\x1b{digit}", None)
    table["\x1b\r"] = (_Key.ALT_ENTER,)
