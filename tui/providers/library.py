"""The catalogue of models that can be pulled: dated facts shipped with the program, never the truth of today."""

from __future__ import annotations

import calendar
import csv
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from functools import lru_cache
from importlib.resources import files
from typing import Final

from tui.core.capabilities import ABILITY_WORDS, Ability
from tui.core.errors import PaddockError
from tui.core.fim import fim_of
from tui.core.names import DEFAULT_TAG, parse
from tui.core.record import record
from tui.text import clean_label, clean_name

_SIZE_TAG: Final = re.compile(r"(?:e|\d+x)?\d+(?:\.\d+)?[bm](?:-a\d+b)?\Z")
_CHIPS: Final = {word: Ability(word) for word in ("vision", "tools", "thinking", "embedding", "audio", "insert", "image")}
_CODE: Final = re.compile(r"cod(?:e|ing)|starcoder|codestral|devstral|codex|sql", re.IGNORECASE)
_PLAIN_NAME: Final = re.compile(r"[\x21-\x7e]+\Z")
DAY: Final = 86_400.0
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
CODE: Final = "code"
"""The word for models made for code."""


@record(frozen=True)
class CatalogueTag:
    """One thing to pull; a cloud tag has no weights.

    Attributes:
        bytes: To fetch, None where not known.
        context: In tokens, None where not known.
        quant: Of the weights, where that is known.
        estimated: Nobody said `bytes`: they were worked out.
        dated: The day of this tag's facts where it is another than the list's.
    """

    tag: str
    bytes: int | None = None
    context: int | None = None
    digest12: str = ""
    cloud: bool = False
    quant: str = ""
    estimated: bool = False
    dated: str = ""


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

    @property
    def code(self) -> bool:
        """Made for code: it fills gaps in it, or its name says so."""
        return Ability.INSERT in self.capabilities or _CODE.search(self.name) is not None

    @property
    def told(self) -> str:
        """What a search looks at: name, tasks, family, licence."""
        return f"{self.name} {self.words} {CODE if self.code else ''} {self.family} {self.licence}"

    @property
    def unusual(self) -> bool:
        """The name holds what only looks like a letter of ours, or is nothing that can be typed (X23)."""
        return is_unusual(self.name)

    def tag(self, name: str) -> CatalogueTag | None:
        """One tag; `latest` is the default where the library has no tag of that name."""
        wanted = name.lower()
        found = next((tag for tag in self.tags if tag.tag.lower() == wanted), None)
        return self.default if found is None and wanted == "latest" else found


@record(frozen=True)
class Library:
    """The models by number of pulls, the day the facts were gathered (`2026-08-21`), and their source where it is not the program."""

    models: tuple[CatalogueModel, ...]
    snapshot: str
    source: str = ""
    _by_name: Mapping[str, CatalogueModel] = field(default_factory=dict, repr=False, compare=False)

    def model(self, name: str) -> CatalogueModel | None:
        """The model of a name, with or without a tag; None for what is not in the list."""
        try:
            parsed = parse(name)
        except PaddockError:
            return None
        return self._by_name.get(str(replace(parsed, tag=DEFAULT_TAG)).lower().removesuffix(f":{DEFAULT_TAG}"))

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
        hits = [model for model in self.models if all(word in model.told.lower() for word in words)]
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
                    clean_name(row["tag"]),
                    _number(row, "bytes"),
                    _number(row, "context"),
                    clean_name(row.get("digest12") or "", 12),
                    cloud,
                    clean_name(row.get("tag_quant") or "", 20),
                    dated=clean_name(row.get("dated") or "", 10),
                )
            )
    return library_of((_model(name, row, tuple(tags[name])) for name, row in abouts.items()), snapshot)


def library_of(models: Iterable[CatalogueModel], snapshot: str, source: str = "") -> Library:
    """A list of these models, of one name the first."""
    by_name: dict[str, CatalogueModel] = {}
    for model in models:
        by_name.setdefault(model.name.lower(), model)
    return Library(tuple(by_name.values()), snapshot, source, by_name)


def abilities_of(name: str, chips: Iterable[str]) -> frozenset[Ability]:
    """What a model can, from the words of a list and what is known of its family; words we do not know are dropped."""
    found = {_CHIPS[word] for word in chips if word in _CHIPS}
    if fim_of(name.rpartition("/")[2]) is not None:
        found.add(Ability.INSERT)
    if Ability.EMBEDDING not in found:
        found.add(Ability.COMPLETION)
    return frozenset(found)


def is_unusual(name: str) -> bool:
    """Whether a name holds more than the characters that anybody can type and tell apart (X23)."""
    return _PLAIN_NAME.match(name) is None


def _model(name: str, row: Mapping[str, str], tags: tuple[CatalogueTag, ...]) -> CatalogueModel:
    return CatalogueModel(
        name,
        tags,
        abilities_of(name, (row.get("capabilities") or "").split()),
        clean_label(row.get("licence") or "", 80),
        _number(row, "pulls"),
        clean_name(row.get("family") or "", 40),
        clean_name(row.get("parameters") or "", 20),
        clean_name(row.get("quant") or "", 20),
    )


def _number(row: Mapping[str, str], key: str) -> int | None:
    text = row.get(key) or ""
    return int(text) if text.isdecimal() and len(text) < 17 else None


def date_of(value: object) -> str:
    """`2026-08-21`, or empty."""
    if not isinstance(value, str) or _DATE.match(value) is None:
        return ""
    try:
        time.strptime(value, "%Y-%m-%d")
    except ValueError:
        return ""
    return value


def day_start(date: str) -> float:
    """Epoch seconds of a day's beginning, UTC."""
    return float(calendar.timegm(time.strptime(date, "%Y-%m-%d")))


def age(date: str, now: float) -> int | None:
    """Whole days since the day of a list, UTC; None where it has none."""
    return max(0, int((now - day_start(date)) // DAY)) if date_of(date) else None
