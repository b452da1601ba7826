"""The lines in which two texts differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

LEFT_OUT: Final = "@"
"""The sign of a place where equal lines between two changes are left out."""


def changed_lines(before: Sequence[str], after: Sequence[str], around: int) -> Iterator[tuple[str, str]]:
    """Sign (`-`, `+`, or a space where both have it) and text of what differs, with so many equal lines around each change."""
    import difflib  # 4 ms, only when something is compared

    diff = difflib.unified_diff(before, after, lineterm="", n=around)
    for number, line in enumerate(islice(diff, 2, None)):  # two name the files
        if not line.startswith("@@"):
            yield line[:1], line[1:]
        elif number:
            yield LEFT_OUT, ""
