"""Files of /sys and of the device tree, as drivers of cards write them: names, numbers within bounds, decimal or hexadecimal."""

from __future__ import annotations

from pathlib import Path

from tui.hardware import reading
from tui.text import clean_label, clean_name


def text(path: Path | str) -> str:
    """What is in a file, without what surrounds it; not cleaned."""
    return reading.text(path).strip("\0 \t\r\n")


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


def main_memory(root: Path) -> tuple[int | None, int | None]:
    """Total and used bytes of main memory, for GPUs that have none of their own; swap aside."""
    found = dict(reading.pairs(reading.text(root / "proc/meminfo")))
    total, available = found.get("MemTotal", 0), found.get("MemAvailable")
    if total <= 0 or available is None or not 0 <= available <= total:
        return max(0, total) * 1024 or None, None
    return total * 1024, (total - available) * 1024
