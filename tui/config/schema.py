"""Walks the schema of `settings.py`: checks raw tables key by key, finds fields, reads the environment."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo as ModelField

from tui.config import settings
from tui.config.document import Path, format_value, put
from tui.config.kinds import Kind, Secret, Words
from tui.config.problems import Problem
from tui.config.settings import (
    COMMAND_NAME,
    MODEL_NAME,
    PROVIDER_NAME,
    ChatCommand,
    ChatOptions,
    ModelOptions,
    ProviderSettings,
    Settings,
)
from tui.core.errors import FailureKind, PaddockError
from tui.core.record import record
from tui.text import clean_label, clean_name, nearest

PREFIX: Final = "PADDOCK_"
_TABLES_BY_NAME: Final[Mapping[Path, tuple[type[BaseModel], Words]]] = {
    ("providers",): (ProviderSettings, PROVIDER_NAME),
    ("chat", "presets"): (ChatOptions, Words("[A-Za-z0-9][A-Za-z0-9_-]{0,39}", "letters, digits, - _ (at most 40)", "short")),
    ("chat", "commands"): (ChatCommand, COMMAND_NAME),
    ("models", "options"): (ModelOptions, MODEL_NAME),
}
_DOTTED_NAMES: Final = ("providers", "models.options")
COMMANDS: Final = ("chat", "commands")
"""Programs that models may ask to run; only the user's own file may name any (X14)."""
Report = Callable[[Path, str, str], None]
"""Called with path, what, remedy."""


@record(frozen=True)
class FieldInfo:
    """One setting, for screens and tables.

    Attributes:
        section: Dotted table, as in `chat.options`; `providers.NAME` for those of every provider.
        key: Name within the section.
        title: The name as words.
        doc: What it does.
        default: As the file would hold it, in TOML; empty where nothing is sent unless set.
        type_text: The kind of value, in a word or two.
        range_text: The values allowed; empty: any.
        choices: All values, where they can be listed.
        env_name: The environment variable that sets it; empty where none can.
    """

    section: str
    key: str
    title: str
    doc: str
    default: str
    type_text: str
    range_text: str
    choices: tuple[str, ...]
    env_name: str

    @property
    def dotted(self) -> str:
        """The key as `set` takes it."""
        return f"{self.section}.{self.key}" if self.key else self.section


def kind_of(field: ModelField) -> Kind | None:
    """Return the kind a field is annotated with; None for a table."""
    return next((item for item in field.metadata if isinstance(item, Kind)), None)


def table_of(field: ModelField) -> type[BaseModel] | None:
    """Return the model of a field that is a table of fixed keys."""
    return field.annotation if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel) else None


def split_key(key: str) -> Path:
    """Split a dotted key into a path; names of providers, models and key bindings may hold dots.

    Raises:
        PaddockError: There is no such key.
    """
    first, _, rest = key.partition(".")
    if first == "keys" and rest:
        return (first, rest)
    for table in _DOTTED_NAMES:
        if key == table or key.startswith(f"{table}."):
            name, _, last = key[len(table) + 1 :].rpartition(".")
            if not name:
                raise _unknown(key)
            return (*table.split("."), name, last)
    return tuple(key.split("."))


def find_kind(path: Path) -> Kind:
    """Return the kind of the value at a path.

    Raises:
        PaddockError: There is no such key; names the nearest one.
    """
    model: type[BaseModel] = Settings
    for depth, name in enumerate(path):
        named = _TABLES_BY_NAME.get(path[:depth])
        if named:
            model = named[0]
            continue
        field = model.model_fields.get(name)
        if field is None:
            break
        kind, table = kind_of(field), table_of(field)
        if kind is not None:
            if depth == len(path) - 1:
                return kind
            if path[0] == "keys" and len(path) == 2:
                return Words(example_text="ctrl+s")
            break
        model = table or model
    raise _unknown(".".join(path))


def _unknown(key: str) -> PaddockError:
    near = nearest(key, [field.dotted for field in fields()])
    return PaddockError.of(
        f"There is no setting {clean_name(key, 80)}",
        clean_name(key, 80),
        f"Did you mean {near}?" if near else "`paddock config show` lists all",
        FailureKind.CONFIG,
    )


