"""Systems without `/proc` (macOS), through psutil."""

from __future__ import annotations

from typing import Any

import psutil

from tui.hardware.reading import attempt
from tui.hardware.sample import Memory, Power


def times(cores: bool) -> tuple[int | None, dict[str, list[int]]]:
    """Logical processors, and hundredths of seconds as in `/proc/stat`: `cpu`, and where wanted `cpu0` ….

    User, nice, system and idle come first, as there.
    """
    found: dict[str, list[int]] = {}
    whole: Any = attempt(psutil.cpu_times)
    each: Any = (attempt(lambda: psutil.cpu_times(percpu=True)) or []) if cores else []
    for name, item in [("cpu", whole), *((f"cpu{index}", item) for index, item in enumerate(each))]:
        if item is not None:
            found[name] = [round(100 * value) for value in (item.user, getattr(item, "nice", 0.0), item.system, item.idle)]
    return attempt(psutil.cpu_count), found


def physical() -> int | None:
    """Cores without their hyper-threads."""
    return attempt(lambda: psutil.cpu_count(logical=False))


def frequency() -> tuple[float | None, float | None]:
    """MHz now, and at most."""
    found = attempt(psutil.cpu_freq)
    if not found:
        return None, None
    return round(found.current) or None, round(found.max) or None


def memory() -> tuple[Memory, tuple[int, int] | None]:
    """Memory and swap, and the bytes read from and written to swap since the start."""
    main: Any = attempt(psutil.virtual_memory)
    swap: Any = attempt(psutil.swap_memory)
    found = Memory(
        total=main.total if main else None,
        used=max(0, main.total - main.available) if main else None,
        available=main.available if main else None,
        swap_total=swap.total if swap else None,
        swap_used=swap.used if swap else None,
    )
    return found, (swap.sin, swap.sout) if swap else None


def network() -> dict[str, tuple[int, int]]:
    """Bytes received and sent by interface."""
    counters: Any = attempt(lambda: psutil.net_io_counters(pernic=True, nowrap=True)) or {}
    return {name: (item.bytes_recv, item.bytes_sent) for name, item in counters.items() if not name.startswith("lo")}


def power() -> Power | None:
    """The battery, where there is one."""
    read = getattr(psutil, "sensors_battery", None)
    found: Any = attempt(read) if read else None
    if not found:
        return None
    plugged = found.power_plugged
    return Power(None if plugged is None else not plugged, min(100.0, max(0.0, round(found.percent, 1))))
