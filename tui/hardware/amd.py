"""AMD GPUs as the kernel's amdgpu driver tells of them in sysfs (Documentation/gpu/amdgpu), in fdinfo and to KFD.

What sysfs lacks is asked of the `amdsmi` library where that is installed.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tui.hardware import pci
from tui.hardware.cadence import SLOW
from tui.hardware.fdinfo import Clients, Use
from tui.hardware.hwmon import Sensors
from tui.hardware.reading import names, raw
from tui.hardware.sample import GPU_PROCESSES, Gpu, GpuProcess
from tui.hardware.trees import number, text, words

if TYPE_CHECKING:
    from tui.hardware.amdsmi_facts import Library

_LEVEL: Final = re.compile(r"^\s*\S+:\s*(\d{1,6})\s*Mhz\b[ \t]*(\*?)", re.IGNORECASE | re.MULTILINE)
_COUNTS: Final = re.compile(r"^\s*(ue|ce):\s*(\d{1,18})\s*$", re.MULTILINE)
_THROTTLE_AT: Final = 112  # of indep_throttle_status in gpu_metrics 1.3 (kgd_pp_interface.h)
_POWER: Final = 0x00FF_00FF  # SMU_THROTTLER_* of power and of current (amdgpu_smu.h)
_THERMAL: Final = 0xFFFF << 32
_APU: Final = (2, 3)
"""Revisions of gpu_metrics that only processors with graphics have."""


def find(root: Path = Path("/")) -> Amd | None:
    """The source, where there is an AMD GPU on the bus."""
    return Amd(root) if "amd" in pci.vendors(root) else None


class _Card:
    """What is known of one card, by how often it changes."""

    def __init__(self, root: Path, device: Path, index: int) -> None:
        self.device = device
        self.index = index
        unique = text(device / "unique_id").lower()
        self.uuid = f"AMD-{unique}" if re.fullmatch(r"[0-9a-f]{4,32}", unique) and unique.strip("0") else f"pci-{device.name}"
        self.name = words(device / "product_name") or pci.name(root, device) or f"AMD GPU {text(device / 'device')[2:6]}"
        self.slow: dict[str, Any] = {}
        self.slow_at = float("-inf")
        self.processes: tuple[GpuProcess, ...] = ()
        self.number = _kfd_number(root, device.name)
        self.shared = not pci.asleep(device) and _is_shared(raw(device / "gpu_metrics", 4))


class Amd:
    """Reads all AMD GPUs; never raises.

    Args:
        root: The folder with sys and proc.
        clock: Monotonic seconds.
    """

    name = "amdgpu"
    vendor = "amd"

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._cards = pci.Cards(root, "amd", ("amdgpu",), _Card, clock, undriven="the amdgpu driver is not loaded", absent="no AMD GPU")
        self._clients = Clients(root, ("amdgpu",), self._regions, clock)
        self._uses: dict[str, Use] = {}
        self._library: Library | None = None
        self._library_asked = False
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
        if uses is not self._uses:
            self._uses = uses
            for card in cards.values():
                card.processes = self._processes(card, uses.get(card.device.name, Use()))
        return tuple(self._gpu(card) for card in cards.values())

    def _regions(self, place: str) -> tuple[str, ...]:
        card = self._cards.get(place)
        return ("vram", "gtt") if card is not None and card.shared else ("vram",)

    def _gpu(self, card: _Card) -> Gpu:
        device = card.device
        if pci.asleep(device):
            return Gpu(card.uuid, card.index, card.name, percent=0.0, note="asleep to save power", source=self.name)
        sensors = self._look_slowly(card)
        total, used = _memory(device, card.shared)
        clock, memory_clock = sensors.clocks()
        gpu = Gpu(
            uuid=card.uuid,
            index=card.index,
            name=card.name,
            source=self.name,
            percent=_percent(device / "gpu_busy_percent"),
            memory_percent=_percent(device / "mem_busy_percent"),
            memory_total=total,
            memory_used=used,
            unified=card.shared,
            temperature=sensors.temperature(),
            power=sensors.power(),
            fan=sensors.fan(),
            clock=clock if clock is not None else _level(device / "pp_dpm_sclk"),
            memory_clock=memory_clock if memory_clock is not None else _level(device / "pp_dpm_mclk"),
            processes=card.processes,
            **card.slow,
        )
        return self._completed(gpu, device)

    def _look_slowly(self, card: _Card) -> Sensors:
        device, sensors = card.device, Sensors(card.device)
        if self._clock() - card.slow_at < SLOW:
            return sensors
        metrics = raw(device / "gpu_metrics", 4096)
        card.shared = _is_shared(metrics)
        corrected, uncorrected = _errors(device / "ras/umc_err_count")
        card.slow = {
            "power_limit": sensors.power_limit(),
            "clock_max": _level(device / "pp_dpm_sclk", highest=True),
            "throttle": throttle(metrics),
            "ecc_corrected": corrected,
            "ecc_uncorrected": uncorrected,
            **({} if card.shared else pci.link(device)),
        }
        card.slow_at = self._clock()
        return sensors

    def _processes(self, card: _Card, use: Use) -> tuple[GpuProcess, ...]:
        """Those with open files, and with them those that compute, which KFD tells of every account."""
        found = {process.pid: process for process in use.processes}
        for pid, held in self._computing(card.number).items():
            before = found.get(pid)
            if before is None:
                found[pid] = GpuProcess(pid, held)
            elif held > (before.memory or 0):
                found[pid] = replace(before, memory=held)
        return tuple(found.values())

    def _computing(self, card: int | None) -> dict[int, int]:
        if card is None:
            return {}
        folder = self._root / "sys/class/kfd/kfd/proc"
        held = {int(pid): number(folder / pid / f"vram_{card}") for pid in names(folder)[:4096] if pid.isdigit()}
        return {pid: size for pid, size in held.items() if size}

    def _completed(self, gpu: Gpu, device: Path) -> Gpu:
        if not self._library_asked:
            self._library_asked = True
            if self._root == Path("/"):
                from tui.hardware import amdsmi_facts

                self._library = amdsmi_facts.load(self._clock)
        return gpu if self._library is None else self._library.completed(gpu, device.name)


def _is_shared(metrics: bytes) -> bool:
    return len(metrics) >= 4 and metrics[2] in _APU


def _percent(path: Path) -> float | None:
    found = number(path, 0, 100)
    return None if found is None else float(found)


def _memory(device: Path, shared: bool) -> tuple[int | None, int | None]:
    """Total and used bytes; a processor's graphics may use main memory beside the part that is set aside for it."""
    pools = [(number(device / f"mem_info_{pool}_total"), number(device / f"mem_info_{pool}_used")) for pool in ("vram", "gtt")]
    told = [(total, used) for total, used in (pools if shared else pools[:1]) if total]
    if not told:
        return None, None
    total = sum(size for size, _used in told)
    used = [used for _size, used in told if used is not None]
    return total, sum(used) if len(used) == len(told) and sum(used) <= total else None


