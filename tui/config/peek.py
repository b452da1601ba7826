"""What the first frame needs of the settings, read with `tomllib` alone.

Never fails: what is wrong counts as its default here, and `ConfigStore` names it afterwards.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tui.config import files
from tui.config.kinds import AUTO, BINDINGS, DENSITY, LINE, MOTION, SWITCH, THEME, WIRE, Kind
from tui.config.paths import Paths

_START_SCREENS = ("last", "providers", "library", "pulls", "chat", "monitor")
_KINDS: Mapping[str, Kind] = {
    "theme": THEME, "density": DENSITY, "ascii": AUTO, "motion": MOTION, "wire": WIRE, "link": LINE, "mouse": SWITCH,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Peek:
    """The values of [appearance], [keys] and [general] that the first frame needs."""

    theme: str = "paddock"
    density: str = "auto"
    ascii: str = "auto"
    motion: str = "auto"
    wire: str = "auto"
    link: int | None = None
    mouse: bool = True
    start_screen: str = "last"
    keys: Mapping[str, str] = field(default_factory=dict)


def _checked(kind: Kind, raw: object, otherwise: Any) -> Any:
    try:
        return kind.check(raw)
    except ValueError:
        return otherwise


def peek(paths: Paths, environ: Mapping[str, str] | None = None) -> Peek:
    """Read the file and the environment once."""
    environ = os.environ if environ is None else environ
    found = files.read(paths.config_file)
    try:
        raw = tomllib.loads(found.text or "")
    except (ValueError, RecursionError):
        raw = {}
    given = raw.get("appearance")
    given = given if isinstance(given, dict) else {}
    values: dict[str, Any] = {}
    for item in fields(Peek):
        kind = _KINDS.get(item.name)
        if kind is None:
            continue
        value = _checked(kind, given[item.name], item.default) if item.name in given else item.default
        text = environ.get(f"PADDOCK_APPEARANCE__{item.name.upper()}")
        values[item.name] = value if text is None else _checked(kind, kind.from_text(text), value)
    general = raw.get("general")
    start = environ.get("PADDOCK_GENERAL__START_SCREEN") or (general.get("start_screen") if isinstance(general, dict) else None)
    values["start_screen"] = start if start in _START_SCREENS else "last"
    keys = raw.get("keys", {})
    named = {name: keys_of for name, keys_of in keys.items() if isinstance(keys_of, str)} if isinstance(keys, dict) else {}
    return Peek(**values, keys=_checked(BINDINGS, named, {}))
