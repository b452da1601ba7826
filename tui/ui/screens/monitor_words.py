"""What all parts of the Monitor are made of: the moment shown, figures in words, words that fit, values of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

from tui.core.monitor import MemoryMap, Points
from tui.core.record import record
from tui.hardware.sample import Gpu, Sample
from tui.text import duration
from tui.ui.widgets.board import BoardLine, Piece
from tui.ui.widgets.graph import braille_rows, round_bound

Value = float | None
LEAST: Final = 1e6
"""Bytes a second at the upper end of a graph of something that hardly moves."""
LABEL: Final = 12
"""Cells of name and value, before the graph."""
THROTTLES: Final = {"thermal": "too hot", "power": "power limit", "hardware": "hardware slowdown", "other": "slowed down"}


@record(frozen=True)
class Look:
    """The moment that is shown, and how.

    Attributes:
        sample: Of that moment.
        points: The history of a figure up to that moment, over the span.
        span: Seconds across a graph.
        maps: Whose memory it is; empty where that is not known for this moment.
        fahrenheit: Temperatures in °F.
        binary: Sizes in GiB.
        ascii: Without Unicode graphics.
        old: Nothing came for too long: what is shown are the last figures.
        silent: The same of single sources: "cpu", "ram", "disk", "net", "gpu".
    """

    sample: Sample
    points: Callable[[str], Points]
    span: float
    maps: tuple[MemoryMap, ...] = ()
    fahrenheit: bool = False
    binary: bool = False
    ascii: bool = False
    old: bool = False
    silent: frozenset[str] = frozenset()

    def is_old(self, key: str) -> bool:
        """Whether the figures of a meter are the last ones its source told, some time ago."""
        return self.old or key.partition(":")[0] in self.silent

    def map_of(self, where: str) -> MemoryMap | None:
        """Whose memory it is: of a GPU by its uuid, or of the machine."""
        return next((found for found in self.maps if found.where == where), None)


@record(frozen=True)
class Word:
    """A piece of the words beside a graph; where there is no room the highest rank goes first."""

    text: str
    rank: int = 0
    tone: str = ""


def gb(value: float, binary: bool) -> str:
    """`12.8`, in `unit`."""
    found = value / (2**30 if binary else 1e9)
    return f"{found:.1f}" if found < 9999.5 else f"{found:,.0f}"


def unit(binary: bool) -> str:
    """GB or GiB."""
    return "GiB" if binary else "GB"


def of_total(used: Value, total: Value, binary: bool) -> str:
    """`12.8 of 31.2 GB`; a dash for what is not known."""
    if not total:
        return "" if used is None else f"{gb(used, binary)} {unit(binary)}"
    return f"{'–' if used is None else gb(used, binary)} of {gb(total, binary)} {unit(binary)}"


def degrees(value: Value, fahrenheit: bool) -> str:
    """`71 °C`, or nothing where unknown."""
    if value is None:
        return ""
    return f"{value * 9 / 5 + 32:.0f} °F" if fahrenheit else f"{value:.0f} °C"


def mega(value: Value, binary: bool = False) -> str:
    """A rate in MB/s without the unit."""
    if value is None:
        return "–"
    value /= 2**20 if binary else 1e6
    return f"{value:.0f}" if value >= 9.95 or value < 0.05 else f"{value:.1f}"


def mega_unit(binary: bool) -> str:
    """MB/s or MiB/s."""
    return "MiB/s" if binary else "MB/s"


def percent_of(part: Value, whole: Value) -> Value:
    """Percent, None where one of them is not known."""
    return 100 * part / whole if whole and part is not None else None


def percent_text(value: Value) -> str:
    """`34 %` in five cells."""
    return "   – " if value is None else f"{value:3.0f} %"


def total_of(*values: Value) -> Value:
    """The sum of what is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def card(gpu: Gpu) -> str:
    """The name of a GPU without its maker."""
    name = gpu.name
    for maker in ("NVIDIA ", "GeForce ", "AMD ", "Intel(R) ", "Intel "):
        name = name.removeprefix(maker)
    return name


def throttle_text(gpu: Gpu) -> str:
    """`! too hot`, or nothing."""
    return "! " + ", ".join(THROTTLES.get(reason, reason) for reason in gpu.throttle) if gpu.throttle else ""


