"""Loaded models: columns, what one is told about in detail, and what is asked before one is unloaded."""

from __future__ import annotations

from collections.abc import Callable

from tui.core.models import RunningModel
from tui.core.monitor import Loaded, Profile
from tui.text import clean_label, clean_name, duration, size, tokens
from tui.ui.screens.monitor_memory import where_text
from tui.ui.widgets.columns import Cell, Column


def unload_text(model: RunningModel, now: float) -> Cell:
    """When a model goes: a countdown, or why not."""
    if model.stopping:
        return Cell("stopping", "warn")
    if model.pinned:
        return Cell("pinned")
    if model.expires_at is None:
        return Cell("–", "dim")
    left = model.expires_at - now
    return Cell(f"in {duration(left)}" if left > 0 else "now")


def context_text(model: RunningModel) -> str:
    """Served context, and the trained one where it is another."""
    if model.context is None:
        return "–"
    if model.trained_context and model.trained_context != model.context:
        return f"{tokens(model.context)} of {tokens(model.trained_context)}"
    return tokens(model.context)


def rate_of(found: Loaded) -> float | None:
    """Tokens a second that it writes now."""
    return found.rate if found.rate is not None else found.model.rate


def _rate(found: Loaded) -> str:
    rate = rate_of(found)
    return "–" if rate is None else f"{rate:.0f} tok/s"


def _works(found: Loaded) -> int:
    return found.running if found.running is not None else found.model.busy_slots or 0


def _waits(found: Loaded) -> int:
    return found.waiting if found.waiting is not None else found.model.waiting or 0


def queue_text(found: Loaded) -> Cell:
    """`2, 1 waits`: requests it works on, and those that wait."""
    known = found.running is not None or found.waiting is not None or found.model.busy_slots is not None
    waits = _waits(found)
    if waits:
        return Cell(f"{_works(found)}, {waits} wait{'s' if waits == 1 else ''}", "warn")
    return Cell(str(_works(found))) if known else Cell("–", "dim")


def state_of(found: Loaded) -> str:
    """For the mark: it writes, or goes."""
    return "busy" if found.model.stopping else "loaded" if _works(found) or rate_of(found) else ""


def where_of(found: Loaded) -> str:
    """`all GPU0`, `~62 % GPU0`; the sign where it is concluded."""
    return ("~" if found.about and found.cards else "") + where_text(found.model, found.cards)


def loaded_columns(now: Callable[[], float], *, binary: bool, compact: bool = False) -> list[Column[Loaded]]:
    """The columns; in the smallest form only what is worth most."""
    name: Column[Loaded] = Column(
        "model", "MODEL", lambda found: found.model.name, min=12 if compact else 16, max=40, flex=3, sort_key=lambda found: found.model.name
    )
    memory: Column[Loaded] = Column(
        "memory", "MEMORY", lambda found: size(found.model.size, binary=binary), width=7, align="right",
        sort_key=lambda found: found.model.size, descending=True,
    )  # fmt: skip
    if compact:
        rate: Column[Loaded] = Column("rate", "RATE", lambda found: _brief(found, now()), width=9, align="right")
        return [name, memory, rate]
    return [
        name,
        Column("on", "ON", lambda found: found.model.provider, min=7, max=14, sort_key=lambda found: found.model.provider),
        memory,
        Column("where", " WHERE", lambda found: " " + where_of(found), width=11),
        Column("context", "CONTEXT", lambda found: context_text(found.model), width=10),
        Column("rate", "RATE", _rate, width=9, min_screen_width=74, sort_key=rate_of, descending=True),
        Column("queue", "QUEUE", queue_text, width=9, min_screen_width=90, sort_key=_waits, descending=True),
        Column(
            "unloads", "UNLOADS", lambda found: unload_text(found.model, now()), width=9, align="right",
            sort_key=lambda found: found.model.expires_at,
        ),
    ]  # fmt: skip


def _brief(found: Loaded, now: float) -> Cell:
    """The rate while it writes, else when it goes."""
    rate = rate_of(found)
    return Cell(f"{rate:.0f} tok/s") if rate is not None else unload_text(found.model, now)


def _together(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def detail_text(found: Loaded, profile: Profile | None, now: float, *, note: str = "", binary: bool = False) -> str:
    """Three lines about a loaded model: what it is, its memory and work, how it does over time.

    Args:
        found: The model.
        profile: How it did before.
        now: Epoch seconds.
        note: Why its server tells nothing of its work.
        binary: Sizes in GiB.
    """
    model = found.model
    kind = _together(model.parameters, model.quantization)
    context = f"context {model.context:,} tokens served" if model.context else ""
    if context and model.trained_context:
        context += f" of {model.trained_context:,} trained"
    memory = f"memory {size(model.size, binary=binary)}" if model.size else ""
    if memory and model.vram is not None:
        memory += f", {size(model.vram, binary=binary)} of it on a GPU"
    cache = f"KV cache {size(found.kv_bytes, binary=binary)}" if found.kv_bytes else ""
    if found.kv_used is not None:
        cache = f"{cache or 'KV cache'}, {100 * found.kv_used:.0f} % used"
    works = _works(found)
    slots = f"works on {works} of {model.slots} requests at once" if model.slots else ""
    if not slots and works:
        slots = f"works on {works} request{'' if works == 1 else 's'}"
    if slots and found.own:
        slots += f" ({found.own} yours)"
    waiting = f"{_waits(found)} waiting" if _waits(found) else ""
    idle = f"last used {duration(now - found.last_used)} ago" if found.last_used is not None and not works else ""
    first = _together(f"{model.name} on {model.provider}", kind, context)
    return f"{first}\n{_together(memory, cache, slots, waiting, idle, clean_label(note, 80))}\n{profile_text(profile)}"


def profile_text(profile: Profile | None) -> str:
    """`31 tok/s, 0.4s to first token, loaded in 14s, 0.9 J a token (12 answers)`."""
    if profile is None or not profile.answers:
        return "no answers measured yet"
    parts = []
    if profile.rate is not None:
        parts.append(f"{profile.rate:.0f} tok/s")
    if profile.first_token is not None:
        parts.append(f"{duration(profile.first_token)} to first token")
    if profile.load_seconds is not None:
        parts.append(f"loaded in {duration(profile.load_seconds)}")
    if profile.joules_per_token is not None:
        parts.append(f"{profile.joules_per_token:.1f} J a token")
    return f"{', '.join(parts)} (measured here, {profile.answers} answer{'' if profile.answers == 1 else 's'})"


def unload_question(found: Loaded, own: int, *, binary: bool = False) -> str:
    """What to ask before an unload; `own` of the requests it works on are ours."""
    model = found.model
    name = clean_name(model.name, 60)
    own = max(own, found.own)
    foreign = max(0, _works(found) - own)
    if foreign:
        words = "1 request that is not yours" if foreign == 1 else f"{foreign} requests that are not yours"
        return f"{name} is answering {words}. Unload it from {model.provider}?"
    if own:
        return f"{name} is answering you. Unload it from {model.provider}?"
    frees = f" Frees {size(model.size, binary=binary)}." if model.size else ""
    return f"Unload {name} from {model.provider}?{frees}"
