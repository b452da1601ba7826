"""Which makers' GPUs are in this machine, from the bus and the device tree: cheap, and needs no library."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from tui.hardware.cadence import RETRY
from tui.hardware.reading import names, raw
from tui.hardware.trees import number, text
from tui.text import clean_label, clean_name

VENDORS: Final = {0x10DE: "nvidia", 0x1002: "amd", 0x8086: "intel"}
_DISPLAY, _ACCELERATOR, _BRIDGE = 0x03, 0x12, 0x0604  # of a PCI class
_TEGRA: Final = ("nvidia,tegra", "nvidia,p3", "nvidia,jetson")
_SPEEDS: Final = {"2.5": 1, "5": 2, "5.0": 2, "8": 3, "8.0": 3, "16": 4, "16.0": 4, "32": 5, "32.0": 5, "64": 6, "64.0": 6}
_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_LISTS: Final = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids")
_LIST_LIMIT: Final = 4 * 2**20


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


def driver(device: Path) -> str:
    """The kernel's driver of a device; empty where it has none."""
    try:
        return (device / "driver").readlink().name
    except OSError:
        return ""


def asleep(device: Path) -> bool:
    """Whether the device is switched off to save power; asking it for figures would wake it."""
    return text(device / "power/runtime_status") == "suspended"


class Card(Protocol):
    """What is known of a card: at least where it is."""

    device: Path


C = TypeVar("C", bound=Card)


class Cards(Generic[C]):
    """The cards of a maker that a driver works, in the bus's order; looked for again after `RETRY`, and when one is gone.

    Args:
        root: The folder with sys.
        vendor: One of `VENDORS`.
        drivers: The kernel's drivers that tell figures.
        make: Makes a card: root, its folder, its number.
        clock: Monotonic seconds.
        undriven: The note where there are cards, and none of these drivers works them.
        absent: The note where there is none.
    """

    def __init__(
        self,
        root: Path,
        vendor: str,
        drivers: Collection[str],
        make: Callable[[Path, Path, int], C],
        clock: Callable[[], float],
        *,
        undriven: str,
        absent: str,
    ) -> None:
        self._root, self._vendor, self._drivers, self._make, self._clock = root, vendor, drivers, make, clock
        self._undriven, self._absent = undriven, absent
        self._looked_at = float("-inf")
        self._found: dict[str, C] = {}
        self.note = ""

    def look(self) -> dict[str, C]:
        """By place on the bus; `note` says why there are none, where there are none."""
        now = self._clock()
        gone = any(not card.device.exists() for card in self._found.values())
        if now - self._looked_at >= RETRY or gone:
            self._looked_at = now
            places = [device for vendor, device in devices(self._root) if vendor == self._vendor]
            driven = [device for device in places if driver(device) in self._drivers]
            self._found = {
                device.name: self._found.get(device.name) or self._make(self._root, device, index) for index, device in enumerate(driven)
            }
            self.note = "" if driven else self._undriven if places else self._absent
        return self._found

    def get(self, place: str) -> C | None:
        """A card that was found."""
        return self._found.get(place)


def tegra(root: Path) -> bool:
    """Whether this is an NVIDIA system on a chip (Jetson and its like), by the device tree."""
    tree = root / "proc/device-tree"
    return any(mark in text(tree / "compatible").lower() for mark in _TEGRA)


def link(device: Path) -> dict[str, int | None]:
    """The link between a card and its slot: generation and width, now and as both could, by the names of `Gpu`.

    A card may have a bridge of its own; the link behind that is not the one to the machine.
    """
    try:
        here = device.resolve(strict=True)
    except (OSError, RuntimeError):
        return {}
    while _is_bridge(here.parent, number(device / "vendor")) and _ADDRESS.fullmatch(here.parent.parent.name):
        here = here.parent
    slot = here.parent if _ADDRESS.fullmatch(here.parent.name) else here
    return {
        "pcie_generation": _generation(here / "current_link_speed"),
        "pcie_width": number(here / "current_link_width", 1, 64),
        "pcie_generation_max": _least(_generation(here / "max_link_speed"), _generation(slot / "max_link_speed")),
        "pcie_width_max": _least(number(here / "max_link_width", 1, 64), number(slot / "max_link_width", 1, 64)),
    }


def _is_bridge(device: Path, vendor: int | None) -> bool:
    return (number(device / "class") or 0) >> 8 == _BRIDGE and number(device / "vendor") == vendor


def _generation(path: Path) -> int | None:
    return _SPEEDS.get(text(path).partition(" ")[0])  # as in "16.0 GT/s PCIe"


def _least(*figures: int | None) -> int | None:
    known = [figure for figure in figures if figure is not None]
    return min(known) if known else None


@lru_cache(maxsize=64)
def name(root: Path, device: Path) -> str:
    """What the system's list of PCI identifiers calls a device, cleaned; empty where there is none. Read once: it is a large file."""
    maker, model = number(device / "vendor"), number(device / "device")
    if maker is None or model is None:
        return ""
    for path in _LISTS:
        block = re.search(rb"^%04x  .*\n((?:[\t#].*\n|\n)*)" % maker, raw(root / path, _LIST_LIMIT), re.MULTILINE)
        found = re.search(rb"^\t%04x  (.*)$" % model, block[1], re.MULTILINE) if block else None
        if found:
            told = found[1].decode("utf-8", "replace")
            sold = re.search(r"\[(.+)\]", told)
            return clean_label(clean_name(sold[1] if sold else told, 96), 96)
    return ""
