"""A measurement for people: what `paddock monitor --once` prints."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tui.cli.context import Context
from tui.cli.loaded import InMemory, Servers
from tui.cli.output import DASH, facts
from tui.core.alert_words import alert_sentence
from tui.core.monitor import Alert
from tui.hardware.sample import Cgroup, Cpu, Disk, Gpu, Sample
from tui.text import duration, tokens

PROCESSES: Final = 5
"""Of main memory; those of a GPU are all told."""
_GPU_PROCESSES: Final = 16

Row = tuple[str, str]


def percent(value: float | None) -> str:
    """`34%`, or a dash."""
    return DASH if value is None else f"{value:.0f}%"


def show(context: Context, sample: Sample, servers: Servers, alerts: Sequence[Alert]) -> None:
    """Print everything, one fact a line."""
    rows = [("cpu", _cpu(context, sample.cpu)), *_memory(context, sample)]
    if sample.cgroup is not None:
        rows.append(("cgroup", _cgroup(context, sample.cgroup)))
    rows += [("disk", _disk(context, disk)) for disk in sample.disks]
    rows.append(("network", f"in {context.rate(sample.network.received)}, out {context.rate(sample.network.sent)}"))
    power = sample.power
    if power is not None and (power.on_battery is not None or power.profile):
        where = "" if power.on_battery is None else "on battery" if power.on_battery else "on mains"
        charge = "" if power.battery is None else f"battery {percent(power.battery)}"
        rows.append(("power", _joined((where, charge, power.profile))))
    for gpu in sample.gpus:
        rows += _gpu(context, gpu)
    if sample.gpu_note:
        rows.append(("gpu", sample.gpu_note))
    for process in sample.processes[:PROCESSES]:
        rows.append(("process", f"{_who(process.name, process.user)}, {context.size(process.memory)}, pid {process.pid}"))
    if sample.hidden_processes:
        rows.append(("process", f"{sample.hidden_processes} that cannot be seen"))
    rows += [("loaded", _loaded(context, one)) for one in servers.models]
    if not servers.models and servers.answered:
        rows.append(("loaded", "nothing"))
    rows += [("server", failure.sentence()) for failure in servers.failures.values()]
    fahrenheit = context.settings.monitor.temperature_unit == "F"
    rows += [("alert", alert_sentence(alert, time.time(), fahrenheit=fahrenheit)) for alert in alerts]
    facts(rows)


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(part for part in parts if part)


def _heat(context: Context, celsius: float | None) -> str:
    if celsius is None:
        return ""
    return f"{celsius * 9 / 5 + 32:.0f} °F" if context.settings.monitor.temperature_unit == "F" else f"{celsius:.0f} °C"


def _cpu(context: Context, cpu: Cpu) -> str:
    count = "" if cpu.count is None else f"{cpu.count} processors"
    clock = "" if cpu.frequency is None else f"{cpu.frequency / 1000:.1f} GHz"
    load = f"load {' '.join(f'{value:.2f}' for value in cpu.load)}" if cpu.load else ""
    pressure = f"pressure {percent(cpu.pressure)}" if cpu.pressure else ""
    return _joined((percent(cpu.percent), count, clock, _heat(context, cpu.temperature), load, pressure))


def _memory(context: Context, sample: Sample) -> Iterator[Row]:
    memory = sample.memory
    cache = "" if memory.cache is None else f"cache {context.size(memory.cache)}"
    pressure = f"pressure {percent(memory.pressure)}" if memory.pressure else ""
    yield "memory", _joined((f"{context.size(memory.used)} of {context.size(memory.total)}", cache, pressure))
    if not memory.swap_total:
        yield "swap", "none"
        return
    moves = f"in {context.rate(memory.swap_in)}, out {context.rate(memory.swap_out)}" if memory.swap_in or memory.swap_out else ""
    yield "swap", _joined((f"{context.size(memory.swap_used)} of {context.size(memory.swap_total)}", moves))


def _cgroup(context: Context, group: Cgroup) -> str:
    room = "" if group.memory_limit is None else f"memory {context.size(group.memory_used)} of {context.size(group.memory_limit)}"
    work = "" if group.cpu_limit is None else f"CPU {percent(group.cpu_percent)} of {group.cpu_limit:g} processors"
    return _joined((f"v{group.version}", room, work))


def _disk(context: Context, disk: Disk) -> str:
    traffic = "" if disk.read is None else f", read {context.rate(disk.read)}, write {context.rate(disk.write)}"
    return f"{context.size(disk.free)} free of {context.size(disk.total)} ({disk.path}){traffic}"


def _gpu(context: Context, gpu: Gpu) -> Iterator[Row]:
    used = "" if gpu.memory_total is None else f"{context.size(gpu.memory_used)} of {context.size(gpu.memory_total)}"
    limit = "" if gpu.power_limit is None else f" of {gpu.power_limit:.0f}"
    power = "" if gpu.power is None else f"{gpu.power:.0f}{limit} W"
    slowed = f"throttled ({', '.join(gpu.throttle)})" if gpu.throttle else ""
    unified = "shares main memory" if gpu.unified else ""
    name = _joined((gpu.name, gpu.source))
    words = _joined((percent(gpu.percent), used, _heat(context, gpu.temperature), power, unified, slowed, gpu.note))
    yield f"gpu {gpu.index}", f"{words} ({name})" if name else words
    for process in gpu.processes[:_GPU_PROCESSES]:
        yield "", f"{_who(process.name, process.user)}, {context.size(process.memory)}, pid {process.pid}"
    more = gpu.hidden + max(0, len(gpu.processes) - _GPU_PROCESSES)
    if more:
        yield "", f"{more} more, or processes that cannot be seen" if len(gpu.processes) > _GPU_PROCESSES else f"{more} that cannot be seen"


def _who(name: str, user: str) -> str:
    return f"{name or 'a process'} of {user}" if user else name or "a process"


def on_gpu(one: InMemory) -> str:
    """Where a model is, as far as its server tells."""
    model = one.model
    if model.vram is None or not model.size:
        return ""
    return (
        "on the CPU" if not model.vram else "on the GPU" if model.vram >= model.size else f"{100 * model.vram / model.size:.0f}% on the GPU"
    )


def _loaded(context: Context, one: InMemory) -> str:
    model = one.model
    size = "" if model.size is None else context.size(model.size)
    room = "" if model.context is None else f"context {tokens(model.context)}"
    rate = "" if not one.rate else f"{one.rate:.1f} tokens/s"
    waiting = f"{one.waiting} waiting" if one.waiting else ""
    leaves = "" if model.pinned or model.expires_at is None else f"unloads in {duration(max(0.0, model.expires_at - time.time()))}"
    return _joined((f"{model.name} on {model.provider}", size, on_gpu(one), room, rate, waiting, leaves))
