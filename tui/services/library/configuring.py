"""Options of one model in the configuration: `[models.options."name"]`, which Paddock sends with every request to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tui.config.schema import fields, find_kind, named_fields, raw_value
from tui.core.errors import PaddockError
from tui.core.modelfile import GONE, PARAMETERS, value_of
from tui.core.names import same
from tui.core.recipe import Recipe
from tui.core.record import record
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.config.store import ConfigStore

KEEP_ALIVE: Final = "keep_alive"


@record(frozen=True)
class Option:
    """An option as a form shows it: what it does, and what it may be, in words."""

    name: str
    doc: str
    range_text: str


def options() -> tuple[Option, ...]:
    """All options of a model with their ranges, `keep_alive` last."""
    found = [field for field in fields() if field.section == "chat.options"]
    return tuple(Option(field.key, field.doc, field.range_text or field.type_text) for field in (*found, *named_fields("models.options")))


def table_of(settings: Settings, model: str) -> str:
    """The name under which the configuration has a model: as it is spelled there, else as the server spells it."""
    names = settings.models.options
    return model if model in names else next((name for name in names if same(name, model)), model)


def configured(settings: Settings, model: str) -> Recipe:
    """What the configuration says of a model."""
    return Recipe(dict(sorted(settings.models.options_of(model).items())), keep_alive=settings.models.keep_alive_of(model))


def checked(name: str, text: str, *, baked: bool) -> Any:
    """The value of an option as typed; empty is None, which takes it out.

    Args:
        name: Of the option.
        text: As typed; a list of texts for `stop` as TOML, or one text.
        baked: It becomes part of a model: `keep_alive` and what servers know no more cannot.

    Raises:
        PaddockError: It is none, or out of range.
    """
    if not text:
        return None
    if name in GONE and baked:
        raise PaddockError.of(f"{name} cannot be part of a model: servers know it no more", name, "Leave it out")
    if name == KEEP_ALIVE and baked:
        what = "A model cannot carry keep_alive: the server takes it with each request"
        raise PaddockError.of(what, name, "Set it in the configuration of Paddock")
    path = ("models", "options", "model", name)
    try:
        kind = find_kind(path)
    except PaddockError:
        if not baked or name not in PARAMETERS:
            raise PaddockError.of(f"{clean_name(name, 60)} is no option of a model", "", "See paddock configure --help") from None
        return _foreign(name, text)
    value = kind.literal(kind.check(raw_value(path, text)))
    return list(value) if isinstance(value, (list, tuple)) else value


def _foreign(name: str, text: str) -> Any:
    try:
        return value_of(name, text)
    except ValueError as error:
        raise PaddockError.of(f"{name} {error}", name, "Give another value") from None


def set_options(config: ConfigStore, model: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Save options of a model, all or none; None takes one out. Blocks.

    Returns:
        What they were, to be set back.

    Raises:
        PaddockError: See `ConfigStore.set_all`.
    """
    settings = config.current.value
    name, old = table_of(settings, model), configured(settings, model)
    before = {key: (old.keep_alive or None) if key == KEEP_ALIVE else old.options.get(key) for key in values}
    config.set_all({f"models.options.{name}.{key}": _as_set(value) for key, value in values.items()})
    return before


def _as_set(value: Any) -> Any:
    return None if value is None or value == "" else tuple(value) if isinstance(value, list) else value
