"""What the first frame needs of the settings, read with `tomllib` alone.

Never fails: what is wrong counts as its default here, and `ConfigStore` names it afterwards.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any

from tui.config import files
from tui.config.paths import Paths
from tui.core.record import record

if TYPE_CHECKING:
    from tui.config.kinds import Kind

_START_SCREENS = ("last", "providers", "library", "pulls", "chat", "monitor")


@record(frozen=True)
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


def _kinds() -> Mapping[str, Kind]:
    """Imported where something is set only: most people have no [appearance]."""
    from tui.config.kinds import AUTO, DENSITY, LINE, MOTION, SWITCH, THEME, WIRE

    return {"theme": THEME, "density": DENSITY, "ascii": AUTO, "motion": MOTION, "wire": WIRE, "link": LINE, "mouse": SWITCH}


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
    variables = [name for name in environ if name.startswith("PADDOCK_APPEARANCE__")]
    kinds = _kinds() if given or variables else {}
    for item in fields(Peek):
        kind = kinds.get(item.name)
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
    if named:
        from tui.config.kinds import BINDINGS

        named = _checked(BINDINGS, named, {})
    return Peek(**values, keys=named)
