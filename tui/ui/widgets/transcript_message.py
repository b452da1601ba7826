"""One message of a conversation as lines: its header, what is folded, its text, and our own lines; no widget.

What a model wrote stands at least one cell in, ours begins in the first cell: no line of a model can pass for one of ours (X05).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from tui.core.record import record
from tui.text import count, duration, strip_line
from tui.ui.widgets.bars import fit
from tui.ui.widgets.transcript_layout import Body, Keep, Laid, Look, Rushed, break_words

FOLD_INDENT: Final = 2
"""Cells before what was folded, beside the one before everything a model wrote."""
Said = tuple[str, str]
"""A line of ours and the name of its style."""


@record(frozen=True)
class Fold:
    """Something a message holds that is folded at first: a tool's call, its result, a summary. Cleaned."""

    label: str
    text: str


@record(frozen=True)
class Row:
    """A message as a screen gives it; all texts are cleaned.

    Attributes:
        left: Who speaks, in the header.
        right: Figures, at the header's other end.
        text: Markdown; None while it is streamed (`Transcript.append`).
        thoughts: Of a message that is not streamed.
        thought: Seconds and tokens of the thoughts, None where not known.
        folds: Below the text.
        notes: Our own lines between header and text.
        footer: Our own lines below all of it.
        typed: A person wrote it: lines end where they end.
    """

    id: Hashable
    left: str
    right: str = ""
    text: str | None = ""
    thoughts: str = ""
    thought: tuple[float | None, int | None] = (None, None)
    folds: tuple[Fold, ...] = ()
    notes: tuple[Said, ...] = ()
    footer: tuple[Said, ...] = ()
    typed: bool = False


def narrower(look: Look) -> Look:
    """How lines are broken in what was folded."""
    return Look(max(8, look.width - FOLD_INDENT), look.ascii)


def ours(lines: Sequence[Said], width: int) -> list[Text]:
    """Our own lines broken at a width; what goes on from the line before stands in, as it may hold others' words."""
    out: list[Text] = []
    for words, style in lines:
        first, *more = break_words(strip_line(words), width)
        out.append(Text(first.rstrip(" "), style))
        if more:
            rest = break_words("".join(more), max(8, width - 2))
            out += [Text(f"  {part.rstrip(' ')}", style) for part in rest]
    return out


class Section:
    """A line of ours that unfolds a text."""

    def __init__(self, label: str, body: Body) -> None:
        self.label = label
        self.body = body
        self.unfolded = False

    def line(self, look: Look) -> Text:
        """The line that folds and unfolds."""
        closed, opened = (">", "v") if look.ascii else ("▸", "▾")
        words = f"{opened if self.unfolded else closed} {strip_line(self.label)}"
        return Text(fit(words, look.width + 1, ascii=look.ascii).rstrip(" "), "dim")


class _Placed:
    """A part of a message where it stands."""

    __slots__ = ("height", "look", "margin", "start", "what")

    def __init__(self, start: int, what: Body | list[Text], margin: int, look: Look) -> None:
        self.start, self.what, self.margin, self.look = start, what, margin, look
        self.height = what.height if isinstance(what, Body) else len(what)


