"""The filesystems that hold the models: space, and traffic of their devices. One that hangs (a network's) hangs the caller."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tui.hardware import reading
from tui.hardware.reading import SLOW
from tui.hardware.sample import Disk
from tui.text import clean_name

_LARGEST: Final = 2**60
_SECTOR: Final = 512  # in block/stat, whatever the device's own is (Documentation/block/stat.rst)


class Filesystems:
    """Measures disks; rates are between two readings.

    Args:
        paths: Folders whose filesystems are watched; two on one filesystem count once.
        root: Where `/proc` and `/sys` are.
        clock: Monotonic seconds.
    """

    def __init__(self, paths: Iterable[str] = (), root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = tuple(paths)[:64]
        self._root = root
        self._clock = clock
        self._before: dict[int, tuple[float, int, int]] = {}
        self._files: dict[int, tuple[float, str]] = {}

    def read(self) -> tuple[Disk, ...]:
        """Measure since the last reading."""
        found: dict[int, Disk] = {}
        for path in self._paths:
            with contextlib.suppress(OSError, ValueError):
                real = _real(path)
                device = real.stat().st_dev if real is not None else None
                if real is None or device is None or device in found:
                    continue
                space = os.statvfs(real)
                total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
                used = (space.f_blocks - space.f_bfree) * space.f_frsize
                read, write = self._traffic(device)
                found[device] = Disk(clean_name(path), _size(total), _size(used), _size(free), read, write)
        return tuple(found.values())

    def _traffic(self, device: int) -> tuple[float | None, float | None]:
        now = self._clock()
        looked, file = self._files.get(device, (float("-inf"), ""))
        if now - looked >= SLOW:
            file = self._stat_file(device)
            self._files[device] = (now, file)
        words = [reading.whole(word) for word in reading.text(file, 1024).split()] if file else []
        if len(words) < 7 or words[2] is None or words[6] is None:
            self._before.pop(device, None)
            return None, None
        before, self._before[device] = self._before.get(device), (now, words[2], words[6])
        if before is None or now <= before[0]:
            return None, None
        seconds = now - before[0]
        return (
            reading.per_second(before[1] * _SECTOR, words[2] * _SECTOR, seconds),
            reading.per_second(before[2] * _SECTOR, words[6] * _SECTOR, seconds),
        )

    def _stat_file(self, device: int) -> str:
        """Where the kernel counts for this filesystem; btrfs and its like are mounted from a device with another number."""
        number = f"{os.major(device)}:{os.minor(device)}"
        direct = f"{self._root}/sys/dev/block/{number}/stat"
        if reading.text(direct, 1024):
            return direct
        for line in reading.text(self._root / "proc/self/mountinfo").splitlines():
            mount, _, filesystem = line.partition(" - ")
            words, source = mount.split(), filesystem.split()
            if len(words) > 2 and words[2] == number and len(source) > 1 and source[1].startswith("/dev/"):
                name = Path(os.path.realpath(f"{self._root}{source[1]}")).name
                return f"{self._root}/sys/class/block/{name}/stat"
        return ""


def _size(found: int) -> int | None:
    """Bytes; None for what only an object store that has no end tells."""
    return max(0, found) if found < _LARGEST else None


def _real(path: str) -> Path | None:
    """The nearest existing parent: a models folder may not exist yet."""
    place = Path(os.path.abspath(path))  # noqa: PTH100 - a hanging link must not be followed
    while not os.path.exists(place):  # noqa: PTH110 - `Path.exists` raises where we may not look
        if place == place.parent:
            return None
        place = place.parent
    return place
