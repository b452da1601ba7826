"""What the Library tells about optimising, quantizing and levels: lines of the dialogs, facts of the pane."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tui.core.errors import Failure
from tui.core.levels import LevelFigures
from tui.core.models import Model
from tui.core.names import normal
from tui.core.tuning import Change, Optimised, OptimiseState, Proposal, TuneRun
from tui.services.library.tuning_words import figures, outcome
from tui.services.monitor.profile_words import rate
from tui.text import clean_label, clean_name, duration, size
from tui.ui.widgets.board import BoardLine
from tui.ui.widgets.columns import Cell
from tui.ui.widgets.detail import Fact, wrap_cells

STATES = {
    OptimiseState.KEPT: ("kept", "ok"),
    OptimiseState.NOT_BETTER: ("not better, so not kept", "warn"),
    OptimiseState.FAILED: ("could not be measured; nothing was changed", "bad"),
    OptimiseState.STOPPED: ("stopped; nothing was changed", "dim"),
    OptimiseState.INTERRUPTED: ("interrupted; nothing was changed", "warn"),
    OptimiseState.RUNNING: ("being measured, perhaps by another window", "accent"),
}


# --- optimise --------------------------------------------------------------------------------------------------------


def optimise_lines(
    found: Proposal | Failure | None,
    marked: Collection[str],
    last: Optimised | None,
    run: TuneRun | None,
    now: tuple[float, float],
    width: int,
    *,
    ascii: bool,
    binary: bool,
) -> list[BoardLine]:
    """Everything the dialog tells.

    Args:
        found: What is proposed, None while it is not known.
        marked: Options that will be tried.
        last: The newest optimisation of the model.
        run: The measurement that goes on, of whatever model.
        now: Epoch and monotonic seconds.
        width: Cells.
        ascii: Plain characters only.
        binary: Sizes in GiB.
    """
    lines: list[BoardLine] = []
    if found is None:
        lines.append(BoardLine(((" looking at the model and this machine", "dim"),)))
    elif isinstance(found, Failure):
        lines += _wrapped(found.sentence(), width, "warn")
        lines += _wrapped(found.remedy, width, "accent")
    else:
        for change in found.changes:
            lines += _change(change, change.key in marked, width, ascii=ascii)
        if not found.changes:
            lines += _wrapped("There is nothing to propose: it is loaded as well as it can be, as far as can be told.", width, "")
        for smaller in found.smaller:
            key = "p pulls it" if smaller.pull else "Q quantizes"
            lines += [BoardLine(), *_wrapped(f"{smaller.words}. {key}.", width, "accent")]
    if run is not None:
        lines += [BoardLine(), *_running(run, now[1], width)]
    elif last is not None:
        lines += [BoardLine(), *_last(last, now[0], width, binary=binary)]
    for text in (*found.held, *found.advice) if isinstance(found, Proposal) else ():
        lines += [BoardLine(), *_wrapped(text, width, "dim")]
    return lines


def _change(change: Change, marked: bool, width: int, *, ascii: bool) -> Iterator[BoardLine]:
    box = ("[x]" if ascii else "[✓]") if marked else "[ ]"
    old = "the server chooses" if change.old is None else str(change.old)
    arrow = "->" if ascii else "→"
    line = ((f" {box} {change.key:<10} ", "bold" if marked else ""), (f"{old} {arrow} ", "dim"), (str(change.new), "ok" if marked else ""))
    yield BoardLine(line, change.key)
    for row in wrap_cells(clean_label(change.effect), max(20, width - 7)):
        yield BoardLine((("     ", ""), (row, "dim")))


def _wrapped(text: str, width: int, tone: str) -> list[BoardLine]:
    return [BoardLine(((f" {row}", tone),)) for row in wrap_cells(clean_label(text, 600), max(20, width - 3))] if text else []


def _running(run: TuneRun, now: float, width: int) -> list[BoardLine]:
    what = f"{clean_name(run.model, 60)} on {clean_name(run.provider, 30)}: {run.step}, {duration(max(0.0, now - run.since))} now"
    return _wrapped(what, width, "accent")


def _last(row: Optimised, now: float, width: int, *, binary: bool) -> Iterator[BoardLine]:
    words, tone = STATES.get(row.state, (row.state, ""))
    tried = ", ".join(f"{change.key} {change.new}" for change in row.changes)
    yield BoardLine(((f" {duration(max(0.0, now - row.at))} ago  ", "dim"), (tried, "bold"), (f"  {words}", tone)))
    if row.failure is not None:
        yield from _wrapped(row.failure.sentence(), width, "warn")
    if row.words:
        yield from _wrapped("; ".join(row.words), width, tone)
    if row.before is not None and row.after is not None:
        yield BoardLine(((f" {'':<13}{'before':>14}{'after':>14}", "dim"),))
        for (name, before), (_name, after) in zip(figures(row.before, binary=binary), figures(row.after, binary=binary), strict=True):
            yield BoardLine(((f" {name:<13}", "dim"), (f"{before:>14}{after:>14}", "")))


# --- levels ----------------------------------------------------------------------------------------------------------


def base_rows(known: Mapping[tuple[str, str], Sequence[LevelFigures]], provider: str, models: Sequence[Model]) -> dict[str, LevelFigures]:
    """What was measured of these models, by normal name: beside the largest of them, else beside whatever it was measured with."""
    names = {normal(model.key) for model in models}
    best: Sequence[LevelFigures] = ()
    for (on, base), rows in known.items():
        hits = [row for row in rows if row.model in names]
        better = (len(hits), base in names) > (len(best), any(row.base in names for row in best))
        if on == provider and better:
            best = hits
    return {row.model: row for row in best}


def compared_with(rows: Iterable[LevelFigures], first: Model) -> str:
    """Whose answers the others' were compared with, as a heading says it: `the first row's`, or the model by its name."""
    base = next((row.base for row in rows if row.agreement is not None and normal(row.base) != row.model), "")
    return f"those of {clean_name(base, 60)}" if base and normal(base) != normal(first.key) else "the first row's"


def agrees(row: LevelFigures | None, rows: Collection[LevelFigures]) -> Cell:
    """`83 %`, coloured by how much that is; a model beside itself only where others of `rows` were compared with it."""
    if row is not None and row.problem:
        return Cell("failed", "bad")
    if row is None or row.agreement is None:
        return Cell("–", "dim")
    if normal(row.base) == row.model and not any(one.agreement is not None and one.model != row.model for one in rows):
        return Cell("–", "dim")
    tone = "ok" if row.agreement >= 0.9 else "warn" if row.agreement >= 0.5 else "bad"
    return Cell(f"{100 * row.agreement:.0f} %", tone)


def when(row: LevelFigures | None, model: Model, now: float) -> Cell:
    """How old the figures are; those of another version of the model say so."""
    if row is None:
        return Cell("never", "dim")
    if row.digest and model.digest and row.digest != model.digest:
        return Cell("changed", "warn")
    return Cell(duration(max(0.0, now - row.at)))


def level_sentence(row: LevelFigures | None, model: Model, now: float, *, binary: bool = False) -> str:
    """Everything about one level in a few words, for the line below the table."""
    if row is None:
        return f"{model.name} was not measured yet."
    if row.problem:
        return f"{model.name}: {row.problem}"
    own = normal(row.base) == row.model
    against = "its own answers when asked again" if own else f"{row.base}"
    agreed = "" if row.agreement is None else f", {row.same} of {row.asked} answers equal to {against}"
    cut = f", {row.cut} of {row.asked} cut at their longest length" if row.cut else ""
    old = " The model was replaced since." if row.digest and model.digest and row.digest != model.digest else ""
    on_gpu = f" ({100 * row.vram / row.memory:.0f} % on GPUs)" if row.vram is not None and row.memory else ""
    return (
        f"{model.name}: {size(row.memory, binary=binary)} of memory{on_gpu}, loads in {duration(row.load_seconds)}, first token "
        f"{duration(row.first_token)}, writes {rate(row.rate)} and reads {rate(row.prompt_rate)} tok/s{agreed}{cut}; "
        f"{duration(max(0.0, now - row.at))} ago.{old}"
    )


# --- pane ------------------------------------------------------------------------------------------------------------


def facts(services: Any, model: Model, now: float) -> list[Fact]:
    """What was measured on purpose of an installed model."""
    key, out = (clean_name(model.provider), normal(model.key)), []
    row = services.library.tuning.optimised.value.get(key)
    if row is not None and row.state in (OptimiseState.KEPT, OptimiseState.NOT_BETTER):
        out.append(Fact("tuned", f"{outcome(row).removeprefix(f'{row.model}: ')}, {duration(max(0.0, now - row.at))} ago"))
    for rows in services.library.tuning.levels.value.values():
        mine = next((one for one in rows if (one.provider, one.model) == key and not one.problem), None)
        if mine is not None and mine.agreement is not None and mine.model != mine.base:
            share = f"{100 * mine.agreement:.0f} % of the words as {mine.base}, {rate(mine.rate)} tok/s"
            out.append(Fact("level", f"{share}, measured {duration(max(0.0, now - mine.at))} ago"))
            break
    return out