def check_table(model: type[BaseModel], raw: Mapping[str, Any], path: Path, report: Report) -> dict[str, Any]:
    """Return only the keys that are known and valid, as they were given; the others are reported."""
    good: dict[str, Any] = {}
    for name, value in raw.items():
        here = (*path, str(name))
        field = model.model_fields.get(str(name))
        if field is None:
            near = nearest(str(name), list(model.model_fields))
            shown = clean_name(".".join(here), 80)
            report(
                here,
                f"unknown key {shown}",
                f"Did you mean {'.'.join((*path, near))}?" if near else "It is kept and not used; remove it if it is a mistake",
            )
            continue
        kind = kind_of(field)
        if kind is not None:
            try:
                kind.check(value)
            except ValueError as error:
                report(
                    here, f"{clean_name('.'.join(here), 80)} {clean_label(str(error))}", "Correct the line; until then the default counts"
                )
            else:
                good[str(name)] = value
        elif not isinstance(value, Mapping):
            report(
                here,
                f"{clean_name('.'.join(here), 80)} must be a table, as in [{'.'.join(here)}]",
                "Correct the line; until then the default counts",
            )
        elif here in _TABLES_BY_NAME:
            good[str(name)] = _check_named(value, here, report)
        else:
            inner = table_of(field)
            if inner is not None:
                good[str(name)] = check_table(inner, value, here, report)
    return good


def _check_named(raw: Mapping[str, Any], path: Path, report: Report) -> dict[str, Any]:
    model, grammar = _TABLES_BY_NAME[path]
    good: dict[str, Any] = {}
    for name, table in raw.items():
        here = (*path, str(name))
        shown = clean_name(".".join(here), 80)
        try:
            grammar.check(str(name))
        except ValueError as error:
            report(here, f"the name {clean_name(str(name), 40)} {clean_label(str(error))}", "Rename the table")
            continue
        if isinstance(table, Mapping):
            good[str(name)] = check_table(model, table, here, report)
        else:
            report(here, f"{shown} must be a table, as in [{shown}]", "Correct the line; until then it is left out")
    return good


