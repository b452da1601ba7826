"""Which makers' GPUs are in this machine, from the bus and the device tree: cheap, and needs no library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tui.hardware.trees import names, number, text

VENDORS: Final = {0x10DE: "nvidia", 0x1002: "amd", 0x8086: "intel"}
_DISPLAY, _ACCELERATOR = 0x03, 0x12  # the first byte of a PCI class
_TEGRA: Final = ("nvidia,tegra", "nvidia,p3", "nvidia,jetson")


def devices(root: Path) -> Iterator[tuple[str, Path]]:
    """The maker and the folder of each display or accelerator on the bus, in the bus's order."""
    bus = root / "sys/bus/pci/devices"
    for place in names(bus):
        kind = number(bus / place / "class")
        vendor = VENDORS.get(number(bus / place / "vendor") or 0)
        if vendor and kind is not None and kind >> 16 in (_DISPLAY, _ACCELERATOR):
            yield vendor, bus / place


def vendors(root: Path) -> frozenset[str]:
    """The makers of the GPUs on the bus."""
    return frozenset(vendor for vendor, _device in devices(root))


def tegra(root: Path) -> bool:
    """Whether this is an NVIDIA system on a chip (Jetson and its like), by the device tree."""
    tree = root / "proc/device-tree"
    return any(mark in text(tree / "compatible").lower() for mark in _TEGRA)
