"""Intel GPUs as the kernel's i915 and xe drivers tell of them in sysfs and fdinfo.

How busy a card is comes from how long it slept; that counts every account's work, and a card that is awake but waits as busy.
How much of main memory the graphics of a processor may take is not told: they have no memory figures, only their processes have.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tui.hardware import drm_memory, pci
from tui.hardware.cadence import SLOW
from tui.hardware.fdinfo import Clients, Use
from tui.hardware.hwmon import Sensors
from tui.hardware.reading import names
from tui.hardware.sample import GPU_PROCESSES, Gpu
from tui.hardware.trees import number, words

DRIVERS: Final = ("i915", "xe")
_REASONS: Final = {
    "thermal": ("thermal", "prochot", "ratl", "vr_thermalert"),
    "power": ("pl1", "pl2", "pl4", "vr_tdc"),
}
_CARD: Final = re.compile(r"card\d+")
_NODE: Final = re.compile(r"renderD\d+")


def find(root: Path = Path("/")) -> Intel | None:
    """The source, where there is an Intel GPU on the bus."""
    return Intel(root) if "intel" in pci.vendors(root) else None


class _Card:
    """What is known of one card, by how often it changes."""

    def __init__(self, root: Path, device: Path, index: int) -> None:
        self.device = device
        self.index = index
        self.driver = pci.driver(device)
        self.uuid = f"pci-{device.name}"
        self.name = words(device / "label") or pci.name(root, device) or f"Intel GPU {device.name}"
        self.integrated = device.name.split(":")[1] == "00"  # graphics of a processor is on the first bus
        nodes = names(device / "drm")
        self.drm = device / "drm" / next((name for name in nodes if _CARD.fullmatch(name)), "card0")
        self.node = next((name for name in nodes if _NODE.fullmatch(name)), "")
        self.idle: tuple[float, int] | None = None
        self.joules: tuple[float, int] | None = None
        self.slow: dict[str, Any] = {}
        self.own_memory: tuple[int | None, int | None] = (None, None)
        self.slow_at = float("-inf")

    def engine(self, modern: str, one: str, old: str = "") -> tuple[Path, ...]:
        """Where a figure of the engines is: with xe, with i915, and with older i915."""
        if self.driver == "xe":
            return (self.device / "tile0/gt0" / modern,)
        return (self.drm / "gt/gt0" / one, *((self.drm / old,) if old else ()))


class Intel:
    """Reads all Intel GPUs; never raises.

    Args:
        root: The folder with sys, proc and dev.
        clock: Monotonic seconds.
        sees_all: Whether this account may look into every process.
    """

    name = "Intel"
    vendor = "intel"

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic, sees_all: bool | None = None) -> None:
        self._root = root
        self._clock = clock
        self._sees_all = os.geteuid() == 0 if sees_all is None else sees_all
        self._cards = pci.Cards(
            root, "intel", DRIVERS, _Card, clock, undriven="the Intel graphics driver (i915 or xe) is not loaded", absent="no Intel GPU"
        )
        self._clients = Clients(root, DRIVERS, self._regions, clock)
        self.note = ""

    def read(self, wanted: frozenset[str] = frozenset()) -> tuple[Gpu, ...]:
        """Measure; `note` says why there is nothing, where there is nothing.

        Args:
            wanted: Names of `sample.WANTED`.
        """
        cards = self._cards.look()
        self.note = self._cards.note
        if not cards:
            return ()
        uses = self._clients.read(GPU_PROCESSES in wanted)
        return tuple(self._gpu(card, uses.get(place, Use())) for place, card in cards.items())

    def _regions(self, place: str) -> tuple[str, ...]:
        card = self._cards.get(place)
        return ("system", "gtt") if card is not None and card.integrated else ("vram", "local")

    def _gpu(self, card: _Card, use: Use) -> Gpu:
        if pci.asleep(card.device):
            return Gpu(card.uuid, card.index, card.name, percent=0.0, note="asleep to save power", source=card.driver)
        sensors = Sensors(card.device)
        self._look_slowly(card, sensors)
        total, used = card.own_memory
        if not card.integrated and used is None and use.memory and (total is None or use.memory <= total):
            used = use.memory
        return Gpu(
            uuid=card.uuid,
            index=card.index,
            name=card.name,
            source=card.driver,
            percent=self._busy(card, use),
            memory_total=total,
            memory_used=used,
            temperature=sensors.temperature(),
            power=self._power(card, sensors),
            fan=sensors.fan(),
            clock=_mhz(*card.engine("freq0/act_freq", "rps_act_freq_mhz", "gt_act_freq_mhz")),
            throttle=_throttle(card),
            processes=use.processes,
            **card.slow,
        )

    def _look_slowly(self, card: _Card, sensors: Sensors) -> None:
        if self._clock() - card.slow_at < SLOW:
            return
        card.slow = {
            "power_limit": sensors.power_limit(),
            "clock_max": _mhz(*card.engine("freq0/rp0_freq", "rps_RP0_freq_mhz", "gt_RP0_freq_mhz")),
            **({} if card.integrated else pci.link(card.device)),
        }
        if not card.integrated:
            total, free = number(card.drm / "lmem_total_bytes", 1), number(card.drm / "lmem_avail_bytes")
            if total is not None:
                card.own_memory = (total, total - free if free is not None and free <= total else None)
            elif card.node:
                card.own_memory = drm_memory.asked(self._root / "dev/dri" / card.node, card.driver)
        card.slow_at = self._clock()

    def _busy(self, card: _Card, use: Use) -> float | None:
        """Percent since the last reading."""
        awake = self._awake(card)
        if awake is None or (self._sees_all and use.busy is not None):
            return use.busy
        return awake

    def _awake(self, card: _Card) -> float | None:
        paths = card.engine("gtidle/idle_residency_ms", "rc6_residency_ms", "power/rc6_residency_ms")
        slept = next((found for path in paths if (found := number(path, 0, 2**53)) is not None), None)
        now = self._clock()
        before, card.idle = card.idle, None if slept is None else (now, slept)
        if before is None or slept is None or now <= before[0] or slept < before[1]:
            return None
        return round(min(100.0, max(0.0, 100 * (1 - (slept - before[1]) / 1000 / (now - before[0])))), 1)

    def _power(self, card: _Card, sensors: Sensors) -> float | None:
        told, now = sensors.power(), self._clock()
        if told is not None:
            return told
        energy = sensors.energy()
        before, card.joules = card.joules, None if energy is None else (now, energy)
        if before is None or energy is None or now <= before[0] or energy < before[1]:
            return None
        return round((energy - before[1]) / 1e6 / (now - before[0]), 1)


def _mhz(*paths: Path) -> float | None:
    for path in paths:
        found = number(path, 0, 100_000)
        if found is not None:
            return float(found)
    return None


def _throttle(card: _Card) -> tuple[str, ...]:
    folder, before = (card.device / "tile0/gt0/freq0/throttle", "") if card.driver == "xe" else (card.drm / "gt/gt0", "throttle_")
    if not number(folder / (f"{before}status" if card.driver == "xe" else "throttle_reason_status")):
        return ()
    found = tuple(name for name, causes in _REASONS.items() if any(number(folder / f"{before}reason_{cause}") for cause in causes))
    return found or ("other",)
