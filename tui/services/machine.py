"""This machine: which servers are on it, and its memory as the estimates of what fits need it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from tui.core.fit import Machine
from tui.core.models import Location, Origin, ProviderState, RunningModel

if TYPE_CHECKING:
    from tui.hardware.sample import Sample
    from tui.providers.ports import Holder
    from tui.services.limits import RegistrySide

STEP: Final = 100_000_000
"""Bytes that free memory is told in, so that verdicts do not flicker."""


def is_here(state: ProviderState, *, demo: bool = False) -> bool:
    """Whether a server runs on this machine; the demo's only where that is wanted."""
    return state.location is Location.HERE and (demo or state.origin is not Origin.DEMO)


def own_servers(watching: RegistrySide, *, demo: bool = False) -> tuple[list[Holder], int]:
    """Who holds the ports of the servers on this machine, and bytes of GPU memory that their models have."""
    names = {state.name for state in watching.providers.value if is_here(state, demo=demo)}
    watches = [watching.watch(name) for name in names]
    holders = [watch.holder for watch in watches if watch is not None and watch.holder is not None]
    return holders, sum(model.vram or 0 for model in watching.running.value if model.provider in names)


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
