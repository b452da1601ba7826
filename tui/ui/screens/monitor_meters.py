"""The lines of the machine: name, value, graph, words; put together for the room there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tui.core.monitor import Points
from tui.core.record import record
from tui.hardware.sample import Disk, Gpu, Sample
from tui.hardware.series import gpu_series
from tui.text import clean_name, size
from tui.ui.screens.monitor_memory import bar_pieces, in_ram, map_of_gpu, memory_lines, slices
from tui.ui.screens.monitor_words import (
    LABEL,
    Look,
    Value,
    Word,
    added,
    bound,
    card,
    degrees,
    dots,
    faded,
    flow,
    gb,
    highest,
    mega,
    mega_unit,
    of_total,
    percent_of,
    percent_text,
    picture,
    throttle_text,
    total_of,
    unit,
)
from tui.ui.widgets.board import BoardLine, Piece
from tui.ui.widgets.graph import braille_rows

TALLEST: Final = 4
"""Lines of a graph beside others."""


@record(frozen=True)
class Meter:
    """One figure over time.

    Attributes:
        key: What enter opens.
        label: At most five cells.
        value: In five cells, or empty.
        words: What stands at the right.
        points: The graph.
        upper: Its upper end; None follows what is shown.
        old: These are the last figures; newer ones did not come.
        unit: Of the graph, where it has an upper end of its own.
    """

    key: str
    label: str
    value: str
    words: tuple[Word, ...]
    points: Callable[[], Points]
    upper: Value = 100.0
    old: bool = False
    unit: str = "%"


def graph_cells(width: int) -> int:
    """How wide the graphs are."""
    if width >= 80:
        return min(80, 25 + (width - 80) * 3 // 4)
    return max(6, min(25, width - (47 if width >= 60 else 33)))


def meters(look: Look) -> list[Meter]:
    """The lines of the machine, GPUs last."""
    found = [_cpu(look), *_memory(look), *_disks(look), _network(look)]
    found.extend(gpu_meter(look, gpu) for gpu in look.sample.gpus)
    return found


def _of(look: Look, name: str) -> Callable[[], Points]:
    return lambda: look.points(name)


def _both(look: Look, one: str, other: str) -> Callable[[], Points]:
    return lambda: added(look.points(one), look.points(other))


def _cpu(look: Look) -> Meter:
    cpu, group = look.sample.cpu, look.sample.cgroup
    count = cpu.count or len(cpu.cores)
    limit = group.cpu_limit if group is not None else None
    words = [
        Word(f"{limit:g} of {count} cores allowed" if limit and count else f"{count} cores" if count else "", 1),
        Word(f"load {cpu.load[0]:.1f}" if cpu.load else "", 2),
        Word(degrees(cpu.temperature, look.fahrenheit), 0),
        Word("" if cpu.frequency is None else f"{cpu.frequency / 1000:.1f} GHz", 3),
        Word("" if group is None or group.cpu_percent is None else f"{group.cpu_percent:.0f} % of what is allowed", 4),
        Word(f"waits {cpu.pressure:.0f} %" if cpu.pressure else "", 5),
    ]
    return Meter("cpu", "CPU", percent_text(cpu.percent), tuple(words), _of(look, "cpu"), old=look.is_old("cpu"))


def _memory(look: Look) -> list[Meter]:
    memory, group = look.sample.memory, look.sample.cgroup
    swap = ""
    if memory.swap_total and memory.swap_used is not None:
        swap = f"swap {size(memory.swap_used, binary=look.binary)}" if memory.swap_used >= 1e6 else "swap 0"
    limit = group.memory_limit if group is not None else None
    allowed = f"{of_total(group.memory_used, limit, look.binary)} allowed" if group is not None and limit else ""
    words = [
        Word(of_total(memory.used, memory.total, look.binary), 0),
        Word(allowed, 1),
        Word(swap, 2),
        Word(f"cache {gb(memory.cache, look.binary)} {unit(look.binary)}" if memory.cache is not None else "", 4),
        Word(f"! waits {memory.pressure:.0f} %" if memory.pressure and memory.pressure >= 1 else "", 1, "warn"),
        Word(_swapping(look.sample, look.binary), 1, "warn"),
    ]
    percent = percent_text(percent_of(memory.used, memory.total))
    return [Meter("ram", "RAM", percent, tuple(words), _of(look, "memory"), old=look.is_old("ram"))]


def _swapping(sample: Sample, binary: bool) -> str:
    moved = total_of(sample.memory.swap_in, sample.memory.swap_out)
    return f"! swapping {mega(moved, binary)} {mega_unit(binary)}" if moved is not None and moved >= 1e5 else ""


def _fullness(disk: Disk) -> str:
    full = percent_of(disk.used, disk.total)
    return "" if full is None else f"{clean_name(disk.path, 40)} {full:.0f} % full"


def _disks(look: Look) -> list[Meter]:
    disks = look.sample.disks
    if not disks:
        return []
    read, write = total_of(*(disk.read for disk in disks)), total_of(*(disk.write for disk in disks))
    rates = f"r {mega(read, look.binary)}  w {mega(write, look.binary)} {mega_unit(look.binary)}"
    words = [Word(rates, 0)]
    words.extend(Word(_fullness(disk), 1 + index) for index, disk in enumerate(disks))
    return [Meter("disk", "DISK", "", tuple(words), _both(look, "disk_read", "disk_write"), None, old=look.is_old("disk"))]


def _network(look: Look) -> Meter:
    network = look.sample.network
    words = (Word(f"in {mega(network.received, look.binary)}  out {mega(network.sent, look.binary)} {mega_unit(look.binary)}"),)
    return Meter("net", "NET", "", words, _both(look, "net_in", "net_out"), None, old=look.is_old("net"))


def gpu_meter(look: Look, gpu: Gpu) -> Meter:
    """A GPU alone in its line."""
    key, label, old = f"gpu:{gpu.uuid}", f"GPU{gpu.index}", look.is_old("gpu")
    if gpu.lost:
        words: tuple[Word, ...] = (Word(f"! {gpu.note or 'the GPU does not answer'}", 0, "bad"), Word(card(gpu), 1))
        return Meter(key, label, percent_text(None), words, _of(look, gpu_series(gpu)), old=old)
    watts = ""
    if gpu.power is not None:
        watts = f"{gpu.power:.0f} of {gpu.power_limit:.0f} W" if gpu.power_limit else f"{gpu.power:.0f} W"
    words = (
        Word(card(gpu), 3),
        Word(degrees(gpu.temperature, look.fahrenheit), 0),
        Word(watts, 1),
        Word(throttle_text(gpu), 1, "warn"),
        Word("" if gpu.fan is None else f"fan {gpu.fan:.0f} %", 4),
        Word("" if gpu.clock is None else f"{gpu.clock:,.0f} MHz", 5),
        Word(gpu.note, 2, "warn"),
    )
    return Meter(key, label, percent_text(gpu.percent), words, _of(look, gpu_series(gpu)), old=old)


# --- as lines ---------------------------------------------------------------------------------------------------------


def meter_lines(meter: Meter, look: Look, cells: int, width: int, height: int) -> list[BoardLine]:
    """A figure in `height` lines."""
    values = dots(meter.points(), cells, look.span)
    graph = braille_rows(values, cells, height, 0.0, bound(values) if meter.upper is None else meter.upper, look.ascii)
    words = meter.words
    if height > 1 and (peak := highest(values)) is not None:
        words = (*words, Word(f"highest {_amount(peak, meter, look)}", 9, "dim"))
    drawn = flow(words, width - LABEL - 3 - cells, height)
    tone = "old" if meter.old else "graph"
    lines = []
    for row in range(height):
        if row == 0:
            head: list[Piece] = [(f" {meter.label:<5}", "dim"), (f" {meter.value:<5}", "old" if meter.old else "bold")]
        else:
            head = [(" " * LABEL, "")]
        pieces = (*head, (" ", ""), (graph[row], tone), ("  ", ""), *faded(drawn[row], meter.old))
        lines.append(BoardLine(pieces, meter.key))
    return lines


def _amount(value: float, meter: Meter, look: Look) -> str:
    """A value of the graph in its unit."""
    if meter.upper is None:
        return f"{mega(value, look.binary)} {mega_unit(look.binary)}"
    return f"{value:.0f} {meter.unit}"


def gpu_line(look: Look, gpu: Gpu, width: int) -> BoardLine:
    """One of many GPUs: use, memory and what matters in one line."""
    meter = gpu_meter(look, gpu)
    room = graph_cells(width)
    cells = max(4, room * 3 // 5)
    graph = picture(meter.points(), cells, 1, look)[0]
    pieces: list[Piece] = [(f" {meter.label:<5}", "dim"), (f" {meter.value:<5}", "bold"), (" ", ""), (graph, "graph")]
    words = [Word(degrees(gpu.temperature, look.fahrenheit), 0), Word("" if gpu.power is None else f"{gpu.power:.0f} W", 2)]
    found = map_of_gpu(look, gpu)
    if gpu.lost:
        words = list(meter.words)
    elif found is not None:
        pieces += [(" ", ""), *bar_pieces(slices(found, ascii=look.ascii), found.total, room - cells, ascii=look.ascii)]
        used = f"{gb(found.used, look.binary)}/{gb(found.total, look.binary)} {unit(look.binary)}"
        words.insert(0, Word(used, 1))
        words += [Word(throttle_text(gpu), 1, "warn"), Word(card(gpu), 3), Word(gpu.source, 4, "dim")]
    taken = LABEL + 1 + room + 1
    pieces += [("  ", ""), *flow(words, width - taken - 2)[0]]
    return BoardLine(faded(pieces, meter.old), meter.key)


def gpu_block(look: Look, gpu: Gpu, width: int, height: int, legends: int) -> list[BoardLine]:
    """A GPU with its memory below."""
    cells = graph_cells(width)
    meter = gpu_meter(look, gpu)
    lines = meter_lines(meter, look, cells, width, height)
    found = map_of_gpu(look, gpu)
    if found is not None and not gpu.lost:
        lines += memory_lines(found, look, cells, width, legends=legends, key=meter.key, old=meter.old, source=gpu.source)
    return lines


@record(frozen=True)
class Form:
    """How much of each GPU is shown: "full", "bar" (no legend) or "line", and lines of a graph and of a legend."""

    gpus: str
    height: int = 1
    legends: int = 0


_FORMS: Final = (Form("full", legends=2), Form("full", legends=1), Form("bar"), Form("line"))


def overview(look: Look, width: int, height: int, *, memory: bool = True, tallest: int = TALLEST) -> list[BoardLine]:
    """All figures in as much detail as `height` lines have room for; more lines where even the least does not fit.

    With `memory` the bars of whose memory it is are among them; else they stand somewhere else.
    """
    graphs = _graphs(look, memory)
    for form in _FORMS if memory else (Form("bar"),):
        alone = form.gpus == "line" and len(look.sample.gpus) > 1
        graphs_here = graphs - len(look.sample.gpus) if alone else graphs
        bars = len(look.sample.gpus) if alone else _bars(look, width, form, memory, height - graphs_here)
        if graphs_here + bars <= height:
            tall = max(1, min(tallest, (height - bars) // max(1, graphs_here)))
            return _in_form(look, width, Form(form.gpus, tall, form.legends), memory)
    return _in_form(look, width, form, memory)


def _graphs(look: Look, memory: bool) -> int:
    """How many graphs there are."""
    found = 0
    for meter in meters(look):
        found += 1
        if not memory and meter.key.startswith("gpu:"):
            gpu = next(gpu for gpu in look.sample.gpus if meter.key.endswith(gpu.uuid))
            found += len(_gpu_more(look, gpu))
    return found


def _bars(look: Look, width: int, form: Form, memory: bool, most: int) -> int:
    """Lines of bars and legends; no more than a few above `most` are counted."""
    if not memory:
        return 0
    cells, ram = graph_cells(width), in_ram(look)
    maps = [map_of_gpu(look, gpu) for gpu in look.sample.gpus if not gpu.lost]
    found = [one for one in (*maps, ram if form.gpus != "line" else None) if one is not None]
    if not form.legends or len(found) > most:
        return len(found)
    return sum(len(memory_lines(one, look, cells, width, legends=form.legends)) for one in found)


def compact(look: Look, width: int) -> list[BoardLine]:
    """The smallest form: one line a figure, what is worth most first."""
    cells = graph_cells(width)
    found = meters(look)
    first = [meter for meter in found if meter.key in ("cpu", "ram")]
    rest = [meter for meter in found if meter.key in ("disk", "net")]
    lines = [line for meter in first for line in meter_lines(meter, look, cells, width, 1)]
    for gpu in look.sample.gpus:
        if len(look.sample.gpus) > 1:
            lines.append(gpu_line(look, gpu, width))
        else:
            lines += gpu_block(look, gpu, width, 1, 0)
    return lines + [line for meter in rest for line in meter_lines(meter, look, cells, width, 1)]


def _in_form(look: Look, width: int, form: Form, memory: bool) -> list[BoardLine]:
    cells = graph_cells(width)
    lines: list[BoardLine] = []
    for meter in meters(look):
        if meter.key.startswith("gpu:"):
            continue
        lines += meter_lines(meter, look, cells, width, form.height)
        if meter.key == "ram" and memory and form.gpus in ("full", "bar"):
            lines += _ram_bar(look, cells, width, form.legends)
    for gpu in look.sample.gpus:
        if form.gpus == "line" and len(look.sample.gpus) > 1:
            lines.append(gpu_line(look, gpu, width))
        elif memory:
            lines += gpu_block(look, gpu, width, form.height, form.legends)
        else:
            for meter in (gpu_meter(look, gpu), *_gpu_more(look, gpu)):
                lines += meter_lines(meter, look, cells, width, form.height)
    return lines


def _gpu_more(look: Look, gpu: Gpu) -> list[Meter]:
    """What else is worth a graph where there is room and the bars stand elsewhere."""
    if gpu.lost or len(look.sample.gpus) > 2:
        return []
    key, old, found = f"gpu:{gpu.uuid}", look.is_old("gpu"), []
    if gpu.memory_total:
        words = (Word(f"{of_total(gpu.memory_used, gpu.memory_total, look.binary)} used"), Word(gpu.source, 1, "dim"))
        percent = percent_text(percent_of(gpu.memory_used, gpu.memory_total))
        found.append(Meter(key, "VRAM", percent, words, _of(look, gpu_series(gpu, "memory")), old=old))
    if gpu.power is not None and gpu.power_limit:
        share = 100 * gpu.power / gpu.power_limit
        watts = (Word(f"{gpu.power:.0f} of {gpu.power_limit:.0f} W"),)
        found.append(Meter(key, "POWER", percent_text(share), watts, _of(look, gpu_series(gpu, "power")), gpu.power_limit, old, "W"))
    return found


def _ram_bar(look: Look, cells: int, width: int, legends: int) -> Iterable[BoardLine]:
    found = in_ram(look)
    return memory_lines(found, look, cells, width, legends=legends, key="ram", old=look.old) if found is not None else ()


def memory_board(look: Look, width: int, height: int) -> list[BoardLine]:
    """The bars alone, where they stand beside the graphs: as much of the legends as there is room for."""
    maps = [(gpu, map_of_gpu(look, gpu)) for gpu in look.sample.gpus]
    ram = in_ram(look) or (look.map_of("ram") if not look.sample.gpus else None)
    cells = max(20, min(50, width - 40))
    lines: list[BoardLine] = []
    for legends in (4, 2, 1, 0):
        lines = []
        for gpu, found in maps:
            if found is not None:
                label, key = f"GPU{gpu.index}", f"gpu:{gpu.uuid}"
                old = look.is_old("gpu")
                lines += memory_lines(found, look, cells, width, legends=legends, key=key, label=label, old=old)
        if ram is not None:
            lines += memory_lines(ram, look, cells, width, legends=legends, key="ram", label="RAM", old=look.old)
        if len(lines) <= height:
            break
    return lines


def keys_of(lines: Sequence[BoardLine]) -> list[str]:
    """What can be opened."""
    return list(dict.fromkeys(line.key for line in lines if line.key))
