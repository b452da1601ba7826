"""The words of the Monitor screen: figures of a moment, memory of a GPU, loaded models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tui.core.models import RunningModel
from tui.core.record import record
from tui.hardware.sample import Gpu, Sample
from tui.hardware.series import gpu_series
from tui.text import clean_name, duration, size, tokens
from tui.ui.widgets.columns import Cell, Column

Value = float | None
MB = 1e6


@record(frozen=True)
class Meter:
    """One line of the screen.

    Attributes:
        key: Of the widget.
        label: At most five cells.
        value: Percent, or None where the line has none.
        context: The words at the right.
        values: Samples of the span, oldest first.
        fixed: The graph goes from 0 to 100.
    """

    key: str
    label: str
    value: Value
    context: str
    values: Sequence[Value]
    fixed: bool = True


@record(frozen=True)
class Moment:
    """What is shown: the newest sample, or one some steps back.

    Attributes:
        back: Samples before the newest; 0 is now.
        series: Name to the samples up to this moment.
        fahrenheit: Temperatures in °F.
        binary: Sizes in GiB.
    """

    sample: Sample
    back: int
    series: Callable[[str], Sequence[Value]]
    fahrenheit: bool = False
    binary: bool = False

    def figure(self, name: str, newest: Value) -> Value:
        """A figure of this moment; `newest` where it is now."""
        if not self.back:
            return newest
        values = self.series(name)
        return values[-1] if values else None


def bucketed(values: Sequence[Value], newest: int, count: int, span: int) -> list[Value]:
    """Averages for a graph of `count` dots; which samples share a dot never changes, so that the picture only moves on.

    Args:
        values: Oldest first.
        newest: Number of the last sample; grows by one with each.
        count: Dots across the graph.
        span: Samples the whole width stands for.
    """
    if count <= 0:
        return []
    first = newest - len(values) + 1
    found: list[Value] = []
    group: list[float] = []
    for number, value in enumerate(values, first):
        if value is not None and value == value:
            group.append(value)
        ended = (number + 1) * count // span - number * count // span
        if ended or number == newest:
            found.extend([sum(group) / len(group) if group else None] * max(1, ended))
            group = []
    return found


def degrees(value: Value, fahrenheit: bool) -> str:
    """`71 °C`, or nothing where unknown."""
    if value is None:
        return ""
    return f"{value * 9 / 5 + 32:.0f} °F" if fahrenheit else f"{value:.0f} °C"


def _together(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def _rate(value: Value) -> str:
    if value is None:
        return "–"
    value /= MB
    return f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}"


def _memory(moment: Moment) -> tuple[Meter, Meter | None]:
    memory = moment.sample.memory
    now = 100 * memory.used / memory.total if memory.total and memory.used is not None else None
    percent = moment.figure("memory", now)
    context = ""
    if memory.total and percent is not None:
        used = memory.used if not moment.back and memory.used is not None else percent / 100 * memory.total
        context = f"{_gb(used, moment.binary)} of {_gb(memory.total, moment.binary)} {_unit(moment.binary)}"
    swap_now = 100 * memory.swap_used / memory.swap_total if memory.swap_total and memory.swap_used is not None else None
    swap = moment.figure("swap", swap_now)
    swap_text = ""
    if memory.swap_total and swap is not None:
        swap_used = swap / 100 * memory.swap_total
        swap_text = f"swap {size(swap_used, binary=moment.binary)}" if swap_used >= MB else "swap 0"
    ram = Meter("ram", "RAM", percent, _together(context, swap_text), moment.series("memory"))
    if not memory.swap_total:
        return ram, None
    total = f"of {_gb(memory.swap_total, moment.binary)} {_unit(moment.binary)}"
    return ram, Meter("swap", "SWAP", swap, total, moment.series("swap"))


def _gb(value: float, binary: bool) -> str:
    return f"{value / (2**30 if binary else 1e9):.1f}"


def _unit(binary: bool) -> str:
    return "GiB" if binary else "GB"


def _sum(one: Sequence[Value], other: Sequence[Value]) -> list[Value]:
    return [a if b is None else b if a is None else a + b for a, b in zip(one, other, strict=False)]


def meters(moment: Moment) -> list[Meter]:
    """The lines of the machine, GPUs last."""
    sample = moment.sample
    cpu = sample.cpu
    now = not moment.back
    load = f"load {cpu.load[0]:.1f}" if cpu.load and now else ""
    cores = f"{len(cpu.cores)} cores" if cpu.cores else ""
    heat = degrees(cpu.temperature, moment.fahrenheit) if now else ""
    found = [Meter("cpu", "CPU", moment.figure("cpu", cpu.percent), _together(cores, load, heat), moment.series("cpu"))]
    ram, swap = _memory(moment)
    found.append(ram)
    if swap is not None:
        found.append(swap)
    if sample.disks:
        reads, writes = moment.series("disk_read"), moment.series("disk_write")
        read = moment.figure("disk_read", _total([disk.read for disk in sample.disks]))
        write = moment.figure("disk_write", _total([disk.write for disk in sample.disks]))
        full = "  ".join(f"{disk.path} {100 * disk.used / disk.total:.0f} % full" for disk in sample.disks[:2] if disk.total and disk.used)
        words = _together(f"r {_rate(read)}", f"w {_rate(write)} MB/s", full)
        found.append(Meter("disk", "DISK", None, words, _sum(reads, writes), fixed=False))
    into = moment.figure("net_in", sample.network.received)
    out = moment.figure("net_out", sample.network.sent)
    moved = _sum(moment.series("net_in"), moment.series("net_out"))
    found.append(Meter("net", "NET", None, f"in {_rate(into)}  out {_rate(out)} MB/s", moved, fixed=False))
    several = len(sample.gpus) > 1
    found.extend(_gpu(moment, gpu, several) for gpu in sample.gpus)
    return found


def _total(values: Sequence[Value]) -> Value:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def gpu_memory(moment: Moment, gpu: Gpu) -> Value:
    """Bytes in use on a GPU at this moment."""
    if not moment.back:
        return None if gpu.memory_used is None else float(gpu.memory_used)
    percent = moment.figure(gpu_series(gpu, "memory"), None)
    return percent / 100 * gpu.memory_total if percent is not None and gpu.memory_total else None


def _gpu(moment: Moment, gpu: Gpu, several: bool) -> Meter:
    name, series = f"gpu{gpu.index}", gpu_series(gpu)
    if gpu.lost:
        return Meter(name, f"GPU{gpu.index}", None, gpu.note or "the GPU does not answer", moment.series(series))
    power = moment.figure(gpu_series(gpu, "power"), gpu.power)
    watts = ""
    if power is not None:
        watts = f"{power:.0f} of {gpu.power_limit:.0f} W" if gpu.power_limit and not several else f"{power:.0f} W"
    memory = ""
    used = gpu_memory(moment, gpu)
    if several and gpu.memory_total:
        memory = f"{'–' if used is None else _gb(used, moment.binary)}/{_gb(gpu.memory_total, moment.binary)} {_unit(moment.binary)}"
    heat = degrees(moment.figure(gpu_series(gpu, "temperature"), gpu.temperature), moment.fahrenheit)
    card = gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
    words = _together(memory, heat, watts, card) if several else _together(card, heat, watts, gpu.note)
    return Meter(name, f"GPU{gpu.index}", moment.figure(series, gpu.percent), words, moment.series(series))


@record(frozen=True)
class MemoryShare:
    """Parts of a GPU's memory: name (empty for what is not known) and bytes; `exact` says whether models are joined to it."""

    parts: tuple[tuple[str, float], ...]
    used: float
    total: float
    about: str = ""


