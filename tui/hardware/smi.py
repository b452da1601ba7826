"""Figures out of the makers' programs `nvidia-smi` and `rocm-smi`: the last resort, where a card is known and its library gives nothing."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tui.hardware import pci
from tui.hardware.nvml import PROCESS_LIMIT, reasons, whole, within, words
from tui.hardware.sample import GPU_PROCESSES, Gpu, GpuProcess
from tui.hardware.tools import run

EVERY: Final = 10.0
"""Seconds between two runs: each takes up to a second of a core."""
PATIENCE: Final = 4.0
"""Seconds a program is given."""
_MEGA: Final = 2**20
_ALWAYS: Final = ("index", "uuid", "name", "utilization.gpu", "memory.total", "memory.used", "temperature.gpu")
_MORE: Final = (
    "utilization.memory",
    "power.draw",
    "power.limit",
    "fan.speed",
    "clocks.sm",
    "clocks.max.sm",
    "clocks.mem",
    "pcie.link.gen.current",
    "pcie.link.gen.max",
    "pcie.link.width.current",
    "pcie.link.width.max",
    "ecc.errors.corrected.volatile.total",
    "ecc.errors.uncorrected.volatile.total",
    "clocks_throttle_reasons.active",
)
_ROCM: Final = (
    "rocm-smi",
    "--showproductname",
    "--showuniqueid",
    "--showuse",
    "--showmemuse",
    "--showmeminfo",
    "vram",
    "--showtemp",
    "--showpower",
    "--showmaxpower",
    "--showfan",
    "--json",
)
_PROGRAMS: Final = {"nvidia": "nvidia-smi", "amd": "rocm-smi"}
Ask = Callable[[Sequence[str], float], bytes]


def find(root: Path = Path("/"), silent: frozenset[str] = frozenset(_PROGRAMS)) -> Smi | None:
    """The source, where there is a card of a maker whose program is installed.

    Args:
        root: The folder with sys.
        silent: Makers whose libraries give nothing.
    """
    known = pci.vendors(root) & silent
    makers = tuple(maker for maker, program in _PROGRAMS.items() if maker in known and shutil.which(program))
    return Smi(makers) if makers else None


class Smi:
    """Reads the programs of makers; never raises.

    Args:
        makers: "nvidia", "amd".
        ask: Runs a program and gives what it writes; for tests.
        clock: Monotonic seconds.
    """

    vendor = ""

    def __init__(self, makers: Sequence[str], ask: Ask = run, clock: Callable[[], float] = time.monotonic) -> None:
        self._makers = makers
        self._ask = ask
        self._clock = clock
        self._fields: tuple[str, ...] = _ALWAYS + _MORE
        self._found: tuple[Gpu, ...] = ()
        self._asked_at = float("-inf")
        self.note = ""

    @property
    def name(self) -> str:
        """The programs in use."""
        return ", ".join(_PROGRAMS[maker] for maker in self._makers)

    @property
    def makers(self) -> tuple[str, ...]:
        """Whose programs it reads."""
        return tuple(self._makers)

    def read(self, wanted: frozenset[str] = frozenset()) -> tuple[Gpu, ...]:
        """Measure, or tell the last figures; `note` says why there is nothing, where there is nothing.

        Args:
            wanted: Names of `sample.WANTED`.
        """
        now = self._clock()
        if now - self._asked_at < EVERY:
            return self._found
        found: list[Gpu] = []
        if "nvidia" in self._makers:
            found += self._nvidia(GPU_PROCESSES in wanted)
        if "amd" in self._makers:
            found += parse_rocm(self._ask(_ROCM, PATIENCE))
        self._found = tuple(found)
        self._asked_at = self._clock()
        self.note = "" if found else f"{self.name} gives no figures"
        return self._found

    def _nvidia(self, shown: bool) -> list[Gpu]:
        answer = self._query(self._fields)
        if not answer and len(self._fields) > len(_ALWAYS):  # one field it does not know fails the whole question
            answer = self._query(_ALWAYS)
            if answer:
                self._fields = _ALWAYS
        processes = {}
        if answer and shown:
            lines = self._ask(("nvidia-smi", "--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader,nounits"), PATIENCE)
            processes = parse_processes(lines)
        return parse_nvidia(answer, self._fields, processes)

    def _query(self, fields: Sequence[str]) -> bytes:
        return self._ask(("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"), PATIENCE)


def _rows(answer: bytes, width: int) -> list[list[str]]:
    lines = [[cell.strip() for cell in line.split(",")] for line in answer.decode("utf-8", "replace").splitlines()[:PROCESS_LIMIT]]
    return [cells for cells in lines if len(cells) == width]


def _figure(cell: object) -> float | None:
    """A figure as the programs write it; None for "[N/A]", "[Not Supported]" and their like."""
    try:
        found = float(str(cell).strip())
    except ValueError:
        return None
    return found if abs(found) < 1e18 else None


def _integer(cell: object, low: int = 0, high: int = 2**60, unit: int = 1) -> int | None:
    found = within(_figure(cell), low, high)
    return None if found is None else whole(int(found) * unit, low, 2**60)


def parse_processes(answer: bytes) -> dict[str, tuple[GpuProcess, ...]]:
    """Read the processes of each card, by its uuid."""
    found: dict[str, dict[int, GpuProcess]] = {}
    for uuid, number, memory in _rows(answer, 3):
        pid = _integer(number, 1, 2**31 - 1)
        if pid is not None:
            found.setdefault(words(uuid), {})[pid] = GpuProcess(pid, _integer(memory, 0, 2**34, _MEGA))
    return {uuid: tuple(processes.values()) for uuid, processes in found.items()}


def parse_nvidia(answer: bytes, fields: Sequence[str], processes: Mapping[str, tuple[GpuProcess, ...]]) -> list[Gpu]:
    """Read the answer to a query.

    Args:
        answer: Lines of comma-separated values.
        fields: What was asked for, in order.
        processes: By uuid.
    """
    found: list[Gpu] = []
    for cells in _rows(answer, len(fields)):
        told = dict(zip(fields, cells, strict=True))
        index, uuid = _integer(told["index"], 0, 255), words(told["uuid"])
        if index is None or not uuid or uuid.startswith("["):
            continue
        total, used = _integer(told["memory.total"], 1, 2**34, _MEGA), _integer(told["memory.used"], 0, 2**34, _MEGA)
        found.append(
            Gpu(
                uuid=uuid,
                index=index,
                name=words(told["name"]),
                source="nvidia-smi",
                percent=within(_figure(told["utilization.gpu"]), 0, 100),
                memory_total=total,
                memory_used=used if total is None or used is None or used <= total else None,
                temperature=within(_figure(told["temperature.gpu"]), 0, 200),
                processes=processes.get(uuid, ()),
                **(_more(told) if len(fields) > len(_ALWAYS) else {}),
            )
        )
    return found


def _more(told: Mapping[str, str]) -> dict[str, Any]:
    active = told["clocks_throttle_reasons.active"]
    bits = int(active, 16) if active[:2] == "0x" and len(active) <= 18 and active[2:].isalnum() and _hexadecimal(active[2:]) else None
    fan = within(_figure(told["fan.speed"]), 0, 200)
    return {
        "memory_percent": within(_figure(told["utilization.memory"]), 0, 100),
        "power": within(_figure(told["power.draw"]), 0, 10_000),
        "power_limit": within(_figure(told["power.limit"]), 1, 10_000),
        "fan": None if fan is None else min(100.0, fan),
        "clock": within(_figure(told["clocks.sm"]), 0, 100_000),
        "clock_max": within(_figure(told["clocks.max.sm"]), 1, 100_000),
        "memory_clock": within(_figure(told["clocks.mem"]), 0, 100_000),
        "pcie_generation": _integer(told["pcie.link.gen.current"], 1, 16),
        "pcie_generation_max": _integer(told["pcie.link.gen.max"], 1, 16),
        "pcie_width": _integer(told["pcie.link.width.current"], 1, 64),
        "pcie_width_max": _integer(told["pcie.link.width.max"], 1, 64),
        "ecc_corrected": _integer(told["ecc.errors.corrected.volatile.total"]),
        "ecc_uncorrected": _integer(told["ecc.errors.uncorrected.volatile.total"]),
        "throttle": reasons(bits),
    }


def _hexadecimal(digits: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in digits)


def parse_rocm(answer: bytes) -> list[Gpu]:
    """Read what `rocm-smi --json` writes; names of fields differ between its versions."""
    start = answer.find(b"{")  # warnings may come before it
    try:
        cards = json.loads(answer[start:]) if start >= 0 else {}
    except (ValueError, RecursionError):
        return []
    found: list[Gpu] = []
    for name, told in cards.items() if isinstance(cards, dict) else ():
        if isinstance(told, dict) and name.startswith("card") and name[4:].isdecimal() and len(name) < 8:
            found.append(_rocm(int(name[4:]), told))
    return sorted(found, key=lambda gpu: gpu.index)


def _rocm(index: int, told: Mapping[str, Any]) -> Gpu:
    def first(*names: str) -> Any:
        return next((told[name] for name in names if name in told and told[name] not in ("N/A", "")), None)

    total, used = _integer(first("VRAM Total Memory (B)"), 1), _integer(first("VRAM Total Used Memory (B)"))
    unique = words(first("Unique ID")).removeprefix("0x")
    return Gpu(
        uuid=f"AMD-{unique}" if unique else f"rocm-{index}",
        index=index,
        name=words(first("Card Series", "Card series", "Card Model", "Card model")),
        source="rocm-smi",
        percent=within(_figure(first("GPU use (%)")), 0, 100),
        memory_percent=within(_figure(first("GPU Memory Read/Write Activity (%)")), 0, 100),
        memory_total=total,
        memory_used=used if total is None or used is None or used <= total else None,
        temperature=within(_figure(first("Temperature (Sensor edge) (C)", "Temperature (Sensor junction) (C)")), 0, 200),
        power=within(_figure(first("Average Graphics Package Power (W)", "Current Socket Graphics Package Power (W)")), 0, 10_000),
        power_limit=within(_figure(first("Max Graphics Package Power (W)")), 1, 10_000),
        fan=within(_figure(first("Fan speed (%)")), 0, 100),
    )
