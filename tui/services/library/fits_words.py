"""What estimates are made of, from settings and from what is known of models: the same for the app and for commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from tui.core.fit import Ran, Served, served_by, subject_of
from tui.core.models import Model, ModelDetail

if TYPE_CHECKING:
    from tui.config.settings import Optimise
    from tui.core.errors import Failure
    from tui.core.monitor import Profile

FEWEST: Final = 3
"""Answers of a model from which its speed says something about the machine."""


def served_for(asked: Optimise | None, kind: str, version: str, seen: Served | None = None) -> Served:
    """How a server runs models: `[optimise]` wins over what was seen of it, and that over what its version does."""
    if asked is None:
        return served_by(kind, version, seen=seen)
    return served_by(kind, version, kv_type=asked.kv_cache, flash=asked.flash_attention, slots=asked.parallel, seen=seen)


def ran_of(
    profiles: Mapping[tuple[str, str], Profile], models: Iterable[Model], details: Mapping[tuple[str, str], ModelDetail | Failure]
) -> list[Ran]:
    """What answers on this machine tell about how fast it reads memory."""
    found = []
    for model in models:
        profile = profiles.get((model.provider, model.key))
        if profile is None or not profile.rate or not profile.memory or profile.vram is None or profile.answers < FEWEST or not model.size:
            continue
        detail = details.get((model.provider, model.key))
        subject = subject_of(model, detail if isinstance(detail, ModelDetail) else None)
        active = subject.shape.active if subject is not None and subject.shape is not None else 1.0
        read, share = model.size * active, min(1.0, profile.vram / profile.memory)
        found.append(Ran(profile.rate, read * share, read * (1 - share)))
    return found
