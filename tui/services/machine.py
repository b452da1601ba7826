"""This machine's memory as the estimates of what fits need it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from tui.core.fit import Machine
from tui.core.models import Location, ProviderState, RunningModel

if TYPE_CHECKING:
    from tui.hardware.sample import Sample

STEP: Final = 100_000_000
"""Bytes that free memory is told in, so that verdicts do not flicker."""


def _step(value: float | None) -> int:
    return int((value or 0) // STEP) * STEP


def machine_of(sample: Sample | None, providers: Iterable[ProviderState], running: Iterable[RunningModel]) -> Machine | None:
    """The memory of the newest sample; None before the first."""
    if sample is None or not sample.memory.total:
        return None
    gpus = [gpu for gpu in sample.gpus if gpu.memory_total and not gpu.lost]
    here = {state.name for state in providers if state.location is Location.HERE}
    ours = sum(model.vram or 0 for model in running if model.provider in here)
    total = sum(gpu.memory_total or 0 for gpu in gpus)
    free = sum((gpu.memory_total or 0) - (gpu.memory_used or 0) for gpu in gpus)
    ram = sample.memory.total
    return Machine(
        ram_total=ram,
        ram_free=_step(ram - (sample.memory.used or 0)),
        gpu_total=total,
        gpu_free=_step(free),
        gpus=len(gpus),
        gpu_ours=_step(min(ours, max(0, total - free))),
    )
