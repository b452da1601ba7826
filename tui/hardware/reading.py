"""Small files of the kernel, read as they are: any may be missing, unreadable or odd."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
LIMIT: Final = 4 * 2**20
"""Bytes that are read of one file."""
SLOW: Final = 60.0
"""Seconds until what hardly ever changes is looked at again."""


def has_proc(root: Path) -> bool:
    """Whether figures come from `/proc` below `root`; elsewhere psutil asks the system, which is this one whatever `root` is."""
    return sys.platform == "linux" or root != Path("/")


def raw(path: str | Path, limit: int = LIMIT) -> bytes:
    """The whole file; empty where it cannot be read."""
    try:
        place = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return b""
    parts: list[bytes] = []
    left = limit
    try:
        while left > 0 and (part := os.read(place, min(left, 65_536))):
            parts.append(part)
            left -= len(part)
    except OSError:
        return b""  # half of it would be read as if it were all
    finally:
        os.close(place)
    return b"".join(parts)


def text(path: str | Path, limit: int = LIMIT) -> str:
    """The same as text; not cleaned."""
    return raw(path, limit).decode("utf-8", "replace")


def number(path: str | Path) -> int | None:
    """A file that holds one whole number; None for anything else."""
    return whole(text(path, 64))


def whole(word: str) -> int | None:
    """A whole number as the kernel writes it; None for anything else."""
    try:
        return int(word) if len(word) < 32 else None
    except ValueError:
        return None


def decimal(word: str) -> float | None:
    """A number within what a figure may be; None for anything else."""
    try:
        found = float(word)
    except ValueError:
        return None
    return found if -1e18 < found < 1e18 else None


def names(folder: str | Path) -> list[str]:
    """What is in a folder, in order; empty where it cannot be read."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names only, and many
    except OSError:
        return []


def pairs(lines: str) -> Iterator[tuple[str, int]]:
    """`Name: 12 kB` or `name 12` on each line, without its unit."""
    for line in lines.splitlines():
        words = line.replace(":", " ", 1).split()
        value = whole(words[1]) if len(words) > 1 else None
        if value is not None:
            yield words[0], value


def pressure(root: Path, what: str) -> tuple[float | None, float | None]:
    """Percent of the last 10 s in which some, and all, waited for `what` ("cpu", "memory"): `/proc/pressure` (PSI)."""
    found: dict[str, float] = {}
    for line in text(root / "proc/pressure" / what, 1024).splitlines():
        kind, _, rest = line.partition(" avg10=")
        value = decimal(rest.partition(" ")[0])
        if value is not None:
            found[kind] = share(value)
    return found.get("some"), found.get("full")


def share(percent: float) -> float:
    """Within 0 to 100, one decimal."""
    return round(min(100.0, max(0.0, percent)), 1)


def per_second(before: float, after: float, seconds: float) -> float:
    """A rate from two counts; a count that was set back gives 0."""
    return round(max(0.0, after - before) / seconds)


def attempt(read: Callable[[], T]) -> T | None:
    """What psutil gives; None where the system does not."""
    import psutil

    try:
        return read()
    except (OSError, psutil.Error, NotImplementedError, ValueError, KeyError, AttributeError, IndexError, RuntimeError, ArithmeticError):
        return None
