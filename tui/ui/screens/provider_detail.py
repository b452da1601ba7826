"""The words of the Providers screen: columns of its table and facts of its detail."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from rich.cells import cell_len

from tui.core.capabilities import Capability
from tui.core.errors import Failure, FailureKind
from tui.core.models import Location, Origin, ProviderState, ProviderStatus, RunningModel
from tui.providers.address import display_place, display_url
from tui.text import duration, size, tokens
from tui.ui.widgets.bars import fit
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.detail import Fact

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "..::||##"
_QUIET = (Capability.SHOW, Capability.RUNNING, Capability.METRICS, Capability.SLOTS, Capability.KEEP_ALIVE)
_ORIGINS = {
    Origin.FOUND: "found, not saved",
    Origin.ENVIRONMENT: "from OLLAMA_HOST",
    Origin.FLAG: "from --provider",
    Origin.DEMO: "simulated",
}


def state_mark(state: ProviderState) -> str:
    """The state's name for its glyph."""
    return "" if state.status is ProviderStatus.OFF else state.status.value


def latency_text(seconds: float) -> str:
    """`3 ms`, `1.2s`."""
    return f"{max(1, round(seconds * 1000))} ms" if seconds < 1 else duration(seconds)


def short_failure(failure: Failure) -> str:
    """A failure for the STATE column: without the address that stands beside it."""
    if failure.kind is FailureKind.AUTH:
        return f"needs a key ({failure.status or 401}), e adds it"
    what = failure.what
    return what.split(": ", 1)[1] if what.startswith("Cannot reach ") and ": " in what else what


def state_cell(state: ProviderState, now: float) -> Cell:
    """STATE; where there is more to say than `up` it takes the rest of the line. `now` is monotonic."""
    status = state.status
    if status is ProviderStatus.UP:
        return Cell(f"up, {latency_text(state.latency)}" if state.latency is not None else "up")
    if status is ProviderStatus.FOUND:
        note = f"{state.models} {'model' if state.models == 1 else 'models'}, " if state.models else ""
        return Cell(f"found, {note}a adds it", "accent", rest=True)
    if status is ProviderStatus.BUSY:
        since = f", {duration(now - state.busy_since)}" if state.busy_since is not None else ""
        return Cell(f"{state.note or 'identifying'}{since}", "busy", rest=True)
    if status is ProviderStatus.OFF:
        return Cell(state.note or "switched off", "dim", rest=True)
    words = short_failure(state.failure) if state.failure is not None else state.note or "nothing is listening"
    return Cell(words, "bad" if status is ProviderStatus.FAILED else "dim", rest=True)


def models_cell(state: ProviderState) -> str:
    """`14 models, 2 loaded`."""
    if state.models is None:
        return ""
    models = f"{state.models} {'model' if state.models == 1 else 'models'}"
    return f"{models}, {state.loaded} loaded" if state.loaded is not None else models


def columns(width: int) -> list[Column[ProviderState]]:
    """The columns for a screen of `width` cells."""
    wide = width >= 100

    def name(state: ProviderState) -> Cell:
        return Cell(f"{state.name} *" if state.is_default else state.name, "" if state.origin is not Origin.FOUND else "dim")

    def where(state: ProviderState) -> str:
        unknown = "a tunnel?" if state.owner else ""  # nothing, until it is known who holds the port
        return {Location.HERE: "this machine", Location.ELSEWHERE: "elsewhere", Location.ASK: unknown}[state.location]

    out = [Column("name", "NAME", name, min=10 if width >= 72 else 9, max=24, flex=1, sort_key=lambda state: state.name.casefold())]
    if width >= 72:
        out.append(Column("kind", "KIND", lambda s: s.label or s.endpoint.kind, min=13, max=26, flex=1, sort_key=lambda s: s.label))
    out.append(Column("address", "ADDRESS", lambda s: display_place(s.endpoint.url), min=15, max=32, flex=1 if width >= 72 else 0))
    if wide:
        out.append(Column("where", "WHERE", where, width=12))
    state: Column[ProviderState] = Column(
        "state",
        "STATE",
        lambda s: state_cell(s, time.monotonic()),
        min=10,
        max=16 if width >= 72 else 30,
        flex=1 if width >= 72 else 3,
        sort_key=lambda s: s.status.value,
    )
    out.append(state)
    out.append(Column("models", "", models_cell, width=19, align="right", sort_key=lambda s: s.models, descending=True))
    return out


def sparkline(checks: Sequence[float | None], cells: int, *, ascii: bool = False) -> str:
    """The last checks as blocks, a failed one as `✕`; the slowest is the highest."""
    shown = checks[-cells:]
    top = max((value for value in shown if value is not None), default=0.0) or 1.0
    blocks = _ASCII_BLOCKS if ascii else _BLOCKS
    failed = "x" if ascii else "✕"
    return "".join(failed if value is None else blocks[min(7, int(value / top * 7.99))] for value in shown)


