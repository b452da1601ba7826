"""Settings that name a model, when it gets another name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui.core.names import same
from tui.services.library.configuring import KEEP_ALIVE, configured, set_options, table_of

if TYPE_CHECKING:
    from tui.config.store import ConfigStore


def follow(config: ConfigStore, provider: str, old: str, new: str, *, alone: bool) -> tuple[str, ...]:
    """Have `models.pinned`, `models.preferred` and `[models.options]` name a model anew; returns which did. Blocks.

    Args:
        config: The settings.
        provider: Whose model it is; lists may name it as `provider/name`.
        old: Its name so far.
        new: Its name from now on.
        alone: No other provider has a model of the old name, which would lose its settings otherwise.

    Raises:
        PaddockError: They could not be saved.
    """
    settings = config.current.value
    changed: dict[str, Any] = {}
    for name, value in (("pinned", settings.models.pinned), ("preferred", settings.models.preferred)):
        now = tuple(new if alone and same(one, old) else f"{provider}/{new}" if same(one, f"{provider}/{old}") else one for one in value)
        if now != tuple(value):
            changed[f"models.{name}"] = now
    if changed:
        config.set_all(changed)
    recipe = configured(settings, old)
    values: dict[str, Any] = {**recipe.options, **({KEEP_ALIVE: recipe.keep_alive} if recipe.keep_alive else {})}
    if alone and values and not configured(settings, new).options:
        set_options(config, new, values)
        set_options(config, table_of(settings, old), dict.fromkeys(values))
        changed["models.options"] = values
    return tuple(changed)
