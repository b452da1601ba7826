"""The pages that enter opens: cores, memory with its processes, disks, network, one GPU."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from tui.core.monitor import Points
from tui.hardware.sample import CORES, GPU_DETAIL, GPU_PROCESSES, PROCESSES, Gpu, GpuProcess
from tui.hardware.series import CORE, gpu_series
from tui.text import clean_label, clean_name, rate, size
from tui.ui.screens.monitor_memory import map_of_gpu, memory_lines, ram_map
from tui.ui.screens.monitor_words import (
    LABEL,
    Look,
    Value,
    bound,
    cut,
    degrees,
    dots,
    of_total,
    padded,
    percent_of,
    percent_text,
    picture,
    throttle_text,
)
from tui.ui.widgets.bars import bar
from tui.ui.widgets.board import BoardLine, Piece

CORE_CELLS = 20
"""Least width of a core on its page."""


def wants_of(page: str) -> tuple[str, ...]:
    """What a page shows of `hardware.sample.WANTED`."""
    if page == "cpu":
        return (CORES,)
    if page == "ram":
        return (PROCESSES, GPU_PROCESSES)
    return (GPU_PROCESSES, GPU_DETAIL) if page.startswith("gpu:") else ()


def page_title(page: str, look: Look) -> str:
    """What the rule above it says."""
    gpu = gpu_of(page, look)
    if gpu is not None:
        return "  ".join(part for part in (f"GPU{gpu.index}", gpu.name, gpu.source) if part)
    return {"cpu": "processor", "ram": "memory", "disk": "disks", "net": "network"}.get(page, "gone")


def gpu_of(page: str, look: Look) -> Gpu | None:
    """The GPU of a page; it follows the uuid, not the number."""
    uuid = page.removeprefix("gpu:")
    return next((gpu for gpu in look.sample.gpus if gpu.uuid == uuid), None) if page.startswith("gpu:") else None


def page_lines(page: str, look: Look, width: int, height: int) -> list[BoardLine]:
    """All lines of a page; more than `height` scroll."""
    if page == "cpu":
        return _cpu(look, width, height)
    if page == "ram":
        return _ram(look, width, height)
    if page == "disk":
        return _disks(look, width, height)
    if page == "net":
        return _net(look, width, height)
    gpu = gpu_of(page, look)
    if gpu is None:
        return [BoardLine(((" This GPU is not there any more. esc goes back.", "warn"),))]
    return _gpu(look, gpu, width, height)


# --- parts ------------------------------------------------------------------------------------------------------------


def fact(name: str, text: str, tone: str = "") -> BoardLine:
    """`  load      2.7 2.0 1.5`."""
    return BoardLine(((f" {name:<{LABEL - 1}}", "dim"), (" ", ""), (text, tone)))


def facts_lines(name: str, parts: Sequence[str], width: int) -> list[BoardLine]:
    """Facts beside each other, on as many lines as they need."""
    room, rows = width - LABEL - 2, [""]
    for part in parts:
        joined = f"{rows[-1]}  {part}" if rows[-1] else part
        if rows[-1] and cell_len(joined) > room:
            rows.append(part)
        else:
            rows[-1] = joined
    return [fact(name if index == 0 else "", cut(row, room)) for index, row in enumerate(rows)]


def heading(text: str) -> BoardLine:
    """A line over what belongs together."""
    return BoardLine(((f" {text}", "title"),))


def _graph(
    label: str, value: str, points: Points, look: Look, width: int, height: int, upper: Value = 100.0, scale: str = "", old: bool = False
) -> list[BoardLine]:
    """A large graph; its upper and lower end stand at the right."""
    cells = max(10, width - LABEL - 14)
    rows = picture(points, cells, height, look, upper)
    lines = []
    for row in range(height):
        head: list[Piece] = [(f" {label:<5}", "dim"), (f" {value:<5}", "bold")] if row == 0 else [(" " * LABEL, "")]
        if row == 0 and len(value) > 5:
            head = [(f" {label:<{LABEL - 1}}", "dim")]
        elif row == 1 and len(value) > 5:
            head = [(f" {value:<{LABEL - 1}}"[:LABEL], "bold")]
        end = scale if row == 0 else "0" if row == height - 1 and height > 1 else ""
        lines.append(BoardLine((*head, (" ", ""), (rows[row], "old" if old else "graph"), (f" {end}", "dim"))))
    return lines


def _tall(height: int, graphs: int, others: int, most: int = 8) -> int:
    return max(2, min(most, (height - others) // max(1, graphs)))


def _top(points: Points, look: Look, width: int) -> float:
    return bound(dots(points, max(10, width - LABEL - 14), look.span))


# --- processor --------------------------------------------------------------------------------------------------------


def _cpu(look: Look, width: int, height: int) -> list[BoardLine]:
    cpu, power, group = look.sample.cpu, look.sample.power, look.sample.cgroup
    count = len(cpu.cores) or cpu.count or 0
    columns = max(1, width // (CORE_CELLS + 8))
    rows = -(-count // columns)
    tall = _tall(height, 1, 5 + rows, 4)
    lines = _graph("CPU", percent_text(cpu.percent), look.points("cpu"), look, width, tall, scale="100 %", old=look.old)
    physical = f", {cpu.physical} without hyper-threads" if cpu.physical and cpu.physical != cpu.count else ""
    facts = [f"{count or '–'} processors{physical}"]
    if cpu.load:
        facts.append("load " + " ".join(f"{load:.2f}" for load in cpu.load))
    if cpu.frequency is not None:
        most = f" of {cpu.frequency_max:,.0f}" if cpu.frequency_max else ""
        facts.append(f"{cpu.frequency:,.0f}{most} MHz")
    if (heat := degrees(cpu.temperature, look.fahrenheit)) != "":
        facts.append(heat)
    if cpu.pressure is not None:
        facts.append(f"waits {cpu.pressure:.0f} % of the time")
    lines += facts_lines("now", facts, width)
    if group is not None and group.cpu_limit:
        used = "" if group.cpu_percent is None else f", {group.cpu_percent:.0f} % of that in use"
        lines.append(fact("allowed", f"{group.cpu_limit:g} of {count} processors by control group{used}"))
    if power is not None:
        lines.append(fact("power", _power(power.on_battery, power.battery, power.profile)))
    lines += [BoardLine(), heading("each core")]
    if not cpu.cores:
        return [*lines, fact("", "waiting for the first figures of the cores")]
    return lines + _cores(look, width, columns)


def _power(on_battery: bool | None, charge: float | None, profile: str) -> str:
    source = "battery" if on_battery else "mains" if on_battery is False else ""
    left = "" if charge is None else f"charged {charge:.0f} %"
    mode = f"profile {clean_name(profile, 40)}" if profile else ""
    return "  ".join(part for part in (source, left, mode) if part) or "–"


def _cores(look: Look, width: int, columns: int) -> list[BoardLine]:
    """Columns of small graphs, top to bottom, as one reads a list."""
    cores = look.sample.cpu.cores
    rows = -(-len(cores) // columns)
    cell = width // columns
    graph = max(4, cell - 13)
    lines = []
    for row in range(rows):
        pieces: list[Piece] = []
        for number in range(row, len(cores), rows):
            drawn = picture(look.points(f"{CORE}{number}"), graph, 1, look)[0]
            pieces += [(f" {number:>4}", "dim"), (f" {percent_text(cores[number])} ", ""), (drawn, "graph"), ("  ", "")]
        lines.append(BoardLine(tuple(pieces)))
    return lines


# --- memory, disks, network -------------------------------------------------------------------------------------------


def _ram(look: Look, width: int, height: int) -> list[BoardLine]:
    memory, group = look.sample.memory, look.sample.cgroup
    found = ram_map(look)
    percent = percent_text(percent_of(memory.used, memory.total))
    swap = bool(memory.swap_total)
    tall = _tall(height, 2 if swap else 1, 9 + min(8, len(look.sample.processes)), 6)
    lines = _graph("RAM", percent, look.points("memory"), look, width, tall, scale="100 %", old=look.old)
    if found is not None:
        lines += memory_lines(found, look, max(10, min(60, width - 42)), width, legends=4, label="whose", old=look.old)
    cache = "" if memory.cache is None else f"cache {size(memory.cache, binary=look.binary)}"
    free = "" if memory.available is None else f"available {size(memory.available, binary=look.binary)}"
    waits = "" if memory.pressure is None else f"something waits {memory.pressure:.1f} % of the time"
    full = "" if memory.pressure_full is None else f"everything {memory.pressure_full:.1f} %"
    lines += facts_lines("now", [part for part in (free, cache, waits, full) if part] or ["–"], width)
    if group is not None and group.memory_limit:
        lines.append(fact("allowed", f"{of_total(group.memory_used, group.memory_limit, look.binary)}, by control group"))
    if swap:
        rates = f"in {rate(memory.swap_in, binary=look.binary)}  out {rate(memory.swap_out, binary=look.binary)}"
        value = percent_text(percent_of(memory.swap_used, memory.swap_total))
        lines += _graph("SWAP", value, look.points("swap"), look, width, max(1, tall // 2), scale="100 %", old=look.old)
        lines.append(fact("", f"{of_total(memory.swap_used, memory.swap_total, look.binary)}  {rates}"))
    return [*lines, BoardLine(), *_processes(look, width)]


def _processes(look: Look, width: int) -> list[BoardLine]:
    lines = [BoardLine(((f"  {'PID':>7}  {'USER':<12}  {'MEMORY':>8}  {'CPU':>6}  PROGRAM", "dim"),))]
    for process in look.sample.processes:
        cpu = "–" if process.percent is None else f"{process.percent:.0f} %"
        user = padded(clean_name(process.user, 12) or "–", 12)
        start = f"  {process.pid:>7}  {user}  {size(process.memory, binary=look.binary):>8}  {cpu:>6}  "
        lines.append(BoardLine(((start, ""), (cut(clean_name(process.name, 80), width - len(start) - 1), ""))))
    if not look.sample.processes:
        lines.append(BoardLine((("  waiting for the processes, or none can be seen at this moment", "dim"),)))
    if look.sample.hidden_processes:
        lines.append(BoardLine(((f"  {look.sample.hidden_processes} processes of others cannot be seen", "dim"),)))
    return lines


def _two(look: Look, width: int, height: int, others: int, one: tuple[str, str, Value], other: tuple[str, str, Value]) -> list[BoardLine]:
    """Two graphs of bytes a second, each with a scale of its own."""
    tall = _tall(height, 2, others, 8)
    lines: list[BoardLine] = []
    for label, name, now in (one, other):
        points = look.points(name)
        top = _top(points, look, width)
        value = rate(now, binary=look.binary)
        lines += _graph(label, value, points, look, width, tall, top, rate(top, binary=look.binary), look.old)
    return lines


def _disks(look: Look, width: int, height: int) -> list[BoardLine]:
    disks = look.sample.disks
    read = [disk.read for disk in disks if disk.read is not None]
    written = [disk.write for disk in disks if disk.write is not None]
    lines = _two(
        look, width, height, 2 + len(disks), ("reads", "disk_read", sum(read) if read else None),
        ("writes", "disk_write", sum(written) if written else None),
    )  # fmt: skip
    lines.append(BoardLine())
    for disk in disks:
        full = percent_of(disk.used, disk.total)
        cells = max(10, min(40, width - 60))
        words = f" {percent_text(full)} full, {size(disk.free, binary=look.binary)} of {size(disk.total, binary=look.binary)} free"
        drawn = bar(None if full is None else full / 100, cells, look.ascii)
        path = cut(clean_name(disk.path, 80), max(12, width - cells - len(words) - 4), look.ascii)
        lines.append(BoardLine(((f" {path}  ", ""), (drawn, "bar"), (words, "dim"))))
    return lines


def _net(look: Look, width: int, height: int) -> list[BoardLine]:
    network = look.sample.network
    return _two(look, width, height, 1, ("in", "net_in", network.received), ("out", "net_out", network.sent))


# --- one GPU ----------------------------------------------------------------------------------------------------------


def _gpu(look: Look, gpu: Gpu, width: int, height: int) -> list[BoardLine]:
    old = look.is_old("gpu")
    facts = _gpu_facts(look, gpu, width)
    if gpu.lost:
        return [BoardLine(((f" ! {gpu.note or 'the GPU does not answer'}", "bad"),)), *facts]
    graphs = [
        ("use", percent_text(gpu.percent), "", 100.0, "100 %"),
        ("mem", percent_text(percent_of(gpu.memory_used, gpu.memory_total)), "memory", 100.0, "100 %"),
        ("heat", degrees(gpu.temperature, look.fahrenheit), "temperature", 100.0, degrees(100.0, look.fahrenheit)),
        ("power", "" if gpu.power is None else f"{gpu.power:.0f} W", "power", gpu.power_limit, f"{gpu.power_limit or 0:.0f} W"),
        ("clock", "" if gpu.clock is None else f"{gpu.clock:,.0f} MHz", "clock", gpu.clock_max, f"{gpu.clock_max or 0:,.0f}"),
        ("fan", "" if gpu.fan is None else percent_text(gpu.fan), "fan", 100.0, "100 %"),
    ]
    shown = [graph for graph in graphs if graph[1].strip() not in ("", "–")]
    tall = _tall(height, len(shown), len(facts) + 6, 5)
    lines: list[BoardLine] = []
    for label, value, what, upper, scale in shown:
        points = look.points(gpu_series(gpu, what))
        lines += _graph(label, value, points, look, width, tall, upper or None, scale if upper else "", old)
    found = map_of_gpu(look, gpu)
    if found is not None:
        lines += memory_lines(found, look, max(10, min(60, width - 42)), width, legends=6, label="whose", old=old)
    return [*lines, *facts, *_gpu_processes(look, gpu, width)]


def _gpu_facts(look: Look, gpu: Gpu, width: int) -> list[BoardLine]:
    link = []
    if gpu.pcie_generation or gpu.pcie_width:
        now = f"generation {gpu.pcie_generation or '–'} ×{gpu.pcie_width or '–'}"
        could = f"{gpu.pcie_generation_max or '–'} ×{gpu.pcie_width_max or '–'}"
        link.append(f"{now}, could be {could}".replace("×", "x" if look.ascii else "×"))
    if gpu.pcie_received is not None or gpu.pcie_sent is not None:
        link.append(f"in {rate(gpu.pcie_received, binary=look.binary)}  out {rate(gpu.pcie_sent, binary=look.binary)}")
    lines = [fact("PCIe", cut("  ".join(link), width - LABEL - 2))] if link else []
    more = []
    if gpu.memory_percent is not None:
        more.append(f"memory busy {gpu.memory_percent:.0f} %")
    if gpu.memory_clock is not None:
        more.append(f"memory at {gpu.memory_clock:,.0f} MHz")
    if gpu.unified:
        more.append("its memory is the machine's")
    if more:
        lines.append(fact("memory", "  ".join(more)))
    if gpu.ecc_corrected is not None or gpu.ecc_uncorrected is not None:
        bad = bool(gpu.ecc_uncorrected)
        text = f"{gpu.ecc_corrected or 0} errors corrected, {gpu.ecc_uncorrected or 0} not"
        lines.append(fact("ECC", f"{'! ' if bad else ''}{text}", "bad" if bad else ""))
    lines.append(fact("throttled", throttle_text(gpu) or "no", "warn" if gpu.throttle else ""))
    for part in gpu.mig:
        used = of_total(part.memory_used, part.memory_total, look.binary)
        lines.append(fact("MIG", f"{clean_name(part.name, 24) or 'instance'}  {used}  {clean_name(part.uuid, 48)}"))
    if gpu.note and not gpu.lost:
        lines.append(fact("note", clean_label(gpu.note, 200), "warn"))
    return lines


def _gpu_processes(look: Look, gpu: Gpu, width: int) -> list[BoardLine]:
    lines = [BoardLine(), BoardLine(((f"  {'PID':>7}  {'USER':<12}  {'MEMORY':>8}  {'USE':>6}  PROGRAM", "dim"),))]
    known: Sequence[GpuProcess] = sorted(gpu.processes, key=lambda process: process.memory or 0, reverse=True)
    for process in known:
        use = "–" if process.percent is None else f"{process.percent:.0f} %"
        user = padded(clean_name(process.user, 12) or "–", 12)
        start = f"  {process.pid:>7}  {user}  {size(process.memory, binary=look.binary):>8}  {use:>6}  "
        name = clean_name(process.name, 80) or "not visible"
        name += f"  on {clean_name(process.instance, 40)}" if process.instance else ""
        lines.append(BoardLine(((start, ""), (cut(name, width - len(start) - 1), "" if process.name else "dim"))))
    if not known:
        lines.append(BoardLine((("  none that the driver tells", "dim"),)))
    if gpu.hidden:
        lines.append(BoardLine(((f"  {gpu.hidden} of them cannot be seen by this account", "dim"),)))
    return lines
