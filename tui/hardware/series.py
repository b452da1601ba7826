"""The figures of a sample by name, as graphs and the history keep them, and the way back.

Names: cpu, cpu_temperature, cpu_pressure, load, frequency, core:0 …, memory, memory_used, cache, swap, swap_used, swap_in, swap_out,
memory_pressure, disk_read, disk_write, net_in, net_out, cgroup_memory, cgroup_cpu, and of each GPU `gpu:UUID` (its use) and
`gpu:UUID:memory` (percent), `:memory_used`, `:memory_percent`, `:temperature`, `:power`, `:fan`, `:clock`, `:memory_clock`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tui.hardware.sample import Gpu, Sample

Value = float | None
CORE: Final = "core:"
"""Begin of the names that are not kept longer than single samples are."""
_GPU_FIGURES: Final = ("memory_used", "memory_percent", "temperature", "power", "fan", "clock", "memory_clock")


def gpu_series(gpu: Gpu | str, what: str = "") -> str:
    """The name of a GPU's series: its use, or `memory`, `temperature`, …"""
    uuid = gpu if isinstance(gpu, str) else gpu.uuid
    return f"gpu:{uuid}:{what}" if what else f"gpu:{uuid}"


def _percent(part: float | None, whole: float | None) -> Value:
    return 100 * part / whole if whole and part is not None else None


def _total(*values: Value) -> Value:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def figures(sample: Sample) -> dict[str, Value]:
    """All figures of a sample."""
    cpu, memory, group = sample.cpu, sample.memory, sample.cgroup
    found: dict[str, Value] = {
        "cpu": cpu.percent,
        "cpu_temperature": cpu.temperature,
        "cpu_pressure": cpu.pressure,
        "load": cpu.load[0] if cpu.load else None,
        "frequency": cpu.frequency,
        "memory": _percent(memory.used, memory.total),
        "memory_used": memory.used,
        "cache": memory.cache,
        "memory_pressure": memory.pressure,
        "swap": _percent(memory.swap_used, memory.swap_total),
        "swap_used": memory.swap_used,
        "swap_in": memory.swap_in,
        "swap_out": memory.swap_out,
        "disk_read": _total(*(disk.read for disk in sample.disks)),
        "disk_write": _total(*(disk.write for disk in sample.disks)),
        "net_in": sample.network.received,
        "net_out": sample.network.sent,
    }
    if group is not None:
        found["cgroup_memory"] = _percent(group.memory_used, group.memory_limit)
        found["cgroup_cpu"] = group.cpu_percent
    for gpu in sample.gpus:
        found[gpu_series(gpu)] = gpu.percent
        found[gpu_series(gpu, "memory")] = _percent(gpu.memory_used, gpu.memory_total)
        for what in _GPU_FIGURES:
            found[gpu_series(gpu, what)] = getattr(gpu, what)
    for number, percent in enumerate(cpu.cores):
        found[f"{CORE}{number}"] = percent
    return found


def _whole(value: Value) -> int | None:
    return None if value is None else round(value)


def _gpu(like: Gpu, values: Mapping[str, Value]) -> Gpu:
    def told(what: str) -> Value:
        return values.get(gpu_series(like, what))

    return Gpu(
        like.uuid,
        like.index,
        like.name,
        source=like.source,
        percent=told(""),
        memory_total=like.memory_total,
        memory_used=_whole(told("memory_used")),
        memory_percent=told("memory_percent"),
        temperature=told("temperature"),
        power=told("power"),
        power_limit=like.power_limit,
        fan=told("fan"),
        clock=told("clock"),
        clock_max=like.clock_max,
        memory_clock=told("memory_clock"),
        unified=like.unified,
    )


def rebuilt(like: Sample, time: float, values: Mapping[str, Value]) -> Sample:
    """A sample of an earlier moment out of its figures: what the figures do not tell is unknown, names and totals are those of `like`."""
    get = values.get
    load = get("load")
    cores = tuple(get(f"{CORE}{number}") or 0.0 for number in range(len(like.cpu.cores)) if f"{CORE}{number}" in values)
    one = len(like.disks) == 1
    group = like.cgroup
    if group is not None:
        share = get("cgroup_memory")
        used = None if share is None or not group.memory_limit else round(share / 100 * group.memory_limit)
        group = replace(group, memory_used=used, cpu_percent=get("cgroup_cpu"))
    return Sample(
        time=time,
        cpu=replace(
            like.cpu,
            percent=get("cpu"),
            cores=cores,
            load=() if load is None else (load,),
            frequency=get("frequency"),
            temperature=get("cpu_temperature"),
            pressure=get("cpu_pressure"),
        ),
        memory=replace(
            like.memory,
            used=_whole(get("memory_used")),
            available=None,
            cache=_whole(get("cache")),
            swap_used=_whole(get("swap_used")),
            swap_in=get("swap_in"),
            swap_out=get("swap_out"),
            pressure=get("memory_pressure"),
            pressure_full=None,
        ),
        disks=tuple(replace(disk, read=get("disk_read") if one else None, write=get("disk_write") if one else None) for disk in like.disks),
        network=replace(like.network, received=get("net_in"), sent=get("net_out")),
        gpus=tuple(_gpu(gpu, values) for gpu in like.gpus),
        cgroup=group,
    )
