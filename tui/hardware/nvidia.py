"""NVIDIA GPUs through NVML (the `pynvml` module of nvidia-ml-py), imported on first use.

A call may hang or crash inside the driver: use this in the sampler's process only.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tui.hardware import pci
from tui.hardware.cadence import PROCESSES, PROCESSES_UNSEEN, RETRY, SLOW
from tui.hardware.nvml import (
    PROCESS_LIMIT,
    Calls,
    Lost,
    code_of,
    instances,
    memory,
    processes,
    reasons,
    sentence,
    shares,
    whole,
    within,
    words,
)
from tui.hardware.reading import names
from tui.hardware.sample import GPU_DETAIL, GPU_PROCESSES, Gpu, GpuProcess, MigInstance
from tui.hardware.trees import main_memory

RECOUNT: Final = 10.0
"""Seconds between two looks at which cards the driver holds."""
_CARDS: Final = 256
_SM, _MEMORY_CLOCK = 1, 2  # nvmlClockType_t
_SENT, _RECEIVED = 0, 1  # nvmlPcieUtilCounter_t
_KILO: Final = 1024  # what nvmlDeviceGetPcieThroughput counts in
_REASONS: Final = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
_SHARED: Final = re.compile(r"\b(GB10|Thor|Orin|Xavier|Tegra|Jetson)\b", re.IGNORECASE)
_WSL: Final = "usr/lib/wsl/lib/libnvidia-ml.so.1"


def find(root: Path = Path("/")) -> Nvidia | None:
    """The source, where something suggests an NVIDIA card or its driver."""
    here = ("dev/nvidiactl", "proc/driver/nvidia/version", "proc/driver/nvidia/gpus", _WSL)
    if "nvidia" in pci.vendors(root) or any((root / path).exists() for path in here) or (root == Path("/") and _loadable()):
        return Nvidia(root=root)
    return None


class _Card:
    """What is known of one card, by how often it changes."""

    def __init__(self, index: int, handle: Any) -> None:
        self.index = index
        self.handle = handle
        self.uuid = f"index {index}"
        self.fixed: dict[str, Any] = {}
        self.fixed_at = float("-inf")
        self.slow: dict[str, Any] = {}
        self.slow_at = float("-inf")
        self.shared = False
        self.parts: tuple[tuple[MigInstance, Any], ...] = ()
        self.processes: tuple[GpuProcess, ...] = ()
        self.processes_at = float("-inf")
        self.seen = 0
        self.rates: dict[str, Any] = {}


class Nvidia:
    """Reads all NVIDIA GPUs; never raises.

    Args:
        load: Imports the library; for tests.
        clock: Monotonic seconds.
        root: The folder with proc; for tests.
        now: Seconds since 1970, as the driver stamps what processes used.
    """

    name = "NVML"
    vendor = "nvidia"

    def __init__(
        self,
        load: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        root: Path = Path("/"),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._load = load or _import
        self._clock = clock
        self._now = now
        self._root = root
        self._calls: Calls | None = None
        self._absent = False
        self._asked_at: float | None = None
        self._cards: dict[int, _Card] = {}
        self._lost: dict[int, tuple[float, Gpu]] = {}
        self._listed: frozenset[str] = frozenset()
        self._listed_at = 0.0
        self._turn = 0
        self._devices = tuple(device for vendor, device in pci.devices(root) if vendor == "nvidia")
        self.note = ""

    def read(self, wanted: frozenset[str] = frozenset()) -> tuple[Gpu, ...]:
        """Measure; `note` says why there is nothing, where there is nothing.

        Args:
            wanted: Names of `sample.WANTED`; without `GPU_PROCESSES` the processes are looked at every 10 s.
        """
        self._recount()
        if self._calls is None and self._sleeping():
            self.note = ""
            return tuple(_asleep(self._root, device, index) for index, device in enumerate(self._devices))
        calls = self._ready()
        if calls is None:
            return ()
        try:
            count = calls.library.nvmlDeviceGetCount()
        except Exception as error:
            self._give_up("the GPU driver does not count its GPUs" if code_of(error) == 999 else sentence(code_of(error)))
            return ()
        count = max(0, min(count, _CARDS)) if isinstance(count, int) else 0
        if self._cards.keys() | self._lost.keys() != set(range(count)):
            self._start_over()
        self.note = "" if count else "no NVIDIA GPU"
        self._turn = (self._turn + 1) % max(1, count)
        found = [self._gpu(calls, index, wanted) for index in range(count)]
        return tuple(_told_apart(found))

    def _sleeping(self) -> bool:
        """Whether every card is switched off to save power: starting the library would wake it."""
        return bool(self._devices) and all(pci.asleep(device) for device in self._devices)

    def _start_over(self) -> None:
        self._cards, self._lost = {}, {}

    def _ready(self) -> Calls | None:
        if self._calls is not None:
            return self._calls
        now = self._clock()
        if self._absent or (self._asked_at is not None and now - self._asked_at < RETRY):
            return None
        self._asked_at = now
        try:
            library = self._load()
        except ImportError:
            self._absent, self.note = True, "the Python library nvidia-ml-py is not installed"
            return None
        except Exception:  # a broken installation may raise anything
            self._absent, self.note = True, "the Python library nvidia-ml-py cannot be loaded"
            return None
        try:
            library.nvmlInit()
        except Exception as error:  # the library raises its own kinds, and ctypes' where the driver is odd
            self.note = sentence(code_of(error))
            return None
        self._calls = Calls(library, self._clock)
        self._start_over()
        self._listed, self._listed_at = _listed(self._root), now
        return self._calls

    def _recount(self) -> None:
        """The library knows only the cards that were there when it was started: start it again when the driver has others."""
        now = self._clock()
        if self._calls is None or now - self._listed_at < RECOUNT:
            return
        self._listed_at = now
        if _listed(self._root) != self._listed:
            self._give_up("")
            self._asked_at = None

    def _give_up(self, note: str) -> None:
        calls, self._calls, self.note = self._calls, None, note
        self._asked_at = self._clock()
        if calls is not None:
            with contextlib.suppress(Exception):  # nothing is left to do for a driver in that state
                calls.library.nvmlShutdown()

    def _gpu(self, calls: Calls, index: int, wanted: frozenset[str]) -> Gpu:
        now = self._clock()
        since, last = self._lost.get(index, (None, None))
        if since is not None and last is not None and now - since < RETRY:
            return last
        card = self._cards.get(index)
        try:
            if card is None or now - card.fixed_at >= RETRY:
                card = self._known(calls, index, card)
            if card is None:
                return Gpu(f"index {index}", index, note="the driver does not give access to this GPU", source=self.name)
            gpu = self._measure(calls, card, wanted)
        except Lost as lost:
            card = self._cards.get(index)
            name = card.fixed.get("name", "") if card is not None else ""
            gone = Gpu(
                card.uuid if card is not None else f"index {index}",
                index,
                name,
                lost=True,
                note=sentence(lost.code),
                source=self.name,
            )
            self._lost[index] = (now, gone)
            return gone
        self._lost.pop(index, None)
        return gpu

    def _known(self, calls: Calls, index: int, before: _Card | None) -> _Card | None:
        """Ask who a card is; its facts are kept for `RETRY`, its history as long as it stays the same card."""
        handle = calls.ask(f"index {index}", "nvmlDeviceGetHandleByIndex", index)
        if handle is None:
            self._cards[index] = _Card(index, None)
            return None
        uuid = words(calls.ask(f"index {index}", "nvmlDeviceGetUUID", handle)) or f"index {index}"
        if before is not None and before.uuid == uuid:
            card = before
        else:
            calls.forget(uuid)
            card = _Card(index, handle)
        card.handle, card.uuid = handle, uuid
        self._cards[index] = card
        card.fixed = {
            "name": words(calls.ask(uuid, "nvmlDeviceGetName", handle)),
            "clock_max": within(calls.ask(uuid, "nvmlDeviceGetMaxClockInfo", handle, _SM), 1, 100_000),
            "pcie_generation_max": whole(calls.ask(uuid, "nvmlDeviceGetMaxPcieLinkGeneration", handle), 1, 16),
            "pcie_width_max": whole(calls.ask(uuid, "nvmlDeviceGetMaxPcieLinkWidth", handle), 1, 64),
        }
        card.shared = _is_shared(card.fixed["name"], self._root)
        card.fixed_at = self._clock()
        return card

    def _measure(self, calls: Calls, card: _Card, wanted: frozenset[str]) -> Gpu:
        uuid, handle = card.uuid, card.handle
        total, used = memory(calls.ask(uuid, "nvmlDeviceGetMemoryInfo", handle))
        unified = card.shared and total is None and calls.unsupported(uuid, "nvmlDeviceGetMemoryInfo")
        if unified:
            total, used = main_memory(self._root)
        rates = calls.ask(uuid, "nvmlDeviceGetUtilizationRates", handle)
        power = within(calls.ask(uuid, "nvmlDeviceGetPowerUsage", handle), 0, 10_000_000)
        self._look_slowly(calls, card)
        self._look_at_processes(calls, card, GPU_PROCESSES in wanted)
        if GPU_DETAIL in wanted:
            self._look_at_link(calls, card)
        else:
            card.rates = {}
        return Gpu(
            uuid=uuid,
            index=card.index,
            source=self.name,
            percent=within(getattr(rates, "gpu", None), 0, 100),
            memory_percent=within(getattr(rates, "memory", None), 0, 100),
            memory_total=total,
            memory_used=used,
            unified=unified,
            temperature=within(calls.ask(uuid, "nvmlDeviceGetTemperature", handle, 0), 0, 200),
            power=None if power is None else round(power / 1000, 1),
            clock=within(calls.ask(uuid, "nvmlDeviceGetClockInfo", handle, _SM), 0, 100_000),
            throttle=reasons(calls.first(uuid, _REASONS, handle)),
            mig=tuple(part for part, _handle in card.parts),
            processes=card.processes,
            **card.fixed,
            **card.slow,
            **card.rates,
        )

    def _look_slowly(self, calls: Calls, card: _Card) -> None:
        if self._clock() - card.slow_at < SLOW:
            return
        uuid, handle = card.uuid, card.handle
        limit = within(calls.ask(uuid, "nvmlDeviceGetEnforcedPowerLimit", handle), 1, 10_000_000)
        fan = within(calls.ask(uuid, "nvmlDeviceGetFanSpeed", handle), 0, 200)
        card.slow = {
            "power_limit": None if limit is None else round(limit / 1000, 1),
            "fan": None if fan is None else min(fan, 100.0),
            "memory_clock": within(calls.ask(uuid, "nvmlDeviceGetClockInfo", handle, _MEMORY_CLOCK), 0, 100_000),
            "pcie_generation": whole(calls.ask(uuid, "nvmlDeviceGetCurrPcieLinkGeneration", handle), 1, 16),
            "pcie_width": whole(calls.ask(uuid, "nvmlDeviceGetCurrPcieLinkWidth", handle), 1, 64),
            "ecc_corrected": whole(calls.ask(uuid, "nvmlDeviceGetTotalEccErrors", handle, 0, 0)),
            "ecc_uncorrected": whole(calls.ask(uuid, "nvmlDeviceGetTotalEccErrors", handle, 1, 0)),
        }
        card.parts = instances(calls, uuid, handle)
        card.slow_at = self._clock()

    def _look_at_processes(self, calls: Calls, card: _Card, shown: bool) -> None:
        if self._clock() - card.processes_at < (PROCESSES if shown else PROCESSES_UNSEEN):
            return
        found = processes(calls, card.uuid, card.handle)
        for part, handle in card.parts:  # after the card's own list: these say where
            found.update(processes(calls, part.uuid, handle, part.uuid))
        if shown and found and not card.parts:  # an instance's use is not told by process
            recent = int((self._now() - PROCESSES) * 1e6)
            used, card.seen = shares(calls, card.uuid, card.handle, max(card.seen, recent))
            if used is not None:
                found = {pid: GpuProcess(pid, one.memory, used.get(pid, 0.0), instance=one.instance) for pid, one in found.items()}
        card.processes = tuple(found.values())[:PROCESS_LIMIT]
        card.processes_at = self._clock()

    def _look_at_link(self, calls: Calls, card: _Card) -> None:
        """Each of these two calls takes the driver 20 ms: one card a reading."""
        if card.index != self._turn:
            return
        for field, counter in (("pcie_sent", _SENT), ("pcie_received", _RECEIVED)):
            rate = within(calls.ask(card.uuid, "nvmlDeviceGetPcieThroughput", card.handle, counter), 0, 1e9)
            card.rates[field] = None if rate is None else rate * _KILO


def _asleep(root: Path, device: Path, index: int) -> Gpu:
    name = pci.name(root, device) or "NVIDIA GPU"
    return Gpu(f"pci-{device.name}", index, name, percent=0.0, note="asleep to save power", source=Nvidia.name)


def _told_apart(gpus: list[Gpu]) -> list[Gpu]:
    """Rows follow the uuid, so no two may have the same."""
    seen: set[str] = set()
    for place, gpu in enumerate(gpus):
        if gpu.uuid in seen:
            gpus[place] = Gpu(f"{gpu.uuid} {gpu.index}", gpu.index, gpu.name, note="two GPUs have this identifier", source=gpu.source)
        seen.add(gpu.uuid)
    return gpus


def _is_shared(name: str, root: Path) -> bool:
    """Whether a card without memory of its own is one that uses the machine's."""
    return bool(_SHARED.search(name)) or (root / "sys/module/tegra_fuse").exists() or pci.tegra(root)


def _listed(root: Path) -> frozenset[str]:
    """The cards that the driver holds, by their place on the bus."""
    return frozenset(names(root / "proc/driver/nvidia/gpus"))


def _loadable() -> bool:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _import() -> Any:
    import pynvml  # 42 ms and 2 MB, only where it is wanted

    if not _loadable():
        with contextlib.suppress(OSError):  # WSL does not put it where the loader looks
            ctypes.CDLL(f"/{_WSL}", mode=ctypes.RTLD_GLOBAL)
    return pynvml
