"""NVIDIA's systems on a chip (Jetson and its like): the GPU shares main memory, and tells its load in sysfs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tui.hardware import pci
from tui.hardware.reading import names
from tui.hardware.sample import Gpu
from tui.hardware.trees import main_memory, number, text, words

_NAMES: Final = re.compile(r"(?:\d+\.)?(?:gpu|ga10b|gv11b|gp10b|gm20b)(?:\.\d+)?$")
_LOADS: Final = ("load", "device/load")


def find(root: Path = Path("/")) -> Tegra | None:
    """The source, where the device tree says that this is such a system."""
    return Tegra(root) if pci.tegra(root) else None


class Tegra:
    """Reads the GPU of a system on a chip; never raises.

    Args:
        root: The folder with sys and proc.
        clock: Monotonic seconds.
    """

    name = "Tegra"
    vendor = "nvidia"

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._gpu_folders = _folders(root)
        self._zone = _zone(root)
        self.note = ""

    def read(self, wanted: frozenset[str] = frozenset()) -> tuple[Gpu, ...]:
        """Measure.

        Args:
            wanted: Nothing of it is dear here.
        """
        total, used = main_memory(self._root)
        load = self._first(_LOADS, 0, 1000)  # in tenths of a percent
        clock, highest = self._first(("cur_freq",), 0, 100_000_000_000), self._first(("max_freq",), 1, 100_000_000_000)
        heat = number(self._zone / "temp", -100_000, 300_000) if self._zone else None
        return (
            Gpu(
                uuid="tegra-gpu",
                index=0,
                name=words(self._root / "proc/device-tree/model"),
                source=self.name,
                percent=None if load is None else load / 10,
                memory_total=total,
                memory_used=used,
                unified=True,
                temperature=None if heat is None or heat <= 0 else heat / 1000,
                power=self._power(),
                clock=None if clock is None else float(round(clock / 1e6)),
                clock_max=None if highest is None else float(round(highest / 1e6)),
            ),
        )

    def _first(self, files: tuple[str, ...], low: int, high: int) -> int | None:
        found = (number(folder / file, low, high) for folder in self._gpu_folders for file in files)
        return next((figure for figure in found if figure is not None), None)

    def _power(self) -> float | None:
        """Watts of the rail that feeds the GPU, by its label: milliamperes times millivolts."""
        for monitor in names(self._root / "sys/class/hwmon"):
            folder = self._root / "sys/class/hwmon" / monitor
            for rail in (1, 2, 3):
                if "GPU" not in text(folder / f"in{rail}_label"):
                    continue
                volts, amperes = number(folder / f"in{rail}_input", 0, 1_000_000), number(folder / f"curr{rail}_input", 0, 1_000_000)
                if volts is not None and amperes is not None:
                    return round(volts * amperes / 1e6, 1)
        return None


def _folders(root: Path) -> tuple[Path, ...]:
    """Where the GPU tells its load and clock: older systems, and newer ones."""
    devices = root / "sys/devices"
    found = [devices / "gpu.0", devices / "platform/gpu.0"]
    found += [devices / name for name in names(devices) if _NAMES.search(name)]
    changing = root / "sys/class/devfreq"
    found += [changing / name for name in names(changing) if _NAMES.search(name)]
    inner = [folder / "devfreq" / name for folder in found for name in names(folder / "devfreq")]
    return tuple(dict.fromkeys(folder for folder in (*found, *inner) if folder.is_dir()))


def _zone(root: Path) -> Path | None:
    zones = root / "sys/class/thermal"
    for name in names(zones):
        if name.startswith("thermal_zone") and text(zones / name / "type").lower().startswith("gpu"):
            return zones / name
    return None