def checks_text(checks: Sequence[float | None], *, ascii: bool = False, cells: int = 20) -> str:
    """Sparkline, median, p95 and failures of the checks kept."""
    good = sorted(value for value in checks if value is not None)
    bad = len(checks) - len(good)
    words = []
    if good:
        words.append(f"median {latency_text(statistics.median(good))}")
    if len(good) > 1:
        words.append(f"p95 {latency_text(good[min(len(good) - 1, int(len(good) * 0.95))])}")
    words.append(f"{bad or 'no'} {'failure' if bad == 1 else 'failures'} in {len(checks)} {'check' if len(checks) == 1 else 'checks'}")
    return f"{sparkline(checks, cells, ascii=ascii)}  {', '.join(words)}"


def where_words(running: RunningModel, location: Location) -> str:
    """`all on GPU`, `62 % on GPU`, `all in RAM`; of another machine the same words hold for that machine."""
    if running.size is None or running.vram is None or running.size <= 0:
        return ""
    if running.vram >= running.size * 0.99:
        return "all on GPU" if location is Location.HERE else "all on its GPU"
    if running.vram <= 0:
        return "all in RAM"
    return f"{running.vram / running.size * 100:.0f} % on GPU"


def left_words(running: RunningModel, now: float) -> str:
    """How long it stays."""
    if running.stopping:
        return "unloading"
    if running.pinned:
        return "stays"
    if running.expires_at is None:
        return ""
    return f"{duration(max(0.0, running.expires_at - now))} left"


def loaded_facts(
    running: Sequence[RunningModel], location: Location, now: float, *, binary: bool = False, roomy: bool = True
) -> list[Fact]:
    """One row a loaded model."""
    rows = [
        (
            model.name[:30],
            size(model.size, binary=binary),
            where_words(model, location),
            _context(model) if roomy else "",
            left_words(model, now),
        )
        for model in running
    ]
    widths = [max((cell_len(row[column]) for row in rows), default=0) for column in range(5)]
    facts = []
    for number, row in enumerate(rows):
        cells = [fit(cell, widths[column], "right" if column in (1, 4) else "left") for column, cell in enumerate(row)]
        facts.append(Fact("loaded" if number == 0 else "", "  ".join(cell for cell in cells if cell), fixed=True))
    return facts


def _context(model: RunningModel) -> str:
    if not model.context:
        return ""
    trained = f" of {tokens(model.trained_context)}" if model.trained_context else ""
    return f"{tokens(model.context)} served{trained}"


def facts(
    state: ProviderState,
    running: Sequence[RunningModel],
    *,
    log: str,
    now: float,
    ascii: bool,
    binary: bool,
    cells: int = 20,
    roomy: bool = True,
) -> list[Fact]:
    """Everything about one provider; `now` is UTC epoch seconds."""
    first = [display_url(state.endpoint.url)]
    if state.is_default:
        first.append("* default")
    if state.owner:
        first.append(state.owner)
    if state.origin in _ORIGINS:
        first.append(_ORIGINS[state.origin])
    out = [Fact("", "   ".join(first), "bold $foreground")]
    out += failure_facts(state, now)
    if state.other_person:
        out.append(Fact("account", "runs under another person's account", "$text-warning"))
    reach = {True: "reachable from outside this machine", False: "loopback only", None: "not known"}[state.listens_wide]
    if state.location is Location.HERE:
        out.append(Fact("listens", f"{reach:<24}  auth  {state.auth}", "$text-warning" if state.listens_wide else "$foreground"))
    else:
        unknown = "behind a tunnel: where is not said yet" if state.owner else "not known yet"
        place = "on another machine" if state.location is Location.ELSEWHERE else unknown
        out.append(Fact("runs", f"{place:<24}  auth  {state.auth}"))
    can = [capability.value for capability in Capability if capability in state.capabilities and capability not in _QUIET]
    if can:
        out.append(Fact("can", " ".join(can)))
    out += loaded_facts(running, state.location, now, binary=binary, roomy=roomy)
    if state.checks:
        out.append(Fact("checks", checks_text(state.checks, ascii=ascii, cells=cells)))
    if log:
        out.append(Fact("log", log))
    out += [Fact("mind" if number == 0 else "", trap, "$text-muted") for number, trap in enumerate(state.traps)]
    return [Fact(" " if not fact.label and number else fact.label, fact.text, fact.style, fact.fixed) for number, fact in enumerate(out)]


def failure_facts(state: ProviderState, now: float) -> list[Fact]:
    """What, where and remedy, and how old the data below are."""
    out = []
    failure = state.failure
    if failure is not None:
        out.append(Fact("problem", failure.sentence(), "$text-error"))
        if failure.remedy:
            out.append(Fact("try", failure.remedy, "$text-warning"))
    if state.stale_since is not None:
        out.append(Fact("data", f"as of {duration(now - state.stale_since)} ago", "$text-warning"))
    return out
