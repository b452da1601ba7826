"""Version numbers as servers and we write them."""

from __future__ import annotations

import re


def numbers(version: str) -> tuple[int, ...] | None:
    """Major, minor and patch of `0.21.0-rc1` or `v0.33`; None for what begins with no such number."""
    match = re.match(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", version.strip(), re.ASCII)
    return tuple(int(part or 0) for part in match.groups()) if match else None
