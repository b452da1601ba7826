"""How many tokens a second to expect: each one reads the active weights once, at the speed of the memory they are in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from tui.core.fit_need import Need
from tui.core.record import record

GPU_USE: Final = 0.6
"""Share of a GPU's memory bandwidth that writing reaches."""
RAM_PACE: Final = 35e9
"""Bytes a second read from main memory where nothing was measured: two channels of DDR4."""
PER_TOKEN: Final = 0.0005
"""Seconds a token takes beside reading."""
_GB: Final[dict[str, int]] = {
    "5090": 1792, "5080": 960, "5070 ti": 896, "5070": 672, "5060 ti": 448, "5060": 448, "4090": 1008, "4080 super": 736, "4080": 717,
    "4070 ti super": 672, "4070 ti": 504, "4070 super": 504, "4070": 504, "4060 ti": 288, "4060": 272, "3090 ti": 1008, "3090": 936,
    "3080 ti": 912, "3080": 760, "3070 ti": 608, "3070": 448, "3060 ti": 448, "3060": 360, "3050": 224, "2080 ti": 616, "2080": 448,
    "2070": 448, "2060": 336, "1660 ti": 288, "1660 super": 336, "1660": 192, "1650": 128, "1080 ti": 484, "1080": 320, "1070": 256,
    "1060": 192, "1050 ti": 112, "h200": 4800, "h100 pcie": 2000, "h100": 3350, "a100": 1555, "a30": 933, "a10g": 600, "a10": 600,
    "a40": 696, "l40": 864, "l4": 300, "t4": 320, "p100": 732, "p40": 346, "v100": 900, "a6000": 768, "a5000": 768, "a4000": 448,
    "6000 ada": 960, "mi300x": 5300, "mi210": 1600, "7900 xtx": 960, "7900 xt": 800, "7900 gre": 576, "7800 xt": 624, "7700 xt": 432,
    "7600": 288, "9070 xt": 640, "9070": 640, "6950 xt": 576, "6900 xt": 512, "6800 xt": 512, "6800": 512, "6700 xt": 384,
    "6600 xt": 256, "6600": 224, "a770": 560, "a750": 512, "a380": 186, "b580": 456, "b570": 380, "m1 ultra": 800, "m1 max": 400,
    "m1 pro": 200, "m1": 68, "m2 ultra": 800, "m2 max": 400, "m2 pro": 200, "m2": 100, "m3 ultra": 819, "m3 max": 400, "m3 pro": 150,
    "m3": 100, "m4 max": 546, "m4 pro": 273, "m4": 120,
}  # fmt: skip
"""Bandwidth of the memory of GPUs in GB a second, by what their names hold."""


@record(frozen=True)
class Pace:
    """Bytes a second that writing reads from GPU and main memory; None where nothing tells. `measured`: from answers here."""

    gpu: float | None = None
    ram: float | None = RAM_PACE
    measured: bool = False


@record(frozen=True)
class Ran:
    """An answer that was measured: tokens a second, and the bytes read for each token from GPU and main memory."""

    rate: float
    gpu: float
    ram: float


def bandwidth_of(name: str) -> float | None:
    """Bytes a second of a GPU's memory, by its name; None for one that is not known."""
    words = " ".join(re.findall(r"[a-z0-9]+", name.lower().replace("ti", " ti"))) if name else ""
    best = max((known for known in _GB if re.search(rf"(?:\A|\s|[a-z]{{2}}){known}(?:\s|\Z|[a-z]{{3}})", words)), key=len, default="")
    return _GB[best] * 1e9 if best else None


def pace_of(names: Iterable[str], ran: Iterable[Ran] = ()) -> Pace:
    """How fast this machine reads: by answers that were measured on it, else by the names of its GPUs."""
    told = list(ran)
    known = [speed for name in names if (speed := bandwidth_of(name)) is not None]
    gpu = min(known) * GPU_USE if known else None
    whole = [one.rate * one.gpu for one in told if one.gpu and one.ram <= 0.02 * one.gpu]
    if whole:
        gpu = _median(whole)
    ram, measured = RAM_PACE, bool(whole)
    mixed = [one.ram / left for one in told if (left := _left(one, gpu)) > 0 and one.ram > 0.02 * one.gpu]
    if mixed:
        ram, measured = _median(mixed), True
    return Pace(gpu, ram, measured)


def _median(values: Sequence[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _left(one: Ran, gpu: float | None) -> float:
    """Seconds of a token that main memory takes; 0 where that cannot be told."""
    if not one.rate or (one.gpu and not gpu):
        return 0.0
    return 1 / one.rate - (one.gpu / gpu if gpu else 0.0)


def expected_rate(need: Need, cpu_share: float, pace: Pace | None) -> float | None:
    """Tokens a second with so much of the model on the processor; None where nothing tells."""
    if pace is None or not need.weights:
        return None
    read = need.active * (need.weights + need.ram if cpu_share else need.weights)
    on_cpu, on_gpu = read * cpu_share, read * (1 - cpu_share)
    if (on_cpu and not pace.ram) or (on_gpu and not pace.gpu):
        return None
    seconds = PER_TOKEN + (on_cpu / pace.ram if pace.ram else 0.0) + (on_gpu / pace.gpu if pace.gpu else 0.0)
    return 1 / seconds