def share_memory(gpu: Gpu, used: Value, local: Sequence[RunningModel], *, gpus: int) -> MemoryShare | None:
    """Who holds the memory of a GPU, as far as it is certain.

    Certain is only: one GPU in this machine, and models of servers on this machine that say how much of them is on a GPU,
    together not more than is in use. Else the models are named beside the bar and not drawn into it.
    """
    if used is None or not gpu.memory_total:
        return None
    models = [(model.name, float(model.vram)) for model in local if model.vram]
    claimed = sum(bytes_ for _name, bytes_ in models)
    total = float(gpu.memory_total)
    if models and gpus == 1 and claimed <= used:
        return MemoryShare((*models, ("", used - claimed)), used, total)
    about = ", ".join(name for name, _bytes in models)
    return MemoryShare((("", used),), used, total, f"about {claimed / 1e9:.1f} GB of it models ({about})" if models else "")


def where_text(model: RunningModel, card: str) -> str:
    """Where a model lies: GPU, memory of the processor, or split."""
    if model.vram is None or not model.size:
        return "–"
    if model.vram >= model.size:
        return f"all {card}"
    if model.vram == 0:
        return "all CPU"
    return f"{100 * model.vram / model.size:.0f} % {card}"


def unload_text(model: RunningModel, now: float) -> Cell:
    """When a model goes: a countdown, or why not."""
    if model.stopping:
        return Cell("stopping", "warn")
    if model.pinned:
        return Cell("pinned")
    if model.expires_at is None:
        return Cell("–", "dim")
    left = model.expires_at - now
    return Cell(f"in {duration(left)}" if left > 0 else "now")


