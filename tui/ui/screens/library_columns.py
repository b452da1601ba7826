"""The words of the Library screen's installed models: columns, counts, detail."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Container, Sequence
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from tui.core.capabilities import ABILITY_WORDS, Ability
from tui.core.errors import Failure
from tui.core.filtering import parameter_count
from tui.core.model_page import UNUSUAL
from tui.core.models import Model, ModelDetail, ProviderState
from tui.core.monitor import Profile
from tui.core.names import unusual
from tui.services.monitor.profile_words import cost, rate, speed
from tui.text import duration, size, tokens
from tui.ui.screens import library_updates_words
from tui.ui.screens.fits import CONTEXT, Fits, known_text, need_text
from tui.ui.screens.library_known import licence_line
from tui.ui.screens.library_updates_words import update_order
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.detail import Fact
from tui.ui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.ui.screens.library_known import Known

_EXCERPT = 1200
ROOMY = 100
"""Cells from which on the table has columns that only `show` can fill."""
_SHORT: Final = 16
"""Letters that a name may have to be marked as the default in the narrowest table."""
_WIDE = 124
_WIDEST = 156


def ability_words(abilities: frozenset[Ability]) -> str:
    """`chat tools vision`, in one order everywhere."""
    return " ".join(word for ability, word in ABILITY_WORDS.items() if ability in abilities)


def age(at: float | None, now: float) -> str:
    """`3 d` since then; `now` within a minute; a dash where not known."""
    if at is None:
        return "–"
    return "now" if now - at < 60 else duration(now - at)


def last_used(at: float | None, now: float) -> str:
    """As `age`, in five cells."""
    return "<1 h" if at is not None and 600 <= now - at < 3600 else age(at, now)


def every(known: Known, stale: Container[str] = (), *, binary: bool = False) -> dict[str, Column[Model]]:
    """All columns of installed models by their names in `appearance.columns`, in the order the dialog offers them.

    Args:
        known: Looks up what the list does not say.
        stale: Providers whose list is old.
        binary: Sizes in GiB.
    """
    bytes_width = 7 if binary else 6

    models: Sequence[Model] = known.services.registry.models.value

    def profiled(pick: Callable[[Profile], float | None]) -> Callable[[Model], float | None]:
        def of(model: Model) -> float | None:
            found = known.profile(model)
            return pick(found) if found is not None else None

        return of

    def name(model: Model) -> Cell:
        first = known.is_default(model)
        marked = first and len(model.name) <= _SHORT  # of a longer one the end of the name is worth more; the pane says it
        tone = "dim" if model.provider in stale else "warn" if unusual(model.key) else "accent" if first else ""
        return Cell(f"{model.name}*" if marked else model.name, tone)

    first = profiled(lambda profile: profile.first_token)
    columns: list[Column[Model]] = [
        Column("name", "NAME", name,
               min=16, max=44, flex=4, sort_key=lambda m: m.name.casefold()),
        Column("on", "ON", lambda m: m.provider, width=_longest({m.provider for m in models}, 4, 16),
               sort_key=lambda m: m.provider.casefold()),
        Column("size", "SIZE", lambda m: size(m.size, binary=binary), width=bytes_width, align="right", sort_key=lambda m: m.size,
               descending=True),
        Column("parameters", "PARAMS", lambda m: known.parameters(m) or "–", width=7, align="right",
               sort_key=lambda m: parameter_count(known.parameters(m)), descending=True),
        Column("quant", "QUANT", lambda m: m.quantization or "–", width=_longest({m.quantization for m in models}, 6, 10),
               sort_key=lambda m: m.quantization or None),
        Column("fits", f"FITS AT {CONTEXT // 1024}k", known.fits.cell, width=16 if binary else 15, sort_key=known.fit_order),
        Column("update", "UPDATE", lambda m: update_cell(known, m, binary=binary), width=11 if binary else 10,
               sort_key=lambda m: update_order(known.update(m)), descending=True),
        Column("used", "USED", lambda m: last_used(known.used(m), time.time()), width=5, align="right",
               sort_key=lambda m: known.used(m, _FOREVER), descending=True),
        Column("speed", "TOK/S", lambda m: rate(known.rate(m)), width=6, align="right", sort_key=known.rate, descending=True),
        Column("first", "FIRST", lambda m: duration(first(m)), width=6, align="right", sort_key=first),
        Column("context", "CONTEXT", lambda m: Cell(tokens(known.context(m))), width=7, align="right", sort_key=known.context,
               descending=True),
        Column("can", "CAN", lambda m: Cell(ability_words(known.abilities(m)) or "–"), min=8, max=30, flex=2,
               sort_key=lambda m: ability_words(known.abilities(m)) or None),
        Column("family", "FAMILY", lambda m: m.family or "–", min=6, max=14, sort_key=lambda m: m.family or None),
        Column("format", "FORMAT", lambda m: m.format or "–", min=6, max=11, flex=0, sort_key=lambda m: m.format or None),
        Column("licence", "LICENCE", lambda m: known.licence(m) or "–", min=8, max=24, flex=1, sort_key=lambda m: known.licence(m) or None),
        Column("changed", "CHANGED", lambda m: age(m.modified_at, time.time()), width=7, align="right", sort_key=lambda m: m.modified_at,
               descending=True),
        Column("digest", "DIGEST", lambda m: m.digest[:12] or "–", width=12, sort_key=lambda m: m.digest or None),
    ]  # fmt: skip
    return {column.key: column for column in columns}


def _longest(words: Collection[str], least: int, most: int) -> int:
    """Cells for words that are all known."""
    return max(least, min(most, max((cell_len(word) for word in words), default=0)))


_FOREVER: Final = 1e12
"""Sorts what is in memory before everything used earlier."""
MOVING: Final = frozenset({"fits", "update", "used", "speed", "first", "parameters", "context", "can", "licence"})
"""Columns whose order may change while the list of models stays."""
ASKED: Final = frozenset({"context", "can", "licence"})
"""Columns that only `show` can fill on some servers."""
WORDS: Final = {
    "name": "with * the default model", "on": "provider", "size": "on its disk", "parameters": "how many", "quant": "quantization",
    "fits": "on this machine, estimated", "update": "what its registry has", "used": "last, from here", "speed": "tokens a second, here",
    "first": "seconds to the first token, here", "context": "tokens it was trained for", "can": "chat, tools, vision …",
    "family": "architecture", "format": "gguf, safetensors", "licence": "its first line", "changed": "on the server",
    "digest": "of the manifest",
}  # fmt: skip
"""What the dialog says of each."""
_BY_WIDTH: Final = (
    (0, "name on size quant fits update used"),
    (ROOMY, "name on size parameters quant fits update used speed"),
    (_WIDE, "name on size parameters quant fits update used speed context can"),
    (_WIDEST, "name on size parameters quant fits update used speed first context can changed licence"),
)


def default_names(width: int) -> tuple[str, ...]:
    """The columns for a table of `width` cells where nothing was chosen."""
    return tuple([names for least, names in _BY_WIDTH if width >= least][-1].split())


def chosen_names(text: str, width: int) -> tuple[str, ...]:
    """What `appearance.columns` chooses (unknown words are left out), else what is good at this width."""
    named = tuple(dict.fromkeys(word for word in text.replace(",", " ").split() if word in WORDS))
    return named or default_names(width)


def update_cell(known: Known, model: Model, *, binary: bool) -> Cell:
    """UPDATE: `pinned` where it is never updated."""
    return Cell("pinned", "dim") if known.pinned(model) else library_updates_words.update_cell(known.update(model), model, binary=binary)


def counts(rows: Rows[Model], provider: str = "") -> str:
    """`3 of 14 models, 1 marked (1 more hidden)`."""
    total = sum(1 for model in rows.items if model.provider == provider) if provider else rows.total
    models = f"{total} {'model' if total == 1 else 'models'}"
    out = models if rows.shown == total else f"{rows.shown} of {models}"
    marked, hidden = len(rows.marks), rows.marked_hidden
    if marked:
        out += f", {marked - hidden} marked" + (f" ({hidden} more hidden)" if hidden else "")
    return out


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
    rank: str = "",
) -> list[Fact]:
    """Everything about one installed model; `now` is UTC epoch seconds, `profile` how it did here, `rank` what its user made of it."""
    out: list[Fact] = []
    if stale is not None:
        since = f"as of {duration(now - state.stale_since)} ago: " if state is not None and state.stale_since is not None else ""
        out.append(Fact("old", f"{since}{stale.sentence()}", "$text-warning"))
        if stale.remedy:
            out.append(Fact("try", stale.remedy, "$text-warning"))
    if unusual(model.key):
        out.append(Fact("unusual", UNUSUAL, "$text-warning"))
    out.append(_needs(model, fits, state, binary=binary))
    if profile is not None:
        out.append(Fact("here", f"{speed(profile)}\n{cost(profile, binary=binary)}".strip()))
    fit, room = fits.of(model), fits.room(model.provider)
    if fit is not None and room is not None:
        out.append(Fact("figures", known_text(fit, room), "$text-muted"))
    known = detail if isinstance(detail, ModelDetail) else None
    abilities = ability_words(known.abilities or model.abilities if known else model.abilities)
    line = [abilities or "not said"]
    parameters = model.parameters or (known.parameters if known else "")
    line += [part for part in (parameters, f"licence {licence_line(known)}" if known and known.licence else "") if part]
    out.append(Fact("can", "   ".join(line)))
    context = model.context or (known.context if known else None)
    if rank:
        out.append(Fact("here", rank, "$text-accent"))
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


_ORDER: Final = (
    "old",
    "unusual",
    "runs",
    "needs",
    "detail",
    "can",
    "update",
    "origin",
    "disk",
    "here",
    "",
    "is",
    "requires",
    "options",
    "system",
    "template",
)
"""Labels from above; the empty one is the place of all others."""


def in_order(facts: Sequence[Fact]) -> list[Fact]:
    """What everybody has to say of a model, the pressing first; what has no label of its own stays below what it goes on from."""
    groups: list[list[Fact]] = []
    for fact in facts:
        if groups and fact.label in ("", "try"):
            groups[-1].append(fact)
        else:
            groups.append([fact])
    place = {label: number for number, label in enumerate(_ORDER)}
    return [fact for group in sorted(groups, key=lambda group: place.get(group[0].label, place[""])) for fact in group]


def _needs(model: Model, fits: Fits, state: ProviderState | None, *, binary: bool) -> Fact:
    if model.remote:
        return Fact("runs", "in a cloud: what you write leaves this machine and the server", "$text-warning")
    fit = fits.of(model)
    room = fits.room(model.provider)
    if fit is not None and room is not None:
        context = min(CONTEXT, model.context or CONTEXT)
        return Fact("needs", need_text(fit, room, context, binary=binary))
    if state is not None and not fits.here(model.provider):
        return Fact("needs", f"{model.provider} is not on this machine: its memory is not known", "$text-muted")
    why = "no figures of this machine yet" if fits.machine is None else "the server does not say its size"
    return Fact("needs", f"not known: {why}", "$text-muted")


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
