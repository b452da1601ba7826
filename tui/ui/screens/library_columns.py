"""The words of the Library screen's installed models: columns, counts, detail."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tui.core.capabilities import ABILITY_WORDS, Ability
from tui.core.errors import Failure
from tui.core.models import Model, ModelDetail, ProviderState
from tui.core.monitor import Profile
from tui.services.monitor.profile_words import cost, rate, speed
from tui.text import clean_name, duration, size, tokens
from tui.ui.screens.fits import CONTEXT, Fits, need_text
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.detail import Fact
from tui.ui.widgets.rows import Rows

_EXCERPT = 1200
ROOMY = 100
"""Cells from which on the table has columns that only `show` can fill."""
_WIDE = 116
_WIDEST = 128


def ability_words(abilities: frozenset[Ability]) -> str:
    """`chat tools vision`, in one order everywhere."""
    return " ".join(word for ability, word in ABILITY_WORDS.items() if ability in abilities)


def age(at: float | None, now: float) -> str:
    """`3 d` since then; `now` within a minute; a dash where not known."""
    if at is None:
        return "–"
    return "now" if now - at < 60 else duration(now - at)


ProfileOf = Callable[[Model], Profile | None]
"""How a model did here; None where it was never used."""


def profile_of(services: Any) -> ProfileOf:
    """Looks into what the monitor keeps."""
    return lambda model: services.monitor.profiles.value.get((clean_name(model.provider), clean_name(model.key)))


def columns(
    fits: Fits, stale: Mapping[str, Failure], width: int, *, binary: bool = False, profile: ProfileOf = lambda _model: None
) -> list[Column[Model]]:
    """The columns for a screen of `width` cells."""

    def name(model: Model) -> Cell:
        return Cell(model.name, "dim" if model.provider in stale else "")

    def context_of(model: Model) -> Cell:
        known = fits.detail(model)
        return Cell(tokens(model.context or (known.context if known else None)))

    def can_do(model: Model) -> Cell:
        known = fits.detail(model)
        return Cell(ability_words(model.abilities or (known.abilities if known else frozenset())) or "–")

    def rate_of(model: Model) -> float | None:
        known = profile(model)
        return known.rate if known is not None else None

    written: Column[Model] = Column(
        "speed", "TOK/S", lambda model: rate(rate_of(model)), width=6, align="right", sort_key=rate_of, descending=True
    )
    parameters: Column[Model] = Column("parameters", "PARAMS", lambda m: m.parameters or "–", width=7, align="right")
    context: Column[Model] = Column("context", "CONTEXT", context_of, width=7, align="right")
    can: Column[Model] = Column("can", "CAN", can_do, min=8, max=24, flex=2)
    roomy = width >= ROOMY
    return [
        Column("name", "NAME", name, min=18, max=44, flex=4, sort_key=lambda model: model.name.casefold()),
        Column("on", "ON", lambda model: model.provider, min=7, max=16, flex=1, sort_key=lambda model: model.provider),
        Column("size", "SIZE", lambda m: size(m.size, binary=binary), width=7, align="right", sort_key=lambda m: m.size, descending=True),
        *([parameters] if roomy else []),
        Column("quant", "QUANT", lambda model: model.quantization or "–", width=8, min_screen_width=72),
        Column("fits", f"FITS AT {CONTEXT // 1024}k", fits.cell, width=15),
        *([context] if roomy else []),
        *([written] if width >= _WIDEST else []),
        *([can] if width >= _WIDE else []),
        Column(
            "changed", "CHANGED", lambda m: age(m.modified_at, time.time()), width=7, align="right", sort_key=lambda m: m.modified_at,
            descending=True, min_screen_width=78,
        ),
    ]  # fmt: skip


def counts(rows: Rows[Model], provider: str = "") -> str:
    """`3 of 14 models, 1 marked (1 more hidden)`."""
    total = sum(1 for model in rows.items if model.provider == provider) if provider else rows.total
    models = f"{total} {'model' if total == 1 else 'models'}"
    out = models if rows.shown == total else f"{rows.shown} of {models}"
    marked, hidden = len(rows.marks), rows.marked_hidden
    if marked:
        out += f", {marked - hidden} marked" + (f" ({hidden} more hidden)" if hidden else "")
    return out


def delete_question(models: Sequence[Model], hidden: Sequence[Model], fits: Fits, *, binary: bool = False) -> str:
    """What a delete would do, with the figure that matters."""
    known = [model.size for model in models if model.size is not None]
    where = " and ".join(sorted({model.provider for model in models}))
    what = f"{models[0].name} on {where}" if len(models) == 1 else f"{len(models)} models on {where}"
    some = ", ".join(model.name for model in hidden[:3]) + (" …" if len(hidden) > 3 else "")
    note = f" ({len(hidden)} of them hidden by the filter: {some})" if hidden and len(models) > 1 else ""
    least = "" if len(known) == len(models) else "At least "
    total = f" {least}{size(sum(known), binary=binary)} in all; shared layers stay." if known else ""
    loaded = sum(1 for model in models if fits.is_loaded(model))
    which = "It is" if len(models) == 1 else f"{loaded} of them {'is' if loaded == 1 else 'are'}"
    first = f" {which} loaded and will be unloaded first." if loaded else ""
    return f"Delete {what}{note}?{total}{first} This cannot be undone."


def excerpt(text: str) -> str:
    """The beginning of a long text."""
    text = text.strip()
    return text if len(text) <= _EXCERPT else text[:_EXCERPT].rstrip() + " …"


def model_facts(
    model: Model,
    detail: ModelDetail | Failure | None,
    fits: Fits,
    state: ProviderState | None,
    stale: Failure | None,
    now: float,
    *,
    binary: bool = False,
    profile: Profile | None = None,
) -> list[Fact]:
    """Everything about one installed model; `now` is UTC epoch seconds, `profile` how it did here."""
    out: list[Fact] = []
    if stale is not None:
        since = f"as of {duration(now - state.stale_since)} ago: " if state is not None and state.stale_since is not None else ""
        out.append(Fact("old", f"{since}{stale.sentence()}", "$text-warning"))
        if stale.remedy:
            out.append(Fact("try", stale.remedy, "$text-warning"))
    out.append(_needs(model, fits, state, binary=binary))
    if profile is not None:
        out.append(Fact("here", f"{speed(profile)}\n{cost(profile, binary=binary)}".strip()))
    known = detail if isinstance(detail, ModelDetail) else None
    abilities = ability_words(known.abilities or model.abilities if known else model.abilities)
    line = [abilities or "not said"]
    parameters = model.parameters or (known.parameters if known else "")
    line += [part for part in (parameters, f"licence {_licence(known)}" if known and known.licence else "") if part]
    out.append(Fact("can", "   ".join(line)))
    context = model.context or (known.context if known else None)
    kind = ["/".join(part for part in (model.family or (known.family if known else ""), model.format) if part)]
    kind += [f"trained for {tokens(context)} of context" if context else "", f"digest {model.digest[:12]}" if model.digest else ""]
    out.append(Fact("is", "   ".join(part for part in kind if part)))
    if isinstance(detail, Failure):
        out.append(Fact("detail", detail.sentence(), "$text-warning"))
        if detail.remedy:
            out.append(Fact("try", detail.remedy, "$text-muted"))
    elif known is None:
        out.append(Fact("detail", f"asking {model.provider} …", "$text-muted"))
    else:
        out += _more(known)
    return [fact for fact in out if fact.text]


def _needs(model: Model, fits: Fits, state: ProviderState | None, *, binary: bool) -> Fact:
    if model.remote:
        return Fact("runs", "in a cloud: what you write leaves this machine and the server", "$text-warning")
    fit = fits.of(model)
    if fit is not None and fits.machine is not None:
        context = min(CONTEXT, model.context or CONTEXT)
        return Fact("needs", need_text(fit, fits.machine, context, binary=binary))
    if state is not None and not fits.here(model.provider):
        return Fact("needs", f"{model.provider} is not on this machine: its memory is not known", "$text-muted")
    why = "no figures of this machine yet" if fits.machine is None else "the server does not say its size"
    return Fact("needs", f"not known: {why}", "$text-muted")


def _licence(detail: ModelDetail) -> str:
    lines = [line.strip() for line in detail.licence.splitlines() if line.strip()]
    return lines[0][:60] if lines else ""


def _more(detail: ModelDetail) -> list[Fact]:
    out = []
    if detail.remote_host:
        out.append(Fact("runs", f"at {detail.remote_host}", "$text-warning"))
    if detail.requires:
        out.append(Fact("requires", f"Ollama {detail.requires} or newer"))
    if detail.options:
        out.append(Fact("options", ", ".join(f"{name} {value}" for name, value in detail.options)))
    if detail.system:
        out.append(Fact("system", excerpt(detail.system)))
    if detail.template:
        out.append(Fact("template", excerpt(detail.template), "$text-muted"))
    return out
