"""Whose memory it is: of each GPU, and of the machine. Pure.

The parts of a map add up to its `used`. For main memory that is what is in use and, beside it, the files of models on the processor
that are mapped: the kernel calls those cache, but a model without them is slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tui.core.models import ModelKey, RunningModel
from tui.core.monitor import RAM, MemoryMap, MemoryPart
from tui.hardware.sample import Gpu, MachineProcess, Sample
from tui.services.monitor.joining import Join

MOST_PROCESSES: Final = 12
"""Processes shown of each memory; smaller ones are in `rest`."""
LEAST: Final = 1_000_000
"""Bytes from which something is a part."""


def memory_maps(sample: Sample, joins: Mapping[ModelKey, Join], models: Sequence[RunningModel]) -> tuple[MemoryMap, ...]:
    """Whose memory it is: GPUs in their order, then main memory. A GPU whose memory is the machine's has no map of its own."""
    found = [_of_gpu(gpu, joins, models) for gpu in sample.gpus if gpu.memory_total and not gpu.lost and not gpu.unified]
    if sample.memory.total:
        found.append(_of_machine(sample, joins, models))
    return tuple(found)


def _of_gpu(gpu: Gpu, joins: Mapping[ModelKey, Join], models: Sequence[RunningModel]) -> MemoryMap:
    total = gpu.memory_total or 0
    used = _within(gpu.memory_used or 0, total)
    ours = [
        MemoryPart("model", model.name, model.provider, join.gpus[gpu.uuid], join.about)
        for model, join in _joined(joins, models)
        if join.gpus.get(gpu.uuid)
    ]
    pids = {pid for _model, join in _joined(joins, models) if join.gpus.get(gpu.uuid) for pid in join.pids | join.guessed}
    left = [process for process in gpu.processes if process.pid not in pids]
    others = [MemoryPart("process", one.name, one.user, one.memory or 0, pid=one.pid) for one in left if one.name]
    unseen = [process for process in left if not process.name]
    hidden = sum(process.memory or 0 for process in unseen)
    return MemoryMap(gpu.uuid, f"GPU{gpu.index}", total, used, _fitted(used, ours, _largest(others), hidden, len(unseen)))


def _of_machine(sample: Sample, joins: Mapping[ModelKey, Join], models: Sequence[RunningModel]) -> MemoryMap:
    total = sample.memory.total or 0
    unified = any(gpu.unified for gpu in sample.gpus)
    ours, mapped = [], 0
    pids: set[int] = set()
    for model, join in _joined(joins, models):
        pids |= join.pids
        extra = 0 if unified else _on_processor(model, join)
        size = join.ram + extra
        if unified:  # what is on the GPU is in no process's own memory
            size = max(size, model.size or 0, join.ram + sum(join.gpus.values()))
        mapped += extra
        if size >= LEAST:
            ours.append(MemoryPart("model", model.name, model.provider, size, join.about_ram or bool(extra) or unified))
    if sample.memory.cache is not None:
        mapped = min(mapped, sample.memory.cache)
    used = _within((sample.memory.used or 0) + mapped, total)
    others = [MemoryPart("process", one.name, one.user, one.memory, pid=one.pid) for one in _not(sample.processes, pids)]
    return MemoryMap(RAM, "RAM", total, used, _fitted(used, ours, _largest(others), 0, sample.hidden_processes))


def _on_processor(model: RunningModel, join: Join) -> int:
    """Bytes of its mapped files that it works from; those of what is on a GPU are only left over from loading."""
    if model.size is not None and model.vram is not None:
        return min(join.mapped, max(0, model.size - model.vram))
    return 0 if join.gpus else join.mapped


def _joined(joins: Mapping[ModelKey, Join], models: Sequence[RunningModel]) -> Iterable[tuple[RunningModel, Join]]:
    return [(model, joins[model.provider, model.key]) for model in models if (model.provider, model.key) in joins]


def _not(found: Iterable[MachineProcess], pids: set[int]) -> list[MachineProcess]:
    return [process for process in found if process.pid not in pids]


def _within(value: int, total: int) -> int:
    return min(max(0, value), max(0, total))


def _largest(parts: Sequence[MemoryPart]) -> list[MemoryPart]:
    shown = sorted((part for part in parts if part.size >= LEAST), key=lambda part: (-part.size, part.pid))
    return shown[:MOST_PROCESSES]


def _fitted(used: int, models: Sequence[MemoryPart], processes: Sequence[MemoryPart], hidden: int, count: int) -> tuple[MemoryPart, ...]:
    """All parts, never more than is used: what is certain comes first, what does not fit is cut and then is `about`."""
    left = used
    sizes: dict[int, tuple[int, bool]] = {}
    ordered = [*sorted(models, key=lambda part: -part.size), *processes]
    for part in sorted(ordered, key=lambda part: part.about):
        size = min(max(0, part.size), left)
        left -= size
        sizes[id(part)] = (size, part.about or size < part.size)
    found = []
    for part in ordered:
        size, about = sizes[id(part)]
        if size:
            found.append(MemoryPart(part.kind, part.name, part.who, size, about, part.pid))
    if count > 0:
        size = min(max(0, hidden), left)
        left -= size
        found.append(MemoryPart("hidden", "", "", size, size < hidden, count=count))
    if left > 0:
        found.append(MemoryPart("rest", "", "", left))
    return tuple(found)
