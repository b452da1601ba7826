"""Where a model would go on a machine: on one GPU, split over several, partly on the CPU, and what that means in a word.

Section 6.4 of the Ollama reference; a server may decide otherwise, so this is an estimate and is shown as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

from tui.core.fit_need import CONTEXT_OVERHEAD, MARGIN, SERVED, Need, Served
from tui.core.fit_speed import Pace, expected_rate
from tui.core.record import record

RAM_SHARE: Final = 0.9
"""Share of free main memory that a model may take."""
UNIFIED_SHARE: Final = 0.75
"""Share of main memory that a GPU without memory of its own may take, where the system tells no limit."""
ALONE: Final = 0.8
"""Share of a GPU's free memory up to which a model is put on it beside others (section 5.5)."""
CLOSE: Final = 0.95
"""Share of what is free from which on it is tight; `CLOSE_RAM` of main memory."""
CLOSE_RAM: Final = 0.9


class Verdict(StrEnum):
    """What fits, in one word."""

    LOADED = "loaded"
    GOOD = "good"
    TIGHT = "tight"
    AFTER_UNLOAD = "after unload"
    SLOW = "slow"
    NO = "no"
    UNKNOWN = "unknown"


FITTING: Final = (Verdict.LOADED, Verdict.GOOD, Verdict.TIGHT)
"""Verdicts that need nobody to do anything."""


@record(frozen=True)
class Card:
    """The memory of one GPU in bytes; `ours` of what is used is of models that an unload would end."""

    total: int
    free: int
    ours: int = 0
    name: str = ""


