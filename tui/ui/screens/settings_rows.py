"""The words of the Settings screen: sections, entries, their values and what the file would hold."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from textual.binding import Binding
from textual.dom import DOMNode

from tui.config.document import format_key
from tui.config.problems import Problem
from tui.config.schema import FieldInfo
from tui.core.record import record
from tui.text import clean_name
from tui.ui.widgets.columns import Cell, Column

if TYPE_CHECKING:
    from tui.config.store import ConfigStore

SOURCE_WORDS: Final[Mapping[str, str]] = {
    "default": "default",
    "file": "file",
    "unsaved": "unsaved",
    "environment": "environ.",
    "flag": "flag",
}
_OWN_TABLES: Final = {"models.options.": "Options of", "chat.presets.": "Preset", "chat.commands.": "Tool"}
_PACKAGES: Final = ("tui.ui.screens", "tui.ui.dialogs", "tui.ui.widgets")


@record(frozen=True)
class Section:
    """One line of the list at the left."""

    key: str
    title: str


@record(frozen=True)
class Entry:
    """One setting, provider or key.

    Attributes:
        dotted: As `ConfigStore.set` takes it; empty where it cannot be changed here.
        name: In words.
        value: In force, for people.
        allowed: Range, choices, or the kind of value.
        source: One of `ConfigStore.SOURCES`.
        doc: What it does.
        toml: Table and line of the file.
        env: The variable that sets it, or empty.
        choices: All values, where they can be listed.
        default: The value without any setting, for people.
    """

    section: str
    dotted: str
    name: str
    value: str
    allowed: str
    source: str
    doc: str
    toml: tuple[str, str]
    env: str = ""
    choices: tuple[str, ...] = ()
    default: str = ""

    @property
    def changed(self) -> bool:
        """It does not have its default."""
        return self.source != "default"


def sections(fields: Iterable[FieldInfo]) -> list[Section]:
    """The sections in the order of the file; providers second, keys last."""
    names = dict.fromkeys("providers" if field.section.startswith("providers.") else field.section for field in fields)
    return [Section(name, _title(name)) for name in names]


def _title(section: str) -> str:
    """The name of a table as words."""
    for table, word in _OWN_TABLES.items():
        if section.startswith(table):
            return f"{word} {clean_name(section.removeprefix(table), 60)}"
    return {"chat.options": "Chat options"}.get(section, section.capitalize())


def _header(section: str) -> str:
    """The header of a table as it stands in the file; a name of the user's is quoted where it must be."""
    table = next((table for table in _OWN_TABLES if section.startswith(table)), "")
    name = section.removeprefix(table)
    return f"[{table}{format_key(name) if table else name}]"


def unquoted(toml: str) -> str:
    """A TOML value as people read it; empty text is a dash."""
    if len(toml) >= 2 and toml[0] == toml[-1] == '"' and "\\" not in toml:
        toml = toml[1:-1]
    return clean_name(toml) if toml not in ("", "[]", "{}") else "–"


def setting_entries(store: ConfigStore) -> Iterator[Entry]:
    """All settings but those of providers and keys."""
    for field in store.fields():
        if field.section.startswith("providers.") or field.section == "keys":
            continue
        shown = store.shown(field.dotted)
        yield Entry(
            section=field.section,
            dotted=field.dotted,
            name=field.title,
            value=unquoted(shown),
            allowed=field.range_text or ", ".join(field.choices) or field.type_text,
            source=store.source(field.dotted),
            doc=field.doc,
            toml=(_header(field.section), f"{field.key} = {shown}" if shown else f"# {field.key} is not set"),
            env=field.env_name,
            choices=field.choices,
            default=unquoted(field.default),
        )


def provider_entries(store: ConfigStore) -> Iterator[Entry]:
    """The configured providers; they are changed on their own screen."""
    for name, provider in store.current.value.providers.items():
        dotted = f"providers.{name}.url"
        yield Entry(
            section="providers",
            dotted="",
            name=clean_name(name),
            value=clean_name(provider.url),
            allowed=clean_name(provider.kind) + ("" if provider.enabled else ", off"),
            source=store.source(dotted),
            doc="Servers are added, changed and removed on the Providers screen: enter goes there.",
            toml=(f"[providers.{clean_name(name)}]", f"url = {store.shown(dotted)}"),
        )


def known_bindings() -> dict[str, Binding]:
    """All our bindings that have an id, by it; imports what was not visited yet, because only a class has bindings."""
    for package in _PACKAGES:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)
    found: dict[str, Binding] = {}
    classes: list[type[Any]] = [DOMNode]
    while classes:
        one = classes.pop()
        classes.extend(one.__subclasses__())
        if one.__module__.startswith("tui."):
            for binding in one.__dict__.get("BINDINGS", ()):
                if isinstance(binding, Binding) and binding.id:
                    found.setdefault(binding.id, binding)
    return dict(sorted(found.items()))


def key_entries(store: ConfigStore, bindings: Mapping[str, Binding]) -> Iterator[Entry]:
    """The keys of all bindings, and those of ids that are set but unknown."""
    own = store.current.value.keys
    for name in (*bindings, *(name for name in own if name not in bindings)):
        binding = bindings.get(name)
        keys = own.get(name, binding.key if binding else "")
        text = (binding.tooltip or binding.description or binding.action) if binding else "no binding has this id"
        yield Entry(
            section="keys",
            dotted=f"keys.{name}",
            name=clean_name(name),
            value=clean_name(keys),
            allowed=text,
            source=store.source(f"keys.{name}"),
            doc=f"{text[:1].upper()}{text[1:].rstrip('.')}. Keys are written key,key, as in ctrl+s,f5.",
            toml=("[keys]", f'"{clean_name(name)}" = "{clean_name(keys)}"'),
            default=clean_name(binding.key) if binding else "–",
        )


def entry_columns(*, full_names: bool) -> list[Column[Entry]]:
    """Name, value, what is allowed, source."""

    def name(entry: Entry) -> str:
        words = f"{entry.section}.{entry.name}" if full_names and entry.section != "keys" else entry.name
        return f"{words} *" if entry.changed else words

    def source(entry: Entry) -> Cell:
        return Cell(SOURCE_WORDS[entry.source], "warn" if entry.source == "unsaved" else "accent" if entry.changed else "dim")

    return [
        Column("name", "NAME", name, min=24 if full_names else 17, max=40 if full_names else 30, flex=2),
        Column("value", "VALUE", lambda entry: Cell(entry.value, "bold" if entry.changed else ""), min=12, max=40, flex=3),
        Column("source", "FROM", source, width=8),
        Column("allowed", "ALLOWED", lambda entry: Cell(entry.allowed, "dim"), min=10, flex=3),
    ]


def problem_text(problem: Problem) -> str:
    """A problem on one line, with its remedy."""
    return f"{problem.sentence()}. {problem.remedy}"
