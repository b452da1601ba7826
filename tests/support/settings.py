"""Settings as tests change them."""

from __future__ import annotations

from typing import Any

from tui.config.settings import Settings


def having(settings: Settings, **sections: dict[str, Any]) -> Settings:
    """The settings with these values of these sections instead."""
    return settings.model_copy(update={name: getattr(settings, name).model_copy(update=values) for name, values in sections.items()})
