"""What is wanted of the sampler, as the one line of JSON on its standard input."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from tui.hardware.sample import WANTED
from tui.hardware.sample_line import VERSION

LIMIT: Final = 4096
"""Bytes a line may have."""


def format_wants(names: Iterable[str]) -> bytes:
    """Write the line; only names of `sample.WANTED` are in it."""
    wanted = frozenset(names)
    known = [name for name in WANTED if name in wanted]
    return json.dumps({"v": VERSION, "want": known}, separators=(",", ":")).encode() + b"\n"


def parse_wants(line: bytes) -> frozenset[str] | None:
    """Read the line; None for anything that is not exactly such a line."""
    if len(line) > LIMIT:
        return None
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or set(raw) != {"v", "want"} or type(raw["v"]) is not int or raw["v"] != VERSION:
        return None
    names = raw["want"]
    if not isinstance(names, list) or not all(isinstance(name, str) and name in WANTED for name in names):
        return None
    return frozenset(names)
