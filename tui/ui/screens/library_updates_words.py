"""The words of updates: the UPDATE column, the line of the pane, what is asked before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tui.core.library import UpdateState, UpdateStatus
from tui.core.models import Model, ModelKey
from tui.text import duration, size
from tui.ui.widgets.columns import Cell
from tui.ui.widgets.detail import Fact


def can_update(model: Model) -> bool:
    """Whether a registry may have something newer of it."""
    return not model.remote


def state_of(states: Mapping[ModelKey, UpdateState], model: Model) -> UpdateState | None:
    """What was found of a model as it is now; None where another digest was compared."""
    found = states.get((model.provider, model.key))
    return found if found is not None and found.digest == model.digest else None


def update_cell(state: UpdateState | None, model: Model, *, binary: bool = False) -> Cell:
    """`current`, `5.2 GB new`, `new texts`, `gone`, or a dash where it is not known."""
    if state is None or not can_update(model):
        return Cell("–", "dim")
    if state.status is UpdateStatus.WEIGHTS:
        return Cell(f"{size(state.fetch, binary=binary)} new" if state.fetch else "new weights", "accent")
    if state.status is UpdateStatus.METADATA:
        return Cell("new texts", "accent")
    if state.status is UpdateStatus.CURRENT:
        return Cell("current")
    return Cell("own" if state.status is UpdateStatus.GONE else "not known", "dim")


def update_order(state: UpdateState | None) -> int | None:
    """What the column sorts by: what is newest to fetch first, None where nothing is known."""
    order = {UpdateStatus.WEIGHTS: 4, UpdateStatus.METADATA: 3, UpdateStatus.CURRENT: 2, UpdateStatus.GONE: 1}
    return order.get(state.status) if state is not None else None


def facts(state: UpdateState | None, model: Model, now: float, *, binary: bool = False) -> list[Fact]:
    """The pane's line: `weights changed 12 days ago (19.9 GB to fetch), template the same`."""
    if state is None or not can_update(model):
        return []
    looked = f"   looked {duration(max(0.0, now - state.checked_at))} ago" if now - state.checked_at >= 60 else ""
    if state.status is UpdateStatus.CURRENT:
        return [Fact("update", f"current{'; ' + state.changes[0] if state.changes else ''}{looked}")]
    if state.status is UpdateStatus.GONE:
        return [Fact("update", f"its registry has no such model: made here, or withdrawn there{looked}", "$text-muted")]
    if state.status is UpdateStatus.UNKNOWN:
        why = state.failure.sentence() if state.failure is not None else "the registry could not be asked"
        return [Fact("update", f"not known: {why}{looked}", "$text-muted")]
    return [Fact("update", f"{_news(state, now, binary=binary)}{looked}", "$text-accent")]


def _news(state: UpdateState, now: float, *, binary: bool) -> str:
    since = f" {duration(now - state.pushed_at)} ago" if state.pushed_at is not None and now >= state.pushed_at else ""
    fetch = f" ({size(state.fetch, binary=binary)} to fetch)" if state.fetch is not None else ""
    first = "weights changed" if state.status is UpdateStatus.WEIGHTS else "details changed, the weights are the same;"
    rest = [change for change in state.changes if not change.startswith("weights")]
    more = f", {', '.join(rest)}" if rest and state.status is UpdateStatus.WEIGHTS else f" {', '.join(rest)}" if rest else ""
    return f"{first}{since}{fetch}{more}" if state.status is UpdateStatus.WEIGHTS else f"{first}{more}{since}{fetch}"


def question(models: Sequence[Model], states: Mapping[ModelKey, UpdateState], versions: int, *, binary: bool = False) -> str:
    """What an update does, with the figure that matters, and what is kept."""
    servers = " and ".join(sorted({model.provider for model in models}))
    what = models[0].name if len(models) == 1 else f"{len(models)} models"
    known = [state_of(states, model) for model in models]
    sizes = [state.fetch for state in known if state is not None and state.fetch is not None]
    some = "" if len(sizes) == len(models) else "At least "
    fetch = f" {some}{size(sum(sizes), binary=binary)} to fetch." if sizes else " Only layers that changed are fetched."
    changed = known[0].changes if len(models) == 1 and known[0] is not None and known[0].newer else ()
    news = f" {'; '.join(changed)}." if changed else ""
    one = len(models) == 1
    earlier = "the earlier version is kept, to go back to" if one else "the earlier versions are kept, to go back to"
    earlier = earlier if versions else "what it replaces goes (models.versions is 0)"
    return (
        f"Update {what} on {servers}?{fetch}{news} The old version answers until the new one is complete; {earlier}. What you changed of "
        f"{'it' if one else 'them'} (parameters, system prompt, template) is noted first and applied again afterwards."
    )