def _level(path: Path, highest: bool = False) -> float | None:
    """MHz of the level that is marked, or of the highest one, in a list of clock levels."""
    levels = _LEVEL.findall(text(path))
    found = [int(clock) for clock, mark in levels if highest or mark]
    return float(max(found)) if found else None


def _errors(path: Path) -> tuple[int | None, int | None]:
    """Corrected and uncorrected memory errors."""
    found = {kind: int(count) for kind, count in _COUNTS.findall(text(path))}
    return found.get("ce"), found.get("ue")


def throttle(metrics: bytes) -> tuple[str, ...]:
    """Why a card runs slower than it could, out of its table of metrics; only its revision 1.3 is known."""
    if len(metrics) < _THROTTLE_AT + 8 or (metrics[2], metrics[3]) != (1, 3):
        return ()
    (bits,) = struct.unpack_from("<Q", metrics, _THROTTLE_AT)
    if bits == 2**64 - 1:
        return ()
    known = (("thermal", _THERMAL), ("power", _POWER), ("other", ~(_THERMAL | _POWER)))
    return tuple(name for name, mask in known if bits & mask)


def _kfd_number(root: Path, place: str) -> int | None:
    """The number that the compute driver gives a card, by its place on the bus."""
    nodes = root / "sys/class/kfd/kfd/topology/nodes"
    for node in names(nodes):
        facts = dict(line.split(" ", 1) for line in text(nodes / node / "properties").splitlines() if " " in line)
        where, domain = facts.get("location_id", ""), facts.get("domain", "0")
        if where.isdigit() and domain.isdigit() and int(where):
            bits = int(where)
            if f"{int(domain):04x}:{bits >> 8 & 255:02x}:{bits >> 3 & 31:02x}.{bits & 7}" == place:
                return number(nodes / node / "gpu_id", 1)
    return None