def context_text(model: RunningModel) -> str:
    """Served context, and the trained one where it is another."""
    if model.context is None:
        return "–"
    if model.trained_context and model.trained_context != model.context:
        return f"{tokens(model.context)} of {tokens(model.trained_context)}"
    return tokens(model.context)


def loaded_columns(card: Callable[[RunningModel], str], now: Callable[[], float], *, binary: bool) -> list[Column[RunningModel]]:
    """The columns of the loaded models; `card` names where a provider's GPU memory is."""
    return [
        Column("model", "MODEL", lambda model: model.name, min=16, max=40, flex=3, sort_key=lambda model: model.name),
        Column("on", "ON", lambda model: model.provider, min=7, max=14, sort_key=lambda model: model.provider),
        Column(
            "memory", "MEMORY", lambda model: size(model.size, binary=binary), width=7, align="right",
            sort_key=lambda model: model.size, descending=True,
        ),
        Column("where", " WHERE", lambda model: " " + where_text(model, card(model)), width=11),
        Column("context", "CONTEXT", context_text, width=10),
        Column("rate", "RATE", lambda model: "–" if model.rate is None else f"{model.rate:.0f} tok/s", width=9, min_screen_width=74),
        Column(
            "unloads", "UNLOADS", lambda model: unload_text(model, now()), width=9, align="right", sort_key=lambda model: model.expires_at
        ),
    ]  # fmt: skip


def detail_text(model: RunningModel, *, binary: bool = False) -> str:
    """Two lines about a loaded model."""
    kind = _together(model.parameters, model.quantization)
    context = f"context {model.context:,} tokens served" if model.context else ""
    if context and model.trained_context:
        context += f" of {model.trained_context:,} trained"
    memory = f"memory {size(model.size, binary=binary)}" if model.size else ""
    if memory and model.vram is not None:
        memory += f", {size(model.vram, binary=binary)} of it on a GPU"
    slots = f"works on {model.busy_slots or 0} of {model.slots} requests at once" if model.slots else ""
    if not slots and model.busy_slots:
        slots = f"works on {model.busy_slots} request{'' if model.busy_slots == 1 else 's'}"
    waiting = f"{model.waiting} waiting" if model.waiting else ""
    return f"{_together(f'{model.name} on {model.provider}', kind, context)}\n{_together(memory, slots, waiting)}"


def unload_question(model: RunningModel, own: int, *, binary: bool = False) -> str:
    """What to ask before an unload; `own` of the requests it works on are ours."""
    name = clean_name(model.name, 60)
    foreign = max(0, (model.busy_slots or 0) - own)
    if foreign:
        words = "1 request that is not yours" if foreign == 1 else f"{foreign} requests that are not yours"
        return f"{name} is answering {words}. Unload it from {model.provider}?"
    if own:
        return f"{name} is answering you. Unload it from {model.provider}?"
    frees = f" Frees {size(model.size, binary=binary)}." if model.size else ""
    return f"Unload {name} from {model.provider}?{frees}"
