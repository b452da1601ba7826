"""Whose memory it is: one bar for each GPU and for the machine, and what its parts are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len

from tui.core.models import RunningModel
from tui.core.monitor import RAM, MemoryMap, MemoryPart, Take
from tui.core.record import record
from tui.hardware.sample import Gpu
from tui.text import clean_name
from tui.ui.screens.monitor_words import LABEL, Look, cut, gb, of_total, unit
from tui.ui.widgets.bars import FREE, HIDDEN, REST, TAKEN, stack_marks
from tui.ui.widgets.board import BoardLine, Piece

_TONES: Final = {"model": "bar", "process": "other", "hidden": "dim", "rest": "dim", "take": "accent"}


@record(frozen=True)
class Slice:
    """A part as it is drawn: its mark in the bar, name, bytes and tone."""

    mark: str
    name: str
    size: float
    tone: str
    about: bool = False


def part_name(part: MemoryPart, *, others: bool = True) -> str:
    """`qwen3:8b`, `alice: python`, `2 not visible`, `other`; without any others `in use`."""
    if part.kind == "hidden":
        return f"{part.count or 'some'} not visible"
    if part.kind == "rest":
        return "other" if others else "in use"
    name = clean_name(part.name, 40) or "a program"
    return f"{clean_name(part.who, 20)}: {name}" if part.kind == "process" and part.who else name


def slices(found: MemoryMap, *, ascii: bool, take: float = 0.0) -> list[Slice]:
    """The parts with their marks; more than there are marks for share the last one."""
    marks = stack_marks(ascii)
    at = 1 if ascii else 0
    parts = [part for part in found.parts if part.size > 0]
    named = [part for part in parts if part.kind in ("model", "process")]
    drawn: list[Slice] = []
    alone = named if len(named) <= len(marks) else named[: len(marks) - 1]
    for mark, part in zip(marks, alone, strict=False):
        drawn.append(Slice(mark, part_name(part), part.size, _TONES[part.kind], part.about))
    more = named[len(alone) :]
    if more:
        drawn.append(Slice(marks[-1], f"{len(more)} more", sum(part.size for part in more), "other", any(part.about for part in more)))
    for part in parts:
        if part.kind == "hidden":
            drawn.append(Slice(HIDDEN[at], part_name(part), part.size, "dim", part.about))
        elif part.kind == "rest":
            drawn.append(Slice(REST[at], part_name(part, others=len(parts) > 1), part.size, "dim"))
    if take:
        drawn.append(Slice(TAKEN[at], "would be taken", take, "accent"))
    return drawn


def bar_pieces(parts: Sequence[Slice], total: float, width: int, *, ascii: bool) -> tuple[Piece, ...]:
    """The bar: every part at least a cell, as long as there are any; the free rest is dots."""
    pieces: list[Piece] = []
    used, so_far = 0, 0.0
    for part in parts:
        so_far += part.size
        end = min(width, max(used + 1, round(so_far / total * width))) if total > 0 else used
        if end > used:
            pieces.append((part.mark * (end - used), part.tone))
            used = end
    if used < width:
        pieces.append((FREE[1 if ascii else 0] * (width - used), "rule"))
    return tuple(pieces)


def legend(parts: Sequence[Slice], total: float, used: float, *, binary: bool, ascii: bool) -> list[tuple[Piece, Piece]]:
    """Each part as (mark, words), what is free last; parts below a twentieth of a GB are not worth a word."""
    found: list[tuple[Piece, Piece]] = []
    for part in parts:
        if part.size >= 5e7:
            about = "about " if part.about else ""
            found.append(((part.mark, part.tone), (f"{part.name} {about}{gb(part.size, binary)}", "")))
    free = max(0.0, total - used)
    if total:
        found.append(((FREE[1 if ascii else 0], "rule"), (f"free {gb(free, binary)}", "dim")))
    return found


def legend_lines(entries: Sequence[tuple[Piece, Piece]], left: int, width: int, most: int, key: str = "") -> list[BoardLine]:
    """The legend in at most `most` lines from cell `left` on; what does not fit is counted."""
    lines: list[list[Piece]] = [[(" " * left, "")]]
    used = left
    for index, (mark, words) in enumerate(entries):
        room = max(8, width - left - 2)
        text = cut(words[0], room)
        need = 2 + cell_len(text) + (2 if used > left else 0)
        if used > left and used + need > width:
            if len(lines) == most:
                more = f"+{len(entries) - index}"
                if used + 2 + len(more) <= width:
                    lines[-1].append((f"  {more}", "dim"))
                break
            lines.append([(" " * left, "")])
            used, need = left, need - 2
        if used > left:
            lines[-1].append(("  ", ""))
        lines[-1] += [mark, (f" {text}", words[1])]
        used += need
    return [BoardLine(tuple(line), key) for line in lines]


def map_of_gpu(look: Look, gpu: Gpu) -> MemoryMap | None:
    """Whose memory of a GPU; only how much, where nobody says whose; None where not even that is known."""
    known = look.map_of(gpu.uuid)
    if known is not None and known.total:
        return known
    if not gpu.memory_total or gpu.memory_used is None:
        return None
    return MemoryMap(gpu.uuid, f"GPU{gpu.index}", gpu.memory_total, gpu.memory_used, (MemoryPart("rest", "", "", gpu.memory_used),))


def ram_map(look: Look) -> MemoryMap | None:
    """Whose main memory; only how much, where nobody says whose."""
    known = look.map_of(RAM)
    memory = look.sample.memory
    if known is not None and known.total:
        return known
    if not memory.total or memory.used is None:
        return None
    return MemoryMap(RAM, "RAM", memory.total, memory.used, (MemoryPart("rest", "", "", memory.used),))


def in_ram(look: Look) -> MemoryMap | None:
    """The map of main memory where a model lies in it."""
    known = look.map_of(RAM)
    return known if known is not None and any(part.kind == "model" for part in known.parts) else None


def memory_lines(
    found: MemoryMap,
    look: Look,
    cells: int,
    width: int,
    *,
    legends: int,
    key: str = "",
    label: str = "  memory",
    old: bool = False,
    source: str = "",
) -> list[BoardLine]:
    """A bar of `cells` cells with what is used at its right, and its legend below in at most `legends` lines."""
    parts = slices(found, ascii=look.ascii)
    bar = bar_pieces(parts, found.total, cells, ascii=look.ascii)
    words = of_total(found.used, found.total, look.binary) + " used"
    room = max(0, width - LABEL - 3 - cells)
    if cell_len(words) > room:
        words = words.removesuffix(" used")
    told = f"  {source}" if source and cell_len(words) + 2 + cell_len(source) <= room else ""
    first = ((f" {label}".ljust(LABEL), "dim"), (" ", ""), *bar, ("  ", ""), (cut(words, room), ""), (told, "dim"))
    lines = [BoardLine(_old(first, old), key)]
    if legends:
        entries = legend(parts, found.total, found.used, binary=look.binary, ascii=look.ascii)
        for line in legend_lines(entries, LABEL + 1, width, legends, key):
            lines.append(BoardLine(_old(line.pieces, old), key))
    return lines


def _old(pieces: Sequence[Piece], old: bool) -> tuple[Piece, ...]:
    return tuple((text, "old") for text, _tone in pieces) if old else tuple(pieces)


def taken(take: Take, found: MemoryMap) -> int:
    """How much of a memory a model would take."""
    return take.ram if found.where == RAM else dict(take.gpu).get(found.where, 0)


def take_lines(take: Take, maps: Sequence[MemoryMap], width: int, *, ascii: bool, binary: bool) -> list[BoardLine]:
    """For each memory that a model would lie in: the bar with what it would take hatched, and what is missing."""
    lines: list[BoardLine] = []
    for found in maps:
        need = taken(take, found)
        if not need or not found.total:
            continue
        cells = max(10, min(40, width - 44))
        bar = bar_pieces(slices(found, ascii=ascii, take=need), found.total, cells, ascii=ascii)
        free = max(0, found.total - found.used)
        words = f"needs {gb(need, binary)}, {gb(free, binary)} of {gb(found.total, binary)} {unit(binary)} free"
        lines.append(
            BoardLine(((f"{found.label:<6}", "dim"), *bar, ("  ", ""), (cut(words, width - cells - 8), "warn" if need > free else "")))
        )
    return lines


def where_text(model: RunningModel, cards: str) -> str:
    """Where a model lies: GPU, memory of the processor, or split."""
    gpu = cards or "GPU"
    if model.vram is None or not model.size:
        return cards or "–"
    if model.vram >= model.size:
        return f"all {gpu}"
    if model.vram == 0:
        return "all CPU"
    return f"{min(99, max(1, round(100 * model.vram / model.size)))} % {gpu}"
