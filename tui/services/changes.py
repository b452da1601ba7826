"""What a person changed of a model, applied again after an update replaced it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

from tui.core.jobs import Changes


def fields_of(model: str, changes: Changes) -> dict[str, Any]:
    """The fields of a create that gives a model these changes."""
    fields: dict[str, Any] = {"from": model}
    if changes.system is not None:
        fields["system"] = changes.system
    if changes.template is not None:
        fields["template"] = changes.template
    if changes.options:
        fields["parameters"] = parameters_of(changes.options)
    return fields


def parameters_of(options: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Parameters as `create` takes them: numbers and truths as such, a name that comes several times as a list."""
    found: dict[str, Any] = {}
    for name, text in options:
        value: Any = text.strip('"')
        with contextlib.suppress(ValueError):
            value = {"true": True, "false": False}.get(text) if text in ("true", "false") else json.loads(text)
        if name == "stop":
            found.setdefault(name, []).append(str(value))
        else:
            found[name] = value
    return found