def cut(text: str, width: int, ascii: bool = False) -> str:
    """At most `width` cells; what is cut ends in an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)) + ("~" if ascii else "…") if width > 0 else ""


def padded(text: str, width: int) -> str:
    """Exactly `width` cells."""
    return set_cell_size(text, max(0, width))


def flow(words: Sequence[Word], width: int, height: int = 1) -> list[tuple[Piece, ...]]:
    """Put words into lines in their order, two spaces apart; those of the highest rank are left out until the rest fits."""
    kept = [word for word in words if word.text]
    while kept:
        lines = _broken(kept, width)
        if len(lines) <= height and all(_long(line) <= width for line in lines):
            break
        worst = max(kept, key=lambda word: word.rank)
        if len(kept) == 1:
            lines = [(Word(cut(worst.text, width), worst.rank, worst.tone),)]
            break
        kept.reverse()  # of equals the last one goes
        kept.remove(max(kept, key=lambda word: word.rank))
        kept.reverse()
    else:
        return [()] * height
    found = [_pieces(line) for line in lines]
    return found + [()] * (height - len(found))


def _long(line: Sequence[Word]) -> int:
    return sum(cell_len(word.text) for word in line) + 2 * (len(line) - 1)


def _broken(words: Sequence[Word], width: int) -> list[tuple[Word, ...]]:
    lines: list[tuple[Word, ...]] = [()]
    for word in words:
        longer = (*lines[-1], word)
        if lines[-1] and _long(longer) > width:
            lines.append((word,))
        else:
            lines[-1] = longer
    return lines


def _pieces(line: Sequence[Word]) -> tuple[Piece, ...]:
    found: list[Piece] = []
    for word in line:
        if found:
            found.append(("  ", ""))
        found.append((word.text, word.tone))
    return tuple(found)


def faded(pieces: Sequence[Piece], old: bool) -> tuple[Piece, ...]:
    """As they are, or all in the tone of what is no longer true."""
    return tuple((text, "old") for text, _tone in pieces) if old else tuple(pieces)


_SOURCES: Final = {"processor": "cpu", "memory": "ram", "disks": "disk", "network": "net", "GPU": "gpu"}


def _key_of(name: str, sample: Sample) -> str:
    """Whose figures a source gives; the one of the GPUs is named after the libraries that it asks."""
    names = {gpu.source for gpu in sample.gpus}
    return _SOURCES.get(name) or ("gpu" if names & set(name.split(", ")) else "")


def silent_keys(sample: Sample) -> frozenset[str]:
    """The meters whose source does not answer."""
    return frozenset(key for source in sample.sources if source.silent and (key := _key_of(source.name, sample)))


def silent_words(sample: Sample) -> str:
    """`GPU data: no answer for 12s`; empty while all answer."""
    silent = next((source for source in sample.sources if source.silent and _key_of(source.name, sample)), None)
    if silent is None:
        return ""
    name = "GPU data" if _key_of(silent.name, sample) == "gpu" else silent.name
    return f"{name}: no answer for {duration(silent.silent)}"


# --- graphs -----------------------------------------------------------------------------------------------------------


def dots(points: Points, cells: int, span: float) -> list[Value]:
    """Averages for a graph of `cells` cells of two dots each, over `span` seconds.

    Which samples share a dot, and which dots share a cell, follows from their numbers and never changes: the picture only
    moves on, by whole cells.
    """
    count = 2 * cells
    if count <= 0 or not points.values:
        return []
    across = max(1, round(span / points.step))
    first = points.newest - len(points.values) + 1
    begin = first * count // across
    end = max(points.newest * count // across, (points.newest + 1) * count // across - 1)
    end += 1 - end % 2
    sums = [0.0] * (end - begin + 1)
    known = [0] * (end - begin + 1)
    for number, value in enumerate(points.values, first):
        if value is None or value != value:
            continue
        dot = number * count // across - begin
        sums[dot] += value
        known[dot] += 1
        if count > across:  # a sample stands for several dots
            for at in range(dot + 1, (number + 1) * count // across - begin):
                sums[at] += value
                known[at] += 1
    found: list[Value] = [total / seen if seen else None for total, seen in zip(sums, known, strict=True)]
    return found[-count:]


def added(one: Points, other: Points) -> Points:
    """Two figures of the same times together; where one is not known the other one alone."""
    if one.step != other.step or len(one.values) != len(other.values):
        return one if len(one.values) >= len(other.values) else other
    both = tuple(b if a is None else a if b is None else a + b for a, b in zip(one.values, other.values, strict=True))
    return Points(both, one.step, one.newest)


def picture(points: Points, cells: int, height: int, look: Look, upper: Value = 100.0) -> list[str]:
    """The lines of a graph; `upper` None: the next round number above what is shown."""
    values = dots(points, cells, look.span)
    return braille_rows(values, cells, height, 0.0, bound(values) if upper is None else upper, look.ascii)


def highest(values: Sequence[Value]) -> Value:
    """The largest value, None where there is none."""
    return max((value for value in values if value is not None and value == value), default=None)


def bound(values: Sequence[Value]) -> float:
    """The upper end of a graph of bytes a second: a megabyte at least, else nothing would look like much."""
    return round_bound(max((value for value in values if value is not None and value == value and value > LEAST), default=LEAST))


def blank(key: str = "") -> BoardLine:
    """An empty line."""
    return BoardLine((), key)
