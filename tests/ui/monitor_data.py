"""The wireframe's world for tests of the Monitor: one machine, its models, alerts, and variations."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

from tests.support.fake_services import FakeServices
from tui.core.models import Endpoint, Location, Model, Origin, ProviderState, ProviderStatus, RunningModel
from tui.core.monitor import (
    RAM,
    Alert,
    AlertsView,
    Check,
    Enforcement,
    Loaded,
    MemoryMap,
    MemoryPart,
    ServerFigures,
    SlowView,
)
from tui.hardware.sample import Cgroup, Cpu, Disk, Gpu, GpuProcess, MachineProcess, Memory, Network, Sample
from tui.services.api import MonitorView
from tui.ui.screens.monitor import MonitorScreen

__all__ = ["AT", "GPU", "SAMPLE", "MonitorScreen", "alerts", "fill", "gpus_of", "loaded", "maps", "provider", "slow"]

GB = 1_000_000_000
AT = time.mktime((2026, 11, 21, 12, 31, 21, 0, 0, -1))
GPU = Gpu(
    "GPU-1", 0, "NVIDIA GeForce RTX 3090", 97.0, 24 * GB, 13_500_000_000, 71.0, 312.0, 350.0, 1860.0, 9500.0,
    (GpuProcess(812, 6_800_000_000, 95.0, "ollama", "ollama"), GpuProcess(4711, 5_900_000_000, 2.0, "python", "alice")),
    source="NVML", fan=62.0, clock_max=2100.0, pcie_generation=3, pcie_generation_max=4, pcie_width=8, pcie_width_max=16,
    memory_percent=44.0, ecc_corrected=0, ecc_uncorrected=0,
)  # fmt: skip
SAMPLE = Sample(
    AT,
    1.0,
    Cpu(34.0, (), (2.7, 2.0, 1.5), 3600.0, 61.0, 8, 4, 4200.0, 0.0),
    Memory(31_200_000_000, 12_800_000_000, 8 * GB, 0, 18_400_000_000, 9_100_000_000),
    (Disk("/var/lib", 1000 * GB, 710 * GB, 290 * GB, 12e6, 38e6),),
    Network(39e6, 0.6e6),
    (GPU,),
    processes=(MachineProcess(4711, "python", "alice", 5_900_000_000, 103.0), MachineProcess(812, "ollama", "ollama", 1_200_000_000, 12.0)),
)
CGROUP = Cgroup(2, 4 * GB, 1_200_000_000, 2.5, 71.0)


def provider(name: str, location: Location = Location.HERE, url: str = "http://127.0.0.1:11434") -> ProviderState:
    return ProviderState(Endpoint(name, "ollama", url), Origin.CONFIG, ProviderStatus.UP, location=location)


def loaded(now: float) -> tuple[Loaded, ...]:
    return (
        Loaded(
            RunningModel("ollama", "qwen3:8b", "qwen3:8b", 6_800_000_000, 6_800_000_000, 4096, 40960, now + 252.5, busy_slots=1),
            here=True, cards="GPU0", rate=48.2, running=1,
        ),
        Loaded(
            RunningModel("ollama", "nomic-embed-text", "nomic-embed-text:latest", 300_000_000, 300_000_000, 2048, 2048, now + 65.5),
            here=True, cards="GPU0",
        ),
    )  # fmt: skip


def maps() -> tuple[MemoryMap, ...]:
    return (
        MemoryMap(
            "GPU-1", "GPU0", 24 * GB, 13_500_000_000,
            (
                MemoryPart("model", "qwen3:8b", "ollama", 6_800_000_000),
                MemoryPart("model", "nomic-embed-text", "ollama", 300_000_000, about=True),
                MemoryPart("process", "python", "alice", 5_900_000_000, pid=4711),
                MemoryPart("rest", "", "", 500_000_000),
            ),
        ),
        MemoryMap(RAM, "RAM", 31_200_000_000, 12_800_000_000, (MemoryPart("rest", "", "", 12_800_000_000),)),
    )  # fmt: skip


def alerts() -> AlertsView:
    hot = Alert(7, "gpu_temperature", "GPU0", 86.0, 85.0, AT - 112, culprit="while qwen3:8b wrote")
    full = Alert(6, "vram", "GPU0", 97.0, 95.0, AT - 1640, AT - 1609)
    return AlertsView((hot,), (full,), keeper="this window")


def gpus_of(count: int) -> tuple[Gpu, ...]:
    return tuple(replace(GPU, uuid=f"GPU-{index}", index=index, percent=float(index)) for index in range(count))


def slow() -> SlowView:
    return SlowView(
        "ollama",
        "qwen3:8b",
        (
            Check("offload", "cause", "all of it on the GPU", "38 % of it (2.6 GB) on the CPU", "Load it with a context of 4k."),
            Check("swap", "fine", "no swapping", "0 MB/s"),
            Check("power", "unknown", "mains and profile", "this machine does not tell"),
        ),
        1.0,
    )


def fill(fake: FakeServices, sample: Sample = SAMPLE, tick: int = 120, *, gpus: int = 1, **changes: Any) -> None:
    if gpus != 1:
        sample = replace(sample, gpus=gpus_of(gpus))
    wave = [50 + 40 * math.sin(index / 7) for index in range(600)]
    for gpu in sample.gpus:
        for what in ("", ":memory", ":temperature", ":fan"):
            fake.monitor.values[f"gpu:{gpu.uuid}{what}"] = list(wave)
        fake.monitor.values[f"gpu:{gpu.uuid}:power"] = [300.0] * 600
        fake.monitor.values[f"gpu:{gpu.uuid}:clock"] = [1860.0] * 600
    fake.monitor.values |= {"cpu": list(wave), "memory": [41.0] * 600, "swap": [0.0] * 600}
    for name in ("disk_read", "disk_write", "net_in", "net_out"):
        fake.monitor.values[name] = [value * 1e6 for value in wave]
    fake.registry.providers.set((provider("ollama"),))
    found = loaded(time.time())
    fake.registry.running.set(tuple(one.model for one in found))
    fake.registry.models.set(
        (
            Model("ollama", "qwen3:8b", "qwen3:8b"),
            Model("ollama", "phi4:14b", "phi4:14b", 9_100_000_000, context=16384),
            Model("ollama", "gemma3:27b", "gemma3:27b", 17_000_000_000, context=131072),
        )
    )
    fake.monitor.loaded.set(found)
    fake.monitor.maps.set(maps())
    fake.monitor.alerts.set(alerts())
    fake.monitor.enforced.set((Enforcement(AT - 900, "unloaded", "phi4:14b", "memory pressure, 31 % of the time something waited"),))
    fake.monitor.latest.set(MonitorView(sample, 1.0, tick=tick, **changes))


FAR = ServerFigures("vllm-a", 1.0, "/metrics", 2, 1, 0.38, 212.0, 1400.0)
