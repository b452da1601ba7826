"""What a model is made of, out of the answer of `/api/show` (Ollama reference, section 2.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from tui.core.modelfile import GONE, PARAMETERS, ROLES, Modelfile, Value, plain, value_of
from tui.providers.streams import list_of, map_of, text_of
from tui.text import clean_name

MAX_SOURCES: Final = 1000
_SOURCE: Final = re.compile(r"(FROM|ADAPTER|DRAFT)[ \t]+(\S[^\n]*)")
_TEXTS: Final = re.compile(r"(?:TEMPLATE|SYSTEM|PARAMETER|LICENSE|MESSAGE|RENDERER|PARSER|REQUIRES)\b")


def made_of(value: Any) -> Modelfile:
    """Read the answer. What is no parameter any more, or none that we know, is named in `notes`."""
    entry = map_of(value)
    sources: dict[str, list[str]] = {"FROM": [], "ADAPTER": [], "DRAFT": []}
    for word, source in _sources(text_of(entry.get("modelfile"))):
        sources[word].append(source)
    parameters, notes = _parameters(text_of(entry.get("parameters")))
    messages = [(text_of(map_of(one).get("role")).lower(), text_of(map_of(one).get("content"))) for one in list_of(entry.get("messages"))]
    licence = text_of(entry.get("license"))
    return Modelfile(
        tuple(sources["FROM"]),
        parameters,
        _text(entry.get("template")),
        _text(entry.get("system")),
        tuple(sources["ADAPTER"]),
        (plain(licence),) if licence else (),
        tuple((role, plain(text)) for role, text in messages if role in ROLES),
        _word(entry.get("requires")),
        _word(entry.get("renderer")),
        _word(entry.get("parser")),
        sources["DRAFT"][0] if sources["DRAFT"] else None,
        notes,
    )


def _sources(text: str) -> Iterator[tuple[str, str]]:
    """Those above the first text: a line of a template could look like one."""
    for line in plain(text).split("\n")[:MAX_SOURCES]:
        if _TEXTS.match(line):
            return
        match = _SOURCE.match(line)
        if match is not None:
            yield match[1], match[2].strip().strip('"')


def _parameters(text: str) -> tuple[tuple[tuple[str, Value], ...], tuple[str, ...]]:
    found: list[tuple[str, Value]] = []
    notes: list[str] = []
    for line in plain(text).split("\n"):
        name, _, rest = line.strip().partition(" ")
        if not name or name in GONE:
            continue
        rest = rest.strip()
        if rest.startswith('"'):
            try:
                rest = plain(str(json.loads(rest)))
            except ValueError:
                rest = rest.strip('"')
        try:
            value = value_of(name, rest)
        except ValueError:
            notes.append(f"{clean_name(name, 60)} is left out: {'its value is unusual' if name in PARAMETERS else 'it is not known here'}")
            continue
        found.append((name, value))
    return tuple(sorted(found, key=lambda pair: pair[0])), tuple(notes)


def _text(value: Any) -> str | None:
    return plain(text_of(value)) or None


def _word(value: Any) -> str | None:
    word = plain(text_of(value))
    return word if word and not re.search(r"\s", word) else None
