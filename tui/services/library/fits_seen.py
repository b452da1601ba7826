"""How a server on this machine runs models, by the command lines and the environment of its processes. Reads /proc: off the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tui.core.fit import KV_BYTES, Served, served_by
from tui.hardware import reading
from tui.services.own_use import PROC, command_line, families, processes

if TYPE_CHECKING:
    from tui.providers.ports import Holder

ENVIRONMENT: Final = 65_536
"""Bytes of an environment that are read."""
MOST: Final = 64
"""Processes of one server that are looked at."""
_YES: Final = frozenset({"1", "t", "true", "on", "yes", "enabled"})
_NO: Final = frozenset({"0", "f", "false", "off", "no", "disabled"})
_OPTIONS: Final = {
    "-ctk": "kv", "--cache-type-k": "kv", "--kv-cache-type": "kv", "-fa": "flash", "--flash-attn": "flash", "-np": "slots",
    "--parallel": "slots", "-ub": "batch", "--ubatch-size": "batch",
}  # fmt: skip
_VARIABLES: Final = {
    "OLLAMA_KV_CACHE_TYPE": "kv", "OLLAMA_FLASH_ATTENTION": "flash", "OLLAMA_NUM_PARALLEL": "slots", "OLLAMA_GPU_OVERHEAD": "reserve",
    "LLAMA_ARG_CACHE_TYPE_K": "kv", "LLAMA_ARG_FLASH_ATTN": "flash", "LLAMA_ARG_N_PARALLEL": "slots", "LLAMA_ARG_UBATCH": "batch",
}  # fmt: skip
_LARGEST: Final = {"slots": 1024, "batch": 1 << 20, "reserve": 1 << 50}


def look(holder: Holder, kind: str, version: str, proc: Path = PROC) -> Served | None:
    """What the processes of a server tell; None where nothing does."""
    family = sorted(families((holder,), processes(proc)))[:MOST]
    told: dict[str, str] = {}
    for pid in family:
        told |= in_environment(reading.text(f"{proc}/{pid}/environ", ENVIRONMENT) or "")
    for pid in family:
        told |= in_command(command_line(pid, proc))
    return served_seen(told, kind, version) if told else None


def in_environment(text: str) -> dict[str, str]:
    """What an environment (`NAME=value`, ended by NUL) sets; nothing else of it is looked at."""
    found = {}
    for line in text.split("\0"):
        name, equals, value = line.partition("=")
        if equals and name in _VARIABLES and value.strip():
            found[_VARIABLES[name]] = value.strip(" \"'")[:40]
    return found


def in_command(words: Sequence[str]) -> dict[str, str]:
    """What the words of a command line set."""
    found = {}
    for at, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option not in _OPTIONS:
            continue
        follows = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("-") else ""
        found[_OPTIONS[option]] = (value if equals else follows or "on")[:40]
    return found


def served_seen(told: Mapping[str, str], kind: str, version: str) -> Served:
    """How a server runs models, by what was set for it; what makes no sense is as if it were not there."""
    kv = told.get("kv", "").lower()
    flash = told.get("flash", "").lower()
    batch = _number(told, "batch")
    made = served_by(
        kind,
        version,
        kv_type=kv if kv in KV_BYTES else "auto",
        flash="on" if flash in _YES else "off" if flash in _NO else "auto",
        slots=_number(told, "slots") or 0,
        batch=batch,
    )
    return replace(made, reserve=_number(told, "reserve") or 0, told=kv in KV_BYTES)


def _number(told: Mapping[str, str], name: str) -> int | None:
    text = told.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 17 and 0 < int(text) <= _LARGEST[name] else None