@record(frozen=True)
class Machine:
    """Memory of this machine in bytes.

    Attributes:
        gpu_total: Of all GPUs together; 0 where there is none.
        gpu_ours: Part of the used GPU memory that models of ours hold and an unload would free.
        cards: Each GPU; empty: they are taken as equal parts of the whole.
        unified: The GPUs' memory is main memory.
    """

    ram_total: int
    ram_free: int
    gpu_total: int = 0
    gpu_free: int = 0
    gpus: int = 0
    gpu_ours: int = 0
    cards: tuple[Card, ...] = ()
    unified: bool = False

    def each(self) -> tuple[Card, ...]:
        """The GPUs one by one."""
        if self.cards or not self.gpus:
            return self.cards
        part = self.gpus
        return (Card(self.gpu_total // part, self.gpu_free // part, self.gpu_ours // part),) * part


@record(frozen=True)
class Placement:
    """Where the parts of a model go.

    Attributes:
        gpu: Bytes on each GPU, in the order of the machine's.
        ram: Bytes in main memory.
        layers: How many of its layers are on GPUs; None where their number is not known.
        whole: All of it is on GPUs.
    """

    gpu: tuple[int, ...] = ()
    ram: int = 0
    layers: int | None = None
    whole: bool = False


@record(frozen=True)
class Fit:
    """The verdict and what is behind it.

    Attributes:
        over: Bytes that are missing where it does not fit.
        cpu_share: Of the model that the processor works on, 0 to 1.
        rate: Tokens a second to expect, None where nothing tells.
        measured_rate: `rate` is of answers of this model on this machine.
        placement: Where it would go; None where it does not fit, or is loaded.
    """

    verdict: Verdict
    need: Need | None = None
    over: int = 0
    cpu_share: float = 0.0
    rate: float | None = None
    measured_rate: bool = False
    placement: Placement | None = None


def place(need: Need, free: Sequence[int], served: Served = SERVED, *, cap: int | None = None) -> Placement:
    """Put a model on GPUs with so many bytes free: on one alone where it has room, else on all, else the rest in main memory.

    Args:
        need: What it needs.
        free: Of each GPU.
        served: How the server runs it.
        cap: The most layers that go to GPUs (`num_gpu`), the output with the last; None: as many as fit.
    """
    total, margin = need.total, served.margin
    body = total - need.compute
    if cap is None:
        room = [max(0, bytes_free - margin) for bytes_free in free]
        alone = _one(total, free, room)
        if alone is not None:
            return Placement(tuple(total if at == alone else 0 for at in range(len(free))), need.ram, need.layers or None, True)
    room = [max(0, bytes_free - margin - need.compute) for bytes_free in free]
    if not need.layers:
        on_gpu = _shared(min(body, sum(room)), room)
        whole = sum(room) >= body and bool(room) and cap is None
        return Placement(_with_buffers(on_gpu, need), need.ram + (0 if whole else body - sum(on_gpu)), None, whole)
    fixed = need.output + need.projector
    layer = max(1, (body - fixed) // need.layers)
    first = max(range(len(room)), key=lambda at: room[at], default=None)
    if first is not None and room[first] >= fixed:
        room[first] -= fixed  # the output and the projector are with the last layers
        tail = [fixed if at == first else 0 for at in range(len(room))]
    else:
        tail = [0] * len(room)
    counts = [amount // layer for amount in room]
    fitting = min(sum(counts), need.layers if cap is None else min(cap, need.layers))
    whole = fitting == need.layers and (not fixed or any(tail))
    parts = _dealt(fitting, counts)
    on_gpu = tuple(part * layer + (extra if whole else 0) for part, extra in zip(parts, tail, strict=True))
    rest = 0 if whole else max(0, body - sum(on_gpu))
    return Placement(_with_buffers(on_gpu, need), need.ram + rest, fitting, whole)


def _one(total: int, free: Sequence[int], room: Sequence[int]) -> int | None:
    """The GPU that takes all of it: the emptiest, if it has enough room."""
    if not free:
        return None
    best = max(range(len(free)), key=lambda at: free[at])
    limit = room[best] if len(free) == 1 else min(room[best], int(ALONE * free[best]))
    return best if total <= limit else None


def _shared(total: int, room: Sequence[int]) -> tuple[int, ...]:
    whole = sum(room)
    return tuple(int(total * part / whole) for part in room) if whole else (0,) * len(room)


def _dealt(layers: int, most: Sequence[int]) -> tuple[int, ...]:
    """Layers over GPUs in proportion to what each can hold."""
    whole = sum(most)
    if not whole:
        return (0,) * len(most)
    given = [min(held, layers * held // whole) for held in most]
    for at in sorted(range(len(most)), key=lambda at: most[at] - given[at], reverse=True):
        more = min(most[at] - given[at], layers - sum(given))
        given[at] += max(0, more)
    return tuple(given)


def _with_buffers(on_gpu: Sequence[int], need: Need) -> tuple[int, ...]:
    return tuple(size + need.compute if size else 0 for size in on_gpu)


def judge(need: Need, machine: Machine, served: Served = SERVED, *, loaded: bool = False, pace: Pace | None = None) -> Fit:
    """What the need means on a machine.

    Args:
        need: Of the model.
        machine: As it is now.
        served: How the server runs it.
        loaded: It is in memory now.
        pace: How fast the machine reads memory, for the speed to expect.
    """
    if loaded:
        return Fit(Verdict.LOADED, need)
    ram = int(machine.ram_free * RAM_SHARE)
    if not machine.gpus:
        rate = expected_rate(need, 1.0, pace)
        placed = Placement((), need.whole, 0 if need.layers else None)
        if need.whole <= ram:
            verdict = Verdict.GOOD if need.whole <= CLOSE_RAM * ram else Verdict.TIGHT
            return Fit(verdict, need, cpu_share=1.0, rate=rate, placement=placed)
        return Fit(Verdict.NO, need, over=need.whole - ram, cpu_share=1.0)
    cards, margin = machine.each(), served.margin
    if len(cards) == 1 and (total := need.total) + margin <= cards[0].free and need.ram <= ram:  # the usual case, without detours
        verdict = Verdict.GOOD if total + margin <= CLOSE * cards[0].free else Verdict.TIGHT
        placed = Placement((total,), need.ram, need.layers or None, True)
        return Fit(verdict, need, rate=expected_rate(need, 0.0, pace), placement=placed)
    now = place(need, [card.free for card in cards], served)
    if now.whole and need.ram <= ram:
        verdict = Verdict.GOOD if _easy(need, now, cards, margin) else Verdict.TIGHT
        return Fit(verdict, need, rate=expected_rate(need, 0.0, pace), placement=now)
    later = place(need, [card.free + card.ours for card in cards], served) if any(card.ours for card in cards) else now
    if later.whole and need.ram <= ram:
        return Fit(Verdict.AFTER_UNLOAD, need, rate=expected_rate(need, 0.0, pace), placement=later)
    over = later.ram - max(0, ram - sum(later.gpu)) if machine.unified else later.ram - ram
    if over <= 0:
        share = min(1.0, later.ram / max(1, need.whole))
        return Fit(Verdict.SLOW, need, cpu_share=share, rate=expected_rate(need, share, pace), placement=later)
    return Fit(Verdict.NO, need, over=over)


def freed(machine: Machine, ours: int) -> Machine:
    """The machine once models of so many bytes on its GPUs are unloaded."""
    held = machine.gpu_ours
    if ours <= 0 or held <= 0:
        return machine
    cards = tuple(
        replace(card, free=card.free + min(card.ours, ours * card.ours // held), ours=max(0, card.ours - ours * card.ours // held))
        for card in machine.each()
    )
    free = sum(card.free for card in cards)
    return replace(machine, gpu_free=free, gpu_ours=sum(card.ours for card in cards), cards=cards)


def _easy(need: Need, placed: Placement, cards: Sequence[Card], margin: int) -> bool:
    """Whether some room is left on the GPUs that are used."""
    used = [at for at, size in enumerate(placed.gpu) if size]
    taken = need.total + margin if len(used) == 1 else sum(placed.gpu[at] + margin for at in used)
    return taken <= CLOSE * sum(cards[at].free for at in used)


def largest_parameters(machine: Machine) -> int:
    """About how many parameters (in billions) at 4 bit fit well: 0.6 GB a billion, and room for 8k of context."""
    margin = (MARGIN + CONTEXT_OVERHEAD) * machine.gpus
    room = machine.gpu_total - margin if machine.gpus else int(machine.ram_total * 0.7)
    return max(0, int((room - 1_500_000_000) / 600_000_000))
