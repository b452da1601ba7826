"""`models.pinned`: models that we neither update nor unload by ourselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.core.names import same

if TYPE_CHECKING:
    from tui.config.settings import Settings


def pinned(settings: Settings, provider: str, model: str) -> bool:
    """Whether the setting names a model, by its name alone or as `provider/name`."""
    for name in settings.models.pinned:
        if same(name, model):
            return True
        server, _, rest = name.partition("/")
        if rest and server == provider and same(rest, model):
            return True
    return False
