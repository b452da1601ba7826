"""Stand-ins for NVIDIA's library: as a Python object whose answers a test sets, and as a library of C for the real binding (`build`)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

LIBRARY = Path(__file__).parent / "libnvml.c"
BEHAVIOUR = "NVML_STUB"
"""The variable that says how the library of C behaves; its words are at the top of `libnvml.c`."""


def build(folder: Path, busy: int = 100) -> Path | None:
    """Compile the library of C.

    Args:
        folder: Where `libnvidia-ml.so.1` is put, for `LD_LIBRARY_PATH`.
        busy: Processes on each card of "busy".

    Returns:
        The folder; None where there is no compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", f"-DBUSY={busy}", "-o", str(folder / "libnvidia-ml.so.1"), str(LIBRARY)],
        check=True,
        timeout=60,
    )
    return folder


def environment(folder: Path, behaviour: str) -> dict[str, str]:
    """The environment of a process whose NVIDIA library is the one in `folder`."""
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), BEHAVIOUR: behaviour}


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


class Stub:
    """Answers by function and card; an int error code in `errors` raises instead."""

    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2

    def __init__(self, cards: int = 2) -> None:
        self.cards = cards
        self.init_error = 0
        self.errors: dict[tuple[str, int], int] = {}
        self.answers: dict[tuple[str, int], Any] = {}
        self.missing: set[str] = set()
        self.calls: list[tuple[str, int]] = []

    def nvmlInit(self) -> None:
        self.calls.append(("nvmlInit", -1))
        if self.init_error:
            raise NVMLError(self.init_error)

    def nvmlShutdown(self) -> None:
        self.calls.append(("nvmlShutdown", -1))

    def nvmlDeviceGetCount(self) -> int:
        if self.errors.get(("nvmlDeviceGetCount", -1)):
            raise NVMLError(self.errors["nvmlDeviceGetCount", -1])
        return self.cards

    def __getattr__(self, function: str) -> Callable[..., Any]:
        if not function.startswith("nvml") or function in self.missing:
            raise AttributeError(function)

        def call(card: int, *arguments: int) -> Any:
            self.calls.append((function, card))
            if (function, card) in self.errors:
                raise NVMLError(self.errors[function, card])
            if (function, card) in self.answers:
                return self.answers[function, card]
            if function not in DEFAULTS:
                raise NVMLError(3)
            return DEFAULTS[function](card, *arguments)

        return call

    def asked(self, function: str) -> int:
        """How often any card was asked."""
        return sum(name == function for name, _card in self.calls)


DEFAULTS: dict[str, Callable[..., Any]] = {
    "nvmlDeviceGetHandleByIndex": lambda card: card,
    "nvmlDeviceGetUUID": lambda card: f"GPU-{card}",
    "nvmlDeviceGetName": lambda card: "NVIDIA GeForce RTX 3090",
    "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(total=24 * 2**30, used=8 * 2**30),
    "nvmlDeviceGetUtilizationRates": lambda card: SimpleNamespace(gpu=97, memory=40),
    "nvmlDeviceGetPowerUsage": lambda card: 312_400,
    "nvmlDeviceGetEnforcedPowerLimit": lambda card: 350_000,
    "nvmlDeviceGetTemperature": lambda card, sensor: 71,
    "nvmlDeviceGetClockInfo": lambda card, clock: 1695 + clock,
    "nvmlDeviceGetMaxClockInfo": lambda card, clock: 2099 + clock,
    "nvmlDeviceGetFanSpeed": lambda card: 62,
    "nvmlDeviceGetCurrPcieLinkGeneration": lambda card: 3,
    "nvmlDeviceGetMaxPcieLinkGeneration": lambda card: 4,
    "nvmlDeviceGetCurrPcieLinkWidth": lambda card: 8,
    "nvmlDeviceGetMaxPcieLinkWidth": lambda card: 16,
    "nvmlDeviceGetPcieThroughput": lambda card, counter: 1000 + 1000 * counter,
    "nvmlDeviceGetCurrentClocksEventReasons": lambda card: 0x24,
    "nvmlDeviceGetTotalEccErrors": lambda card, kind, counter: 1 if kind else 12,
    "nvmlDeviceGetComputeRunningProcesses": lambda card: [SimpleNamespace(pid=812, usedGpuMemory=6 * 2**30)],
    "nvmlDeviceGetGraphicsRunningProcesses": lambda card: [],
    "nvmlDeviceGetProcessUtilization": lambda card, since: [SimpleNamespace(pid=812, timeStamp=since + 1, smUtil=55)],
}
