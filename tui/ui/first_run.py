"""When the first-run panel has its turn; apart from the panel, which is not needed where a server is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.core.models import Origin, ProviderState, ProviderStatus

if TYPE_CHECKING:
    from tui.services.api import RegistryApi


def nothing_there(state: ProviderState) -> bool:
    """Switched off, or named by OLLAMA_HOST alone and not listening: no reason to hide the first-run panel."""
    return state.status is ProviderStatus.OFF or (state.origin is Origin.ENVIRONMENT and state.status is ProviderStatus.DOWN)


def turn(registry: RegistryApi, mode: str, welcomed: bool) -> tuple[str, bool]:
    """The screen to show instead of `mode`, and whether the panel has had its turn: it comes once, and goes when a server is there."""
    there = any(not nothing_there(state) for state in registry.providers.value)
    if not there and registry.discovery.value.done and not welcomed:
        return ("welcome" if mode == "library" else mode), True
    return ("library" if there and mode == "welcome" else mode), welcomed
