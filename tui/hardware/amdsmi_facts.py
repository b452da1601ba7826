"""What AMD's own library (`amdsmi`) tells of a card beyond sysfs. It belongs to ROCm and is never installed with Paddock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any, Final

from tui.hardware.cadence import SLOW
from tui.hardware.nvml import whole, within, words
from tui.hardware.sample import Gpu

_AT_ONCE: Final = 2.0
"""Seconds that a round of questions may take before the library is not asked again."""


def load(clock: Callable[[], float] = time.monotonic, library: Any = None) -> Library | None:
    """The library, where it is installed and starts.

    Args:
        clock: Monotonic seconds.
        library: Stands in for it; for tests.
    """
    try:
        if library is None:
            library = import_module("amdsmi")
        library.amdsmi_init()
        handles = {str(library.amdsmi_get_gpu_device_bdf(handle)).lower(): handle for handle in library.amdsmi_get_processor_handles()}
    except Exception:  # not installed, or of another version than the driver: sysfs goes on alone
        return None
    return Library(library, handles, clock) if handles else None


class Library:
    """Completes what sysfs tells.

    Args:
        library: The module, started.
        handles: Its handles by the cards' places on the bus.
        clock: Monotonic seconds.
    """

    def __init__(self, library: Any, handles: dict[str, Any], clock: Callable[[], float]) -> None:
        self._library = library
        self._handles = handles
        self._clock = clock
        self._facts: dict[str, tuple[float, dict[str, Any]]] = {}

    def completed(self, gpu: Gpu, place: str) -> Gpu:
        """The same card, with what only the library tells; figures that sysfs has are not replaced."""
        handle = self._handles.get(place)
        if handle is None:
            return gpu
        asked_at, facts = self._facts.get(place, (float("-inf"), {}))
        now = self._clock()
        if now - asked_at >= SLOW:
            facts = self._ask(handle)
            self._facts[place] = (now, facts)
            if self._clock() - now > _AT_ONCE:
                del self._handles[place]
        lacking = {field: value for field, value in facts.items() if value is not None and getattr(gpu, field) is None}
        if facts["name"] and gpu.name.startswith("AMD GPU "):
            lacking["name"] = facts["name"]
        return replace(gpu, **lacking) if lacking else gpu

    def _ask(self, handle: Any) -> dict[str, Any]:
        power = self._answer("amdsmi_get_power_info", handle)
        use = self._answer("amdsmi_get_gpu_activity", handle)
        memory = self._answer("amdsmi_get_gpu_vram_usage", handle)
        errors = self._answer("amdsmi_get_gpu_total_ecc_count", handle)
        total, used = whole(memory.get("vram_total"), 1), whole(memory.get("vram_used"))
        sockets = (within(power.get(name), 1, 10_000) for name in ("current_socket_power", "average_socket_power"))
        return {
            "name": words(self._answer("amdsmi_get_gpu_asic_info", handle).get("market_name")),
            "power": next((watts for watts in sockets if watts is not None), None),
            "percent": within(use.get("gfx_activity"), 0, 100),
            "memory_percent": within(use.get("umc_activity"), 0, 100),
            "memory_total": None if total is None else total * 2**20,
            "memory_used": None if used is None else used * 2**20,
            "ecc_corrected": whole(errors.get("correctable_count")),
            "ecc_uncorrected": whole(errors.get("uncorrectable_count")),
        }

    def _answer(self, function: str, handle: Any) -> dict[str, Any]:
        try:
            found = getattr(self._library, function)(handle)
        except Exception:  # one question less
            return {}
        return found if isinstance(found, dict) else {}
