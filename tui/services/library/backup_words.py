"""What is said of backups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui.text import clean_name, size

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.services.library.backup_form import Index, SavedModel


def model_words(saved: SavedModel, *, binary: bool = False) -> str:
    """One model of a backup: its size, or that its weights are not in it."""
    if saved.whole:
        return size(saved.size, binary=binary)
    return f"without its weights: {saved.why}" if saved.why else "without its weights"


def target_of(saved: SavedModel, makers: Sequence[str]) -> str:
    """The server a model of a backup is restored on: the one that it is from where that can make models, else the first that can."""
    return saved.provider if saved.provider in makers else makers[0]


def saved_words(index: Index, left: Sequence[str] = (), *, binary: bool = False) -> str:
    """What a backup holds, in sentences."""
    whole = [model for model in index.models if model.whole]
    bare = [model for model in index.models if not model.whole]
    parts = []
    if whole:
        parts.append(f"{len(whole)} {_models(len(whole))} with weights")
    if bare:
        parts.append(f"{len(bare)} {_models(len(bare))} without weights ({bare[0].why})")
    if index.configuration:
        parts.append("the configuration")
    kept = " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    text = f"Backed up: {kept or 'nothing'}, {size(index.size, binary=binary)}."
    return f"{text} Left out: {', '.join(clean_name(name, 80) for name in left)}." if left else text


def holds_key(settings: Settings) -> bool:
    """Whether a key stands in the configuration itself: then a backup of it holds it too."""
    return bool(settings.models.hf_token.literal) or any(bool(one.api_key.literal) for one in settings.providers.values())


def _models(count: int) -> str:
    return "model" if count == 1 else "models"
