"""Reading of the small files in /sys and /proc: every one may be missing, unreadable, empty or odd at any moment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tui.text import clean_label, clean_name

_LARGEST: Final = 65_536


def raw(path: Path | str, limit: int = _LARGEST) -> bytes:
    """What is in a file; empty where it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(file, limit)
    except OSError:
        return b""
    finally:
        os.close(file)


def text(path: Path | str) -> str:
    """The same as text, without what surrounds it; not cleaned."""
    return raw(path).decode("utf-8", "replace").strip("\0 \t\r\n")


def words(path: Path | str, limit: int = 96) -> str:
    """A name in a file, cleaned."""
    return clean_label(clean_name(text(path), limit), limit)


def number(path: Path | str, low: int = 0, high: int = 2**60) -> int | None:
    """A whole number in a file, decimal or 0x; None where there is none between the two."""
    found = text(path)
    try:
        value = int(found, 16 if found[:2].lower() == "0x" else 10)
    except ValueError:
        return None
    return value if low <= value <= high else None


def names(path: Path | str) -> list[str]:
    """What is in a folder, in order; nothing where it cannot be read."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:
        return []


def main_memory(root: Path) -> tuple[int | None, int | None]:
    """Total and used bytes of main memory, for GPUs that have none of their own; swap aside."""
    found: dict[str, int] = {}
    for line in text(root / "proc/meminfo").splitlines():
        name, _colon, rest = line.partition(":")
        figure = rest.split()
        if name in ("MemTotal", "MemAvailable") and figure and figure[0].isdigit():
            found[name] = int(figure[0]) * 1024
    total, available = found.get("MemTotal"), found.get("MemAvailable")
    if not total or available is None or available > total:
        return total or None, None
    return total, total - available
