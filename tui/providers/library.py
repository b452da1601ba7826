"""The catalogue of models that can be pulled: dated facts shipped with the program, never the truth of today."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import lru_cache
from importlib.resources import files
from typing import Final

from tui.core.capabilities import ABILITY_WORDS, Ability
from tui.core.errors import PaddockError
from tui.core.names import parse
from tui.core.record import record
from tui.text import clean_label, clean_name

_SIZE_TAG: Final = re.compile(r"(?:e|\d+x)?\d+(?:\.\d+)?[bm](?:-a\d+b)?\Z")
_CHIPS: Final = {word: Ability(word) for word in ("vision", "tools", "thinking", "embedding", "audio")}


@record(frozen=True)
class CatalogueTag:
    """One thing to pull: `bytes` to fetch and `context` in tokens, None where not known; a cloud tag has no weights."""

    tag: str
    bytes: int | None = None
    context: int | None = None
    digest12: str = ""
    cloud: bool = False


@record(frozen=True)
class CatalogueModel:
    """A model of the official library; texts are cleaned.

    Attributes:
        tags: `latest` first where there is one, then the sizes.
        licence: In the words of a public catalogue; `show` of the installed model knows better.
        pulls: Counted by the library that day.
        parameters: Of the default tag, as `quant` and `family`.
    """

    name: str
    tags: tuple[CatalogueTag, ...] = ()
    capabilities: frozenset[Ability] = frozenset()
    licence: str = ""
    pulls: int | None = None
    family: str = ""
    parameters: str = ""
    quant: str = ""

    @property
    def default(self) -> CatalogueTag | None:
        """What a pull without a tag fetches; None for models that only run in the cloud."""
        return next((tag for tag in self.tags if not tag.cloud), None)

    @property
    def sizes(self) -> tuple[str, ...]:
        """The tags that are sizes: `0.5b`, `8x7b`."""
        return tuple(tag.tag for tag in self.tags if not tag.cloud and _SIZE_TAG.match(tag.tag))

    @property
    def size_range(self) -> str:
        """`0.5b to 32b`, one size, or empty."""
        sizes = self.sizes
        return f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else "".join(sizes)

    @property
    def words(self) -> str:
        """What it can do, in the words of the screens."""
        return " ".join(word for ability, word in ABILITY_WORDS.items() if ability in self.capabilities)

    def tag(self, name: str) -> CatalogueTag | None:
        """One tag; `latest` is the default where the library has no tag of that name."""
        wanted = name.lower()
        found = next((tag for tag in self.tags if tag.tag.lower() == wanted), None)
        return self.default if found is None and wanted == "latest" else found


@record(frozen=True)
class Library:
    """The models by number of pulls, and the day the facts were gathered (`2026-08-21`)."""

    models: tuple[CatalogueModel, ...]
    snapshot: str
    _by_name: Mapping[str, CatalogueModel] = field(default_factory=dict, repr=False, compare=False)

    def model(self, name: str) -> CatalogueModel | None:
        """The model of a name, with or without a tag; None for what is not of the official library."""
        try:
            parsed = parse(name)
        except PaddockError:
            return None
        return self._by_name.get(parsed.model.lower()) if parsed.official else None

    def tag_of(self, name: str) -> CatalogueTag | None:
        """The tag a name means (`qwen3` and `qwen3:latest` are one)."""
        model = self.model(name)
        return model.tag(parse(name).tag) if model is not None else None

    def size_of(self, name: str) -> int | None:
        """Bytes to fetch for a name, None where not known."""
        tag = self.tag_of(name)
        return tag.bytes if tag is not None else None

    def search(self, text: str) -> tuple[CatalogueModel, ...]:
        """Models that hold every word in their name, abilities, family or licence; those named so come first."""
        words = text.lower().split()
        if not words:
            return self.models
        hits = [
            model
            for model in self.models
            if all(word in f"{model.name} {model.words} {model.family} {model.licence}".lower() for word in words)
        ]
        return tuple(sorted(hits, key=lambda model: (not model.name.startswith(words[0]), words[0] not in model.name)))

    def complete(self, prefix: str, limit: int = 8) -> tuple[str, ...]:
        """Names to offer for what is typed: models first, after a colon the model's tags."""
        typed = prefix.strip().lower()
        name, colon, tag = typed.partition(":")
        if colon:
            model = self._by_name.get(name)
            return tuple(f"{model.name}:{one.tag}" for one in model.tags if one.tag.lower().startswith(tag))[:limit] if model else ()
        begins = [model.name for model in self.models if model.name.startswith(typed)]
        holds = [model.name for model in self.models if typed and typed in model.name and not model.name.startswith(typed)]
        return tuple((*begins, *holds)[:limit])


@lru_cache(maxsize=1)
def load_library() -> Library:
    """Read the shipped table; some milliseconds once."""
    text = (files("tui") / "catalogue" / "models.csv").read_text("utf-8")
    return read_library(text.splitlines())


def read_library(lines: Iterable[str]) -> Library:
    """Read a table as `scripts/make_catalogue.py` writes it; lines that make no sense are left out."""
    abouts: dict[str, Mapping[str, str]] = {}
    tags: dict[str, list[CatalogueTag]] = {}
    snapshot = ""
    for row in csv.DictReader(lines):
        name = clean_name(row.get("model") or "")
        if not name:
            continue
        abouts.setdefault(name, row)
        listed = tags.setdefault(name, [])
        snapshot = max(snapshot, clean_name(row.get("snapshot") or "", 10))
        if row.get("tag"):
            cloud = row.get("cloud") == "yes"
            listed.append(
                CatalogueTag(
                    clean_name(row["tag"]), _number(row, "bytes"), _number(row, "context"), clean_name(row.get("digest12") or "", 12), cloud
                )
            )
    models = tuple(_model(name, row, tuple(tags[name])) for name, row in abouts.items())
    return Library(models, snapshot, {model.name.lower(): model for model in models})


def _model(name: str, row: Mapping[str, str], tags: tuple[CatalogueTag, ...]) -> CatalogueModel:
    chips = {_CHIPS[word] for word in (row.get("capabilities") or "").split() if word in _CHIPS}
    if Ability.EMBEDDING not in chips:
        chips.add(Ability.COMPLETION)
    return CatalogueModel(
        name,
        tags,
        frozenset(chips),
        clean_label(row.get("licence") or "", 80),
        _number(row, "pulls"),
        clean_name(row.get("family") or "", 40),
        clean_name(row.get("parameters") or "", 20),
        clean_name(row.get("quant") or "", 20),
    )


def _number(row: Mapping[str, str], key: str) -> int | None:
    text = row.get(key) or ""
    return int(text) if text.isdecimal() and len(text) < 17 else None
