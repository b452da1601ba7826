"""Servers on other machines: what they and their machines tell, always under their names, never among this machine's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tui.core.monitor import Loaded, ServerFigures
from tui.hardware.sample import Sample
from tui.text import clean_label, size
from tui.ui.screens.monitor_words import Word, degrees, flow, gb, of_total, percent_text, throttle_text, unit
from tui.ui.widgets.board import BoardLine, Piece


def figures_words(figures: ServerFigures, *, binary: bool) -> str:
    """`2 running  1 waits  KV 38 %  212 tok/s  6.8 GB`, or why there is nothing."""
    parts = []
    if figures.running is not None:
        parts.append(f"{figures.running} running")
    if figures.waiting:
        parts.append(f"{figures.waiting} wait{'s' if figures.waiting == 1 else ''}")
    if figures.kv_used is not None:
        parts.append(f"KV cache {100 * figures.kv_used:.0f} %")
    if figures.rate is not None:
        parts.append(f"{figures.rate:.0f} tok/s")
    if figures.prompt_rate is not None:
        parts.append(f"reads {figures.prompt_rate:.0f} tok/s")
    if figures.memory is not None:
        parts.append(size(figures.memory, binary=binary))
    return "  ".join(parts) or clean_label(figures.note, 120)


def machine_words(sample: Sample, *, binary: bool, fahrenheit: bool) -> list[Word]:
    """A machine in a line: processor, memory, each GPU; or why it tells nothing."""
    words = []
    if sample.cpu.percent is not None:
        words.append(Word(f"CPU {percent_text(sample.cpu.percent).strip()}", 1))
    if sample.memory.total:
        words.append(Word(f"RAM {of_total(sample.memory.used, sample.memory.total, binary)}", 2))
    for number, gpu in enumerate(sample.gpus):
        told = [percent_text(gpu.percent).strip()]
        if gpu.memory_total:
            told.append(f"{'–' if gpu.memory_used is None else gb(gpu.memory_used, binary)}/{gb(gpu.memory_total, binary)} {unit(binary)}")
        told += [degrees(gpu.temperature, fahrenheit), "" if gpu.power is None else f"{gpu.power:.0f} W", throttle_text(gpu)]
        words.append(Word(f"GPU{gpu.index} {' '.join(part for part in told if part)}", number))
    note = next((source.note for source in sample.sources if source.note), "")
    if note or not words:
        words.append(Word(f"! {clean_label(note or 'it tells no figures', 120)}", 0, "warn"))
    words.append(Word(clean_label(sample.sources[0].name, 60) if sample.sources else "", 9, "dim"))
    return words


def far_lines(
    far: Sequence[tuple[str, str]],
    loaded: Sequence[Loaded],
    figures: Mapping[str, ServerFigures],
    machines: Mapping[str, Sample],
    width: int,
    *,
    binary: bool,
    fahrenheit: bool,
) -> list[BoardLine]:
    """What servers elsewhere, (name, host), tell themselves; one that says nothing and holds nothing has no line."""
    lines = []
    for name, host in far:
        models = [found for found in loaded if found.model.provider == name]
        told = figures.get(name)
        words = figures_words(told, binary=binary) if told is not None else ""
        machine = machines.get(name)
        if not words and not models and machine is None:
            continue
        held = total if (total := sum(found.model.size or 0 for found in models)) else None
        count = f"{len(models)} model{'' if len(models) == 1 else 's'} loaded" if models else ""
        pieces: list[Piece] = [(f" {name}", "bold"), (f" on {host}" if host else "", "dim")]
        for part in (count, "" if held is None else size(held, binary=binary), words):
            if part:
                pieces.append((f"  {part}", ""))
        if told is not None and told.source and words:
            pieces.append((f"  {told.source}", "dim"))
        lines.append(BoardLine(tuple(pieces)))
        if machine is not None:
            start = f"   {host or name}, another machine  "
            said = flow(machine_words(machine, binary=binary, fahrenheit=fahrenheit), max(20, width - len(start)))[0]
            old = any(source.silent for source in machine.sources)
            lines.append(BoardLine(((start, "dim"), *((text, "old" if old and tone != "warn" else tone) for text, tone in said))))
    return lines
