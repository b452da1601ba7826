"""This machine: which servers are on it, and its memory as the estimates of what fits need it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from tui.core.fit import UNIFIED_SHARE, Card, Machine
from tui.core.models import Location, Origin, ProviderState, RunningModel
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.hardware.sample import Gpu, Sample
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
    ram = sample.memory.total
    gpus = [gpu for gpu in sample.gpus if gpu.memory_total and not gpu.lost]
    here = {state.name for state in providers if state.location is Location.HERE}
    ours = sum(model.vram or 0 for model in running if model.provider in here)
    unified = bool(gpus) and all(gpu.unified for gpu in gpus)
    cards = _cards(gpus, ours, int(UNIFIED_SHARE * ram) if unified else None)
    return Machine(
        ram_total=ram,
        ram_free=_step(ram - (sample.memory.used or 0)),
        gpu_total=sum(card.total for card in cards),
        gpu_free=sum(card.free for card in cards),
        gpus=len(cards),
        gpu_ours=sum(card.ours for card in cards),
        cards=cards,
        unified=unified,
    )


def _cards(gpus: Sequence[Gpu], ours: int, most: int | None) -> tuple[Card, ...]:
    """Each GPU, with its part of what our models hold, by what is used of it; of main memory a GPU takes no more than `most`."""
    used = [gpu.memory_used or 0 for gpu in gpus]
    ours = min(ours, sum(used))
    found = []
    for gpu, taken in zip(gpus, used, strict=True):
        total = min(gpu.memory_total or 0, most) if most is not None else gpu.memory_total or 0
        own = ours * taken // max(1, sum(used))
        found.append(Card(total, _step(max(0, total - taken)), _step(own), clean_name(gpu.name, 60)))
    return tuple(found)