def check(raw: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Check a whole file or layer key by key; see `check_table`."""
    return check_table(Settings, raw, (), report)


def literal_keys(layer: Mapping[str, Any]) -> Iterator[Path]:
    """Find the keys that stand literally in a checked layer."""
    for name, table in layer.get("providers", {}).items():
        if Secret(str(table.get("api_key", "")).strip()).literal:
            yield ("providers", name, "api_key")


def environment_layer(environ: Mapping[str, str], names: Iterable[str]) -> tuple[dict[str, Any], dict[Path, str], list[Problem]]:
    """Read `PADDOCK_<SECTION>__<KEY>` (and `PADDOCK_PROVIDERS__<NAME>__<KEY>`).

    Args:
        environ: The environment.
        names: Providers of the file, because a variable's name cannot spell `gpu-box`.

    Returns:
        The valid part as a layer, the variable of every path, and the problems.
    """
    layer: dict[str, Any] = {}
    variables: dict[Path, str] = {}
    problems: list[Problem] = []
    spelt = {name.replace("-", "_").replace(".", "_").lower(): name for name in names}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        path = tuple(variable[len(PREFIX) :].lower().split("__"))
        if path[0] == "providers" and len(path) == 3:
            path = (path[0], spelt.get(path[1], path[1]), path[2])
        shown = clean_name(variable, 80)
        try:
            if path[:2] == COMMANDS:
                raise ValueError("is not used: commands are only taken from the file")
            kind = find_kind(path)
            raw = kind.from_text(environ[variable])
            kind.check(raw)
        except PaddockError as error:
            problems.append(
                Problem(
                    "environment",
                    None,
                    ".".join(path),
                    f"{shown}: {error.failure.what[0].lower()}{error.failure.what[1:]}",
                    error.failure.remedy,
                )
            )
        except ValueError as error:
            problems.append(
                Problem("environment", None, ".".join(path), f"{shown} {clean_label(str(error))}", "Correct or unset the variable")
            )
        else:
            put(layer, path, raw)
            variables[path] = variable
    return layer, variables, problems


def show(path: Path, value: Any) -> str:
    """Write a value in force as TOML; a literal key, and headers that may hold one, are hidden."""
    if isinstance(value, Secret):
        return '"(hidden)"' if value.literal else format_value(value.text)
    if path[0] == "providers" and path[-1] == "headers":
        return format_value(dict.fromkeys(value, "(hidden)"))
    return format_value(find_kind(path).literal(value))


@cache
def _docs() -> dict[str, dict[str, str]]:
    """The docstrings below the fields, by class: read when somebody asks, as pydantic would do it at every start (30 ms)."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(settings)).body:
        if isinstance(node, ast.ClassDef):
            docs = found.setdefault(node.name, {})
            for field, text in pairwise(node.body):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                    docs[field.target.id] = inspect.cleandoc(ast.literal_eval(text.value))
    return found


def _doc(model: type[BaseModel], name: str) -> str:
    return next((text for cls in model.__mro__ if (text := _docs().get(cls.__name__, {}).get(name, ""))), "")


def _walk(model: type[BaseModel], section: str, env: str) -> Iterator[FieldInfo]:
    for name, field in model.model_fields.items():
        kind = kind_of(field)
        if kind is None:
            continue
        default = field.get_default(call_default_factory=True) if not field.is_required() else "http://127.0.0.1:11434"
        shown = "" if default is None and issubclass(model, ChatOptions) else format_value(kind.literal(default))
        variable = f"{env}__{name.upper()}" if env else ""
        yield FieldInfo(
            section,
            name,
            name.replace("_", " "),
            _doc(model, name),
            shown,
            kind.type_text,
            kind.range_text,
            kind.choices,
            variable,
        )


def fields() -> list[FieldInfo]:
    """List every setting, in the order of the file."""
    found: list[FieldInfo] = []
    for section, field in Settings.model_fields.items():
        if section == "keys":
            doc = "Other keys for a binding, by its id; the help shows the ids."
            found.append(FieldInfo("keys", "", "keys", doc, "{}", "table", '"binding id" = "key,key"', (), ""))
            continue
        path = (section,)
        if path in _TABLES_BY_NAME:
            found += _walk(_TABLES_BY_NAME[path][0], f"{section}.NAME", f"{PREFIX}{section.upper()}__NAME")
            continue
        table = table_of(field)
        if table is None:
            continue
        found += _walk(table, section, PREFIX + section.upper())
        if section == "chat":
            found += _walk(ChatOptions, "chat.options", f"{PREFIX}CHAT__OPTIONS")
    return found


def named_fields(section: str) -> list[FieldInfo]:
    """List the keys of tables that the user names (`models.options`, `chat.commands`), but those a chat's options have as well."""
    model, _ = _TABLES_BY_NAME[tuple(section.split("."))]
    return [field for field in _walk(model, f"{section}.NAME", "") if field.key not in ChatOptions.model_fields]


def own_fields(current: Settings) -> list[FieldInfo]:
    """List what is set in the tables that the user named: options of models, presets, tools."""
    tables = {"models.options": current.models.options, "chat.presets": current.chat.presets, "chat.commands": current.chat.commands}
    return [
        field
        for section, named in tables.items()
        for name, table in named.items()
        for field in _walk(type(table), f"{section}.{name}", "")
        if getattr(table, field.key) != type(table).model_fields[field.key].get_default(call_default_factory=True)
    ]


def raw_value(path: Path, value: object) -> Any:
    """Turn what a screen or command gives (text as typed, or a value) into what the file will hold.

    Raises:
        PaddockError: There is no such key, or the value is not allowed.
    """
    kind = find_kind(path)
    raw = kind.from_text(value) if isinstance(value, str) else value
    try:
        checked = kind.check(raw)
    except ValueError as error:
        raise PaddockError.of(
            f"{clean_name('.'.join(path), 80)} {clean_label(str(error))}",
            clean_name(".".join(path), 80),
            "Give another value",
            FailureKind.CONFIG,
        ) from None
    return raw if isinstance(value, str) else kind.literal(checked)