class Message:
    """A header, folded thoughts, the body, what else is folded, our own lines, and an empty line."""

    def __init__(self, left: str, right: str, keep: Keep, *, typed: bool = False) -> None:
        self.left, self.right = left, right
        self.here = False
        """The cursor stands on it, and is shown."""
        self.body = Body(keep, typed=typed)
        self.thinking = Section("", Body(keep, plain=True))
        self.thought_seconds: float | None = None
        self.thought_tokens: int | None = None
        self.sections: list[Section] = []
        self.notes: Sequence[Said] = ()
        self.footer: Sequence[Said] = ()
        self.height = 1
        """Lines."""
        self._keep = keep
        self._folds: tuple[Fold, ...] = ()
        self._source: str | None = None
        self._head: list[Text] = []
        self._placed: list[_Placed] = []
        self._starts: list[int] = []

    # --- what stands in it

    @property
    def source(self) -> str:
        """Its text."""
        if not self.body.finished:
            return "".join(self.body.parts)
        if self._source is None:
            self._source = "".join(self.body.parts)
        return self._source

    def holds(self, row: Row) -> bool:
        """Whether its texts are those of the row: nothing of them is to be drawn again."""
        if row.text is None:
            return not self.body.finished
        return self.body.finished and self.source == row.text and "".join(self.thinking.body.parts) == row.thoughts

    def fill(self, row: Row) -> None:
        """Take texts that are whole."""
        if row.thoughts:
            self.thinking.body.append(row.thoughts)
            self.thinking.body.finish()
        if row.text is not None:
            if row.text:
                self.body.append(row.text)
            self.body.finish()

    def take(self, row: Row) -> bool:
        """Take everything but the texts; False where nothing of it is new."""
        new = (row.left, row.right, row.notes, row.footer, row.folds)
        if new == (self.left, self.right, self.notes, self.footer, self._folds) and row.text is None:
            return False
        seconds, tokens = row.thought
        if row.text is not None:
            self.thought_seconds, self.thought_tokens = seconds, tokens
        self.left, self.right, self.notes, self.footer = row.left, row.right, row.notes, row.footer
        if row.folds != self._folds:
            self._folds = row.folds
            self.sections = []
            for fold in row.folds:
                body = Body(self._keep, plain=True)
                body.append(fold.text)
                body.finish()
                self.sections.append(Section(fold.label, body))
        return True

    # --- folding

    @property
    def foldable(self) -> list[Section]:
        """What can be folded."""
        return [*([self.thinking] if self.thinking.body.parts else ()), *self.sections]

    def fold(self) -> bool:
        """Unfold all of it, or fold all where nothing is folded; False where there is nothing to fold."""
        found = self.foldable
        unfold = not all(section.unfolded for section in found)
        for section in found:
            section.unfolded = unfold
        return bool(found)

    def fold_at(self, at: int) -> bool:
        """Fold or unfold what the line says; False where it is another line."""
        part = self._part(at)
        if part is None or isinstance(part.what, Body) or at >= part.start + len(part.what):
            return False
        line = part.what[at - part.start]
        found = next((section for section in self.foldable if section.line(part.look) == line), None)
        if found is not None:
            found.unfolded = not found.unfolded
        return found is not None

    # --- lines

    @property
    def head_height(self) -> int:
        """Lines above the body."""
        return next((part.start for part in self._placed if part.what is self.body), 0)

    def _part(self, at: int) -> _Placed | None:
        return self._placed[bisect_right(self._starts, at) - 1] if self._placed else None

    def line(self, at: int) -> tuple[Text, int]:
        """A line, and cells before it."""
        part = self._part(at)
        if part is None or at >= part.start + part.height:
            return Text(), 0
        if not isinstance(part.what, Body):
            return part.what[at - part.start], 0
        line = part.what.line(at - part.start)
        if part.what is not self.body:
            line.style = "dim"
        return line, part.margin

    @property
    def behind(self) -> bool:
        """`lay_out` must be called again."""
        return any(part.what.behind for part in self._placed if isinstance(part.what, Body))

    def lay_out(self, look: Look, rushed: Rushed = lambda: False, late: Rushed = lambda: False) -> tuple[int, bool]:
        """Bring the lines up to date, as far as that goes until it is late.

        Returns:
            The first line below the header that may have changed, and whether the header (line 0) has.
        """
        head = [self._draw_head(look)]
        changed = head != self._head
        self._head = head
        placed = [_Placed(0, head, 0, look)]
        first, at = -1, 1
        for index, (what, margin, shape) in enumerate(self._parts(look), 1):
            old = self._placed[index] if index < len(self._placed) else None
            same = old is not None and old.start == at and (old.what is what or (isinstance(what, list) and isinstance(old.what, list)))
            kept = self._kept(what, shape, old if same else None, rushed, late)
            part = _Placed(at, what, margin, shape)
            placed.append(part)
            if first < 0 and (old is None or not same or kept < part.height or old.height != part.height):
                first = at + (kept if same else 0)
            at += part.height
        if first < 0:
            first = at
        self._put(placed)
        return first, changed

    def _kept(self, what: Body | list[Text], look: Look, old: _Placed | None, rushed: Rushed, late: Rushed) -> int:
        """Lines at the begin of a part that are as they were."""
        if isinstance(what, Body):
            return what.settle(look, rushed if what is self.body else lambda: False, late)
        before = old.what if old is not None and isinstance(old.what, list) else []
        return next((at for at, (was, now) in enumerate(zip(before, what, strict=False)) if was != now), min(len(before), len(what)))

    def _parts(self, look: Look) -> Iterator[tuple[Body | list[Text], int, Look]]:
        """What stands below the header; each part is asked for when the one before it has been laid out."""
        above = ours(self.notes, look.width + 1)
        inner = narrower(look)
        if self.thinking.body.parts:
            self.thinking.label = self._thought()
            above.append(self.thinking.line(look))
        if above:
            yield above, 0, look
        if self.thinking.body.parts and self.thinking.unfolded:
            yield self.thinking.body, 1 + FOLD_INDENT, inner
        if above and (self.body.parts or not self.sections):
            yield [Text()], 0, look
        yield self.body, 1, look
        if self.sections and self.body.height:
            yield [Text()], 0, look
        for section in self.sections:
            yield [section.line(look)], 0, look
            if section.unfolded:
                yield section.body, 1 + FOLD_INDENT, inner
        if self.footer:
            yield ours(self.footer, look.width + 1), 0, look

    def _thought(self) -> str:
        took = f" for {duration(self.thought_seconds)}" if self.thought_seconds is not None else ""
        return f"thought{took}" + (f" (~{count(self.thought_tokens)} tokens)" if self.thought_tokens else "")

    def _put(self, placed: list[_Placed]) -> None:
        self._placed, self._starts = placed, [part.start for part in placed]
        self.height = placed[-1].start + placed[-1].height + 1

    def bodies(self, look: Look) -> Iterator[tuple[Body, Look, int]]:
        """The texts shown, each with its own look and its first line."""
        for part in self._placed:
            if isinstance(part.what, Body):
                yield part.what, look if part.what is self.body else narrower(look), part.start

    def stale(self, look: Look) -> Iterator[tuple[Body, Look, int, Laid]]:
        """Blocks drawn for another look, with what `bodies` tells of their text; each is to be drawn before the next is asked for."""
        for body, own, inside in self.bodies(look):
            for laid in body.stale(own):
                yield body, own, inside, laid

    def take_heights(self) -> None:
        """After blocks were drawn again: their numbers, and where each part stands."""
        at = 0
        for part in self._placed:
            if isinstance(part.what, Body):
                part.what.renumber()
                part.height = part.what.height
            part.start = at
            at += part.height
        if self._placed:
            self._put(self._placed)

    def holding(self, folded: str, *, last_first: bool = False) -> Iterator[int]:
        """Lines that hold a case-folded text."""
        for part in reversed(self._placed) if last_first else self._placed:
            start = part.start
            if isinstance(part.what, Body):
                yield from (start + at for at in part.what.holding(folded, last_first=last_first))
            else:
                found = [start + at for at, line in enumerate(part.what) if folded in line.plain.casefold()]
                yield from reversed(found) if last_first else found

    def _draw_head(self, look: Look) -> Text:
        rule = "-" if look.ascii else "─"
        right = f" {strip_line(self.right)} " if self.right else ""
        left = f"{'>' if self.here else rule} {strip_line(self.left)} "
        width = look.width + 2
        room = max(0, width - cell_len(right))
        left = fit(left, room, ascii=look.ascii) if cell_len(left) > room else left + rule * (room - cell_len(left))
        return Text(left + right, "here" if self.here else "header")
