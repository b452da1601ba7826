"""A stand-in for pynvml: two cards whose answers a test sets; may also be run as the module itself."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


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
            return self.answers.get((function, card), DEFAULTS[function](card, *arguments))

        return call


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
    "nvmlDeviceGetComputeRunningProcesses": lambda card: [SimpleNamespace(pid=812, usedGpuMemory=6 * 2**30)],
    "nvmlDeviceGetGraphicsRunningProcesses": lambda card: [],
}
