"""Editing a provider: the keys of its table that people change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tui.config.schema import raw_value
from tui.core.models import ProviderState
from tui.text import clean_label
from tui.ui.dialogs.add_provider import address_problem
from tui.ui.dialogs.form import Field, FormDialog

LOCATIONS = ("auto", "here", "elsewhere")


def _check(name: str, key: str) -> Callable[[str], str | None]:
    def problem(text: str) -> str | None:
        if not text:
            return None
        try:
            raw_value(("providers", name, key), text)
        except Exception as error:  # the settings' own words
            return f"{key}: {clean_label(str(getattr(getattr(error, 'failure', None), 'what', error)), 120)}"
        return None

    return problem


def shown_values(state: ProviderState, settings: Any) -> dict[str, str]:
    """What stands in the fields at first; a literal key is never shown."""
    configured = settings.providers.get(state.name)
    endpoint = state.endpoint
    key = endpoint.key if endpoint.key.startswith(("env:", "file:")) else ""
    location = configured.location if configured is not None else "auto"
    timeout = f"{endpoint.timeout:g}s"
    return {"url": endpoint.url, "api_key": key, "timeout": timeout, "keep_alive": endpoint.keep_alive, "location": location}


def edit_provider_dialog(state: ProviderState, settings: Any) -> FormDialog:
    """The dialog; compare its result with `shown_values` by `changes`."""
    values = shown_values(state, settings)
    labels = {"url": "Address", "api_key": "Key", "timeout": "Timeout", "keep_alive": "Keep loaded", "location": "Where"}
    hints = {
        "api_key": "a key is set; env:NAME replaces it" if state.endpoint.key and not values["api_key"] else "env:NAME or file:PATH",
        "keep_alive": "the server's own choice; 5m, 1h, forever",
        "location": "auto, here or elsewhere",
    }
    checks = {key: _check(state.name, key) for key in values} | {"url": address_problem}
    fields = [Field(key, labels[key], values[key], hints.get(key, ""), checks[key]) for key in values]
    return FormDialog(f"Edit {state.name}", fields, hint="enter saves, tab next field, esc back")


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    """The keys that differ; an emptied one goes back to its default (None)."""
    return {key: after[key] or None for key in before if after.get(key, "") != before[key]}
